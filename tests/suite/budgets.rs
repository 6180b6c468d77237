//! A session whose budget is used up pauses and asks; it neither goes on nor is lost.

use serde_json::{Value, json};
use tests::agent::Agent;
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
