//! `loki dashboard stop`: ends the processes that `start` began, the gateway first.

use std::time::Duration;

use super::deployment;
use super::program::Program;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::process::Process;

/// What the gateway needs beyond its drain time, and the runtime beyond that to hand sessions over.
const GATEWAY_ROOM: Duration = Duration::from_secs(10);
const RUNTIME_WITHIN: Duration = Duration::from_secs(60);

/// Stops gateway and runtime: requests under way end first, sessions are handed over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki dashboard stop")]
pub(crate) struct Arguments {}

/// Runs the command.
pub(super) fn run(context: &Context, _arguments: &Arguments) -> Result<(), Failure> {
    let home = context.offline()?.home;
    let drain_timeout = context
        .gateway_settings(context.sources())
        .map_or(Duration::from_secs(10), |loaded| {
            loaded.settings.limits.drain_timeout
        });
    let mut stopped = false;
    for (program, process) in deployment::running(&home)? {
        if let Some(process) = process {
            end(program, &process, drain_timeout)?;
            output::line(&format!(
                "Stopped the {program} (process {})",
                process.pid()
            ))?;
            stopped = true;
        }
        program.forget(&home)?;
    }
    if let Some(endpoint) = deployment::endpoint(&home)? {
        return Err(Failure::failed(format!(
            "the gateway at {} (process {}) was not started by loki dashboard start",
            endpoint.url, endpoint.pid
        ))
        .fix("stop it where it was started, for example with systemctl"));
    }
    if !stopped {
        output::line("Nothing was running.")?;
    }
    Ok(())
}

/// Asks a process to end and waits until it has.
pub(super) fn end(
    program: Program,
    process: &Process,
    drain_timeout: Duration,
) -> Result<(), Failure> {
    let limit = match program {
        Program::Gateway => drain_timeout + GATEWAY_ROOM,
        Program::Runtime => RUNTIME_WITHIN,
    };
    if process.has_ended() {
        return Ok(());
    }
    let asked = process.terminate();
    if process.ends_within(limit) {
        return Ok(());
    }
    let why = asked.map_or_else(|error| error.to_string(), |()| "it was asked to".to_owned());
    Err(Failure::failed(format!(
        "the {program} (process {}) did not end within {} s ({why})",
        process.pid(),
        limit.as_secs()
    ))
    .fix(format!("see its log, then: kill -9 {}", process.pid())))
}
