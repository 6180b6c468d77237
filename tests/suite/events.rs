//! A session's events are numbered without a gap, survive the runtime, and come in pages.

use serde_json::Value;
use tests::agent::Agent;
use tests::client::Client;
use tests::deployment::Deployment;

fn events(client: &Client, id: &str, query: &str) -> Vec<Value> {
    let target = format!("/api/sessions/{id}/events{query}");
    let page = client.get(&target).with_status(200).json();
    page["events"].as_array().unwrap().clone()
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect()
}

#[test]
fn wrong_questions_are_refused() {
    let deployment = Deployment::builder().start();
    let client = deployment.client();
    for (target, status) in [
        ("/api/sessions/sess-000000000000/events", 404),
        ("/api/sessions/nonsense/events", 404),
        ("/api/sessions/sess-000000000000", 404),
    ] {
        let _refused = client.get(target).with_status(status);
    }
}

#[test]
fn events_are_numbered_without_a_gap_and_come_in_pages() {
    let mut deployment = Deployment::builder()
        .with_provider("claude", Agent::doing("seq 200"))
        .start();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let _view = deployment.session_in(&client, &id, &["completed"]);
    let mut all = Vec::new();
    loop {
        let after = all.len();
        let page = events(&client, &id, &format!("?after={after}&limit=7"));
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 7);
        all.extend(page);
    }
    let count = u64::try_from(all.len()).unwrap();
    assert_eq!(numbers(&all), (1..=count).collect::<Vec<_>>());
    let states: Vec<&str> = all
        .iter()
        .filter(|event| event["type"] == "state")
        .filter_map(|event| event["data"]["to"].as_str())
        .collect();
    assert_eq!(states.last(), Some(&"completed"), "{states:?}");
    deployment.stop_runtime();
    deployment.start_runtime();
    tests::poll::until("the runtime is asked again", || {
        (client.get("/api/status").status == 200).then_some(())
    });
    assert_eq!(events(&client, &id, "?after=0&limit=5"), all[..5]);
    for query in ["?after=-1", "?after=x", "?limit=0", "?limit=1000000000"] {
        let target = format!("/api/sessions/{id}/events{query}");
        let _refused = client.get(&target).with_status(400);
    }
}
