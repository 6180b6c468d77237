//! `loki enterprise audit`: the gateway's audit trail, read from its files.

use clap::Subcommand;
use gateway::audit::query::{self, Query};
use gateway::audit::record::Record;
use gateway::audit::summary::{self, Summary};

use crate::context::Context;
use crate::failure::Failure;
use crate::{clock, output};

const EXAMPLES: &str = "\
Examples:
  loki enterprise audit summary --days 30
  loki enterprise audit tail -n 50
  loki enterprise audit tail --json";

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
    Tail(TailArguments),
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

/// Shows the newest records, oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki enterprise audit tail -n 50")]
struct TailArguments {
    /// How many
    #[arg(short = 'n', long = "lines", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    lines: u32,
    /// Print one JSON object per line
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
        Some(Command::Tail(arguments)) => tail(context, &arguments),
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

fn tail(context: &Context, arguments: &TailArguments) -> Result<(), Failure> {
    let home = context.offline()?.home;
    let wanted = Query {
        limit: arguments.lines,
        ..Query::default()
    };
    let page = query::query(&home, &wanted).map_err(Failure::failed)?;
    for record in page.entries.iter().rev() {
        if arguments.json {
            let text = serde_json::to_string(record)
                .map_err(|error| Failure::failed(format!("cannot show a record: {error}")))?;
            output::line(&text)?;
        } else {
            output::line(&shown(record))?;
        }
    }
    if page.malformed > 0 {
        output::warn(&format!("{} lines are not records", page.malformed));
    }
    Ok(())
}

fn shown(record: &Record) -> String {
    let mut text = format!(
        "{} {:<8} {:<8} {} {}",
        record.timestamp,
        record.phase.name(),
        record.outcome,
        output::visible(&record.action),
        output::visible(&record.user)
    );
    for (name, value) in [("", &record.resource), ("from ", &record.ip)] {
        if !value.is_empty() {
            text.push(' ');
            text.push_str(name);
            text.push_str(&output::visible(value));
        }
    }
    if let Some(status) = record.status {
        text.push_str(&format!(" {status}"));
    }
    text
}
