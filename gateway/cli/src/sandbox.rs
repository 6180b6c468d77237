//! `loki sandbox`: long-lived sandboxes, and what this host can enforce on agents, tried out.
//!
//! Invariant: nothing here is told of a layer but what the kernel was seen to refuse.

mod live;
mod scorecard;
mod shell;

use clap::Subcommand;

use crate::context::Context;
use crate::doctor;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  loki sandbox start             start a long-lived sandbox of the current project
  loki sandbox shell             work in it
  loki sandbox stop              end it; what was done becomes a branch of the project
  loki sandbox doctor            what this host can enforce, and what to do where it cannot
  loki sandbox test              try to get out, and print the scorecard
  loki start ./prd.md --sandbox  run a session in the sandbox";

/// Runs long-lived sandboxes; checks and tests the sandbox of this host.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Start a long-lived sandbox of the current project
    #[command(after_help = live::START_EXAMPLES)]
    Start(live::Start),
    /// List sandboxes
    #[command(after_help = "Examples:\n  loki sandbox status\n  loki sandbox status --json")]
    Status(live::Status),
    /// Show what was written in a sandbox
    #[command(after_help = "Examples:\n  loki sandbox logs\n  loki sandbox logs web --follow")]
    Logs(live::Logs),
    /// Open a shell in a sandbox; exit code 1 if it ends with another than 0
    #[command(
        after_help = "Examples:\n  loki sandbox shell\n  echo 'make test' | loki sandbox shell web"
    )]
    Shell(shell::Arguments),
    /// End a sandbox; what was done becomes a branch of the project
    #[command(after_help = "Example:\n  loki sandbox stop web")]
    Stop(live::Stop),
    /// Remove an ended sandbox, and its work if that was kept back
    #[command(after_help = "Example:\n  loki sandbox remove web")]
    Remove(live::Remove),
    /// Try each layer and print the fixes
    #[command(after_help = "Example:\n  loki sandbox doctor --json")]
    Doctor(Arguments),
    /// Check the native sandbox: there is no image to build
    #[command(after_help = "Example:\n  loki sandbox build")]
    Build(Arguments),
    /// Try every known way out and print the scorecard; exit code 1 if one of them got out
    #[command(after_help = "Example:\n  loki sandbox test --json")]
    Test(Arguments),
}

/// How to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Start(arguments) => live::start(context, arguments),
        Command::Status(arguments) => live::status(context, arguments),
        Command::Logs(arguments) => live::logs(context, arguments),
        Command::Shell(arguments) => shell::run(context, arguments),
        Command::Stop(arguments) => live::stop(context, arguments),
        Command::Remove(arguments) => live::remove(context, arguments),
        Command::Doctor(arguments) => doctor::layers(arguments.json),
        Command::Build(arguments) => doctor::root_view(context, arguments.json),
        Command::Test(arguments) => scorecard::run(arguments.json),
    }
}
