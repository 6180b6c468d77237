//! Probes: alive, ready, and the state of both processes.

use serde::Serialize;

use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::state::State;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    gateway: &'static str,
    runtime: &'static str,
    audit: &'static str,
    version: &'static str,
}

/// Answers 200 while the process lives.
pub(super) fn live() -> Result<Answer, Refusal> {
    Answer::json(200, &serde_json::json!({ "status": "ok" }))
}

/// Answers 200 while requests are accepted, else 503. A runtime that is away is `degraded`, for
/// token and audit operations go on.
pub(super) async fn ready(state: &State) -> Result<Answer, Refusal> {
    let health = look(state).await;
    let ready = health.gateway == "ok" && health.audit != "unavailable";
    Answer::json(if ready { 200 } else { 503 }, &health)
}

/// Answers 200 with the state of both processes.
pub(super) async fn both(state: &State) -> Result<Answer, Refusal> {
    Answer::json(200, &look(state).await)
}

async fn look(state: &State) -> Health {
    let gateway = if state.is_draining() {
        "stopping"
    } else {
        "ok"
    };
    let runtime = if state.runtime.is_reachable().await {
        "ok"
    } else {
        "away"
    };
    let audit = match (state.audit_enabled, state.audit.is_writable()) {
        (false, _) => "off",
        (true, true) => "ok",
        (true, false) => "unavailable",
    };
    let status = match (gateway, runtime, audit) {
        ("ok", "ok", "ok" | "off") => "ok",
        _ => "degraded",
    };
    Health {
        status,
        gateway,
        runtime,
        audit,
        version: env!("CARGO_PKG_VERSION"),
    }
}
