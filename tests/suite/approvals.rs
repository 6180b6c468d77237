//! Approvals: nothing that waits for a person happens without one, and agents never are the person.

use std::fs;

use serde_json::json;
use tests::agent::Agent;
use tests::approval::{decide, state_of, waiting};
use tests::deployment::{Builder, Deployment, session_request};
use tests::poll;
use tests::programs;

const STAGED: (&str, &str) = ("LOKI_STAGED_AUTONOMY", "true");
const CHECKPOINT: (&str, &str) = ("LOKI_AUTONOMY_MODE", "checkpoint");

fn writing() -> Agent {
    Agent::doing("echo written >agents-file.txt")
}

fn deployment(agent: Agent, (name, value): (&str, &str)) -> Builder {
    Deployment::builder()
        .with_provider("claude", agent)
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable(name, value)
}

fn log_of(deployment: &Deployment, id: &str, file: &str) -> Option<String> {
    let folder = deployment.home().runtime().join("sessions").join(id);
    fs::read_to_string(folder.join(file)).ok()
}

#[test]
fn a_caller_tightens_and_never_loosens() {
    let deployment = deployment(writing(), STAGED)
        .with_variable("LOKI_AUTONOMY_MODE", "checkpoint")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    for tighten in [
        json!({"staged_autonomy": false}),
        json!({"autonomy_mode": "perpetual"}),
        json!({"blocked_commands": ["!default"]}),
    ] {
        let mut body = session_request(project.path());
        body["tighten"] = tighten;
        let problem = client
            .post("/api/sessions", &body)
            .with_status(422)
            .problem();
        assert!(problem.title.contains("tighten"), "{problem:?}");
    }
    let mut body = session_request(project.path());
    body["tighten"] = json!({"autonomy_mode": "supervised", "blocked_commands": ["curl"]});
    let view = client.post("/api/sessions", &body).with_status(201).json();
    assert_eq!(view["autonomy_mode"], "supervised");
    assert_eq!(view["staged_autonomy"], true);
    let layer = |control: &str| {
        let rows = view["effective_enforcement"].as_array().unwrap();
        let row = rows.iter().find(|row| row["control"] == control);
        row.map(|row| row["layer"].clone())
    };
    // A program that cannot be asked is not said to be.
    assert_eq!(layer("approval at phase boundaries"), Some(json!("gate")));
    assert_eq!(
        layer("approval of each operation"),
        Some(json!("unavailable"))
    );
    assert_eq!(layer("blocked commands"), Some(json!("advisory")));
}

#[test]
fn nothing_runs_before_the_first_approval_and_nothing_arrives_before_the_second() {
    let deployment = deployment(writing(), STAGED).start();
    let client = deployment.client();
    let project = deployment.project("app");
    let main = project.commit("main");
    let id = deployment.start_session(&client, project.path());

    let first = waiting(&deployment, &client, &id, "first_run");
    assert_eq!(first["state"], "requested");
    assert!(
        first["action"]["prompt"]
            .as_str()
            .unwrap()
            .contains("# Requirements")
    );
    assert_eq!(
        log_of(&deployment, &id, "output-1.log"),
        None,
        "the agent ran"
    );
    assert_eq!(log_of(&deployment, &id, "workspace/agents-file.txt"), None);
    let shown = deployment.loki(&["status"]).ended_with(0).output();
    assert!(shown.contains(first["id"].as_str().unwrap()), "{shown}");
    assert!(
        shown.contains("# Requirements"),
        "the exact prompt: {shown}"
    );
    let _resumed = deployment.loki(&["resume"]).ended_with(0);

    let second = waiting(&deployment, &client, &id, "hand_over");
    assert_eq!(state_of(&client, &first), "consumed");
    let diff = second["action"]["diff"].as_str().unwrap();
    assert!(diff.contains("+written"), "{diff}");
    assert_eq!(project.branches(), ["main"], "nothing arrived");
    assert!(!project.path().join("agents-file.txt").exists());
    let shown = deployment.loki(&["status"]).ended_with(0).output();
    assert!(shown.contains("+written"), "the exact diff: {shown}");
    let _resumed = deployment.loki(&["resume", &id]).ended_with(0);

    let view = deployment.session_in(&client, &id, &["completed"]);
    let branch = view["branch"].as_str().unwrap();
    assert_eq!(project.file_at(branch, "agents-file.txt").trim(), "written");
    assert_eq!(project.commit("main"), main);
    assert_eq!(state_of(&client, &second), "consumed");
    let trail = fs::read_to_string(project.path().join(".loki/logs/agent-audit.jsonl")).unwrap();
    for action in ["approval_request", "approval_consumption"] {
        assert_eq!(trail.matches(action).count(), 2, "{action}: {trail}");
    }
}

#[test]
fn stop_rejects_and_nothing_arrives() {
    let deployment = deployment(writing(), STAGED).start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    let _stopped = deployment.loki(&["stop"]).ended_with(0);
    let _view = deployment.session_in(&client, &id, &["stopped"]);
    assert_eq!(
        log_of(&deployment, &id, "output-1.log"),
        None,
        "the agent ran"
    );
    poll::until("the approval is cancelled", || {
        (state_of(&client, &first) == "cancelled").then_some(())
    });
    assert_eq!(
        decide(&client, &first, "approve", &json!({})),
        409,
        "too late"
    );

    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    assert_eq!(decide(&client, &first, "approve", &json!({})), 200);
    let second = waiting(&deployment, &client, &id, "hand_over");
    let _stopped = deployment.loki(&["stop", &id]).ended_with(0);
    let view = deployment.session_in(&client, &id, &["stopped"]);
    assert_eq!(project.branches(), ["main"], "{view:#}");
    poll::until("the approval is cancelled", || {
        (state_of(&client, &second) == "cancelled").then_some(())
    });
}

#[test]
fn checkpoint_asks_between_iterations_and_the_reason_reaches_the_agent() {
    let deployment = deployment(writing(), CHECKPOINT)
        .with_verification(&["/bin/sh", "-c", "false"])
        .with_variable("LOKI_MAX_ITERATIONS", "2")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    assert_eq!(decide(&client, &first, "approve", &json!({})), 200);
    let between = waiting(&deployment, &client, &id, "iteration_end");
    assert_eq!(
        decide(&client, &between, "reject", &json!({"reason": ""})),
        422
    );
    assert_eq!(
        decide(
            &client,
            &between,
            "reject",
            &json!({"reason": "use tabs, not blanks"})
        ),
        200
    );
    let last = waiting(&deployment, &client, &id, "hand_over");
    let prompt = log_of(&deployment, &id, "prompt-2.txt").expect("a second prompt");
    assert!(prompt.contains("use tabs, not blanks"), "{prompt}");
    assert_eq!(
        decide(&client, &last, "reject", &json!({"reason": "no"})),
        200
    );
    let view = deployment.session_in(&client, &id, &["stopped"]);
    assert!(view["reason"].as_str().unwrap().contains("no"), "{view:#}");
    assert_eq!(project.branches(), ["main"]);
}

#[test]
fn an_agent_cannot_approve_itself() {
    let ways = programs::project().join("tests/attacks/self_approval.sh");
    let agent = Agent::doing(&fs::read_to_string(ways).unwrap());
    let deployment = deployment(agent, STAGED).start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    assert_eq!(decide(&client, &first, "approve", &json!({})), 200);
    let second = waiting(&deployment, &client, &id, "hand_over");
    let tries = log_of(&deployment, &id, "workspace/tries.txt").unwrap_or_default();
    assert!(
        log_of(&deployment, &id, "workspace/tried.txt").is_some(),
        "{tries}"
    );
    assert!(tries.contains("all tried"), "{tries}");
    assert!(!tries.contains("HTTP/1.1 200"), "{tries}");
    assert_eq!(state_of(&client, &second), "requested");
    assert_eq!(project.branches(), ["main"]);
    let asked = client
        .get("/api/approvals?state=all")
        .with_status(200)
        .json();
    for approval in asked["approvals"].as_array().unwrap() {
        let by = &approval["decided_by"];
        assert!(
            by.is_null() || approval["id"] == first["id"],
            "{approval:#}"
        );
    }
}

#[test]
fn scopes_decide_who_may_approve() {
    let deployment = deployment(writing(), STAGED).with_tokens().start();
    let operator = deployment.token("operator", &["--role", "operator"]);
    let viewer = deployment.token("viewer", &["--role", "viewer"]);
    let approver = deployment.token("approver", &["--scopes", "approve"]);
    let [operator, viewer, approver] =
        [operator, viewer, approver].map(|token| deployment.client().with_token(&token.raw));
    let project = deployment.project("app");
    let id = deployment.start_session(&operator, project.path());
    let first = waiting(&deployment, &operator, &id, "first_run");
    assert_eq!(decide(&viewer, &first, "approve", &json!({})), 403);
    assert_eq!(
        decide(&deployment.client(), &first, "approve", &json!({})),
        401
    );
    let resume = format!("/api/sessions/{id}/resume");
    let _refused = approver.request("POST", &resume).send().with_status(403);
    assert_eq!(state_of(&viewer, &first), "requested");
    assert_eq!(decide(&approver, &first, "approve", &json!({})), 200);
    let audit = deployment.audit();
    let record = audit.until("the approval", |record| {
        record["action"] == "approval.approve"
            && record["phase"] == "outcome"
            && record["status"] == 200
    });
    assert_eq!(record["user"], "token:approver");
    assert_eq!(record["details"]["digest"], first["digest"]);
    assert_eq!(record["details"]["self_decided"], false);
    let _viewed = audit.until("the view", |record| {
        record["action"] == "approval.show" && record["user"] == "token:viewer"
    });
}

#[test]
fn four_eyes_bars_who_started_the_session_under_any_name() {
    let deployment = deployment(writing(), STAGED)
        .with_tokens()
        .with_runtime_settings("[approvals]\nfour_eyes = true\n")
        .start();
    let starter = deployment.token("starter", &["--role", "operator"]);
    let other = deployment.token("other", &["--scopes", "approve"]);
    let [starter, other] = [starter, other].map(|token| deployment.client().with_token(&token.raw));
    let project = deployment.project("app");
    let id = deployment.start_session(&starter, project.path());
    let first = waiting(&deployment, &starter, &id, "first_run");
    assert_eq!(decide(&starter, &first, "approve", &json!({})), 403);
    let resume = format!("/api/sessions/{id}/resume");
    let looked_at = json!({"approval": first["id"], "digest": first["digest"]});
    let _refused = starter.post(&resume, &looked_at).with_status(403);
    assert_eq!(state_of(&starter, &first), "requested");
    assert_eq!(decide(&other, &first, "approve", &json!({})), 200);
    let _second = waiting(&deployment, &starter, &id, "hand_over");
}

#[test]
fn a_decision_is_made_once_and_for_what_was_looked_at() {
    let deployment = deployment(writing(), STAGED).start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    let other = json!({"digest": "0".repeat(64)});
    assert_eq!(decide(&client, &first, "approve", &other), 409);
    assert_eq!(
        decide(
            &client,
            &json!({"id": "appr-000000000000"}),
            "approve",
            &json!({})
        ),
        404
    );
    // Many at once, of both kinds: one kind wins, all others are told.
    let statuses: Vec<(bool, u16)> = std::thread::scope(|scope| {
        let deciders: Vec<_> = (0..8)
            .map(|number| {
                let (client, first) = (&client, &first);
                scope.spawn(move || {
                    let approves = number % 2 == 0;
                    let status = if approves {
                        decide(
                            client,
                            first,
                            "approve",
                            &json!({"digest": first["digest"]}),
                        )
                    } else {
                        decide(client, first, "reject", &json!({"reason": "no"}))
                    };
                    (approves, status)
                })
            })
            .collect();
        deciders
            .into_iter()
            .map(|decider| decider.join().unwrap())
            .collect()
    });
    let won: Vec<bool> = statuses
        .iter()
        .filter(|(_, status)| *status == 200)
        .map(|(kind, _)| *kind)
        .collect();
    assert!(!won.is_empty(), "{statuses:?}");
    assert!(
        won.iter().all(|kind| *kind == won[0]),
        "both won: {statuses:?}"
    );
    assert!(
        statuses
            .iter()
            .all(|(_, status)| matches!(status, 200 | 409)),
        "{statuses:?}"
    );
    if won[0] {
        let _second = waiting(&deployment, &client, &id, "hand_over");
    } else {
        let _view = deployment.session_in(&client, &id, &["stopped"]);
        assert_eq!(
            log_of(&deployment, &id, "output-1.log"),
            None,
            "the agent ran"
        );
    }
}

#[test]
fn what_nobody_decides_pauses_and_never_goes_on() {
    let deployment = deployment(writing(), STAGED)
        .with_runtime_settings("[approvals]\ndeadline = \"1s\"\n")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["paused"]);
    assert!(view["reason"].is_string(), "{view:#}");
    let listed = client
        .get(&format!("/api/approvals?state=all&session={id}"))
        .with_status(200)
        .json();
    let expired = listed["approvals"][0].clone();
    assert_eq!(expired["state"], "expired");
    assert_eq!(
        decide(&client, &expired, "approve", &json!({})),
        409,
        "too late"
    );
    assert_eq!(
        log_of(&deployment, &id, "output-1.log"),
        None,
        "the agent ran"
    );
    // Resuming asks again; it does not stand for an approval.
    let _resumed = deployment.loki(&["resume", &id]).ended_with(0);
    let _again = deployment.session_in(&client, &id, &["paused"]);
    let listed = client
        .get(&format!("/api/approvals?state=all&session={id}"))
        .with_status(200)
        .json();
    assert!(
        listed["approvals"].as_array().unwrap().len() >= 2,
        "{listed:#}"
    );
    assert_eq!(
        log_of(&deployment, &id, "output-1.log"),
        None,
        "the agent ran"
    );
}

#[test]
fn the_runtime_killed_while_it_waits_lets_nothing_through() {
    let mut deployment = deployment(writing(), STAGED).start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    deployment.kill_runtime();
    deployment.start_runtime();
    let view = client
        .get(&format!("/api/sessions/{id}"))
        .with_status(200)
        .json();
    assert_ne!(view["state"], "completed", "{view:#}");
    assert_eq!(
        log_of(&deployment, &id, "output-1.log"),
        None,
        "the agent ran"
    );
    assert!(["cancelled", "requested"].contains(&state_of(&client, &first).as_str()));
    assert_eq!(project.branches(), ["main"]);
}

#[test]
fn the_command_line_lists_shows_and_decides() {
    let deployment = deployment(
        Agent::doing("printf 'a\\033[2Jb\\342\\200\\256c\\n' >odd.txt"),
        STAGED,
    )
    .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    let name = first["id"].as_str().unwrap();
    let listed = deployment
        .loki(&["approvals", "list"])
        .ended_with(0)
        .output();
    assert!(listed.contains(name), "{listed}");
    let _refused = deployment
        .loki(&["approvals", "reject", name])
        .ended_with(2);
    let shown = deployment
        .loki(&["approvals", "show", name, "--json"])
        .ended_with(0)
        .json();
    assert_eq!(shown["digest"], first["digest"]);
    let digest = first["digest"].as_str().unwrap();
    let _done = deployment
        .loki(&[
            "approvals",
            "approve",
            name,
            "--digest",
            digest,
            "--reason",
            "fine",
        ])
        .ended_with(0);
    let second = waiting(&deployment, &client, &id, "hand_over");
    let name = second["id"].as_str().unwrap();
    let shown = deployment
        .loki(&["approvals", "show", name])
        .ended_with(0)
        .output();
    assert!(shown.contains("a\\u{1b}[2Jb\\u{202e}c"), "{shown}");
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
        "{shown}"
    );
    let _done = deployment
        .loki(&["approvals", "reject", name, "--reason", "odd"])
        .ended_with(0);
    let _view = deployment.session_in(&client, &id, &["stopped"]);
    assert_eq!(project.branches(), ["main"]);
}
