//! Bytes that can be read in two ways never reach the runtime: the list is
//! `tests/attacks/requests.toml`, judged by what arrives at the runtime's socket.

use std::fs;

use serde::Deserialize;
use tests::capture::Capture;
use tests::deployment::Deployment;
use tests::poll;
use tests::programs;

#[derive(Deserialize)]
struct List {
    request: Vec<Attack>,
}

#[derive(Deserialize)]
struct Attack {
    why: String,
    bytes: String,
}

fn attacks() -> Vec<Attack> {
    let path = programs::project().join("tests/attacks/requests.toml");
    let text = fs::read_to_string(path).expect("the list");
    let list: List = toml::from_str(&text).expect("a list of requests");
    assert!(list.request.len() > 120, "{}", list.request.len());
    list.request
}

struct Target {
    deployment: Deployment,
    capture: Capture,
    token: String,
}

impl Target {
    fn new() -> Self {
        let deployment = Deployment::builder()
            .with_tokens()
            .without_runtime()
            .start();
        let capture = Capture::listen(&deployment.home().runtime_socket(), "{}");
        let token = deployment.token("ci-bot", &["--scopes", "*"]).raw;
        Self {
            deployment,
            capture,
            token,
        }
    }

    fn fill(&self, bytes: &str) -> Vec<u8> {
        let field = format!("Authorization: Bearer {}", self.token);
        bytes
            .replace("{AUTH}", &format!("{field}\r\n"))
            .replace("{AUTH_LF}", &format!("{field}\n"))
            .into_bytes()
    }
}

/// What an honest request with the same credential leads to, so that the list proves something.
fn assert_the_door_is_open(target: &Target) {
    let client = target.deployment.client().with_token(&target.token);
    let before = target.capture.requests().len();
    let _served = client.get("/api/status").with_status(200);
    assert_eq!(target.capture.requests().len(), before + 1);
}

#[test]
fn no_ambiguous_request_reaches_the_runtime() {
    let target = Target::new();
    assert_the_door_is_open(&target);
    let client = target.deployment.client();
    let mut failures = Vec::new();
    for attack in attacks() {
        let before = target.capture.requests().len();
        // Behind the attack comes a request that a second reader could find in its body.
        let mut bytes = target.fill(&attack.bytes);
        bytes.extend(target.fill("GET /api/sessions HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\n"));
        let answer = client.raw(&bytes);
        let text = String::from_utf8_lossy(&answer);
        let refused = text.is_empty()
            || ["400", "404", "405", "413", "414", "431"]
                .iter()
                .any(|status| text.starts_with(&format!("HTTP/1.1 {status} ")));
        let arrived: Vec<String> = target
            .capture
            .requests()
            .into_iter()
            .skip(before)
            .map(|captured| captured.head)
            // A request of its own behind one that was refused whole is no attack.
            .filter(|head| !head.starts_with("GET /api/sessions HTTP/1.1\r\n"))
            .collect();
        if !refused || !arrived.is_empty() {
            let first = text.lines().next().unwrap_or_default();
            failures.push(format!("{}: {first:?} {arrived:?}", attack.why));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_the_door_is_open(&target);
}

#[test]
fn a_malformed_request_ends_its_connection() {
    let target = Target::new();
    let client = target.deployment.client();
    for attack in attacks() {
        let mut bytes = target.fill(&attack.bytes);
        bytes.extend(target.fill("GET /api/sessions HTTP/1.1\r\nHost: localhost\r\n{AUTH}\r\n"));
        let answer = client.raw(&bytes);
        let text = String::from_utf8_lossy(&answer);
        if text.starts_with("HTTP/1.1 400 ") && text.contains("connection: close") {
            let answers = text.matches("\r\nx-request-id: ").count();
            assert_eq!(answers, 1, "{}: {text}", attack.why);
        }
    }
    assert_eq!(target.capture.requests_for("GET /internal"), []);
}

#[test]
fn answers_of_two_principals_are_never_swapped() {
    let deployment = Deployment::builder()
        .with_tokens()
        .without_runtime()
        .start();
    let socket = deployment.home().runtime_socket();
    // The answer names what was asked, so that a stray one shows.
    let _capture = Capture::scripted(&socket, |request, peer| {
        let target = request.head.split(' ').nth(1).unwrap_or_default();
        peer.write(
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}",
                target.len()
            )
            .as_bytes(),
        )
    });
    let rounds = poll::rounds(250, 2_500);
    std::thread::scope(|scope| {
        for name in ["one", "two", "three", "four"] {
            let token = deployment.token(name, &["--role", "viewer"]);
            let client = deployment.client().with_token(&token.raw);
            scope.spawn(move || {
                let mut connection = client.connect();
                for round in 0..rounds {
                    let target = format!("/api/status?{name}-{round}");
                    let answer = connection.send(&client.request("GET", &target));
                    assert_eq!(answer.text(), target);
                }
            });
        }
    });
}
