//! A runtime whose disk is full: nothing is acknowledged that could not be written, and what runs can still be
//! stopped.

use tests::agent::Agent;
use tests::deployment::{Deployment, session_request};
use tests::poll;
use tests::process;

/// Processes of agents.
fn agents(deployment: &Deployment) -> usize {
    let script = deployment.agents().display().to_string();
    process::around(deployment.root())
        .into_iter()
        .filter(|(_, line)| line.contains(&script) && !line.contains("loki-jail"))
        .count()
}

#[test]
fn what_runs_can_be_stopped_and_nothing_new_is_acknowledged() {
    let mut deployment = Deployment::builder()
        .with_provider("claude", Agent::never_ending())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .start();
    let client = deployment.client();
    let (project, other) = (deployment.project("app"), deployment.project("other"));
    let id = deployment.start_session(&client, project.path());
    let _running = deployment.session_in(&client, &id, &["running"]);
    poll::until("the agent works", || {
        (agents(&deployment) > 0).then_some(())
    });
    process::let_write(deployment.runtime_id(), false);
    let refused = client.post("/api/sessions", &session_request(other.path()));
    assert!(refused.status >= 500, "{}", refused.text());
    let task = serde_json::json!({"title": "Never kept."});
    let refused = client.post("/api/tasks", &task);
    assert!(refused.status >= 500, "{}", refused.text());
    let stop = format!("/api/sessions/{id}/stop");
    let stopped = client.request("POST", &stop).send();
    poll::until("the agent is gone", || {
        (agents(&deployment) == 0).then_some(())
    });
    if stopped.status < 300 {
        assert_eq!(stopped.json()["state"], "stopped", "{}", stopped.text());
    } else {
        assert!(stopped.problem().fix.is_some(), "{}", stopped.text());
    }
    process::let_write(deployment.runtime_id(), true);
    assert_eq!(deployment.stop_runtime(), Some(0));
    deployment.start_runtime();
    // An end that could not be written is not known to the next run, which can be asked again.
    let _again = client.request("POST", &stop).send();
    let view = deployment.session_in(&client, &id, &["stopped", "failed"]);
    assert!(view["reason"].is_string(), "{view:#}");
    poll::until("nothing runs", || (agents(&deployment) == 0).then_some(()));
    let listed = client.get("/api/sessions").with_status(200).json();
    assert_eq!(
        listed["sessions"].as_array().unwrap().len(),
        1,
        "{listed:#}"
    );
    let tasks = client.get("/api/tasks").with_status(200).json();
    assert_eq!(tasks, serde_json::json!([]));
    project.assert_sound();
}
