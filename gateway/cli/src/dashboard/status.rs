//! `loki dashboard status`: what runs on this machine, and how to reach it.

use serde::Serialize;

use super::deployment;
use super::program::Program;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// Tells what runs on this machine; exit code 4 when the gateway does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki dashboard status --json")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    gateway: Gateway,
    runtime: Runtime,
}

#[derive(Serialize)]
struct Gateway {
    running: bool,
    pid: Option<u32>,
    url: Option<String>,
    started_at: Option<String>,
    tokens_required: Option<bool>,
    certificate_sha256: Option<String>,
}

#[derive(Serialize)]
struct Runtime {
    running: bool,
    pid: Option<u32>,
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let home = context.offline()?.home;
    let endpoint = deployment::endpoint(&home)?.filter(deployment::gateway_answers);
    if let Some(endpoint) = &endpoint {
        deployment::warn_of_other_variables(context, endpoint);
    }
    let endpoint = endpoint.as_ref();
    let status = Status {
        gateway: Gateway {
            running: endpoint.is_some(),
            pid: endpoint.map(|found| found.pid),
            url: endpoint.map(|found| found.url.clone()),
            started_at: endpoint.map(|found| found.started_at.clone()),
            tokens_required: endpoint.map(|found| found.tokens_required),
            certificate_sha256: endpoint.and_then(|found| found.certificate_sha256.clone()),
        },
        runtime: Runtime {
            running: deployment::runtime_answers(context, &home),
            pid: Program::Runtime
                .running(&home)?
                .map(|process| process.pid()),
        },
    };
    if arguments.json {
        output::json(&status)?;
    } else {
        print(&status)?;
    }
    if status.gateway.running {
        return Ok(());
    }
    Err(Failure::said(Exit::Unreachable))
}

fn print(status: &Status) -> Result<(), Failure> {
    let state = |running: bool, pid: Option<u32>| match (running, pid) {
        (true, Some(pid)) => format!("running (process {pid})"),
        (true, None) => "running".to_owned(),
        (false, Some(pid)) => format!("does not answer (process {pid})"),
        (false, None) => "not running".to_owned(),
    };
    let gateway = &status.gateway;
    output::line(&format!("Gateway: {}", state(gateway.running, gateway.pid)))?;
    output::line(&format!(
        "Runtime: {}",
        state(status.runtime.running, status.runtime.pid)
    ))?;
    if let (Some(url), Some(tokens)) = (&gateway.url, gateway.tokens_required) {
        output::line(&format!("URL:     {url}"))?;
        output::line(&format!(
            "Tokens:  {}",
            if tokens { "required" } else { "not required" }
        ))?;
    }
    Ok(())
}
