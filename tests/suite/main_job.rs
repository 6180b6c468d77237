//! The main job: a PRD becomes commits on a branch of the project, and `main` is untouched.

use serde_json::{Value, json};
use tests::agent::Agent;
use tests::deployment::{Builder, Deployment, session_request};

fn repairing() -> Builder {
    Deployment::builder()
        .with_provider("claude", Agent::repairing())
        .with_verification(&["/bin/sh", "test.sh"])
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
}

#[test]
fn requests_that_cannot_be_carried_out_are_refused_with_the_fix() {
    let deployment = repairing().start();
    let client = deployment.client();
    let project = deployment.project("app");
    let good = session_request(project.path());
    let outside = tempfile::tempdir().unwrap();
    let unborn = tests::repository::Repository::empty(&deployment.user_home().join("unborn"));
    let plain = deployment.user_home().join("plain");
    std::fs::create_dir(&plain).unwrap();
    let link = deployment.user_home().join("link");
    std::os::unix::fs::symlink(outside.path(), &link).unwrap();
    let check = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        let answer = client.post("/api/sessions", &body);
        assert!(
            matches!(answer.status, 400..=422),
            "{body}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(
            answer.problem().detail.is_some(),
            "{body}: {}",
            answer.text()
        );
    };
    check("project", json!("relative/path"));
    check("project", json!(outside.path()));
    check("project", json!(link));
    check("project", json!(plain));
    check("project", json!(unborn.path()));
    check("project", json!(deployment.home().directory()));
    check("project", json!("/nowhere"));
    check("provider", json!("nobody"));
    check("provider", json!("../claude"));
    check("prd", json!({"name": "", "text": "x"}));
    check("prd", json!({"name": "../my-app.md", "text": "x"}));
    check("prd", json!({"name": "my-app.md", "text": ""}));
    check(
        "prd",
        json!({"name": "my-app.md", "text": "x".repeat(1024 * 1024 + 1)}),
    );
    check("iterations_max", json!(1_000_000));
    check("command", json!(["/bin/sh"]));
    check("tighten", json!({"branch_protection": false}));
    check("tighten", json!({"allowed_paths": ["/etc"]}));
    check("tighten", json!({"allowed_paths": ["../other"]}));
    check("tighten", json!({"allowed_paths": ["nowhere"]}));
    check("tighten", json!({"allowed_paths": []}));
    check("tighten", json!({"autonomy_mode": "reckless"}));
    let listed = client.get("/api/sessions").with_status(200).json();
    assert_eq!(listed["sessions"], json!([]));
}

#[test]
fn a_session_hands_over_a_verified_branch() {
    let deployment = repairing().with_tokens().with_tls().start();
    let token = deployment.token("ci-bot", &["--role", "operator"]);
    let client = deployment.client().with_token(&token.raw);
    let project = deployment.project("app");
    let main = project.commit("main");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);

    assert_eq!(
        view["verification"],
        json!({"result": "passed"}),
        "{view:#}"
    );
    assert_eq!(view["started_by"], "token:ci-bot");
    assert_eq!(view["hand_off"]["place"], "project");
    let branch = view["branch"].as_str().unwrap();
    assert_branch_name(branch, deployment.runtime_id());
    assert_eq!(project.branches(), [branch, "main"]);
    assert_eq!(project.commit("main"), main, "main is untouched");
    assert_eq!(project.commit("HEAD"), main, "the checkout is untouched");
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    assert_eq!(
        project.commit(branch),
        view["hand_off"]["commit"].as_str().unwrap()
    );
    let new = project.git(&["rev-list", "--count", &format!("main..{branch}")]);
    assert_ne!(new, "0", "the branch carries the agent's commits");
    assert_eq!(project.git(&["merge-base", "main", branch]), main);
    let changed = project.git(&["diff", "--name-only", &format!("main..{branch}")]);
    assert_eq!(changed, "total.sh");
    let repaired = project.file_at(branch, "total.sh");
    assert!(repaired.contains("sum + number"), "{repaired}");
    project.assert_sound();
}

/// `loki/session-<timestamp>-<pid>`
fn assert_branch_name(branch: &str, runtime: u32) {
    let rest = branch
        .strip_prefix("loki/session-")
        .unwrap_or_else(|| panic!("{branch}"));
    let (timestamp, id) = rest.rsplit_once('-').unwrap_or_else(|| panic!("{branch}"));
    assert_eq!(id, runtime.to_string(), "{branch}");
    assert!(!timestamp.is_empty(), "{branch}");
    let fits = |letter: char| letter.is_ascii_digit() || matches!(letter, '-' | 'T' | 'Z');
    assert!(timestamp.chars().all(fits), "{branch}");
}

#[test]
fn without_branch_protection_a_clean_project_is_moved_forward() {
    let deployment = repairing()
        .with_variable("LOKI_BRANCH_PROTECTION", "false")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let before = project.commit("main");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    assert_eq!(view["hand_off"]["place"], "project_head", "{view:#}");
    assert_eq!(
        project.commit("main"),
        view["hand_off"]["commit"].as_str().unwrap()
    );
    assert_eq!(
        project.git(&["merge-base", &before, "main"]),
        before,
        "fast-forward"
    );
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    project.assert_sound();
}

#[test]
fn without_branch_protection_a_dirty_project_is_left_alone() {
    let deployment = repairing()
        .with_variable("LOKI_BRANCH_PROTECTION", "false")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let before = project.commit("main");
    std::fs::write(project.path().join("test.sh"), "echo unsaved work\n").unwrap();
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    assert_eq!(view["hand_off"]["place"], "project", "{view:#}");
    assert!(
        view["hand_off"]["note"].is_string(),
        "a person has to know: {view:#}"
    );
    assert_eq!(project.commit("main"), before);
    let text = std::fs::read_to_string(project.path().join("test.sh")).unwrap();
    assert_eq!(text, "echo unsaved work\n");
}

#[test]
fn a_result_that_fails_verification_is_not_called_done() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::doing("echo changed >>README.md"))
        .with_verification(&["/bin/sh", "test.sh"])
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_MAX_ITERATIONS", "2")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let main = project.commit("main");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["failed"]);
    assert_eq!(view["verification"]["result"], "failed", "{view:#}");
    assert_eq!(view["iteration"], 2, "it was tried again");
    assert!(view["reason"].is_string(), "{view:#}");
    assert_eq!(project.commit("main"), main);
}

#[test]
fn without_a_verify_command_the_result_says_unverified() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::repairing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    assert_eq!(view["verification"], json!({"result": "unverified"}));
}

#[test]
fn stop_ends_the_agent_and_hands_over_what_there_is() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::never_ending())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let main = project.commit("main");
    let id = deployment.start_session(&client, project.path());
    let _running = deployment.session_in(&client, &id, &["running"]);
    agents_of(&deployment, 1);
    let stop = format!("/api/sessions/{id}/stop");
    let answer = client.request("POST", &stop).send();
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    let view = deployment.session_in(&client, &id, &["stopped"]);
    agents_of(&deployment, 0);
    assert_eq!(project.commit("main"), main);
    assert!(view["ended_at"].is_string(), "{view:#}");
    let again = client.request("POST", &stop).send();
    assert!(
        matches!(again.status, 200 | 202),
        "stopping twice is no more: {}",
        again.text()
    );
    project.assert_sound();
}

#[test]
fn stop_without_an_id_needs_exactly_one_candidate() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::never_ending())
        .start();
    let client = deployment.client();
    let first = deployment.start_session(&client, deployment.project("one").path());
    let second = deployment.start_session(&client, deployment.project("two").path());
    for id in [&first, &second] {
        let _running = deployment.session_in(&client, id, &["running"]);
    }
    let answer = client.request("POST", "/api/control/stop").send();
    let mut candidates = answer.with_status(409).problem().candidates;
    candidates.sort();
    let mut expected = [first.clone(), second.clone()];
    expected.sort();
    assert_eq!(candidates, expected);
    let finished = deployment.loki(&["stop"]).ended_with(2);
    assert!(
        finished.text().contains(&first) && finished.text().contains(&second),
        "{finished}"
    );
    let _one = deployment.loki(&["stop", &first]).ended_with(0);
    let _view = deployment.session_in(&client, &first, &["stopped"]);
    let answer = client.request("POST", "/api/control/stop").send();
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    let _view = deployment.session_in(&client, &second, &["stopped"]);
}

#[test]
fn loki_start_runs_a_session_on_the_current_project() {
    let deployment = repairing().with_tokens().with_tls().start();
    let token = deployment.token("dev", &["--role", "operator"]);
    let project = deployment.project("app");
    let main = project.commit("main");
    std::fs::write(
        deployment.user_home().join("my-app.md"),
        "Repair total.sh.\n",
    )
    .unwrap();
    let finished = tests::command::run(
        deployment
            .command("loki")
            .args(["start", "../my-app.md"])
            .current_dir(project.path())
            .env("LOKI_TOKEN", &token.raw),
    )
    .ended_with(0);
    let client = deployment.client().with_token(&token.raw);
    let listed = client.get("/api/sessions").with_status(200).json();
    let id = listed["sessions"][0]["id"].as_str().unwrap();
    assert!(finished.text().contains(id), "{finished}");
    let view = deployment.session_in(&client, id, &["completed"]);
    assert_eq!(view["prd"], "my-app.md");
    assert_eq!(project.commit("main"), main);
    assert_eq!(project.branches().len(), 2);
}

#[test]
fn the_agent_s_actions_are_in_the_agent_audit() {
    let deployment = repairing().start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let _view = deployment.session_in(&client, &id, &["completed"]);
    let shown = project.path().join(".loki/logs/agent-audit.jsonl");
    let text = std::fs::read_to_string(&shown).unwrap();
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (line, record) in text.lines().zip(&records) {
        assert!(line.starts_with("{\"timestamp\":\""), "{line}");
        assert_eq!(record["session"], id.as_str(), "{line}");
        for name in ["action", "agent"] {
            assert!(record[name].is_string(), "{line}");
        }
        assert!(record["details"].is_object(), "{line}");
    }
    let commit = records
        .iter()
        .find(|record| record["action"] == "git_commit");
    let commit = commit.unwrap_or_else(|| panic!("no git_commit in {text}"));
    assert!(commit["details"]["message"].is_string(), "{commit}");
    assert_eq!(commit["details"]["files_changed"], 1, "{commit}");
    assert_eq!(
        project.git(&["status", "--porcelain"]),
        "",
        "the record is not the project's"
    );
    let log = deployment
        .foreign_command("loki")
        .args(["audit", "log"])
        .current_dir(project.path())
        .output();
    let log = String::from_utf8(log.unwrap().stdout).unwrap();
    assert!(log.contains("git_commit"), "{log}");
    let count = deployment
        .foreign_command("loki")
        .args(["audit", "count"])
        .current_dir(project.path())
        .output();
    let count = String::from_utf8(count.unwrap().stdout).unwrap();
    assert!(count.contains(&records.len().to_string()), "{count}");
}

/// Waits until this many agents work.
fn agents_of(deployment: &Deployment, expected: usize) {
    let script = deployment.agents().display().to_string();
    tests::poll::until(&format!("{expected} agents work"), || {
        let working = tests::process::around(deployment.root())
            .into_iter()
            .filter(|(_, line)| line.contains(&script) && !line.contains("loki-jail"))
            .count();
        (working == expected).then_some(())
    });
}
