//! `loki dashboard`: starts, stops and looks at the two processes on this machine.

pub(crate) mod deployment;
pub(crate) mod detach;
mod foreground;
mod log;
mod program;
pub(crate) mod start;
mod status;
mod stop;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  loki dashboard start
  loki dashboard start --tls-cert cert.pem --tls-key key.pem
  loki dashboard status --json
  loki dashboard stop";

/// Starts, stops and looks at gateway and runtime on this machine.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    Start(start::Arguments),
    Stop(stop::Arguments),
    Status(status::Arguments),
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Start(arguments) => start::run(context, arguments),
        Command::Stop(arguments) => stop::run(context, arguments),
        Command::Status(arguments) => status::run(context, arguments),
    }
}
