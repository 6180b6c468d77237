//! The audit trail proves that nothing was changed or removed, or names where it was.

use std::fs;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use tests::deployment::Deployment;
use tests::installation::client_of;
use tests::poll;
use tests::process;

const VERIFY: [&str; 4] = ["enterprise", "audit", "verify", "--json"];

#[test]
fn a_changed_trail_is_found_out() {
    let deployment = Deployment::builder().with_tokens().start();
    for name in ["one", "two", "three"] {
        let _token = deployment.token(name, &["--role", "viewer"]);
    }
    let finished = deployment.loki(&VERIFY).ended_with(0);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(report["valid"], true, "{report}");
    assert_eq!(report["findings"], Value::Array(Vec::new()), "{report}");
    let file = deployment.audit().files().pop().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let records: Vec<&str> = text.lines().collect();
    let line = records
        .iter()
        .position(|record| record.contains("\"name\":\"one\""))
        .unwrap();
    fs::write(
        &file,
        text.replacen("\"name\":\"one\"", "\"name\":\"won\"", 1),
    )
    .unwrap();
    let finished = deployment.loki(&VERIFY).ended_with(1);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let finding = &report["findings"][0];
    assert_eq!(finding["file"], name, "{report}");
    assert_eq!(finding["line"], line + 1, "{report}");
}

#[test]
fn the_gateway_and_the_command_line_write_one_chain() {
    let deployment = Deployment::builder().with_tokens().start();
    let auditor = deployment.token("auditor", &["--role", "auditor"]);
    let client = deployment.client().with_token(&auditor.raw);
    let _asked = client.get("/api/status").with_status(200);
    let _token = deployment.token("later", &["--role", "viewer"]);
    let _refused = client
        .get("/api/enterprise/audit/verify?deep=1")
        .with_status(400);
    let report = client
        .get("/api/enterprise/audit/verify")
        .with_status(200)
        .json();
    assert_eq!(report["valid"], true, "{report}");
    let proven = report["proven"][0].as_str().unwrap();
    assert!(proven.contains("complete and unchanged"), "{report}");
    let keys = deployment.loki(&["enterprise", "audit", "keys"]).output();
    assert!(keys.contains("BEGIN PUBLIC KEY"), "{keys}");
}

#[test]
fn two_gateways_and_the_command_line_extend_one_chain() {
    let deployment = Deployment::builder().start();
    let first = deployment.client();
    let mut second = deployment.command("loki-gateway").spawn().unwrap();
    let other = poll::until("the second gateway listens", || {
        let endpoint = deployment.endpoint()?;
        (endpoint.pid == second.id()).then(|| client_of(&endpoint))
    });
    thread::scope(|scope| {
        for client in [&first, &other, &first, &other] {
            scope.spawn(move || {
                for _ in 0..25 {
                    let changed = client.request("POST", "/api/control/stop").send();
                    assert_eq!(changed.status, 409, "nothing runs");
                }
            });
        }
        for name in ["one", "two", "three"] {
            let _token = deployment.token(name, &["--role", "viewer"]);
        }
    });
    process::signal(second.id(), Signal::TERM);
    assert!(second.wait().unwrap().success());
    let finished = deployment.loki(&VERIFY).ended_with(0);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(report["valid"], true, "{report}");
    for (action, expected) in [("session.stop", 100), ("token.generate", 3)] {
        let records = deployment.audit().of_action(action);
        let outcomes = records.iter().filter(|record| record["phase"] == "outcome");
        assert_eq!(outcomes.count(), expected, "{action}");
    }
}

#[test]
fn an_orderly_end_is_signed_for_who_has_the_public_key_alone() {
    let mut deployment = Deployment::builder().with_tokens().start();
    let _token = deployment.token("ci-bot", &["--role", "viewer"]);
    let _asked = deployment.client().get("/api/status").with_status(401);
    let _code = deployment.stop_gateway();
    let key = deployment.home().audit_public_key();
    let kept = deployment.home().audit_checkpoint();
    let finished = deployment
        .loki(&[
            "enterprise",
            "audit",
            "verify",
            "--public-key",
            key.to_str().unwrap(),
            "--checkpoint",
            kept.to_str().unwrap(),
        ])
        .ended_with(0);
    assert!(finished.stdout.contains("against everyone"), "{finished}");
}

#[test]
fn records_are_searched_and_exported() {
    let deployment = Deployment::builder().with_tokens().start();
    let _token = deployment.token("ci-bot", &["--role", "viewer"]);
    let search = deployment
        .loki(&[
            "enterprise",
            "audit",
            "search",
            "--action",
            "token.generate",
        ])
        .output();
    assert!(search.contains("token.generate"), "{search}");
    let lines = deployment.loki(&["enterprise", "audit", "export"]).output();
    assert!(lines.starts_with("{\"timestamp\":"), "{lines}");
    let table = deployment
        .loki(&["enterprise", "audit", "export", "--format", "csv"])
        .output();
    assert!(
        table.starts_with("timestamp,action,user,resource"),
        "{table}"
    );
}
