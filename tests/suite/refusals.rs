//! Every operation refuses whoever may not use it. The list is the operation table itself, so a new
//! row is attacked from the moment it exists.

use config::contract::operation::{self, Access, Method, OPERATIONS, Operation};
use config::contract::scope::Scope;
use serde_json::{Value, json};
use tests::client::{Client, Response};
use tests::deployment::Deployment;
use tests::token::{self, Token};

/// What a caller may hold, one token of each kind.
struct Holders {
    deployment: Deployment,
    nobody: Client,
    expired: Token,
    revoked: Token,
    by_scope: Vec<(Scope, Token)>,
}

impl Holders {
    fn new() -> Self {
        // Every operation is tried with every bad credential; that is more than a network is forgiven.
        let deployment = Deployment::builder()
            .with_tokens()
            .with_gateway_settings("[limits]\nfailed_credentials_max = 1000000\n")
            .start();
        let expired = deployment.token("expired", &["--scopes", "*", "--expires", "1"]);
        expire(&deployment, &expired);
        let revoked = deployment.token("revoked", &["--scopes", "*"]);
        let _done = deployment
            .loki(&["enterprise", "token", "revoke", "revoked"])
            .ended_with(0);
        let by_scope = Scope::EVERY
            .into_iter()
            .map(|scope| {
                let name = format!(
                    "holder-{}",
                    if scope == Scope::All {
                        "all"
                    } else {
                        scope.name()
                    }
                );
                (scope, deployment.token(&name, &["--scopes", scope.name()]))
            })
            .collect();
        Self {
            nobody: deployment.client(),
            deployment,
            expired,
            revoked,
            by_scope,
        }
    }

    fn token_with(&self, scope: Scope) -> &Token {
        let (_, token) = self
            .by_scope
            .iter()
            .find(|(held, _)| *held == scope)
            .expect("there is a token of each scope");
        token
    }
}

/// Puts a token's expiry into the past: no test waits for a day.
fn expire(deployment: &Deployment, token: &Token) {
    let path = deployment.home().tokens();
    let text = std::fs::read_to_string(&path).expect("the token file");
    let mut stored: Value = serde_json::from_str(&text).expect("JSON");
    let record = record_of(&mut stored, &token.id).expect("the token's record");
    record["expires_at"] = json!("2020-01-01T00:00:00Z");
    std::fs::write(&path, stored.to_string()).expect("it can be written");
}

fn record_of<'stored>(stored: &'stored mut Value, id: &str) -> Option<&'stored mut Value> {
    match stored {
        Value::Object(members) if members.get("id").is_some_and(|found| found == id) => {
            Some(stored)
        }
        Value::Object(members) => members.values_mut().find_map(|inner| record_of(inner, id)),
        Value::Array(items) => items.iter_mut().find_map(|inner| record_of(inner, id)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn target(operation: &Operation) -> String {
    operation.path.replace("{id}", "sess-000000000000")
}

fn ask(client: &Client, operation: &Operation) -> Response {
    let request = client.request(operation.method.name(), &target(operation));
    match operation.method {
        Method::Get | Method::Delete => request.send(),
        Method::Post | Method::Put => request.json(&json!({})).send(),
    }
}

fn scoped() -> impl Iterator<Item = (&'static Operation, Scope)> {
    OPERATIONS
        .iter()
        .filter_map(|operation| match operation.access {
            Access::Public => None,
            Access::Scoped(scope) => Some((operation, scope)),
        })
}

/// A challenge as RFC 6750, section 3 wants it.
fn assert_challenge(answer: &Response, operation: &Operation, expected: &[&str]) {
    let challenge = answer.field("www-authenticate").unwrap_or_default();
    assert!(
        challenge.starts_with("Bearer"),
        "{operation}: {challenge:?}"
    );
    for part in expected {
        assert!(
            challenge.contains(part),
            "{operation}: {challenge:?} without {part}"
        );
    }
}

#[test]
fn every_operation_refuses_a_caller_without_credential() {
    let holders = Holders::new();
    for (operation, _) in scoped() {
        let answer = ask(&holders.nobody, operation).with_status(401);
        assert_challenge(&answer, operation, &[]);
        let challenge = answer.field("www-authenticate").unwrap_or_default();
        assert!(
            !challenge.contains("error"),
            "{operation}: no credential is no error"
        );
        assert!(answer.problem().request_id.is_some(), "{operation}");
    }
}

#[test]
fn every_operation_refuses_every_bad_credential_alike() {
    let holders = Holders::new();
    let good = &holders.token_with(Scope::All).raw;
    let altered = {
        let last = if good.ends_with('0') { '1' } else { '0' };
        format!("{}{last}", &good[..good.len() - 1])
    };
    let bad = [
        ("empty", String::new()),
        ("malformed", "loki_short".to_owned()),
        (
            "another product's",
            "ghp_0123456789012345678901234567890123456789".to_owned(),
        ),
        ("altered checksum", altered),
        ("unknown", token::unknown()),
        ("expired", holders.expired.raw.clone()),
        ("revoked", holders.revoked.raw.clone()),
        ("with a blank inside", format!("{good} {good}")),
    ];
    for (operation, _) in scoped() {
        let mut told = Vec::new();
        for (kind, raw) in &bad {
            let answer = ask(&holders.nobody.with_token(raw), operation);
            assert_eq!(
                answer.status, 401,
                "{operation} with a token that is {kind}"
            );
            assert_challenge(&answer, operation, &["error=\"invalid_token\""]);
            let mut problem = answer.problem();
            problem.request_id = None;
            told.push(problem);
        }
        assert!(
            told.windows(2).all(|pair| pair[0] == pair[1]),
            "{operation} tells which check failed: {told:#?}"
        );
    }
}

#[test]
fn every_operation_refuses_other_schemes() {
    let holders = Holders::new();
    let good = &holders.token_with(Scope::All).raw;
    for (operation, _) in scoped() {
        for value in [
            format!("Basic {good}"),
            good.clone(),
            format!("Bearer{good}"),
        ] {
            let answer = holders
                .nobody
                .request(operation.method.name(), &target(operation))
                .field("Authorization", &value)
                .send();
            assert_eq!(answer.status, 401, "{operation}: {value}");
        }
    }
}

#[test]
fn every_operation_refuses_two_credentials() {
    let holders = Holders::new();
    let good = &holders.token_with(Scope::All).raw;
    let both = [good.clone(), token::unknown()];
    for (operation, _) in scoped() {
        for second in &both {
            let answer = holders
                .nobody
                .with_token(good)
                .request(operation.method.name(), &target(operation))
                .field("authorization", &format!("Bearer {second}"))
                .send();
            assert_eq!(answer.status, 400, "{operation}");
        }
    }
}

#[test]
fn every_operation_ignores_a_token_in_the_query_or_a_cookie() {
    let holders = Holders::new();
    let good = &holders.token_with(Scope::All).raw;
    for (operation, _) in scoped() {
        for name in ["token", "access_token", "authorization"] {
            let target = format!("{}?{name}={good}", target(operation));
            let answer = holders
                .nobody
                .request(operation.method.name(), &target)
                .send();
            assert_eq!(answer.status, 401, "{operation} with {name}");
        }
        let answer = holders
            .nobody
            .request(operation.method.name(), &target(operation))
            .field("Cookie", &format!("token={good}; loki_token={good}"))
            .send();
        assert_eq!(answer.status, 401, "{operation}");
    }
}

#[test]
fn every_operation_refuses_every_lesser_scope_and_names_the_missing_one() {
    let holders = Holders::new();
    for (operation, needed) in scoped() {
        for (held, token) in &holders.by_scope {
            if held.includes(needed) {
                continue;
            }
            let answer = ask(&holders.nobody.with_token(&token.raw), operation);
            assert_eq!(answer.status, 403, "{operation} with {held}");
            let scope = format!("scope=\"{needed}\"");
            assert_challenge(
                &answer,
                operation,
                &["error=\"insufficient_scope\"", &scope],
            );
            assert_eq!(
                answer.problem().scope.as_deref(),
                Some(needed.name()),
                "{operation}"
            );
        }
    }
}

#[test]
fn every_operation_admits_every_sufficient_scope() {
    let holders = Holders::new();
    for (operation, needed) in scoped() {
        for (held, token) in &holders.by_scope {
            if !held.includes(needed) {
                continue;
            }
            let answer = ask(&holders.nobody.with_token(&token.raw), operation);
            let refused = matches!(answer.status, 401 | 403 | 405) || answer.status >= 500;
            assert!(
                !refused,
                "{operation} with {held}: {} {}",
                answer.status,
                answer.text()
            );
            // A WebSocket is opened by more than a plain request.
            let is_plain = !operation.path.contains('{') && !operation.stream;
            if is_plain && operation.method == Method::Get {
                assert_eq!(answer.status, 200, "{operation} with {held}");
            }
        }
    }
}

#[test]
fn public_operations_answer_everybody() {
    let holders = Holders::new();
    for operation in OPERATIONS.iter().filter(|row| row.access == Access::Public) {
        let answer = ask(&holders.nobody, operation);
        // A question without its body is not clear, but nobody is asked who it is.
        let expected = if operation.method == Method::Post {
            400
        } else {
            200
        };
        assert_eq!(answer.status, expected, "{operation}: {}", answer.text());
    }
}

#[test]
fn unknown_paths_are_401_without_and_404_with_a_token() {
    let holders = Holders::new();
    let anybody = &holders.token_with(Scope::Audit).raw;
    for path in [
        "/api/nothing",
        "/api",
        "/api/status/",
        "/API/STATUS",
        "/internal/figures",
        "/api/sessions/sess-1/events/more",
        "/favicon.ico",
        "/.git/config",
    ] {
        for method in ["GET", "POST", "DELETE", "PATCH"] {
            let answer = holders.nobody.request(method, path).send();
            assert_eq!(answer.status, 401, "{method} {path} without a token");
            let known = holders.nobody.with_token(anybody);
            let answer = known.request(method, path).send();
            assert_eq!(answer.status, 404, "{method} {path} with a token");
        }
    }
}

#[test]
fn a_wrong_method_is_405_and_names_the_right_ones() {
    let holders = Holders::new();
    let admin = holders
        .nobody
        .with_token(&holders.token_with(Scope::All).raw);
    for operation in OPERATIONS {
        let known = operation::methods_of(&target(operation));
        let others = ["PUT", "DELETE", "PATCH", "OPTIONS"];
        for method in others.into_iter().filter(|other| !known.contains(other)) {
            let answer = admin.request(method, &target(operation)).send();
            assert_eq!(answer.status, 405, "{method} {}", operation.path);
            let allowed = answer.field("allow").unwrap_or_default();
            assert!(
                allowed.contains(operation.method.name()),
                "{operation}: {allowed:?}"
            );
        }
    }
    let missing = holders.nobody.request("PUT", "/api/status").send();
    assert_eq!(
        missing.status, 401,
        "who is unknown learns nothing of methods"
    );
}

#[test]
fn refusals_change_nothing_and_never_reach_the_runtime() {
    let holders = Holders::new();
    let viewer = holders
        .nobody
        .with_token(&holders.token_with(Scope::Read).raw);
    let project = holders.deployment.project("app");
    let body = tests::deployment::session_request(project.path());
    let _no = viewer.post("/api/sessions", &body).with_status(403);
    let _no = holders.nobody.post("/api/sessions", &body).with_status(401);
    let listed = viewer.get("/api/sessions").with_status(200).json();
    assert_eq!(listed["sessions"], json!([]));
}
