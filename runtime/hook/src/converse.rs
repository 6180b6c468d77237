//! Lets a vendor's program that speaks by its standard streams speak with the runtime: the program is
//! started here, and what both say is passed on.
//!
//! Invariant: the program runs only once the runtime has taken the conversation up; when the runtime
//! ends it, the program's standard input ends.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

use crate::ask::Gate;

/// Starts a program in a folder and passes on what it and the runtime say until it ends.
///
/// # Errors
/// When the runtime does not take it up, or the program cannot be run.
pub(crate) fn converse(
    gate: &Gate,
    directory: &Path,
    program: &OsString,
    arguments: &[OsString],
) -> Result<ExitCode, String> {
    let runtime = gate.converse().map_err(|error| error.to_string())?;
    let told = |error: io::Error| format!("cannot converse: {error}");
    let mut child = start(directory, program, arguments)
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the program has no standard streams".to_owned());
    };
    let heard = runtime.try_clone().map_err(told)?;
    // It ends with the conversation, or with this process.
    let _listener = thread::spawn(move || pass_on(heard, input));
    pass_on(output, &runtime);
    // Whoever is gone already does not need to be told.
    drop(runtime.shutdown(Shutdown::Both));
    let status = child.wait().map_err(told)?;
    // As a shell has it: 128 + n after signal n.
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this process is in the jail already, and what it starts stays there"
)]
fn start(directory: &Path, program: &OsString, arguments: &[OsString]) -> io::Result<Child> {
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// Passes everything on until either end has had enough.
fn pass_on(mut from: impl Read, mut to: impl Write) {
    let mut piece = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut piece) {
        if length == 0 || to.write_all(&piece[..length]).is_err() || to.flush().is_err() {
            return;
        }
    }
}
