//! `loki config`: what the settings are, where each comes from, and what is wrong with them.

mod running;

use ::config::load::{Effective, Mistake};
use clap::Subcommand;
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  loki config check            all mistakes at once, with file, line and key
  loki config show --origin    each value, and who set it
  loki config reload           the running gateway takes them into use
  loki config status           what the running gateway uses";

/// Shows and checks the settings of both processes, as started from here, and reloads the gateway's.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    Check(CheckArguments),
    Show(ShowArguments),
    Reload(running::ReloadArguments),
    Status(running::StatusArguments),
}

/// Tells all mistakes at once; exit code 64 if there are any.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki config check")]
pub(crate) struct CheckArguments {}

/// Shows each setting's effective value.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki config show --origin --json")]
pub(crate) struct ShowArguments {
    /// Show where each value comes from
    #[arg(long)]
    origin: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The settings of one process.
#[derive(Debug)]
struct Settings {
    file: &'static str,
    effective: Vec<Effective>,
}

#[derive(Serialize)]
struct Shown<'a> {
    file: &'a str,
    key: &'a str,
    value: &'a str,
    origin: String,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check(CheckArguments {}) => {
            load(context)?;
            output::line("The settings are in order.")
        }
        Command::Show(arguments) => show(&load(context)?, arguments),
        Command::Reload(arguments) => running::reload(context, arguments),
        Command::Status(arguments) => running::status(context, arguments),
    }
}

/// Reads the settings of both processes; tells all mistakes and warnings of both.
fn load(context: &Context) -> Result<[Settings; 2], Failure> {
    let gateway = context.gateway_settings(context.sources());
    let runtime = context.runtime_settings();
    match (gateway, runtime) {
        (Ok(gateway), Ok(runtime)) => {
            let mut warnings = gateway.warnings;
            for warning in runtime.warnings {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            for warning in warnings {
                output::warn(&warning);
            }
            Ok([
                Settings {
                    file: "gateway.toml",
                    effective: gateway.effective,
                },
                Settings {
                    file: "runtime.toml",
                    effective: runtime.effective,
                },
            ])
        }
        (gateway, runtime) => {
            let both = [gateway.err(), runtime.err()];
            let mut mistakes: Vec<Mistake> = Vec::new();
            for mistake in both.into_iter().flatten().flat_map(|found| found.0) {
                if !mistakes.contains(&mistake) {
                    mistakes.push(mistake);
                }
            }
            for mistake in &mistakes {
                output::error(&mistake.to_string());
            }
            Err(Failure::new(
                Exit::Settings,
                format!("the settings have {} mistakes", mistakes.len()),
            ))
        }
    }
}

fn show(settings: &[Settings], arguments: &ShowArguments) -> Result<(), Failure> {
    let shown: Vec<Shown<'_>> = settings
        .iter()
        .flat_map(|part| part.effective.iter().map(move |one| (part.file, one)))
        .map(|(file, one)| Shown {
            file,
            key: &one.key,
            value: &one.value,
            origin: one.origin.to_string(),
        })
        .collect();
    if arguments.json {
        return output::json(&shown);
    }
    let mut headings = vec!["FILE", "KEY", "VALUE"];
    if arguments.origin {
        headings.push("ORIGIN");
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|one| {
            let mut row = vec![
                one.file.to_owned(),
                one.key.to_owned(),
                output::visible(one.value),
            ];
            if arguments.origin {
                row.push(output::visible(&one.origin));
            }
            row
        })
        .collect();
    output::table(&headings, &rows)
}
