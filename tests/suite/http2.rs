//! One HTTP/2 connection carries many requests: what one of them does wrong costs it alone, and what
//! HTTP/1 has no place for reaches nobody.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use tests::capture::Capture;
use tests::client::Client;
use tests::deployment::{Builder, Deployment};
use tests::http2::{self, DATA, END_STREAM, Http2, RST_STREAM, frame};
use tests::poll;

/// A gateway in front of a runtime that answers everything by `{}`.
struct Edge {
    deployment: Deployment,
    capture: Capture,
    bearer: String,
}

impl Edge {
    fn new(builder: Builder) -> Self {
        let deployment = builder.with_tls().with_tokens().without_runtime().start();
        let capture = Capture::listen(&deployment.home().runtime_socket(), "{}");
        Self::with(deployment, capture)
    }

    fn with(deployment: Deployment, capture: Capture) -> Self {
        let token = deployment.token("operator", &["--role", "operator"]);
        Self {
            deployment,
            capture,
            bearer: format!("Bearer {}", token.raw),
        }
    }

    fn client(&self) -> Client {
        let raw = self.bearer.trim_start_matches("Bearer ");
        self.deployment.client().with_token(raw)
    }

    fn begin(&self, settings: &[u8]) -> Http2 {
        Http2::begin(&self.deployment.client(), settings)
    }

    fn head(&self, stream: u32, end: bool, method: &str, path: &str) -> Vec<u8> {
        let fields = [("authorization", self.bearer.as_str())];
        http2::head(stream, end, method, path, &fields)
    }

    fn counted(&self, line: &str) {
        let client = self.client();
        poll::until(line, || {
            let metrics = client.get("/metrics").with_status(200);
            metrics.text().contains(line).then_some(())
        });
    }
}

#[test]
fn an_upload_that_trickles_is_reset_alone_and_never_arrives() {
    let edge = Edge::new(Deployment::builder().with_gateway_settings(
        "[limits]\nheader_timeout = \"1s\"\nbody_bytes_per_second_min = 1000\n",
    ));
    for (path, own) in [
        ("/api/control/stop", false),
        // An operation of the gateway itself answers instead.
        ("/api/auth/report-leak", true),
    ] {
        let mut connection = edge.begin(&[]);
        connection.write(&edge.head(1, false, "POST", path));
        connection.write(&frame(DATA, 0, 1, b"{"));
        let ended = connection.until("the slow stream's end", |frame| {
            frame.stream == 1 && (frame.kind == RST_STREAM || frame.ends_stream())
        });
        assert_eq!(ended.kind == RST_STREAM, !own, "{path}: {ended:?}");
        connection.write(&edge.head(3, true, "GET", "/api/status"));
        connection.until("its neighbour's answer", |frame| {
            frame.stream == 3 && frame.ends_stream()
        });
    }
    assert_eq!(edge.capture.requests_for("POST"), []);
    let recorded = edge.deployment.audit().until("the reset", |record| {
        record["action"] == "session.stop"
            && record["phase"] == "end"
            && record["details"]["reason"] == "body_timeout"
    });
    assert_eq!(recorded["outcome"], "failed", "{recorded}");
    edge.counted("loki_gateway_refusals_total{reason=\"body_timeout\"} 2");
}

#[test]
fn a_whole_upload_arrives_in_one_piece() {
    let edge = Edge::new(Deployment::builder());
    let mut connection = edge.begin(&[]);
    connection.write(&edge.head(1, false, "POST", "/api/control/stop"));
    for piece in ["{", "\"a\"", ":", "1"] {
        connection.write(&frame(DATA, 0, 1, piece.as_bytes()));
    }
    connection.write(&frame(DATA, 0, 1, b"}"));
    // An empty last piece must not end the body twice.
    connection.write(&frame(DATA, END_STREAM, 1, &[]));
    connection.until("the answer", |frame| {
        frame.stream == 1 && frame.ends_stream()
    });
    let arrived = edge.capture.requests_for("POST");
    assert_eq!(arrived.len(), 1, "{arrived:?}");
    assert_eq!(arrived[0].body, b"{\"a\":1}");
    let _served = edge.client().get("/api/status").with_status(200);
}

#[test]
fn trailers_of_a_request_never_arrive() {
    let edge = Edge::new(Deployment::builder());
    let mut connection = edge.begin(&[]);
    connection.write(&edge.head(1, false, "POST", "/api/control/stop"));
    connection.write(&frame(DATA, 0, 1, b"{}"));
    let trailers = http2::block(&[
        ("x-loki-caller", "forged"),
        ("authorization", "Bearer forged"),
        ("x-trailer", "forged"),
    ]);
    let flags = http2::END_HEADERS | END_STREAM;
    connection.write(&frame(http2::HEADERS, flags, 1, &trailers));
    connection.until("the answer", |frame| {
        frame.stream == 1 && frame.ends_stream()
    });
    connection.write(&edge.head(3, true, "GET", "/api/status"));
    connection.until("the next answer", |frame| {
        frame.stream == 3 && frame.ends_stream()
    });
    let arrived = edge.capture.requests();
    assert_eq!(arrived.len(), 2, "{arrived:?}");
    assert_eq!(arrived[0].body, b"{}");
    for request in arrived {
        assert_eq!(request.values("x-loki-caller").len(), 1, "{}", request.head);
        assert!(!request.head.contains("forged"), "{}", request.head);
    }
}

#[test]
fn cookie_crumbs_cross_neither_apart_nor_joined() {
    let edge = Edge::new(Deployment::builder());
    let mut connection = edge.begin(&[]);
    let fields = [
        ("authorization", edge.bearer.as_str()),
        ("cookie", "one=crumb"),
        ("cookie", "two=crumb"),
    ];
    connection.write(&http2::head(1, true, "GET", "/api/status", &fields));
    connection.until("the answer", |frame| {
        frame.stream == 1 && frame.ends_stream()
    });
    let arrived = edge.capture.requests();
    assert_eq!(arrived.len(), 1, "{arrived:?}");
    assert_eq!(arrived[0].values("cookie"), Vec::<&str>::new());
    assert!(!arrived[0].head.contains("crumb"), "{}", arrived[0].head);
}

/// A runtime whose answers have no end, and what tells when one of them was given up.
fn endless() -> (Edge, std::sync::mpsc::Receiver<()>) {
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .without_runtime()
        .with_gateway_settings("[limits]\nwrite_timeout = \"1s\"\n")
        .start();
    let (sender, given_up) = channel();
    let sender = Mutex::new(sender);
    let capture = Capture::scripted(&deployment.home().runtime_socket(), move |_, peer| {
        if !peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n") {
            return false;
        }
        let piece = vec![b'x'; 64 * 1024];
        while peer.write(&piece) {}
        // Whoever listened may be gone with its test.
        let _told = sender.lock().expect("no thread failed").send(());
        false
    });
    (Edge::with(deployment, capture), given_up)
}

#[test]
fn whoever_takes_no_answer_loses_its_stream_and_its_neighbours_are_served() {
    let (edge, given_up) = endless();
    let mut connection = edge.begin(&[]);
    connection.write(&edge.head(1, true, "GET", "/api/status"));
    connection.until("the reset", |frame| {
        frame.stream == 1 && frame.kind == RST_STREAM
    });
    given_up
        .recv_timeout(poll::PATIENCE)
        .expect("the runtime is let go");
    // The connection's window is used up, so the neighbour's is opened.
    let more = 60_000_u32.to_be_bytes();
    connection.write(&frame(http2::WINDOW_UPDATE, 0, 0, &more));
    connection.write(&http2::head(3, true, "GET", "/health/live", &[]));
    connection.until("its neighbour's answer", |frame| {
        frame.stream == 3 && frame.ends_stream()
    });
    let recorded = edge.deployment.audit().until("the reset", |record| {
        record["action"] == "status.show" && record["details"]["reason"] == "too_slow"
    });
    assert_eq!(recorded["outcome"], "failed", "{recorded}");
    edge.counted("loki_gateway_connections_dropped_total{reason=\"too_slow\"} 1");
}

#[test]
fn whoever_reads_nothing_at_all_loses_the_connection() {
    let (edge, given_up) = endless();
    // Windows as large as they get, so that only the socket itself stands in the way.
    let initial_window = [0, 4, 0x7f, 0xff, 0xff, 0xff];
    let mut connection = edge.begin(&initial_window);
    let most = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
    connection.write(&frame(http2::WINDOW_UPDATE, 0, 0, &most));
    connection.write(&edge.head(1, true, "GET", "/api/status"));
    given_up
        .recv_timeout(poll::PATIENCE)
        .expect("the runtime is let go");
    edge.counted("loki_gateway_connections_dropped_total{reason=\"too_slow\"} 2");
    poll::until("the connection is gone", || {
        let metrics = edge.client().get("/metrics").with_status(200);
        // Who asks has one too.
        metrics
            .text()
            .contains("loki_gateway_connections 1")
            .then_some(())
    });
    drop(connection);
}
