//! The audit trail tells who did what from where, for everything that was asked.

use std::fs;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tests::agent::Agent;
use tests::deployment::Deployment;
use tests::poll;
use tests::process;

#[test]
fn changed_settings_are_recorded_at_the_next_start() {
    let mut deployment = Deployment::builder().with_tokens().start();
    let changes = |deployment: &Deployment| deployment.audit().of_action("config.change");
    assert_eq!(changes(&deployment).len(), 1);
    let _same = deployment.stop_gateway();
    deployment.start_gateway();
    assert_eq!(changes(&deployment).len(), 1, "nothing has changed");
    let _other = deployment.stop_gateway();
    deployment.write_settings("gateway.toml", "[limits]\nheader_count_max = 50\n");
    deployment.start_gateway();
    let changes = changes(&deployment);
    assert_eq!(changes.len(), 2);
    assert_eq!(
        changes[1]["details"],
        json!({ "changed": "limits.header_count_max" })
    );
    assert_eq!(changes[1]["resource"], "config:gateway");
}

#[test]
fn token_commands_are_recorded_with_who_and_what() {
    let deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("ci-bot", &["--role", "viewer"]);
    let _done = deployment
        .loki(&["enterprise", "token", "revoke", "ci-bot"])
        .ended_with(0);
    for action in ["token.generate", "token.revoke"] {
        let record = deployment
            .audit()
            .until(action, |record| record["action"] == action);
        assert_eq!(
            record["resource"],
            format!("token:{}", token.id),
            "{record}"
        );
        assert!(
            record["user"].as_str().is_some_and(|user| !user.is_empty()),
            "{record}"
        );
        assert_eq!(record["details"]["name"], "ci-bot", "{record}");
        assert!(!record.to_string().contains(&token.raw[5..]), "{record}");
        assert_recent(&record);
    }
}

#[test]
fn starting_a_session_is_recorded_as_documented() {
    let deployment = Deployment::builder()
        .with_tokens()
        .with_provider("claude", Agent::repairing())
        .start();
    let token = deployment.token("ci-bot", &["--role", "operator"]);
    let client = deployment.client().with_token(&token.raw);
    let id = deployment.start_session(&client, deployment.project("app").path());
    let record = deployment.audit().until("the start", |record| {
        record["action"] == "session.start" && record["phase"] == "outcome"
    });
    assert_eq!(record["user"], "token:ci-bot");
    assert_eq!(record["resource"], format!("session:{id}"));
    assert_eq!(
        record["details"],
        json!({"prd": "my-app.md", "provider": "claude"})
    );
    assert_eq!(record["ip"], "127.0.0.1");
    let timestamp = record["timestamp"].as_str().unwrap();
    assert_eq!(timestamp.len(), "2026-02-02T12:00:00Z".len(), "{timestamp}");
    assert!(timestamp.ends_with('Z'), "{timestamp}");
    assert_eq!(record["token_id"], token.id);
    assert_eq!(record["auth_method"], "token");
    assert_eq!(record["scope"], "control");
    assert_recent(&record);
    let line = raw_lines(&deployment)
        .into_iter()
        .find(|line| line.contains("session.start") && line.contains("outcome"))
        .unwrap();
    let places: Vec<usize> = ["timestamp", "action", "user", "resource", "details", "ip"]
        .iter()
        .map(|name| {
            line.find(&format!("\"{name}\":"))
                .unwrap_or_else(|| panic!("{name} in {line}"))
        })
        .collect();
    assert!(places.is_sorted(), "the documented order: {line}");
    assert!(line.starts_with("{\"timestamp\":"), "{line}");
    let _view = deployment.session_in(&client, &id, &["completed"]);
}

#[test]
fn stopping_a_session_is_recorded() {
    let deployment = Deployment::builder()
        .with_tokens()
        .with_provider("claude", Agent::never_ending())
        .start();
    let token = deployment.token("ci-bot", &["--role", "operator"]);
    let client = deployment.client().with_token(&token.raw);
    let id = deployment.start_session(&client, deployment.project("app").path());
    let _running = deployment.session_in(&client, &id, &["running"]);
    let stop = format!("/api/sessions/{id}/stop");
    let _stopped = client.request("POST", &stop).send();
    let record = deployment.audit().until("the stop", |record| {
        record["action"] == "session.stop" && record["phase"] == "outcome"
    });
    assert_eq!(record["user"], "token:ci-bot");
    assert_eq!(record["resource"], format!("session:{id}"));
    let _view = deployment.session_in(&client, &id, &["stopped"]);
}

#[test]
fn files_are_named_by_their_day() {
    let deployment = Deployment::builder().start();
    let before = Utc::now().date_naive();
    let _served = deployment.client().get("/api/status").with_status(200);
    let _record = deployment
        .audit()
        .until("the read", |record| record["action"] == "status.show");
    let after = Utc::now().date_naive();
    for file in deployment.audit().files() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let fits = [before, after].map(|day| format!("audit-{day}.jsonl"));
        assert!(fits.contains(&name.to_owned()), "{name}");
    }
}

#[test]
fn a_mutation_has_a_decision_an_outcome_and_an_end() {
    let deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("ci-bot", &["--role", "operator"]);
    let client = deployment.client().with_token(&token.raw);
    let answer = client.request("POST", "/api/control/stop").send();
    let before_poll = deployment.audit().of_action("session.stop");
    let durable: Vec<&Value> = before_poll.iter().map(|record| &record["phase"]).collect();
    for phase in ["decision", "outcome"] {
        assert!(
            durable.contains(&&json!(phase)),
            "durable before the answer: {before_poll:#?}"
        );
    }
    let records = poll::until("the end", || {
        let records = deployment.audit().of_action("session.stop");
        (records.len() == 3).then_some(records)
    });
    let phases: Vec<&str> = records
        .iter()
        .filter_map(|record| record["phase"].as_str())
        .collect();
    assert_eq!(phases, ["decision", "outcome", "end"]);
    let ids: Vec<&Value> = records.iter().map(|record| &record["request_id"]).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    assert_eq!(records[1]["status"], answer.status);
}

#[test]
fn refused_requests_are_recorded_with_the_true_reason() {
    let deployment = Deployment::builder().with_tokens().start();
    let nobody = deployment.client();
    let viewer = deployment.token("viewer", &["--role", "viewer"]);
    let gone = deployment.token("gone", &["--role", "viewer"]);
    let _done = deployment
        .loki(&["enterprise", "token", "revoke", "gone"])
        .ended_with(0);
    let refused_as = |answer: tests::client::Response| {
        let id = answer.problem().request_id.unwrap();
        deployment
            .audit()
            .until("the refusal", |record| record["request_id"] == id.as_str())
    };
    let record = refused_as(nobody.get("/api/status"));
    assert_eq!(
        (&record["action"], &record["status"]),
        (&json!("auth.failure"), &json!(401))
    );
    assert_eq!(record["ip"], "127.0.0.1");
    let record = refused_as(nobody.with_token(&gone.raw).get("/api/status"));
    assert_eq!(record["action"], "auth.failure");
    assert!(
        record.to_string().contains("revoked"),
        "the inside reason: {record}"
    );
    assert_eq!(record["token_id"], gone.id, "{record}");
    let client = nobody.with_token(&viewer.raw);
    let record = refused_as(client.request("POST", "/api/control/stop").send());
    assert_eq!(
        (&record["action"], &record["status"]),
        (&json!("access.denied"), &json!(403))
    );
    assert_eq!(record["user"], "token:viewer");
    assert!(record.to_string().contains("control"), "{record}");
}

#[test]
fn reads_are_recorded_and_probes_are_not() {
    let deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    for target in ["/health", "/health/live", "/health/ready", "/metrics", "/"] {
        let _served = client.get(target).with_status(200);
    }
    let _served = client.get("/api/status").with_status(200);
    let record = deployment
        .audit()
        .until("the read", |record| record["action"] == "status.show");
    assert_eq!(record["user"], "token:viewer");
    assert_eq!(record["status"], 200);
    for action in [
        "health.show",
        "health.live",
        "health.ready",
        "metrics.show",
        "landing.show",
    ] {
        assert_eq!(deployment.audit().of_action(action), Vec::<Value>::new());
    }
}

#[test]
fn callers_cannot_write_into_the_trail() {
    let deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    let answer = client
        .request("GET", "/api/status")
        .field("User-Agent", "agent\",\"user\":\"token:root\u{7}")
        .field("X-Forwarded-For", "203.0.113.9")
        .send();
    if answer.status == 200 {
        let record = deployment
            .audit()
            .until("the read", |record| record["action"] == "status.show");
        assert_eq!(record["user"], "token:viewer");
        assert_eq!(record["ip"], "127.0.0.1", "nobody is trusted to forward");
    }
    let long = "x".repeat(20_000);
    let _answer = client
        .request("GET", "/api/status")
        .field("User-Agent", &long)
        .send();
    for line in raw_lines(&deployment) {
        assert!(
            line.len() < 16 * 1024,
            "one line is bounded: {} bytes",
            line.len()
        );
        assert!(!line.chars().any(char::is_control), "{line}");
    }
}

#[test]
fn queries_answer_newest_first_and_filter() {
    let deployment = Deployment::builder().with_tokens().start();
    let auditor = deployment.token("auditor", &["--role", "auditor"]);
    let client = deployment.client().with_token(&auditor.raw);
    for _ in 0..5 {
        let _served = client.get("/api/status").with_status(200);
    }
    poll::until("five reads are recorded", || {
        (deployment.audit().of_action("status.show").len() == 5).then_some(())
    });
    let entries = |query: &str| -> Vec<Value> {
        let answer = client
            .get(&format!("/api/enterprise/audit{query}"))
            .with_status(200)
            .json();
        answer["entries"]
            .as_array()
            .unwrap_or_else(|| panic!("no entries: {answer:#}"))
            .clone()
    };
    assert_eq!(entries("?limit=2").len(), 2);
    let times: Vec<String> = entries("?limit=100")
        .iter()
        .map(|entry| entry["timestamp"].as_str().unwrap().to_owned())
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let reads = entries("?action=status.show&limit=100");
    assert_eq!(reads.len(), 5);
    assert!(reads.iter().all(|entry| entry["user"] == "token:auditor"));
    assert_eq!(entries("?user=nobody"), Vec::<Value>::new());
    for query in [
        "?limit=0",
        "?limit=-1",
        "?limit=many",
        "?limit=100000000",
        "?offset=-1",
        "?unknown=1",
    ] {
        let _refused = client
            .get(&format!("/api/enterprise/audit{query}"))
            .with_status(400);
    }
    let summary = client
        .get("/api/enterprise/audit/summary")
        .with_status(200)
        .json();
    assert!(summary.to_string().contains("status.show"), "{summary}");
}

#[test]
fn the_command_line_shows_the_trail() {
    let deployment = Deployment::builder().with_tokens().start();
    let _token = deployment.token("ci-bot", &["--role", "viewer"]);
    let tail = deployment.loki(&["enterprise", "audit", "tail"]).output();
    assert!(tail.contains("token.generate"), "{tail}");
    let summary = deployment
        .loki(&["enterprise", "audit", "summary"])
        .output();
    assert!(summary.contains("token.generate"), "{summary}");
}

#[test]
fn nothing_is_changed_while_the_decision_cannot_be_recorded() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::repairing())
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let body = tests::deployment::session_request(project.path());
    let sessions = || {
        let listed = client.get("/api/sessions").with_status(200).json();
        listed["sessions"].as_array().unwrap().clone()
    };
    let _read = sessions();
    let _record = deployment
        .audit()
        .until("the read", |record| record["action"] == "session.list");
    process::let_write(deployment.gateway_id(), false);
    let refused = client.post("/api/sessions", &body).with_status(503);
    assert_eq!(refused.problem().kind, "urn:loki:problem:audit_unavailable");
    assert_eq!(
        sessions(),
        Vec::<Value>::new(),
        "refused, and yet carried out"
    );
    let _unready = client.get("/health/ready").with_status(503);
    let _alive = client.get("/health/live").with_status(200);
    process::let_write(deployment.gateway_id(), true);
    let started = poll::until("the trail is written again", || {
        let answer = client.post("/api/sessions", &body);
        (answer.status != 503).then_some(answer)
    });
    let id = started.json()["id"].as_str().unwrap().to_owned();
    let _view = deployment.session_in(&client, &id, &["completed"]);
    assert_eq!(sessions().len(), 1);
    let _ready = client.get("/health/ready").with_status(200);
}

#[test]
fn a_forwarded_address_is_believed_from_trusted_proxies_alone() {
    for (trusted, expected) in [("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.9")] {
        let deployment = Deployment::builder()
            .with_variable("LOKI_TRUSTED_PROXIES", trusted)
            .start();
        let client = deployment.client();
        let request = client.request("GET", "/api/status");
        let _served = request.field("X-Forwarded-For", "203.0.113.9").send();
        let record = deployment
            .audit()
            .until("the read", |record| record["action"] == "status.show");
        assert_eq!(record["ip"], expected, "trusted: {trusted:?}");
    }
}

fn raw_lines(deployment: &Deployment) -> Vec<String> {
    deployment
        .audit()
        .files()
        .iter()
        .flat_map(|file| {
            fs::read_to_string(file)
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn assert_recent(record: &Value) {
    let timestamp = record["timestamp"].as_str().unwrap();
    let written: DateTime<Utc> = timestamp.parse().unwrap();
    let age = Utc::now() - written;
    assert!((-5..300).contains(&age.num_seconds()), "{timestamp}");
}
