//! Whether gateway and runtime answer.

use ::config::home::Home;
use gateway::tokens::acknowledge;

use super::Finding;
use super::place::Place;
use crate::context::Context;
use crate::dashboard::deployment;

/// Checks what runs here, and whether the gateway's door to the runtime opens.
pub(super) fn check(context: &Context, home: &Home, place: Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Where one process is alone, no command of ours starts the other.
    let start = if place.gateway && place.runtime {
        "loki dashboard start"
    } else {
        "start it as the service or container that it is"
    };
    if place.gateway {
        findings.push(gateway(home, start));
    }
    findings.push(if deployment::runtime_answers(context, home) {
        Finding::ok("runtime", "accepts connections")
    } else {
        Finding::warning("runtime", "not running", start)
    });
    if place.gateway {
        findings.push(followers(home));
    }
    findings
}

fn gateway(home: &Home, start: &str) -> Finding {
    match deployment::endpoint(home) {
        Ok(Some(endpoint)) if deployment::gateway_answers(&endpoint) => {
            Finding::ok("gateway", format!("answers at {}", endpoint.url))
        }
        Ok(Some(endpoint)) => Finding::failed(
            "gateway",
            format!(
                "process {} does not answer at {}",
                endpoint.pid, endpoint.url
            ),
            "see its log (~/.loki/logs/gateway.log, or the service's); stop it, then start it",
        ),
        Ok(None) => Finding::warning("gateway", "not running", start),
        Err(failure) => Finding::failed("gateway", failure.what(), "mend the endpoint file"),
    }
}

fn followers(home: &Home) -> Finding {
    match acknowledge::running(home) {
        Ok(running) => Finding::ok("revocations", format!("{} gateways follow", running.len())),
        Err(error) => Finding::failed("revocations", error.to_string(), "mend the folder it names"),
    }
}
