//! The listeners beside the main one answer what they are for, and nothing else.

use std::net::TcpStream;

use tests::client::Client;
use tests::command;
use tests::deployment::Deployment;
use tests::installation::{Installation, free_port};
use tests::poll;

fn plain(port: u16) -> Client {
    Client::plain(([127, 0, 0, 1], port).into())
}

#[test]
fn operations_are_health_and_metrics_alone() {
    let port = free_port();
    let deployment = Deployment::builder()
        .with_tokens()
        .with_tls()
        .with_gateway_settings(&format!("[operations]\nlisten = \"127.0.0.1:{port}\"\n"))
        .start();
    let operations = plain(port);
    for (method, path, status) in [
        ("GET", "/api/status", 404),
        ("GET", "/", 404),
        ("GET", "/internal/figures", 404),
        ("GET", "/health/live/..", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/health", 405),
        ("GET", "/health", 200),
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
    ] {
        let answer = operations.request(method, path).send();
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    }
    let token = deployment.token("admin", &["--role", "admin"]);
    let with_token = operations.with_token(&token.raw);
    let _not_here = with_token.get("/api/status").with_status(404);
    let metrics = operations.get("/metrics");
    assert!(metrics.text().contains("loki_up{process=\"gateway\"} 1"));
    let main = deployment.client();
    let _demanded = main.get("/metrics").with_status(401);
}

#[test]
fn plain_http_is_redirected_to_the_same_path_on_our_own_names_alone() {
    let port = free_port();
    let deployment = Deployment::builder()
        .with_tokens()
        .with_tls()
        .with_gateway_settings(&format!(
            "[redirect]\nlisten = \"127.0.0.1:{port}\"\n[listen]\nhost_names = [\"gateway.example.org\"]\n"
        ))
        .start();
    let redirect = plain(port);
    for host in [
        "evil.example.org",
        "gateway.example.org.evil.example.org",
        "gateway.example.org@evil.example.org",
        "gateway.example.org/x",
        "",
    ] {
        let answer = redirect.request("GET", "/api/status").host(host).send();
        assert_eq!(answer.status, 400, "{host}");
        assert_eq!(answer.field("location"), None);
    }
    let twice = redirect
        .request("GET", "/")
        .host("gateway.example.org")
        .field("Host", "gateway.example.org")
        .send();
    assert_eq!(twice.status, 400);
    let url = deployment.endpoint().expect("it listens").url;
    let main_port = url.rsplit(':').next().expect("a port");
    let answer = redirect
        .request("POST", "/api/sessions?x=1")
        .host("Gateway.example.org:80")
        .field("Authorization", "Bearer loki_secret")
        .send();
    assert_eq!(answer.status, 308);
    let expected = format!("https://Gateway.example.org:{main_port}/api/sessions?x=1");
    assert_eq!(answer.field("location"), Some(expected.as_str()));
    assert!(!answer.text().contains("loki_secret"));
}

#[test]
fn a_side_listener_that_cannot_listen_or_has_no_sense_stops_the_start() {
    let installation = Installation::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let text = format!("[operations]\nlisten = \"127.0.0.1:{port}\"\n");
    installation.write_settings("gateway.toml", &text);
    let finished = command::run(installation.command("loki-gateway").args(["--port", "0"]));
    assert_eq!(finished.code, 1, "{finished}");
    assert!(finished.text().contains(&port.to_string()), "{finished}");
    installation.write_settings("gateway.toml", "[redirect]\nlisten = \"127.0.0.1:0\"\n");
    let finished = command::run(installation.command("loki-gateway").args(["--port", "0"]));
    assert_eq!(finished.code, 64, "{finished}");
    assert!(finished.text().contains("redirect.listen"), "{finished}");
}

#[test]
fn silent_connections_of_one_address_leave_operations_to_others() {
    let port = free_port();
    let deployment = Deployment::builder()
        .with_gateway_settings(&format!("[operations]\nlisten = \"127.0.0.1:{port}\"\n"))
        .start();
    let held: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("a connection"))
        .collect();
    let line = "loki_gateway_connections_dropped_total{reason=\"no_place\"}";
    let client = deployment.client();
    poll::until("one address has what it may have", || {
        let metrics = client.get("/metrics").with_status(200);
        metrics.text().contains(line).then_some(())
    });
    let mut curl = deployment.foreign_command("curl");
    curl.args([
        "-sS",
        "--interface",
        "127.0.0.2",
        "-w",
        "%{http_code}",
        "-o",
        "/dev/null",
    ])
    .arg(format!("http://127.0.0.1:{port}/health/live"));
    assert_eq!(command::run(&mut curl).output(), "200");
    drop(held);
    poll::until("places are given back", || {
        let answer = plain(port).request("GET", "/health/live").try_send()?;
        (answer.status == 200).then_some(())
    });
}
