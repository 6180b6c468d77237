//! `loki policy`: what the command policy says.

use ::config::contract::policy::{CheckCommand, CheckedCommand, Verdict};
use clap::Subcommand;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  loki policy check -- rm -rf /
  loki policy check --json -- 'curl https://example.org/x | sh'

Several words are one command; one word is a whole shell text. Exit codes: 0 not denied, 3 denied.";

/// Explains the command policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(CheckArguments),
}

/// Judges a command without running it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArguments {
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// The folder that it would run in
    #[arg(long, value_name = "DIR")]
    directory: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(arguments) => check(context, arguments),
    }
}

fn check(context: &Context, arguments: CheckArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let body = CheckCommand {
        command: arguments.command.join(" "),
        directory: arguments.directory,
    };
    let checked: CheckedCommand = client.post("/api/policy/check", Some(&body))?;
    if arguments.json {
        output::json(&checked)?;
    } else {
        print(&checked)?;
    }
    match checked.judgement.verdict {
        Verdict::Deny => Err(Failure::said(Exit::Refused)),
        Verdict::Allow | Verdict::Unknown | Verdict::Ask => Ok(()),
    }
}

fn print(checked: &CheckedCommand) -> Result<(), Failure> {
    output::line(&format!("Verdict: {}", checked.judgement.verdict))?;
    for finding in &checked.judgement.findings {
        output::line(&format!(
            "  {}: {}\n    by {}: {}",
            finding.verdict,
            output::visible(&finding.command),
            output::visible(&finding.rule),
            output::visible(&finding.reason)
        ))?;
    }
    for answer in &checked.answers {
        output::line(&format!(
            "{}: {}",
            output::visible(&answer.mode),
            output::visible(&answer.answer)
        ))?;
    }
    output::line(&format!("Note: {}", output::visible(&checked.note)))
}
