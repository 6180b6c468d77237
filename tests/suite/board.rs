//! The task board: what may be put on it, who may see it, and that each change is recorded.

use serde_json::{Value, json};
use tests::deployment::Deployment;

#[test]
fn tasks_that_say_nothing_or_belong_to_others_are_refused() {
    let deployment = Deployment::builder().with_tokens().start();
    let nobody = deployment.client();
    let viewer = deployment.token("viewer", &["--role", "viewer"]);
    let viewer = nobody.with_token(&viewer.raw);
    let good = json!({"title": "Repair it."});
    let _lesser = viewer.post("/api/tasks", &good).with_status(403);
    let operator = deployment.token("operator", &["--role", "operator"]);
    let operator = nobody.with_token(&operator.raw);
    let _manages = operator.post("/api/tasks", &good).with_status(201);
    let writer = deployment.token("writer", &["--scopes", "read,write"]);
    let writer = nobody.with_token(&writer.raw);
    for body in [
        json!({}),
        json!({"title": " "}),
        json!({"title": "a\nb"}),
        json!({"title": "x".repeat(201)}),
        json!({"title": "x", "status": "done"}),
        json!({"title": "x", "description": "x".repeat(17_000)}),
    ] {
        let answer = writer.post("/api/tasks", &body);
        assert!(
            matches!(answer.status, 400 | 422),
            "{body}: {}",
            answer.text()
        );
    }
    for target in ["/api/tasks/task-000000000000", "/api/tasks/nonsense"] {
        let _unknown = writer.get(target).with_status(404);
    }
    let _wrong = writer.get("/api/tasks?status=done").with_status(400);
}

#[test]
fn tasks_are_made_changed_moved_and_recorded() {
    let mut deployment = Deployment::builder().start();
    let client = deployment.client();
    let made = client.post("/api/tasks", &json!({"title": "Later.", "priority": 1}));
    let later = made.with_status(201).json();
    let made = client.post("/api/tasks", &json!({"title": "Soon.", "priority": 5}));
    let soon = made.with_status(201).json();
    assert_eq!(soon["status"], "pending", "{soon:#}");
    let path = format!("/api/tasks/{}", soon["id"].as_str().unwrap());
    let changed = json!({"title": "Now.", "description": "All of it.", "priority": 9});
    let answer = client.request("PUT", &path).json(&changed).send();
    assert_eq!(answer.with_status(200).json()["title"], "Now.");
    let moved = client.post(&format!("{path}/move"), &json!({"status": "in_progress"}));
    assert_eq!(moved.with_status(200).json()["status"], "in_progress");
    deployment.kill_runtime();
    deployment.start_runtime();
    tests::poll::until("the runtime is asked again", || {
        (client.get("/api/status").status == 200).then_some(())
    });
    let listed = client.get("/api/tasks").with_status(200).json();
    let titles: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["title"])
        .collect();
    assert_eq!(titles, ["Now.", "Later."]);
    let status = client.get("/api/status").with_status(200).json();
    assert_eq!(status["pending_tasks"], 1, "{status:#}");
    let pending = client
        .get("/api/tasks?status=pending")
        .with_status(200)
        .json();
    assert_eq!(pending, json!([later]));
    let _gone = client.request("DELETE", &path).send().with_status(204);
    let _unknown = client.get(&path).with_status(404);
    for (action, count) in [("task.create", 2), ("task.update", 2), ("task.delete", 1)] {
        let records = deployment.audit().of_action(action);
        let outcomes = records
            .iter()
            .filter(|record| record["phase"] == "outcome")
            .filter(|record| {
                record["resource"]
                    .as_str()
                    .is_some_and(|it| it.starts_with("task:task-"))
            });
        assert_eq!(outcomes.count(), count, "{action}: {records:#?}");
    }
}
