//! An answer of a gibibyte passes in both versions of HTTP while the gateway's memory stays flat.

use tests::capture::Capture;
use tests::deployment::Deployment;
use tests::http2::{self, Http2, frame};
use tests::process;

const BYTES: u64 = 1024 * 1024 * 1024;

const PIECE: usize = 256 * 1024;

/// How many of them have passed when the gateway holds what it needs.
const WARM: u64 = BYTES / 8;

/// How much more memory it may hold while the rest passes.
const GROWTH_BYTES_MAX: u64 = 8 * 1024 * 1024;

struct Edge {
    deployment: Deployment,
    bearer: String,
    _capture: Capture,
}

impl Edge {
    fn start() -> Self {
        let deployment = Deployment::builder()
            .with_tls()
            .with_tokens()
            .without_runtime()
            .start();
        let capture = Capture::scripted(&deployment.home().runtime_socket(), |_, peer| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
            let piece = vec![b'x'; PIECE];
            peer.write(head.as_bytes()) && (0..BYTES / PIECE as u64).all(|_| peer.write(&piece))
        });
        let token = deployment.token("viewer", &["--role", "viewer"]);
        Self {
            deployment,
            bearer: token.raw,
            _capture: capture,
        }
    }

    /// Forgets the most that the gateway held so far; returns what it holds.
    fn resident(&self) -> u64 {
        let gateway = self.deployment.gateway_id();
        process::forget_resident_max(gateway);
        process::usage(gateway).resident
    }

    fn assert_flat(&self, before: u64) {
        let most = process::usage(self.deployment.gateway_id()).resident_max;
        let growth = most.saturating_sub(before);
        assert!(growth <= GROWTH_BYTES_MAX, "{growth} bytes more");
    }
}

#[test]
fn a_gibibyte_passes_over_http1_in_flat_memory() {
    let edge = Edge::start();
    let client = edge.deployment.client().with_token(&edge.bearer);
    let mut connection = client.connect();
    let head = connection.open(&client.request("GET", "/api/status"));
    assert_eq!(head.status, 200);
    let (mut came, mut before) = (0, None);
    while came < BYTES {
        let piece = connection.read();
        assert!(!piece.is_empty(), "ended after {came} bytes");
        came += piece.len() as u64;
        if came > WARM {
            before = before.or_else(|| Some(edge.resident()));
        }
    }
    assert_eq!(came, BYTES);
    edge.assert_flat(before.expect("more than the first part came"));
}

#[test]
fn a_gibibyte_passes_over_http2_in_flat_memory() {
    let edge = Edge::start();
    let mut connection = Http2::begin(&edge.deployment.client(), &[]);
    let bearer = format!("Bearer {}", edge.bearer);
    let fields = [("authorization", bearer.as_str())];
    connection.write(&http2::head(1, true, "GET", "/api/status", &fields));
    let (mut came, mut before) = (0, None);
    loop {
        let piece = connection.until("the end", |frame| frame.kind == http2::DATA);
        came += piece.payload.len() as u64;
        if came > WARM {
            before = before.or_else(|| Some(edge.resident()));
        }
        if piece.ends_stream() {
            break;
        }
        let more = u32::try_from(piece.payload.len())
            .expect("short")
            .to_be_bytes();
        let updates = [0, 1].map(|stream| frame(http2::WINDOW_UPDATE, 0, stream, &more));
        connection.write(&updates.concat());
    }
    assert_eq!(came, BYTES);
    edge.assert_flat(before.expect("more than the first part came"));
}
