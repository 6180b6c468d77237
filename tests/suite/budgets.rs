//! A session whose budget is used up pauses and asks; it neither goes on nor is lost.

use serde_json::{Value, json};
use tests::agent::Agent;
use tests::approval::{decide, waiting};
use tests::deployment::{Deployment, session_request};

/// An agent that costs 60 cents and 100 tokens each time, and is never done.
fn costly() -> Agent {
    let event = json!({"type": "result", "subtype": "success", "is_error": false,
        "total_cost_usd": 0.6, "usage": {"input_tokens": 90, "output_tokens": 10}});
    Agent::doing(&format!("echo x >>work.txt\necho '{event}'"))
}

fn deployment(settings: &str) -> Deployment {
    Deployment::builder()
        .with_dialect("claude", costly(), "claude")
        .with_verification(&["/bin/sh", "test.sh"])
        .with_variable("LOKI_MAX_ITERATIONS", "6")
        .with_runtime_settings(settings)
        .start()
}

#[test]
fn a_budget_that_loosens_or_is_none_is_refused() {
    let deployment = deployment("budget.usd = \"1\"\n");
    let client = deployment.client();
    let project = deployment.project("app");
    for budget in [json!(2), json!(-1), json!("1")] {
        let mut body = session_request(project.path());
        body["budget_usd"] = budget;
        let answer = client.post("/api/sessions", &body);
        assert!(matches!(answer.status, 400 | 422), "{}", answer.text());
    }
}

#[test]
fn a_used_up_budget_pauses_the_session_until_a_person_grants_it_again() {
    let check = |settings: &str, body_budget: Value| {
        let deployment = deployment(settings);
        let client = deployment.client();
        let project = deployment.project("app");
        let mut body = session_request(project.path());
        if !body_budget.is_null() {
            body["budget_usd"] = body_budget;
        }
        let answer = client.post("/api/sessions", &body).with_status(201);
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let view = deployment.session_in(&client, &id, &["paused"]);
        let why = view["reason"].as_str().unwrap_or_default();
        assert!(why.contains("budget"), "{why}");
        assert_eq!(view["iteration"], 2, "{view:#}");
        assert_eq!(project.branches(), ["main"], "nothing is handed over");
        let finished = deployment.loki(&["resume"]).ended_with(0);
        assert!(!finished.text().contains("paused"), "{finished}");
        let view = deployment.session_in(&client, &id, &["paused"]);
        assert_eq!(view["iteration"], 4, "{view:#}");
        assert_eq!(view["usage"]["budgets_granted"], 1, "{view:#}");
        let _stopped = deployment.loki(&["stop"]).ended_with(0);
    };
    check("", json!(1.0));
    check("budget.usd = \"1.10\"\n", Value::Null);
    check("budget.tokens = 190\n", Value::Null);
}

#[test]
fn one_resume_grants_a_budget_also_after_a_restart() {
    let mut deployment = deployment("budget.usd = \"1\"\n");
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let _paused = deployment.session_in(&client, &id, &["paused"]);
    deployment.kill_runtime();
    deployment.start_runtime();
    let view = deployment.session_in(&client, &id, &["paused"]);
    assert_eq!(view["usage"]["budgets_granted"], 0, "{view:#}");
    let _resumed = deployment.loki(&["resume", &id]).ended_with(0);
    let view = tests::poll::until("the budget is granted and used up again", || {
        let view = client.get(&format!("/api/sessions/{id}")).json();
        (view["state"] == "paused" && view["iteration"] == 4).then_some(view)
    });
    assert_eq!(view["usage"]["budgets_granted"], 1, "{view:#}");
}

#[test]
fn in_the_modes_that_ask_a_budget_is_an_approval() {
    let deployment = Deployment::builder()
        .with_dialect("claude", costly(), "claude")
        .with_verification(&["/bin/sh", "test.sh"])
        .with_variable("LOKI_AUTONOMY_MODE", "checkpoint")
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_runtime_settings("budget.usd = \"0.5\"\n")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    assert_eq!(decide(&client, &first, "approve", &json!({})), 200);
    let budget = waiting(&deployment, &client, &id, "budget");
    let asks = budget["summary"].as_str().unwrap();
    assert!(asks.contains("0.60 of 0.50 US dollars"), "{asks}");
    assert_eq!(decide(&client, &budget, "approve", &json!({})), 200);
    let next = waiting(&deployment, &client, &id, "iteration_end");
    let view = client.get(&format!("/api/sessions/{id}")).json();
    assert_eq!(view["usage"]["budgets_granted"], 1, "{view:#}");
    assert_eq!(decide(&client, &next, "approve", &json!({})), 200);
    let budget = waiting(&deployment, &client, &id, "budget");
    let no = json!({"reason": "enough"});
    assert_eq!(decide(&client, &budget, "reject", &no), 200);
    // Nothing more is spent; what there is may still be wanted.
    let last = waiting(&deployment, &client, &id, "hand_over");
    assert_eq!(decide(&client, &last, "reject", &no), 200);
    let view = deployment.session_in(&client, &id, &["stopped"]);
    assert_eq!(view["iteration"], 2, "{view:#}");
    assert_eq!(project.branches(), ["main"]);
}

#[test]
fn a_budget_that_is_not_granted_within_an_iteration_ends_it_and_hands_over_what_is_wanted() {
    let deployment = Deployment::builder()
        .with_dialect("claude", busy(), "claude")
        .with_variable("LOKI_AUTONOMY_MODE", "checkpoint")
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_runtime_settings("budget.tokens = 50\n")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let first = waiting(&deployment, &client, &id, "first_run");
    assert_eq!(decide(&client, &first, "approve", &json!({})), 200);
    let budget = waiting(&deployment, &client, &id, "budget");
    let no = json!({"reason": "enough"});
    assert_eq!(decide(&client, &budget, "reject", &no), 200);
    let last = waiting(&deployment, &client, &id, "hand_over");
    assert_eq!(decide(&client, &last, "approve", &json!({})), 200);
    let view = deployment.session_in(&client, &id, &["stopped"]);
    let why = view["reason"].as_str().unwrap();
    assert!(why.contains("did not approve: enough"), "{why}");
    assert_eq!(view["iteration"], 1, "{view:#}");
    assert_eq!(project.branches().len(), 2, "{:?}", project.branches());
}

/// Says what it used, and then works on and on.
fn busy() -> Agent {
    let message = json!({"type": "assistant", "message": {"id": "m", "content": [],
        "usage": {"input_tokens": 90, "output_tokens": 10}}});
    Agent::doing(&format!(
        "echo '{message}'\nn=0; while :; do n=$((n+1)); echo $n >ticks; sleep 0.05; done"
    ))
}

#[test]
fn a_budget_that_is_used_up_within_an_iteration_freezes_the_agent() {
    for settings in ["budget.tokens = 50\n", "budget.work_seconds = 1\n"] {
        let deployment = Deployment::builder()
            .with_dialect("claude", busy(), "claude")
            .with_runtime_settings(settings)
            .start();
        let client = deployment.client();
        let id = deployment.start_session(&client, deployment.project("app").path());
        let view = deployment.session_in(&client, &id, &["paused"]);
        let why = view["reason"].as_str().unwrap();
        assert!(why.contains("the budget is used up"), "{settings}: {why}");
        assert_eq!(view["iteration"], 1, "{view:#}");
        let ticks = || {
            let folder = deployment.home().runtime().join("sessions").join(&id);
            std::fs::read_to_string(folder.join("workspace/ticks")).unwrap_or_default()
        };
        let frozen = ticks();
        // Another session of the same deployment is started and seen to work meanwhile.
        let other = deployment.start_session(&client, deployment.project("other").path());
        let _paused = deployment.session_in(&client, &other, &["paused"]);
        assert_eq!(ticks(), frozen, "it went on");
        // On a busy machine more may be used up than is granted at once: then it is asked again.
        let mut resumed = 0;
        tests::poll::until("the same run goes on", || {
            let view = client.get(&format!("/api/sessions/{id}")).json();
            if view["state"] == "paused" && view["usage"]["budgets_granted"] == resumed {
                let _resumed = deployment.loki(&["resume", &id]).ended_with(0);
                resumed += 1;
            }
            (ticks() != frozen).then_some(())
        });
        let view = client.get(&format!("/api/sessions/{id}")).json();
        assert_eq!(view["usage"]["budgets_granted"], resumed, "{view:#}");
        assert_eq!(view["iteration"], 1, "{view:#}");
        for id in [&id, &other] {
            let _stopped = deployment.loki(&["stop", id]).ended_with(0);
        }
    }
}
