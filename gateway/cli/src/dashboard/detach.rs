//! `loki run-detached` (internal): leaves the terminal's session, then becomes another program.
//!
//! A process can only leave its session before it executes the program, and only by itself.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;

/// Runs a program in a session of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes the program; returns only if that fails.
#[expect(
    clippy::disallowed_methods,
    reason = "this becomes one of the two daemons, no agent's process"
)]
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    rustix::process::setsid()
        .map_err(|error| Failure::failed(format!("cannot leave the terminal: {error}")))?;
    let error = Command::new(&arguments.program)
        .args(&arguments.arguments)
        .exec();
    Err(Failure::io("execute", &arguments.program, &error))
}
