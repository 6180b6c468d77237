//! The audit trail proves that nothing was changed or removed, or names where it was.

use std::fs;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};
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

/// What somebody who may write the files does to the lines of one.
type Tampering = fn(&mut Vec<String>);

const TAMPERINGS: &[(&str, Tampering)] = &[
    ("edit", |lines| {
        lines[40] = lines[40].replace("status.show", "status.hide");
    }),
    ("delete", |lines| drop(lines.remove(40))),
    ("swap", |lines| lines.swap(40, 41)),
    ("insert", |lines| {
        let forged = lines[40].replace("status.show", "status.hide");
        lines.insert(40, forged);
    }),
    ("truncate", |lines| lines.truncate(40)),
    ("replay", |lines| {
        let old = lines[10].clone();
        lines.insert(40, old);
    }),
    ("rubbish", |lines| lines[40] = "rubbish".to_owned()),
    ("recompute the chain without the key", |lines| {
        lines[40] = lines[40].replace("status.show", "status.hide");
        for after in 41..lines.len() {
            let digest = Sha256::digest(lines[after - 1].as_bytes());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let (start, rest) = lines[after].split_once("\"prev\":\"").expect("a chain");
            lines[after] = format!("{start}\"prev\":\"{digest}{}", &rest[64..]);
        }
    }),
];

#[test]
fn every_kind_of_tampering_is_found_with_file_and_line() {
    let mut deployment = Deployment::builder()
        .with_gateway_settings("[audit]\nsegment_bytes_max = 65536\n")
        .start();
    let client = deployment.client();
    poll::until("several files are full", || {
        for _ in 0..100 {
            let _read = client.get("/api/status");
        }
        (deployment.audit().files().len() >= 2).then_some(())
    });
    assert_eq!(deployment.stop_gateway(), Some(0));
    let files = deployment.audit().files();
    let [.., closed, last] = files.as_slice() else {
        panic!("{files:?}");
    };
    let text = fs::read_to_string(closed).unwrap();
    let verified = |code: i32| -> Value {
        let finished = deployment.loki(&VERIFY).ended_with(code);
        serde_json::from_str(&finished.stdout).unwrap()
    };
    assert_eq!(verified(0)["valid"], true);
    for (what, tamper) in TAMPERINGS {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        tamper(&mut lines);
        fs::write(closed, lines.join("\n") + "\n").unwrap();
        let report = verified(1);
        let finding = &report["findings"][0];
        let file = finding["file"].as_str().unwrap_or_default();
        let line = finding["line"].as_u64().unwrap_or_default();
        let named = [closed, last].map(|path| path.file_name().unwrap().to_str().unwrap());
        // What is missing at the end of a file shows at the start of the next one.
        let at_the_place = file == named[0] && (39..=lines.len() as u64).contains(&line);
        let behind_it = file == named[1] && line == 1;
        assert!(at_the_place || behind_it, "{what}: {report}");
    }
    fs::remove_file(closed).unwrap();
    assert_eq!(verified(1)["findings"][0]["line"], 1, "a file is gone");
    fs::write(closed, &text).unwrap();
    assert_eq!(verified(0)["valid"], true, "as it was");
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
