//! What agents did is proven as what callers did: a project's agent audit that was changed is found out.

use std::fs;
use std::path::Path;

use config::contract::agent_audit::{FIRST_HASH, Link};
use serde_json::Value;
use tests::agent::Agent;
use tests::command::{self, Finished};
use tests::deployment::Deployment;

fn verify(deployment: &Deployment, project: &Path) -> Finished {
    command::run(
        deployment
            .command("loki")
            .args(["audit", "verify", "--json"])
            .current_dir(project),
    )
}

/// The report, whose exit code fits what it says.
fn report(deployment: &Deployment, project: &Path, valid: bool) -> Value {
    let finished = verify(deployment, project).ended_with(i32::from(!valid));
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(report["valid"], valid, "{report}");
    report
}

/// Makes a chain anew that fits itself: the hashes have no key.
fn chained_anew(lines: &[String]) -> String {
    let mut link = Link::default();
    let mut text = String::new();
    for (position, line) in lines.iter().enumerate() {
        let (body, _) = line.rsplit_once(",\"hash\":\"").unwrap();
        let hash = link.hash_of_next(format!("{body}}}").as_bytes());
        text.push_str(&format!("{body},\"hash\":\"{hash}\"}}\n"));
        link = Link {
            seq: position as u64 + 1,
            hash,
        };
    }
    text
}

#[test]
fn a_changed_agent_audit_is_found_out() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::repairing())
        .with_verification(&["/bin/sh", "test.sh"])
        .start();
    let project = deployment.project("app");
    let client = deployment.client();
    let id = deployment.start_session(&client, project.path());
    let _view = deployment.session_in(&client, &id, &["completed"]);
    let shown = project.path().join(".loki/logs/agent-audit.jsonl");
    let text = fs::read_to_string(&shown).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(lines.len() > 4, "{text}");
    let honest = report(&deployment, project.path(), true);
    let session = &honest["sessions"][&id];
    assert_eq!(session["compared"], "same", "{honest}");
    assert_eq!(session["records"], lines.len(), "{honest}");

    let edited = |line: &str| line.replace("\"agent\":\"claude\"", "\"agent\":\"nobody\"");
    let joined = |lines: &[String]| lines.join("\n") + "\n";
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut changed = lines.clone();
        change(&mut changed);
        assert_ne!(changed, lines);
        joined(&changed)
    };
    // What is done to the lines, and the line that is named.
    for (what, changed, line) in [
        ("edit", with(&|lines| lines[2] = edited(&lines[2])), 3),
        ("delete", with(&|lines| drop(lines.remove(2))), 3),
        ("swap", with(&|lines| lines.swap(2, 3)), 3),
        (
            "insert",
            with(&|lines| lines.insert(2, lines[1].clone())),
            3,
        ),
        ("drop the first", with(&|lines| drop(lines.remove(0))), 1),
        (
            "another hash",
            with(&|lines| {
                let (body, _) = lines[2].rsplit_once(",\"hash\":\"").unwrap();
                lines[2] = format!("{body},\"hash\":\"{FIRST_HASH}\"}}");
            }),
            3,
        ),
        // A chain that was made anew fits itself; the runtime's own record does not.
        (
            "recompute",
            chained_anew(&[&lines[..2], &[edited(&lines[2])], &lines[3..]].concat()),
            0,
        ),
    ] {
        fs::write(&shown, changed).unwrap();
        let found = report(&deployment, project.path(), false);
        let named: Vec<&Value> = found["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| &finding["line"])
            .collect();
        assert!(named.contains(&&Value::from(line)), "{what}: {found}");
    }
    // An end that was cut off is no lie, and is told.
    fs::write(&shown, joined(&lines[..lines.len() - 1])).unwrap();
    let cut = report(&deployment, project.path(), true);
    assert_eq!(cut["sessions"][&id]["compared"], "ends_early", "{cut}");
    fs::write(&shown, &text).unwrap();
    let _honest = report(&deployment, project.path(), true);
}
