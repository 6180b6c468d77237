//! What reaches the runtime's socket: no forged identity, no credential, no hop-by-hop field.

use tests::capture::{Capture, Captured};
use tests::client::Client;
use tests::deployment::Deployment;

const ANSWER: &str = "{}";

struct Front {
    capture: Capture,
    client: Client,
    _deployment: Deployment,
}

impl Front {
    fn new() -> Self {
        let builder = Deployment::builder().with_tokens().without_runtime();
        let deployment = builder.start();
        let capture = Capture::listen(&deployment.home().runtime_socket(), ANSWER);
        let token = deployment.token("ci-bot", &["--scopes", "*"]);
        Self {
            capture,
            client: deployment.client().with_token(&token.raw),
            _deployment: deployment,
        }
    }

    /// Sends a request with one more field and returns what arrived, if anything did.
    fn arrives(&self, name: &str, value: &str) -> Option<Captured> {
        let before = self.capture.requests_for("GET /api/status").len();
        let request = self.client.request("GET", "/api/status");
        let answer = request.field(name, value).send();
        let mut arrived = self.capture.requests_for("GET /api/status");
        if arrived.len() > before {
            return arrived.pop();
        }
        assert!(
            matches!(answer.status, 400..=499),
            "{name}: {value}: {}",
            answer.status
        );
        None
    }
}

#[test]
fn forged_identity_never_crosses() {
    let front = Front::new();
    let forged = "forged-by-the-caller";
    for name in [
        "X-Loki-Caller",
        "x-loki-caller",
        "X-LOKI-CALLER",
        "X_Loki_Caller",
        "X-Loki_Caller",
        "x-loki-audit",
        "X-Loki-Scopes",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-User",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
        "X-Client-Cert",
        "X-Request-Id",
        "Via",
        "Cookie",
        "Proxy-Authorization",
    ] {
        if let Some(captured) = front.arrives(name, forged) {
            assert!(
                !captured.head.contains(forged),
                "{name} crossed:\n{}",
                captured.head
            );
            assert_statement(&captured);
        }
    }
}

#[test]
fn a_caller_cannot_have_our_own_fields_removed_as_hop_by_hop() {
    let front = Front::new();
    for value in [
        "x-loki-caller",
        "close, X-Loki-Caller",
        "x-forwarded-for",
        "host",
        "content-length",
    ] {
        if let Some(captured) = front.arrives("Connection", value) {
            assert_statement(&captured);
            assert_eq!(captured.values("host").len(), 1, "{}", captured.head);
            let connection = captured.values("connection").join(",").to_ascii_lowercase();
            assert!(!connection.contains("x-loki"), "{}", captured.head);
        }
    }
}

#[test]
fn hop_by_hop_fields_never_cross() {
    let front = Front::new();
    for (name, value) in [
        ("TE", "trailers"),
        ("Trailer", "Expires"),
        ("Keep-Alive", "timeout=1000"),
        ("Proxy-Connection", "keep-alive"),
        ("Upgrade", "websocket"),
        ("Expect", "100-continue"),
    ] {
        if let Some(captured) = front.arrives(name, value) {
            assert_eq!(
                captured.values(name),
                Vec::<&str>::new(),
                "{}",
                captured.head
            );
        }
    }
    let request = front.client.request("GET", "/api/status");
    let _answer = request
        .field("Connection", "X-Secret-Hop")
        .field("X-Secret-Hop", "for the next hop alone")
        .send();
    for captured in front.capture.requests_for("GET /api/status") {
        assert!(
            !captured.head.contains("for the next hop alone"),
            "{}",
            captured.head
        );
    }
}

#[test]
fn the_caller_s_token_never_crosses() {
    let front = Front::new();
    let captured = front
        .arrives("Accept", "application/json")
        .expect("it is forwarded");
    assert_eq!(captured.values("authorization"), Vec::<&str>::new());
    assert!(!captured.head.contains("loki_"), "{}", captured.head);
    assert_statement(&captured);
    assert_eq!(captured.values("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn what_arrives_is_what_was_sent() {
    let front = Front::new();
    let target = "/api/sessions/sess-abc123abc123/events?after=5&limit=10";
    let _answer = front.client.get(target).with_status(200);
    let line = format!("GET {target} HTTP/1.1\r\n");
    assert_eq!(front.capture.requests_for(&line).len(), 1);
}

#[test]
fn disguised_paths_and_framings_never_cross() {
    let front = Front::new();
    let before = front.capture.requests_for("").len();
    let token = front.client.request("GET", "/").send();
    assert_eq!(token.status, 200);
    for target in [
        "/api/../internal/figures",
        "/api//status",
        "/api/%73tatus",
        "/api/status%00",
        "/api/status#fragment",
        "/api\\status",
        "/api/./status",
        "//internal/figures",
        "/internal/figures",
        "http://runtime/internal/figures",
        "*",
    ] {
        let answer = front.client.request("GET", target).try_send();
        let status = answer.map_or(0, |answer| answer.status);
        assert!(matches!(status, 0 | 400..=499), "{target}: {status}");
    }
    for (name, value) in [
        ("Transfer-Encoding", "chunked"),
        ("Transfer-Encoding", "gzip, chunked"),
        ("Content-Length", "5, 5"),
        ("Content-Length", "+5"),
    ] {
        let request = front.client.request("POST", "/api/control/stop");
        let answer = request.field(name, value).body(b"0\r\n\r\n").try_send();
        let status = answer.map_or(0, |answer| answer.status);
        assert!(matches!(status, 0 | 400..=499), "{name}: {value}: {status}");
    }
    let arrived: Vec<String> = front
        .capture
        .requests()
        .into_iter()
        .skip(before)
        .map(|captured| captured.head)
        .filter(|head| head.contains(" /api/") || head.contains("POST"))
        .collect();
    assert_eq!(arrived, Vec::<String>::new());
}

#[test]
fn internal_fields_of_the_runtime_never_reach_the_caller() {
    let deployment = Deployment::builder().start();
    let answer = deployment.client().get("/api/status").with_status(200);
    let internal: Vec<_> = answer
        .fields
        .iter()
        .filter(|(name, _)| name.to_ascii_lowercase().starts_with("x-loki-"))
        .collect();
    assert!(internal.is_empty(), "{internal:?}");
    assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
}

fn assert_statement(captured: &Captured) {
    let statements = captured.values("x-loki-caller");
    assert_eq!(
        statements.len(),
        1,
        "exactly our own statement:\n{}",
        captured.head
    );
    assert!(statements[0].contains('.'), "{}", captured.head);
}
