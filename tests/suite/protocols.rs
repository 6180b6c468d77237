//! A refusal reaches the caller whole, also over HTTP/2 and while its body is still under way.

use tests::command::{self, Finished};
use tests::deployment::Deployment;
use tests::poll;

/// Runs curl with one more line of its configuration per request.
fn curl(deployment: &Deployment, arguments: &[&str]) -> Finished {
    let mut command = deployment.foreign_command("curl");
    command
        .args([
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{http_version}",
        ])
        .arg("--cacert")
        .arg(deployment.root().join("server-cert.pem"))
        .args(arguments);
    command::run(&mut command)
}

#[test]
fn a_refusal_reaches_whoever_is_still_sending() {
    let deployment = Deployment::builder().with_tokens().with_tls().start();
    let url = deployment
        .endpoint()
        .unwrap()
        .url
        .replace("127.0.0.1", "localhost");
    let sessions = format!("{url}/api/sessions");
    std::fs::write(deployment.user_home().join("large"), "x".repeat(200_000)).unwrap();
    for round in 0..poll::rounds(20, 200) {
        for body in ["{}", "@large"] {
            for (version, shown) in [("--http2", "2"), ("--http1.1", "1.1")] {
                let finished = curl(&deployment, &[version, "-X", "POST", "-d", body, &sessions]);
                assert_eq!(
                    finished.output(),
                    format!("401 {shown}"),
                    "round {round} {version}"
                );
            }
        }
    }
}

#[test]
fn both_versions_are_served_alike() {
    let deployment = Deployment::builder().with_tokens().with_tls().start();
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let url = deployment
        .endpoint()
        .unwrap()
        .url
        .replace("127.0.0.1", "localhost");
    let bearer = format!("Authorization: Bearer {}", token.raw);
    for (version, shown) in [("--http2", "2"), ("--http1.1", "1.1")] {
        for (path, status) in [
            ("/health", 200),
            ("/api/status", 200),
            ("/metrics", 200),
            ("/api/sessions/sess-000000000000", 404),
            ("/api/nothing", 404),
            ("/api/enterprise/audit", 403),
        ] {
            let target = format!("{url}{path}");
            let finished = curl(&deployment, &[version, "-H", &bearer, &target]);
            assert_eq!(
                finished.output(),
                format!("{status} {shown}"),
                "{version} {path}"
            );
        }
        let two = [
            "-H",
            &bearer,
            "-H",
            &bearer,
            version,
            &format!("{url}/api/status"),
        ];
        assert_eq!(curl(&deployment, &two).output(), format!("400 {shown}"));
    }
}

#[test]
fn a_refused_request_with_a_short_body_does_not_cost_the_connection() {
    let deployment = Deployment::builder().with_tokens().with_tls().start();
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    let ask = client.request("POST", "/api/control/stop").body(b"{}");
    let mut connection = client.connect();
    for _ in 0..3 {
        let answer = connection.send(&ask);
        assert_eq!(answer.status, 403);
        assert_ne!(answer.field("connection"), Some("close"));
    }
    let waits = client
        .request("POST", "/api/control/stop")
        .field("Expect", "100-continue")
        .body(b"{}");
    let answer = connection.send(&waits);
    assert_eq!(
        (answer.status, answer.field("connection")),
        (403, Some("close")),
        "a body that may never come"
    );
}
