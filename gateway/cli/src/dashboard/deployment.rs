//! The deployment on this machine as it stands: endpoint file, processes, readiness.

use std::os::unix::net::UnixStream;

use ::config::contract::endpoint::Endpoint;
use ::config::home::Home;
use ::config::load::variables::{KNOWN, Standing};

use super::program::Program;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::process::{Identity, Process};
use crate::{output, private_file};

/// Returns what the running gateway announced; none if none did, or it was killed.
pub(crate) fn endpoint(home: &Home) -> Result<Option<Endpoint>, Failure> {
    let path = home.endpoint();
    let Some(text) = private_file::read(&path)? else {
        return Ok(None);
    };
    let endpoint: Endpoint = serde_json::from_str(&text).map_err(|error| {
        Failure::failed(format!("{} is no endpoint file: {error}", path.display()))
            .fix("start the gateway that belongs to this command line")
    })?;
    Ok(lives(endpoint.pid).then_some(endpoint))
}

/// Returns whether a process of this user has the number; another user's would be a stranger that
/// must not be sent a token.
fn lives(pid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ours = rustix::process::geteuid().as_raw();
    let owner = std::fs::metadata(format!("/proc/{pid}")).map(|process| process.uid());
    owner.is_ok_and(|owner| owner == ours)
        && Identity::of(pid).is_some_and(|identity| Process::open(&identity).is_some())
}

/// Returns whether the runtime accepts connections.
pub(crate) fn runtime_answers(context: &Context, home: &Home) -> bool {
    let socket = context
        .runtime_settings()
        .map_or_else(|_| home.runtime_socket(), |loaded| loaded.settings.socket);
    UnixStream::connect(socket).is_ok()
}

/// Returns whether the gateway accepts requests.
pub(crate) fn gateway_answers(endpoint: &Endpoint) -> bool {
    Client::local(endpoint, None).is_ok_and(|client| client.is_ready())
}

/// Warns by name when daemon variables here differ from those of the running gateway.
pub(crate) fn warn_of_other_variables(context: &Context, endpoint: &Endpoint) {
    let names: Vec<&str> = KNOWN
        .iter()
        .filter(|(_, standing)| *standing == Standing::Daemon)
        .map(|(name, _)| *name)
        .filter(|name| {
            context.raw_variable(name) != endpoint.variables.get(*name).map(String::as_str)
        })
        .collect();
    if !names.is_empty() {
        output::warn(&format!(
            "the running gateway was started with other values of {}; to apply yours: loki \
             dashboard stop, then loki dashboard start",
            names.join(", ")
        ));
    }
}

/// Returns both processes that this command line started, if they still run.
pub(super) fn running(home: &Home) -> Result<[(Program, Option<Process>); 2], Failure> {
    Ok([
        (Program::Gateway, Program::Gateway.running(home)?),
        (Program::Runtime, Program::Runtime.running(home)?),
    ])
}
