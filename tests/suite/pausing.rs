//! A paused session stands still, whole; resumed, it goes on where it was.

use std::fs;

use serde_json::json;
use tests::agent::Agent;
use tests::approval::{state_of, waiting};
use tests::deployment::Deployment;
use tests::poll;
use tests::process;

/// Counts in a file of the workspace, from a grandchild that has left its parents.
const COUNTING: &str = "(setsid sh -c 'n=0; while :; do n=$((n+1)); echo $n >ticks; done' &)\n\
                        while :; do sleep 1; done";

fn counting() -> Deployment {
    Deployment::builder()
        .with_provider("claude", Agent::doing(COUNTING))
        .start()
}

/// Returns what the agent has counted to.
fn ticks(deployment: &Deployment, id: &str) -> Option<u64> {
    let workspace = deployment.home().runtime().join("sessions").join(id);
    let text = fs::read_to_string(workspace.join("workspace/ticks")).ok()?;
    text.trim().parse().ok()
}

/// Waits until the agent counts, that is, its number rises.
fn wait_until_counting(deployment: &Deployment, id: &str) {
    let first = poll::until("the agent counts", || ticks(deployment, id));
    poll::until("the agent goes on counting", || {
        ticks(deployment, id).filter(|now| *now > first)
    });
}

/// Returns the states of the processes that count or sleep for the agent, supervisors left out.
fn states(deployment: &Deployment) -> Vec<String> {
    let script = deployment.agents().display().to_string();
    process::around(deployment.root())
        .into_iter()
        .filter(|(_, line)| !line.contains("loki-jail"))
        .filter(|(_, line)| line.contains(&script) || line.contains("ticks"))
        .filter_map(|(id, _)| fs::read_to_string(format!("/proc/{id}/stat")).ok())
        .filter_map(|stat| Some(stat.rsplit_once(") ")?.1.chars().next()?.to_string()))
        .collect()
}

#[test]
fn what_cannot_be_paused_or_resumed_is_refused() {
    let deployment = counting();
    let client = deployment.client();
    for action in ["pause", "resume"] {
        let nobody = format!("/api/sessions/sess-000000000000/{action}");
        let _unknown = client.request("POST", &nobody).send().with_status(404);
        let none = format!("/api/control/{action}");
        let _none = client.request("POST", &none).send().with_status(409);
        let finished = deployment.loki(&[action]);
        assert_ne!(finished.code, 0, "{finished}");
    }
    let id = deployment.start_session(&client, deployment.project("app").path());
    wait_until_counting(&deployment, &id);
    let resume = format!("/api/sessions/{id}/resume");
    let _not_paused = client.request("POST", &resume).send().with_status(409);
    let _stopped = deployment.loki(&["stop", &id]).ended_with(0);
    for action in ["pause", "resume"] {
        let over = format!("/api/sessions/{id}/{action}");
        let answer = client.request("POST", &over).send().with_status(409);
        assert!(answer.text().contains("stopped"), "{}", answer.text());
    }
}

#[test]
fn a_paused_session_stands_still_and_a_resumed_one_goes_on() {
    let deployment = counting();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    wait_until_counting(&deployment, &id);
    let pause = format!("/api/sessions/{id}/pause");
    let answer = client.request("POST", &pause).send().with_status(200);
    assert_eq!(answer.json()["state"], "paused", "{}", answer.text());
    let halted = states(&deployment);
    assert!(halted.len() >= 2, "the grandchild is there: {halted:?}");
    assert!(halted.iter().all(|state| state == "T"), "{halted:?}");
    let stood = ticks(&deployment, &id);
    let status = client.get("/api/status").with_status(200).json();
    assert_eq!(status["status"], "paused", "{status:#}");
    let metrics = client.get("/metrics").with_status(200);
    assert!(
        metrics.text().contains("\nloki_session_status 2"),
        "{}",
        metrics.text()
    );
    let again = client.request("POST", &pause).send().with_status(200);
    assert_eq!(again.json()["state"], "paused", "pausing twice is no more");
    assert_eq!(ticks(&deployment, &id), stood, "nothing of it ran");

    let finished = deployment.loki(&["resume"]).ended_with(0);
    assert!(finished.text().contains("running"), "{finished}");
    poll::until("the agent goes on", || {
        (ticks(&deployment, &id) > stood).then_some(())
    });
    let finished = deployment.loki(&["pause"]).ended_with(0);
    assert!(finished.text().contains("paused"), "{finished}");
    let finished = deployment.loki(&["stop"]).ended_with(0);
    assert!(finished.text().contains("stopped"), "{finished}");
    assert_eq!(states(&deployment), Vec::<String>::new());
}

#[test]
fn pausing_without_an_id_needs_exactly_one_candidate() {
    let deployment = counting();
    let client = deployment.client();
    let first = deployment.start_session(&client, deployment.project("one").path());
    let second = deployment.start_session(&client, deployment.project("two").path());
    for id in [&first, &second] {
        wait_until_counting(&deployment, id);
    }
    let answer = client.request("POST", "/api/control/pause").send();
    let mut candidates = answer.with_status(409).problem().candidates;
    candidates.sort();
    let mut expected = [first.clone(), second.clone()];
    expected.sort();
    assert_eq!(candidates, expected);
    let finished = deployment.loki(&["pause"]).ended_with(2);
    assert!(finished.text().contains(&first), "{finished}");
    let _one = deployment.loki(&["pause", &first]).ended_with(0);
    let _other = deployment.loki(&["pause"]).ended_with(0);
    let finished = deployment.loki(&["resume"]).ended_with(2);
    assert!(finished.text().contains(&second), "{finished}");
}

#[test]
fn pausing_a_session_is_recorded() {
    let deployment = counting();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    wait_until_counting(&deployment, &id);
    let _paused = deployment.loki(&["pause"]).ended_with(0);
    let _resumed = deployment.loki(&["resume"]).ended_with(0);
    for action in ["session.pause", "session.resume"] {
        let records = deployment.audit().of_action(action);
        let outcome = records.iter().find(|record| record["phase"] == "outcome");
        let outcome = outcome.unwrap_or_else(|| panic!("no outcome of {action}: {records:#?}"));
        assert_eq!(outcome["resource"], format!("session:{id}"), "{outcome:#}");
    }
    let events = client.get(&format!("/api/sessions/{id}/events?limit=1000"));
    let text = events.text();
    assert!(text.contains("\"to\":\"paused\""), "{text}");
}

#[test]
fn a_resume_carries_what_was_looked_at() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::doing("echo written >made.txt"))
        .with_variable("LOKI_STAGED_AUTONOMY", "true")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    let resume = format!("/api/sessions/{id}/resume");
    let _unsaid = client.request("POST", &resume).send().with_status(409);
    let _unsaid = client
        .request("POST", "/api/control/resume")
        .send()
        .with_status(409);
    let mut looked_at = json!({"approval": first["id"], "digest": "0".repeat(64)});
    let _other = client.post(&resume, &looked_at).with_status(409);
    looked_at["approval"] = json!("appr-000000000000");
    looked_at["digest"] = first["digest"].clone();
    let _other = client.post(&resume, &looked_at).with_status(409);
    let _other = deployment
        .loki(&["resume", "--digest", "000000000000"])
        .ended_with(3);
    assert_eq!(state_of(&client, &first), "requested");
    let digest = &first["digest"].as_str().unwrap()[..12];
    let said = deployment
        .loki(&["resume", "--digest", digest])
        .ended_with(0);
    assert!(said.text().contains("approved"), "{said}");
    let _second = waiting(&deployment, &client, &id, "hand_over");
    assert_eq!(state_of(&client, &first), "consumed");
}
