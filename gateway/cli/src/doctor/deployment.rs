//! Whether gateway and runtime answer.

use ::config::home::Home;
use gateway::tokens::acknowledge;

use super::Finding;
use crate::context::Context;
use crate::dashboard::deployment;

/// Checks what runs on this machine.
pub(super) fn check(context: &Context, home: &Home) -> Vec<Finding> {
    const START: &str = "loki dashboard start";
    let gateway = match deployment::endpoint(home) {
        Ok(Some(endpoint)) if deployment::gateway_answers(&endpoint) => {
            Finding::ok("gateway", format!("answers at {}", endpoint.url))
        }
        Ok(Some(endpoint)) => Finding::failed(
            "gateway",
            format!(
                "process {} does not answer at {}",
                endpoint.pid, endpoint.url
            ),
            "see ~/.loki/logs/gateway.log; loki dashboard stop, then start",
        ),
        Ok(None) => Finding::warning("gateway", "not running", START),
        Err(failure) => Finding::failed("gateway", failure.what(), "mend the endpoint file"),
    };
    let runtime = if deployment::runtime_answers(context, home) {
        Finding::ok("runtime", "accepts connections")
    } else {
        Finding::warning("runtime", "not running", START)
    };
    let following = match acknowledge::running(home) {
        Ok(running) => Finding::ok("revocations", format!("{} gateways follow", running.len())),
        Err(error) => Finding::failed("revocations", error.to_string(), "mend the folder it names"),
    };
    vec![gateway, runtime, following]
}
