//! Programs that speak a dialect are understood; what they do wrong is told, and never believed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tests::agent::Agent;
use tests::client::Client;
use tests::deployment::{Builder, Deployment};

/// A program that writes these events, one a line, and ends with a code.
fn speaking(events: &[Value], code: u8) -> Agent {
    let lines: String = events
        .iter()
        .map(|event| format!("cat <<'EVENT'\n{event}\nEVENT\n"))
        .collect();
    Agent::doing(&format!("echo work >>work.txt\n{lines}exit {code}"))
}

fn success() -> Value {
    json!({"type": "result", "subtype": "success", "is_error": false, "num_turns": 2,
        "total_cost_usd": 0.25, "result": "Done.", "usage": {"input_tokens": 10,
        "cache_creation_input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 7}})
}

fn claude(agent: Agent) -> Builder {
    Deployment::builder()
        .with_dialect("claude", agent, "claude")
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_MAX_ITERATIONS", "1")
        .with_runtime_settings("sessions.retry_pause = \"10ms\"\n")
}

fn events(client: &Client, id: &str) -> Vec<Value> {
    let page = client.get(&format!("/api/sessions/{id}/events?limit=1000"));
    page.json()["events"].as_array().unwrap().clone()
}

/// Runs a session and returns it with its events.
fn run(builder: Builder, end: &str) -> (Value, Vec<Value>) {
    let deployment = builder.start();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let view = deployment.session_in(&client, &id, &[end]);
    (view, events(&client, &id))
}

#[test]
fn a_program_that_does_not_say_that_it_is_done_is_not_done() {
    let check = |agent: Agent, reason: &str| {
        let (view, _) = run(claude(agent), "failed");
        let why = view["reason"].as_str().unwrap_or_default();
        assert!(why.contains(reason), "{why}");
    };
    check(speaking(&[], 0), "without saying that it is done");
    check(
        Agent::doing("echo '{\"type\":\"result\",'\necho not json at all"),
        "without saying that it is done",
    );
    let crash = json!({"type": "assistant", "message": {"content": []}});
    check(speaking(&[crash], 139), "ended with 139");
    let turns = json!({"type": "result", "subtype": "error_max_turns", "is_error": true});
    check(speaking(&[turns], 0), "error_max_turns");
}

#[test]
fn a_program_that_hangs_is_ended() {
    let agent = Agent::doing("while :; do sleep 1; done");
    let builder = claude(agent).with_runtime_settings("sessions.iteration_timeout = \"500ms\"\n");
    let (view, _) = run(builder, "failed");
    let why = view["reason"].as_str().unwrap_or_default();
    assert!(why.contains("ran longer"), "{why}");
}

#[test]
fn a_huge_line_is_left_out_and_the_rest_is_understood() {
    let agent = Agent::doing(&format!(
        "echo work >work.txt\nhead -c 3000000 /dev/zero | tr '\\0' x\necho\necho '{}'",
        success()
    ));
    let (view, events) = run(claude(agent), "completed");
    assert_eq!(view["cost_usd"], 0.25, "{view:#}");
    let said = events.iter().any(|event| {
        let text = event["data"]["text"].as_str().unwrap_or_default();
        text.contains("bytes was left out")
    });
    assert!(said, "{events:#?}");
}

#[test]
fn a_rate_limit_is_waited_out_within_the_iteration() {
    let limited = json!({"type": "result", "subtype": "success", "is_error": true,
        "result": "API Error: 429 rate_limit_error"});
    let agent = Agent::doing(&format!(
        "if [ -f tried ]; then echo '{}'; else touch tried; echo '{limited}'; exit 1; fi",
        success()
    ));
    let (view, events) = run(claude(agent), "completed");
    assert_eq!(view["iteration"], 1, "{view:#}");
    let retries = events.iter().filter(|event| event["type"] == "retry");
    assert_eq!(retries.count(), 1, "{events:#?}");
}

#[test]
fn a_program_of_another_version_is_refused_with_the_fix() {
    let deployment = Deployment::builder().start();
    let folder = deployment.agents().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let project = deployment.project("app");
    let client = deployment.client();
    let check = |said: &str, expected: &str| {
        let path = folder.join("claude");
        fs::write(&path, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let id = deployment.start_session(&client, project.path());
        let view = deployment.session_in(&client, &id, &["failed"]);
        let why = view["reason"].as_str().unwrap_or_default();
        assert!(
            why.contains(expected) && why.contains("npm install"),
            "{why}"
        );
    };
    check("0.2.9 (Claude Code)", "0.2.9");
    check("something else", "cannot tell the version");
}

#[test]
fn cost_tokens_and_calls_are_counted_and_events_keep_what_was_said() {
    let script = [
        json!({"type": "system", "subtype": "init", "session_id": "s", "model": "m"}),
        json!({"type": "assistant", "message": {"content": [
            {"type": "text", "text": "I write."},
            {"type": "tool_use", "id": "t1", "name": "Write", "input": {"file_path": "a"}}]}}),
        success(),
    ];
    let deployment = claude(speaking(&script, 0)).start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    assert_eq!(view["cost_usd"], 0.25, "{view:#}");
    let usage = &view["usage"];
    assert_eq!(usage["input_tokens"], 18, "{usage}");
    assert_eq!(usage["output_tokens"], 7, "{usage}");
    assert_eq!(usage["tool_calls"], 1, "{usage}");
    let all = events(&client, &id);
    let call = all
        .iter()
        .find(|event| event["data"]["kind"] == "tool_call")
        .unwrap_or_else(|| panic!("{all:#?}"));
    assert_eq!(call["data"]["tool"], "Write");
    let kept = all
        .iter()
        .any(|event| event["data"]["raw"]["type"] == "assistant");
    assert!(kept, "the raw event is there: {all:#?}");
    let record = fs::read_to_string(project.path().join(".loki/logs/agent-audit.jsonl")).unwrap();
    assert!(record.contains("\"action\":\"tool_call\""), "{record}");
    let cost = client.get("/api/cost").with_status(200).json();
    assert_eq!(cost["estimated_cost_usd"], 0.25, "{cost:#}");
    let metrics = client.get("/metrics").with_status(200);
    assert!(
        metrics.text().contains("\nloki_cost_usd 0.25"),
        "{}",
        metrics.text()
    );
}

#[test]
fn an_unknown_cost_is_null_and_a_priced_one_is_computed() {
    let done = json!({"type": "turn.completed", "usage": {"input_tokens": 1_000_000,
        "cached_input_tokens": 0, "output_tokens": 500_000}});
    let agent = speaking(&[done], 0);
    let (view, _) = run(
        Deployment::builder().with_dialect("codex", agent.clone(), "codex"),
        "completed",
    );
    assert_eq!(view["cost_usd"], Value::Null, "{view:#}");
    assert_eq!(view["usage"]["input_tokens"], 1_000_000, "{view:#}");
    let priced = "dialect = \"codex\"\nusd_per_million_input = \"2\"\n\
                  usd_per_million_output = \"8\"\n";
    let (view, _) = run(
        Deployment::builder().with_provider_lines("codex", agent, priced),
        "completed",
    );
    assert_eq!(view["cost_usd"], 6.0, "{view:#}");
}
