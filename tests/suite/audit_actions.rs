//! Whatever is asked is recorded under its own action, as the operation table says; the list is the table
//! itself, so a new row is looked at from the moment it exists.

use std::collections::BTreeMap;

use config::contract::operation::{Access, Method, OPERATIONS, Operation, Recorded};
use serde_json::{Value, json};
use tests::capture::Capture;
use tests::client::Client;
use tests::deployment::Deployment;

/// Asks for an operation and returns the request's id.
fn ask(client: &Client, operation: &Operation) -> String {
    let target = operation.path.replace("{id}", "sess-000000000000");
    let request = client.request(operation.method.name(), &target);
    let answer = match operation.method {
        Method::Post | Method::Put if operation.body_bytes_max > 0 => {
            request.json(&json!({})).send()
        }
        Method::Get | Method::Delete | Method::Post | Method::Put => request.send(),
    };
    assert!(
        !matches!(answer.status, 401 | 403 | 429),
        "{operation}: {}",
        answer.text()
    );
    let id = answer.field("x-request-id").map(str::to_owned);
    id.unwrap_or_else(|| panic!("{operation}: an answer without an id"))
}

/// The phases that the trail owes for an operation.
fn owed(operation: &Operation) -> &'static [&'static str] {
    match operation.recorded {
        Recorded::Counted => &[],
        Recorded::Read => &["end"],
        Recorded::Mutation => &["decision", "outcome", "end"],
    }
}

#[test]
fn every_operation_is_recorded_under_its_own_action() {
    let mut deployment = Deployment::builder()
        .without_runtime()
        .with_tokens()
        .with_gateway_settings("[rates]\nread = \"off\"\nchange = \"off\"\naudit = \"off\"\n")
        .start();
    let _runtime = Capture::listen(&deployment.home().runtime_socket(), "{}");
    let token = deployment.token("everything", &["--scopes", "*"]);
    let client = deployment.client().with_token(&token.raw);
    let asked: Vec<(&Operation, String)> = OPERATIONS
        .iter()
        .filter(|operation| matches!(operation.access, Access::Scoped(_)))
        .map(|operation| (operation, ask(&client, operation)))
        .collect();
    assert!(asked.len() > 50, "{}", asked.len());
    assert_eq!(deployment.stop_gateway(), Some(0));
    let mut by_request: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in deployment.audit().records() {
        let id = record["request_id"].as_str().unwrap_or_default().to_owned();
        by_request.entry(id).or_default().push(record);
    }
    for (operation, id) in asked {
        let records = by_request.remove(&id).unwrap_or_default();
        let phases: Vec<&str> = records
            .iter()
            .filter_map(|record| record["phase"].as_str())
            .collect();
        assert_eq!(phases, owed(operation), "{operation}: {records:#?}");
        for record in records {
            assert_eq!(record["action"], operation.action, "{operation}: {record}");
            assert_eq!(record["user"], "token:everything", "{operation}: {record}");
            assert_eq!(record["token_id"], token.id, "{operation}: {record}");
        }
    }
}
