//! What HTTP says of `HEAD`, `OPTIONS` and `Expect` holds, for the runtime's operations as for our own.

use tests::capture::Capture;
use tests::command;
use tests::deployment::Deployment;

struct Edge {
    deployment: Deployment,
    capture: Capture,
    token: String,
}

impl Edge {
    fn new() -> Self {
        let deployment = Deployment::builder()
            .with_tokens()
            .without_runtime()
            .start();
        let capture = Capture::listen(&deployment.home().runtime_socket(), "{\"a\":1}");
        let token = deployment.token("admin", &["--role", "admin"]).raw;
        Self {
            deployment,
            capture,
            token,
        }
    }

    /// A request head with a credential, whose body of `length` bytes is to be asked for.
    fn expecting(&self, path: &str, length: usize) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n",
            self.token
        )
    }
}

#[test]
fn whoever_is_refused_is_not_asked_for_a_body_and_none_is_read_as_a_request() {
    let edge = Edge::new();
    let smuggled = "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let good = edge.expecting("/api/control/stop", smuggled.len());
    let nobody = good.replace(&edge.token, "loki_nobody");
    let long = edge.expecting("/api/control/stop", 1_000_000);
    let unknown = edge.expecting("/api/nothing", smuggled.len());
    for (head, status) in [(nobody, "401"), (long, "413"), (unknown, "404")] {
        let mut connection = edge.deployment.client().connect();
        connection.write(head.as_bytes());
        connection.write(smuggled.as_bytes());
        let told = connection.read_to_end();
        let told = String::from_utf8_lossy(&told);
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        let told = told.to_ascii_lowercase();
        assert!(told.contains("connection: close"), "{told}");
        assert!(!told.contains(" 100 continue"), "{told}");
        assert_eq!(told.matches("http/1.1").count(), 1, "{told}");
    }
    assert_eq!(edge.capture.requests(), []);
}

#[test]
fn whoever_is_admitted_is_asked_for_the_body_once_and_the_connection_goes_on() {
    let edge = Edge::new();
    let mut connection = edge.deployment.client().connect();
    let body = r#"{"name":"made","scopes":["read"]}"#;
    for (path, status) in [
        ("/api/control/stop", "200"),
        ("/api/enterprise/tokens", "201"),
        ("/api/control/stop", "200"),
    ] {
        connection.write(edge.expecting(path, body.len()).as_bytes());
        let asked = connection.read_until(b"\r\n\r\n");
        assert_eq!(
            String::from_utf8_lossy(&asked),
            "HTTP/1.1 100 Continue\r\n\r\n",
            "{path}"
        );
        connection.write(body.as_bytes());
        let told = connection.read_until(b"}");
        let told = String::from_utf8_lossy(&told);
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
    }
    let arrived = edge.capture.requests();
    assert_eq!(arrived.len(), 2, "{arrived:?}");
    for request in arrived {
        assert_eq!(request.body, body.as_bytes());
        assert_eq!(request.values("expect"), Vec::<&str>::new());
    }
}

#[test]
fn options_tells_the_methods_to_whoever_may_ask_and_reaches_nobody() {
    let edge = Edge::new();
    let client = edge.deployment.client();
    let options = |path: &str| client.request("OPTIONS", path);
    assert_eq!(options("/api/status").send().status, 401);
    assert_eq!(options("/api/nothing").send().status, 401);
    let client = client.with_token(&edge.token);
    for (path, methods) in [
        ("/api/status", vec!["GET", "HEAD"]),
        ("/api/sessions", vec!["GET", "HEAD", "POST"]),
    ] {
        let told = client.request("OPTIONS", path).send();
        assert_eq!(told.status, 405);
        let mut allowed: Vec<_> = told
            .field("allow")
            .unwrap_or_default()
            .split(", ")
            .collect();
        allowed.sort_unstable();
        assert_eq!(allowed, methods, "{path}");
    }
    assert_eq!(client.request("OPTIONS", "/api/nothing").send().status, 404);
    let star = client.request("OPTIONS", "*").send();
    assert_eq!(star.status, 400, "{}", star.text());
    assert_eq!(edge.capture.requests(), []);
}

#[test]
fn head_is_get_without_a_body_on_a_connection_that_goes_on() {
    let edge = Edge::new();
    let client = edge.deployment.client().with_token(&edge.token);
    let mut connection = client.connect();
    for path in ["/api/status", "/health/live", "/api/auth/whoami", "/"] {
        let head = connection.send(&client.request("HEAD", path));
        let whole = connection.send(&client.request("GET", path));
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(whole.status, 200, "{path}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.field(name), whole.field(name), "{path} {name}");
        }
        assert!(!whole.body.is_empty(), "{path}");
    }
    assert_eq!(edge.capture.requests_for("HEAD /api/status").len(), 1);
    let nobody = edge.deployment.client();
    let refused = nobody.request("HEAD", "/api/status").send();
    assert_eq!((refused.status, refused.body.len()), (401, 0));
}

#[test]
fn head_is_answered_over_http2_too() {
    let deployment = Deployment::builder().with_tls().with_tokens().start();
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let url = deployment.endpoint().expect("it listens").url;
    let url = url.replace("127.0.0.1", "localhost");
    for path in ["/api/status", "/health/live"] {
        let mut curl = deployment.foreign_command("curl");
        curl.args(["-sS", "-I", "--http2", "--cacert"])
            .arg(deployment.root().join("server-cert.pem"))
            .args(["-H", &format!("Authorization: Bearer {}", token.raw)])
            .arg(format!("{url}{path}"));
        let told = command::run(&mut curl).output();
        assert!(told.starts_with("HTTP/2 200"), "{path}: {told}");
    }
}
