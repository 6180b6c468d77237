//! Sessions of a deployment.

use std::path::Path;

use serde_json::{Value, json};

use super::Deployment;
use crate::client::Client;
use crate::poll;

impl Deployment {
    /// Starts a session on a project and returns its id.
    ///
    /// # Panics
    /// When it is not accepted.
    #[must_use]
    pub fn start_session(&self, client: &Client, project: &Path) -> String {
        let answer = client.post("/api/sessions", &session_request(project));
        assert!(matches!(answer.status, 200..=202), "{}", answer.text());
        let id = answer.json()["id"].as_str().map(str::to_owned);
        id.expect("an accepted session has an id")
    }

    /// Waits until a session is in one of these states and returns it.
    ///
    /// # Panics
    /// When it is not in time, or ends in another state.
    #[must_use]
    pub fn session_in(&self, client: &Client, id: &str, states: &[&str]) -> Value {
        let path = format!("/api/sessions/{id}");
        poll::until(&format!("session {id} is {states:?}"), || {
            let view = client.get(&path).with_status(200).json();
            let state = view["state"].as_str().unwrap_or_default().to_owned();
            if states.contains(&state.as_str()) {
                return Some(view);
            }
            let over = ["completed", "failed", "stopped", "expired"].contains(&state.as_str());
            assert!(
                !over,
                "session ended: {view:#}\n{}",
                self.log("loki-runtime")
            );
            None
        })
    }
}

/// Returns the body that starts a session on a project with the sample's PRD.
#[must_use]
pub fn session_request(project: &Path) -> Value {
    json!({
        "prd": {"name": "my-app.md", "text": "Make total.sh print the sum of its arguments."},
        "project": project,
    })
}
