//! `loki enterprise audit`: the gateway's audit trail, read from its files.

mod records;
mod verify;

use clap::Subcommand;
use gateway::audit::summary::{self, Summary};

use crate::context::Context;
use crate::failure::Failure;
use crate::{clock, output};

const EXAMPLES: &str = "\
Examples:
  loki enterprise audit summary --days 30
  loki enterprise audit tail -n 50
  loki enterprise audit tail -f
  loki enterprise audit search --user token:ci-bot --outcome denied
  loki enterprise audit verify
  loki enterprise audit export --format csv > audit.csv";

/// Reads the audit trail: who asked the gateway for what, from where.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Summary(SummaryArguments),
    Tail(records::TailArguments),
    Search(records::SearchArguments),
    Export(records::ExportArguments),
    Verify(verify::VerifyArguments),
    Keys(verify::KeysArguments),
}

/// Counts records by action, user and outcome (the default).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki enterprise audit summary --days 30")]
struct SummaryArguments {
    /// How many days back
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        None => summarise(
            context,
            &SummaryArguments {
                days: 7,
                json: false,
            },
        ),
        Some(Command::Summary(arguments)) => summarise(context, &arguments),
        Some(Command::Tail(arguments)) => records::tail(context, &arguments),
        Some(Command::Search(arguments)) => records::search(context, &arguments),
        Some(Command::Export(arguments)) => records::export(context, &arguments),
        Some(Command::Verify(arguments)) => verify::verify(context, &arguments),
        Some(Command::Keys(arguments)) => verify::keys(context, &arguments),
    }
}

fn summarise(context: &Context, arguments: &SummaryArguments) -> Result<(), Failure> {
    let home = context.offline()?.home;
    let summary = summary::summary(&home, arguments.days, clock::now()).map_err(Failure::failed)?;
    if arguments.json {
        return output::json(&summary);
    }
    print(&summary)
}

fn print(summary: &Summary) -> Result<(), Failure> {
    output::line(&format!("Last {} days", summary.period_days))?;
    output::line(&format!("Total:      {}", summary.total_events))?;
    output::line(&format!("Successful: {}", summary.successful_events))?;
    output::line(&format!("Failed:     {}", summary.failed_events))?;
    for (title, counts) in [
        ("By action", &summary.by_action),
        ("By user", &summary.by_user),
    ] {
        if counts.is_empty() {
            continue;
        }
        output::line(&format!("\n{title}:"))?;
        for (name, count) in counts {
            output::line(&format!("  {count:>8}  {}", output::visible(name)))?;
        }
    }
    if !summary.recent_failures.is_empty() {
        output::line("\nLast failures:")?;
    }
    for failure in &summary.recent_failures {
        output::line(&format!(
            "  {} {} {} {} {}",
            failure.timestamp,
            failure.outcome,
            output::visible(&failure.user),
            output::visible(&failure.action),
            output::visible(&failure.resource)
        ))?;
    }
    if summary.malformed > 0 {
        output::warn(&format!("{} lines are not records", summary.malformed));
    }
    if !summary.complete {
        output::warn("the oldest files of the period were left out: ask for fewer days");
    }
    Ok(())
}
