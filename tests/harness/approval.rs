//! What waits for a person, and the decision about it.

use serde_json::Value;

use crate::client::Client;
use crate::deployment::Deployment;
use crate::poll;

/// Waits until a session waits at a gate and returns what is asked.
///
/// # Panics
/// When it ends instead.
#[must_use]
pub fn waiting(deployment: &Deployment, client: &Client, id: &str, gate: &str) -> Value {
    let path = format!("/api/approvals?session={id}");
    poll::until(&format!("session {id} waits at {gate}"), || {
        let view = client
            .get(&format!("/api/sessions/{id}"))
            .with_status(200)
            .json();
        let over = ["completed", "failed", "stopped"]
            .iter()
            .any(|end| view["state"] == *end);
        assert!(
            !over,
            "session ended: {view:#}\n{}",
            deployment.log("loki-runtime")
        );
        let listed = client.get(&path).with_status(200).json();
        let approval = listed["approvals"].get(0)?.clone();
        (approval["gate"] == gate && view["state"] == "waiting_approval").then_some(approval)
    })
}

/// Decides and returns the status.
///
/// # Panics
/// When nobody answers.
#[must_use]
pub fn decide(client: &Client, approval: &Value, word: &str, body: &Value) -> u16 {
    let id = approval["id"].as_str().unwrap();
    client
        .post(&format!("/api/approvals/{id}/{word}"), body)
        .status
}

/// Returns where an approval stands.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn state_of(client: &Client, approval: &Value) -> String {
    let id = approval["id"].as_str().unwrap();
    let view = client
        .get(&format!("/api/approvals/{id}"))
        .with_status(200)
        .json();
    view["state"].as_str().unwrap().to_owned()
}
