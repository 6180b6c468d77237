//! Whatever a caller can make grow has a bound, and over it comes the right status.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use tests::capture::Capture;
use tests::client::Client;
use tests::deployment::Deployment;
use tests::poll;

fn deployment() -> Deployment {
    Deployment::builder()
        .with_gateway_settings(
            "[limits]\nheader_bytes_max = 4096\nheader_count_max = 20\ntarget_bytes_max = 512\n\
             connections_per_address_max = 8\n",
        )
        .start()
}

#[test]
fn too_much_of_a_request_is_refused_with_the_right_status() {
    let deployment = deployment();
    let client = deployment.client();
    let check = |what: &str, request: tests::client::Request<'_>, status: u16| {
        let found = request.try_send().map_or(0, |answer| answer.status);
        // A connection that is cut in the middle of sending is an answer too.
        assert!(found == status || found == 0, "{what}: {found}");
    };
    let get = || client.request("GET", "/api/status");
    check(
        "one long field",
        get().field("X-Long", &"x".repeat(5_000)),
        431,
    );
    let many = (0..30).fold(get(), |request, number| {
        request.field(&format!("X-{number}"), "x")
    });
    check("many fields", many, 431);
    let target = format!("/api/status?{}", "x".repeat(600));
    check("a long target", client.request("GET", &target), 414);
    let post = |target: &str, bytes: usize| {
        let body = vec![b'x'; bytes];
        client.request("POST", target).body(&body)
    };
    check("a long body", post("/api/control/stop", 65 * 1024), 413);
    check(
        "a very long body",
        post("/api/sessions", 5 * 1024 * 1024),
        413,
    );
    check("a body where none is expected", get().body(b"x"), 413);
    let _served = client.get("/api/status").with_status(200);
}

#[test]
fn chunks_do_not_get_around_the_bound() {
    let deployment = deployment();
    let client = deployment.client();
    let mut request = b"POST /api/control/stop HTTP/1.1\r\nHost: localhost\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        .to_vec();
    for _ in 0..32 {
        request.extend(b"1000\r\n");
        request.extend([b'x'; 0x1000]);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let answer = String::from_utf8_lossy(&client.raw(&request)).into_owned();
    let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 413");
    assert!(refused, "{answer}");
}

#[test]
fn one_address_cannot_take_every_connection_and_gets_its_places_back() {
    let deployment = deployment();
    let client = deployment.client();
    let held: Vec<_> = (0..8).map(|_| client.connect()).collect();
    poll::until("further connections are dropped", || {
        client
            .request("GET", "/health/live")
            .try_send()
            .is_none()
            .then_some(())
    });
    drop(held);
    poll::until("places are given back", || {
        let answer = client.request("GET", "/health/live").try_send()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn slow_headers_are_cut() {
    let deployment = Deployment::builder()
        .with_gateway_settings("[limits]\nheader_timeout = \"1s\"\nhandshake_timeout = \"1s\"\n")
        .with_tls()
        .start();
    let url = deployment.endpoint().unwrap().url;
    let address = url.strip_prefix("https://").unwrap().parse().unwrap();
    let cut_within_patience = Client::plain(address).raw(b"");
    assert_eq!(cut_within_patience, b"", "a handshake that never begins");
    let answer = deployment
        .client()
        .raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    let text = String::from_utf8_lossy(&answer);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 408"),
        "{text}"
    );
}

#[test]
fn whoever_takes_no_answer_is_cut_while_others_are_served() {
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .without_runtime()
        .with_gateway_settings("[limits]\nwrite_timeout = \"1s\"\n")
        .start();
    let (sender, given_up) = channel();
    let sender = Mutex::new(sender);
    let socket = deployment.home().runtime_socket();
    let _capture = Capture::scripted(&socket, move |request, peer| {
        if !request.head.starts_with("GET /api/status?endless ") {
            return peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
        let piece = vec![b'x'; 64 * 1024];
        let mut goes_on = peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        while goes_on {
            goes_on = peer.write(&piece);
        }
        // Whoever listened may be gone with its test.
        let _told = sender.lock().expect("no thread failed").send(());
        false
    });
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    let mut slow = client.connect();
    let head = slow.open(&client.request("GET", "/api/status?endless"));
    assert_eq!(head.status, 200);
    let _served = client.get("/api/status").with_status(200);
    given_up
        .recv_timeout(poll::PATIENCE)
        .expect("the runtime is let go");
    let recorded = deployment.audit().until("the cut", |record| {
        record["action"] == "status.show" && record["details"]["reason"] == "too_slow"
    });
    assert_eq!(recorded["outcome"], "failed", "{recorded}");
    let metrics = client.get("/metrics").with_status(200);
    let line = "loki_gateway_connections_dropped_total{reason=\"too_slow\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}
