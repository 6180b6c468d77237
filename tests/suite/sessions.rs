//! Sessions as callers keep them: started once however often that is asked for, removed when they have
//! ended, kept as long as the settings say, and told in the words that dashboards know.

use std::process::Command;

use serde_json::{Value, json};
use tests::agent::Agent;
use tests::client::Client;
use tests::command;
use tests::deployment::{Builder, Deployment, session_request};
use tests::poll;

fn quick() -> Builder {
    Deployment::builder().with_provider("claude", Agent::doing("echo x >>work.txt"))
}

fn ended(deployment: &Deployment, client: &Client, project: &str) -> String {
    let id = deployment.start_session(client, deployment.project(project).path());
    let _view = deployment.session_in(client, &id, &["completed"]);
    id
}

fn folder(deployment: &Deployment, id: &str) -> std::path::PathBuf {
    deployment.home().runtime().join("sessions").join(id)
}

#[test]
fn a_start_that_is_asked_for_again_starts_nothing_more() {
    let deployment = quick().with_tokens().start();
    let [client, other] = ["one", "two"].map(|name| {
        let token = deployment.token(name, &["--role", "operator"]);
        deployment.client().with_token(&token.raw)
    });
    let project = deployment.project("app");
    let start = |client: &Client, keys: &[&str], body: &Value| {
        let mut request = client.request("POST", "/api/sessions");
        for key in keys {
            request = request.field("Idempotency-Key", key);
        }
        let body = body.to_string();
        let request = request.field("Content-Type", "application/json");
        request.body(body.as_bytes()).send()
    };
    let body = session_request(project.path());
    for keys in [&[""][..], &["a b"], &["a", "b"]] {
        let _refused = start(&client, keys, &body).with_status(400);
    }
    let long = "k".repeat(201);
    let _refused = start(&client, &[&long], &body).with_status(400);

    let first = start(&client, &["key-1"], &body).with_status(201).json();
    let again = start(&client, &["key-1"], &body);
    assert!(matches!(again.status, 200 | 201), "{}", again.text());
    assert_eq!(again.json()["id"], first["id"]);
    let mut changed = body.clone();
    changed["prd"]["text"] = json!("Something else.");
    let problem = start(&client, &["key-1"], &changed);
    assert!(matches!(problem.status, 409 | 422), "{}", problem.text());
    let theirs = start(&other, &["key-1"], &body).with_status(201).json();
    assert_ne!(theirs["id"], first["id"], "a key is its caller's own");
    // Many at once are one.
    let ids: Vec<String> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| start(&client, &["key-2"], &body).json()["id"].clone()))
            .collect();
        let ids = starts.into_iter().map(|start| start.join().unwrap());
        ids.filter_map(|id| id.as_str().map(str::to_owned))
            .collect()
    });
    assert!(!ids.is_empty());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let listed = client.get("/api/sessions").with_status(200).json();
    assert_eq!(
        listed["sessions"].as_array().unwrap().len(),
        3,
        "{listed:#}"
    );
}

#[test]
fn only_an_ended_session_is_removed_and_what_it_handed_over_stays() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::never_ending())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let path = format!("/api/sessions/{id}");
    let _unknown = client
        .request("DELETE", "/api/sessions/sess-000000000000")
        .send()
        .with_status(404);
    let _live = client.request("DELETE", &path).send().with_status(409);
    poll::until("the agent works", || {
        folder(&deployment, &id)
            .join("workspace/started.txt")
            .exists()
            .then_some(())
    });
    let _stopped = deployment.loki(&["stop", &id]).ended_with(0);
    let view = deployment.session_in(&client, &id, &["stopped"]);
    let branch = view["branch"].as_str().unwrap();
    let _removed = client.request("DELETE", &path).send().with_status(204);
    let _gone = client.get(&path).with_status(404);
    let _gone = client.request("DELETE", &path).send().with_status(404);
    assert!(!folder(&deployment, &id).exists());
    assert!(project.branches().contains(&branch.to_owned()));
    let _record = deployment.audit().until("the removal", |record| {
        record["action"] == "session.remove" && record["phase"] == "outcome"
    });
}

/// Changes the runtime's store from outside, while no runtime is there.
fn in_store(deployment: &Deployment, program: &str) {
    let database = deployment.home().runtime().join("runtime.db");
    let text =
        format!("import sqlite3, sys\nd = sqlite3.connect(sys.argv[1])\n{program}\nd.commit()\n");
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", &text]).arg(database);
    let _done = command::run(&mut python).ended_with(0);
}

#[test]
fn sessions_are_kept_as_long_as_the_settings_say() {
    let mut deployment = quick()
        .with_runtime_settings("sessions.keep_days = 7\n")
        .start();
    let client = deployment.client();
    let old = ended(&deployment, &client, "old");
    let young = ended(&deployment, &client, "young");
    deployment.stop_runtime();
    in_store(
        &deployment,
        &format!(
            "d.execute(\"UPDATE session SET ended_at = '2020-01-01T00:00:00.000Z' WHERE id = '{old}'\")"
        ),
    );
    deployment.start_runtime();
    poll::until("the old session is removed", || {
        (client.get(&format!("/api/sessions/{old}")).status == 404).then_some(())
    });
    assert!(!folder(&deployment, &old).exists());
    let _kept = client
        .get(&format!("/api/sessions/{young}"))
        .with_status(200);
    assert!(folder(&deployment, &young).exists());
}

#[test]
fn pruning_removes_more_ended_sessions_than_one_answer_lists() {
    let mut deployment = quick().start();
    let client = deployment.client();
    let _ended = ended(&deployment, &client, "app");
    deployment.stop_runtime();
    in_store(
        &deployment,
        "d.row_factory = sqlite3.Row\n\
         row = dict(d.execute('SELECT * FROM session').fetchone())\n\
         del row['number']\n\
         names = ', '.join(row)\n\
         for n in range(250):\n\
         \x20   row['id'] = 'sess-%012d' % n\n\
         \x20   d.execute('INSERT INTO session (%s) VALUES (%s)' % (names, ', '.join('?' * len(row))), list(row.values()))",
    );
    deployment.start_runtime();
    let listed = client.get("/api/sessions").with_status(200).json();
    let shown = listed["sessions"].as_array().unwrap().len();
    assert!(shown < 251, "one answer is bounded: {shown}");
    let pruned = deployment.loki(&["sessions", "prune"]).ended_with(0);
    assert_eq!(pruned.output().matches(": removed").count(), 251);
    let listed = client.get("/api/sessions").with_status(200).json();
    assert_eq!(listed["sessions"], json!([]));
}

#[test]
fn the_status_has_the_fields_that_dashboards_read() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::never_ending())
        .with_variable("LOKI_AUTONOMY_MODE", "checkpoint")
        .start();
    let client = deployment.client();
    let status = || client.get("/api/status").with_status(200).json();
    let idle = status();
    let expected = json!({
        "status": "stopped", "version": idle["version"], "uptime_seconds": idle["uptime_seconds"],
        "active_sessions": 0, "running_agents": 0, "pending_tasks": 0, "database_connected": true,
        "phase": "", "iteration": 0, "mode": "checkpoint", "provider": "claude",
        "current_task": "", "sessions": [],
    });
    assert_eq!(idle, expected);
    assert!(idle["uptime_seconds"].as_f64().unwrap() > 0.0, "{idle}");
    let id = deployment.start_session(&client, deployment.project("app").path());
    let first = tests::approval::waiting(&deployment, &client, &id, "first_run");
    let waits = status();
    assert_eq!(waits["status"], "paused", "{waits:#}");
    assert_eq!(waits["phase"], "waiting_approval", "{waits:#}");
    assert_eq!(
        tests::approval::decide(&client, &first, "approve", &json!({})),
        200
    );
    let runs = poll::until("the agent is at work", || {
        let now = status();
        (now["running_agents"] == 1).then_some(now)
    });
    for (field, value) in [
        ("status", json!("running")),
        ("active_sessions", json!(1)),
        ("phase", json!("running")),
        ("iteration", json!(1)),
        ("mode", json!("checkpoint")),
        ("current_task", json!("my-app.md")),
    ] {
        assert_eq!(runs[field], value, "{field}: {runs:#}");
    }
    assert_eq!(runs["sessions"][0]["id"], json!(id));
}
