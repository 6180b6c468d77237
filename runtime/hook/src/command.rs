//! The command line of `loki-hook`. It is called by vendors' programs with arguments that the runtime
//! wrote, so it takes exactly those.
//!
//! Invariant: whatever goes wrong, a panic included, ends with the exit code by which those programs
//! block what they were about to do.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;

use crate::ask::Gate;
use crate::{converse, permission, tool_use};

/// Runs the program.
#[must_use]
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let done = panic::catch_unwind(AssertUnwindSafe(|| dispatch(&arguments)))
        .unwrap_or_else(|_| Err("an internal error".to_owned()));
    done.unwrap_or_else(|why| {
        // The text reaches the agent; that it cannot be written changes nothing.
        drop(writeln!(io::stderr(), "loki-hook: blocked: {why}"));
        ExitCode::from(BLOCKED)
    })
}

fn dispatch(arguments: &[OsString]) -> Result<ExitCode, String> {
    let usage = || "usage: loki-hook tool-use|permission|converse GATE [PROGRAM ...]".to_owned();
    let directory = env::current_dir().map_err(|error| error.to_string())?;
    let [part, folder, program @ ..] = arguments else {
        return Err(usage());
    };
    let gate = Gate::enter(Path::new(folder)).map_err(|error| error.to_string())?;
    match (part.to_str(), program) {
        (Some("tool-use"), []) => {
            tool_use::handle(&gate, io::stdin().lock(), io::stdout().lock())?;
        }
        (Some("permission"), []) => {
            permission::serve(&gate, io::stdin().lock(), io::stdout())?;
        }
        (Some("converse"), [program, arguments @ ..]) => {
            return converse::converse(&gate, &directory, program, arguments);
        }
        (Some(_) | None, _) => return Err(usage()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The exit code that blocks.
const BLOCKED: u8 = 2;
