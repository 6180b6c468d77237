//! `loki sandbox`: what this host can enforce on agents, tried out.
//!
//! Invariant: nothing here is told of a layer but what the kernel was seen to refuse.

mod scorecard;

use clap::Subcommand;

use crate::context::Context;
use crate::doctor;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  loki sandbox doctor            what this host can enforce, and what to do where it cannot
  loki sandbox build             check the list of system calls and what agents will see
  loki sandbox test              try to get out, and print the scorecard
  loki start ./prd.md --sandbox  run a session in the sandbox";

/// Checks and tests the sandbox of this host.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
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
        Command::Doctor(arguments) => doctor::layers(arguments.json),
        Command::Build(arguments) => doctor::root_view(context, arguments.json),
        Command::Test(arguments) => scorecard::run(arguments.json),
    }
}
