//! The trail over days: packed, removed when its time is over, exported, and still proven.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use chrono::{Days, Utc};
use serde_json::Value;
use tests::deployment::Deployment;
use tests::poll;

/// Small files, so that a short test writes several.
const SMALL: &str = "[audit]\nsegment_bytes_max = 65536\n";

/// Asks often enough for several small files.
fn fill(deployment: &Deployment, files: usize) {
    let client = deployment.client();
    poll::until("several files are full", || {
        for _ in 0..100 {
            let _refused = client.get("/api/status");
        }
        (names(deployment).len() >= files).then_some(())
    });
}

/// Returns the names of the trail's files, without their indexes.
fn names(deployment: &Deployment) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(deployment.home().audit())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("audit-"))
        .filter(|name| name.ends_with(".jsonl") || name.ends_with(".jsonl.gz"))
        .collect();
    names.sort();
    names
}

fn packed(deployment: &Deployment) -> Vec<PathBuf> {
    names(deployment)
        .into_iter()
        .filter(|name| name.ends_with(".gz"))
        .map(|name| deployment.home().audit().join(name))
        .collect()
}

fn verify(deployment: &Deployment, code: i32) -> Value {
    let verify = ["enterprise", "audit", "verify", "--json"];
    let finished = deployment.loki(&verify).ended_with(code);
    serde_json::from_str(&finished.stdout).unwrap()
}

fn gzip(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn an_edit_inside_a_packed_file_is_found_with_file_and_line() {
    let deployment = Deployment::builder().with_gateway_settings(SMALL).start();
    fill(&deployment, 4);
    // While the plain file is there too, that one counts.
    let file = poll::until("a file is packed", || {
        packed(&deployment)
            .into_iter()
            .find(|file| !file.with_extension("").exists())
    });
    assert_eq!(verify(&deployment, 0)["valid"], true);
    let text = String::from_utf8(gzip(&["-dc"], &fs::read(&file).unwrap())).unwrap();
    let edited = text.replacen(
        "\"action\":\"status.show\"",
        "\"action\":\"status.hide\"",
        1,
    );
    let line = 1 + edited
        .lines()
        .position(|line| line.contains("status.hide"))
        .unwrap();
    fs::write(&file, gzip(&["-c"], edited.as_bytes())).unwrap();
    let report = verify(&deployment, 1);
    let finding = &report["findings"][0];
    assert_eq!(
        finding["file"],
        file.file_name().unwrap().to_str().unwrap(),
        "{report}"
    );
    assert_eq!(finding["line"], line, "{report}");
    fs::write(&file, gzip(&["-c"], text.as_bytes())).unwrap();
    assert_eq!(verify(&deployment, 0)["valid"], true);
}

#[test]
fn packed_files_are_asked_and_exported_like_others() {
    let deployment = Deployment::builder().with_gateway_settings(SMALL).start();
    fill(&deployment, 4);
    let _file = poll::until("a file is packed", || {
        packed(&deployment).into_iter().next()
    });
    let client = deployment.client();
    let exported = client.get("/api/enterprise/audit/export").with_status(200);
    assert_eq!(exported.field("content-type"), Some("application/x-ndjson"));
    let records: Vec<Value> = exported
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seqs: Vec<u64> = records
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert!(seqs.len() > 300, "{}", seqs.len());
    let table = client
        .get("/api/enterprise/audit/export?format=csv&action=config.change")
        .with_status(200);
    assert_eq!(table.field("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(table.text().lines().count(), 2, "{}", table.text());
    for query in [
        "?format=xml",
        "?limit=1",
        "?action=",
        "?format=csv&format=csv",
    ] {
        let _refused = client
            .get(&format!("/api/enterprise/audit/export{query}"))
            .with_status(400);
    }
    let mut walked = Vec::new();
    let mut target = "/api/enterprise/audit?limit=1000&action=status.show".to_owned();
    loop {
        let page = client.get(&target).with_status(200).json();
        let entries = page["entries"].as_array().unwrap();
        walked.extend(entries.iter().map(|entry| entry["seq"].as_u64().unwrap()));
        let Some(cursor) = page["next_cursor"].as_u64() else {
            break;
        };
        target = format!("/api/enterprise/audit?limit=1000&action=status.show&cursor={cursor}");
    }
    let expected: Vec<u64> = records
        .iter()
        .rev()
        .filter(|record| record["action"] == "status.show")
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(walked[walked.len() - expected.len()..], expected);
}

#[test]
fn an_export_under_way_ends_when_its_credential_does() {
    let mut deployment = Deployment::builder()
        .with_tokens()
        .with_gateway_settings("[audit]\nretention = \"0s\"\n")
        .start();
    let auditor = deployment.token("auditor", &["--role", "auditor"]);
    let other = deployment.token("other", &["--role", "auditor"]);
    let _code = deployment.stop_gateway();
    // More than the system holds for a caller that does not read, packed as old files are.
    let file = deployment.audit().files().pop().unwrap();
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.contains("token.generate"));
    let lines = format!("{}\n", line.unwrap()).repeat(32 * 1024);
    let old = deployment.home().audit().join("audit-2026-01-01.jsonl.gz");
    fs::write(old, gzip(&["-1"], lines.as_bytes())).unwrap();
    deployment.start_gateway();
    let client = |token: &str| deployment.client().with_token(token);
    let whole = client(&other.raw)
        .get("/api/enterprise/audit/export")
        .with_status(200);
    assert!(whole.body.len() > lines.len() / 2, "{}", whole.body.len());
    let export = |token: &str| {
        let client = client(token);
        let mut connection = client.connect();
        let head = connection.open(&client.request("GET", "/api/enterprise/audit/export"));
        assert_eq!(head.status, 200);
        connection
    };
    let mut cut = export(&auditor.raw);
    let mut goes_on = export(&other.raw);
    let revoke = ["enterprise", "token", "revoke", "auditor"];
    let _revoked = deployment.loki(&revoke).ended_with(0);
    let record = deployment.audit().until("the end of the export", |record| {
        record["action"] == "audit.export" && record["details"]["ended_by"] == "credential"
    });
    assert_eq!(record["token_id"], auditor.id.as_str(), "{record}");
    let rest = |connection: &mut tests::client::Connection| {
        let mut length = 0;
        let mut end = Vec::new();
        loop {
            let bytes = connection.read();
            if bytes.is_empty() {
                return (length, end);
            }
            length += bytes.len();
            end.extend_from_slice(&bytes);
            let kept = end.len().saturating_sub(16);
            end.drain(..kept);
            if end.ends_with(b"\r\n0\r\n\r\n") {
                return (length, end);
            }
        }
    };
    let (length, end) = rest(&mut cut);
    assert!(length < whole.body.len(), "all of it arrived: {length}");
    assert!(!end.ends_with(b"0\r\n\r\n"), "it looks whole");
    let (length, end) = rest(&mut goes_on);
    assert!(length >= whole.body.len(), "{length}");
    assert!(end.ends_with(b"0\r\n\r\n"), "nobody else is cut off");
}

#[test]
fn files_whose_time_is_over_go_and_the_rest_still_verifies() {
    let mut deployment = Deployment::builder()
        .with_gateway_settings("[audit]\nretention = \"2d\"\n")
        .start();
    let _refused = deployment.client().get("/api/status");
    let _code = deployment.stop_gateway();
    // The trail as it would look had the gateway stood still for three days.
    let audit = deployment.home().audit();
    let today = Utc::now().date_naive();
    let names = names(&deployment);
    let old = today.checked_sub_days(Days::new(3)).unwrap();
    for (number, name) in names.iter().enumerate() {
        let end = if number == 0 {
            String::new()
        } else {
            format!(".{number}")
        };
        fs::rename(
            audit.join(name),
            audit.join(format!("audit-{old}{end}.jsonl")),
        )
        .unwrap();
    }
    // It ran yesterday again; a clock that only jumped ahead removes nothing.
    deployment.start_gateway();
    let _answered = deployment.client().get("/api/status");
    let _code = deployment.stop_gateway();
    let yesterday = today.checked_sub_days(Days::new(1)).unwrap();
    let newest = deployment.audit().files().pop().unwrap();
    fs::rename(newest, audit.join(format!("audit-{yesterday}.jsonl"))).unwrap();
    deployment.start_gateway();
    let record = deployment
        .audit()
        .until("the removal", |record| record["action"] == "audit.retired");
    assert_eq!(record["details"]["reason"], "age", "{record}");
    assert_eq!(record["details"]["findings"], 0, "{record}");
    poll::until("the old files are gone", || {
        let names = self::names(&deployment);
        names
            .iter()
            .all(|name| !name.contains(&old.to_string()))
            .then_some(())
    });
    let report = verify(&deployment, 0);
    assert_eq!(report["retired_to"], record["details"]["to"], "{report}");
    let key = deployment.home().audit_public_key();
    let _proven = deployment
        .loki(&[
            "enterprise",
            "audit",
            "verify",
            "--public-key",
            key.to_str().unwrap(),
        ])
        .ended_with(0);
    // What no record names must not be missing.
    let oldest = self::names(&deployment).remove(0);
    let text = fs::read_to_string(audit.join(&oldest)).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(audit.join(&oldest), rest).unwrap();
    let report = verify(&deployment, 1);
    assert_eq!(report["findings"][0]["kind"], "missing", "{report}");
}
