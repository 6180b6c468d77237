//! Frames that ask for nothing cost their sender the connection, and nobody else anything.

use std::time::{Duration, Instant};

use tests::capture::Capture;
use tests::client::Client;
use tests::deployment::Deployment;
use tests::http2::{self, Http2, PREFACE, frame};
use tests::poll;

/// Longest time that a flood may go on.
const BOUND: Duration = Duration::from_secs(5);

/// A request for `/health` on a stream.
fn headers(stream: u32) -> Vec<u8> {
    http2::head(stream, true, "GET", "/health", &[])
}

/// Makes the next bytes of a flood.
type Piece = fn(u32) -> Vec<u8>;

/// Sends the flood until the other side closes; panics if it does not.
fn assert_cut(client: &Client, what: &str, mut piece: impl FnMut(u32) -> Vec<u8>) {
    let mut connection = client.offering_http2().connect();
    connection.write(PREFACE);
    connection.write(&frame(4, 0, 0, &[]));
    let began = Instant::now();
    for number in 0.. {
        if !connection.try_write(&piece(number)) {
            break;
        }
        assert!(began.elapsed() < BOUND, "{what}: not cut");
    }
}

#[test]
fn floods_are_cut_and_others_are_served() {
    let deployment = Deployment::builder().with_tls().with_tokens().start();
    let client = deployment.client();
    let mut other = client.connect();
    let health = client.request("GET", "/health/live");
    let floods: [(&str, Piece); 7] = [
        ("PING", |_| frame(6, 0, 0, &[0; 8])),
        ("SETTINGS", |_| frame(4, 0, 0, &[0, 4, 0, 0, 255, 255])),
        ("PRIORITY", |number| {
            frame(2, 0, 2 * (number % 100) + 1, &[0, 0, 0, 0, 16])
        }),
        ("an unknown type", |_| frame(0xbe, 0, 0, b"greasy")),
        ("WINDOW_UPDATE of the connection", |_| {
            frame(http2::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
        }),
        ("WINDOW_UPDATE of a stream", |number| {
            let update = frame(http2::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
            if number == 0 {
                let begun = http2::head(1, false, "POST", "/api/control/stop", &[]);
                [begun, update].concat()
            } else {
                update
            }
        }),
        ("rapid reset", |number| {
            let stream = 2 * number + 1;
            [headers(stream), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
        }),
    ];
    for (what, piece) in floods {
        assert_cut(&client, what, piece);
        let _served = other.send(&health).with_status(200);
    }
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let metrics = client.with_token(&token.raw).get("/metrics");
    let counted = poll::until("the floods are counted", || {
        let line = metrics
            .text()
            .lines()
            .find(|line| line.contains("reason=\"frame_flood\""))?;
        line.rsplit(' ').next()?.parse::<u32>().ok()
    });
    assert!(counted >= 6, "{counted}");
    let _recorded = deployment.audit().until("a flood", |record| {
        record["action"] == "connection.refused" && record["details"]["reason"] == "frame_flood"
    });
}

#[test]
fn an_honest_client_is_not_taken_for_a_flood() {
    let deployment = Deployment::builder().with_tls().with_tokens().start();
    let client = deployment.client();
    let mut connection = client.offering_http2().connect();
    connection.write(PREFACE);
    connection.write(&frame(4, 0, 0, &[]));
    for number in 0..50 {
        connection.write(&frame(6, 0, 0, &[0; 8]));
        connection.write(&headers(2 * number + 1));
    }
    // The last answer is on stream 99; its header frame ends in that number.
    let mut seen = Vec::new();
    while !seen
        .windows(5)
        .any(|window| window[0] == 4 && window[1..] == [0, 0, 0, 99])
    {
        let came = connection.read();
        assert!(!came.is_empty(), "ended before the last answer");
        seen.extend(came);
    }
}

#[test]
fn a_reader_that_answers_every_frame_by_updates_is_not_taken_for_a_flood() {
    const BYTES: usize = 8 * 1024 * 1024;
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .without_runtime()
        .start();
    let _capture = Capture::scripted(&deployment.home().runtime_socket(), |_, peer| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
        peer.write(head.as_bytes()) && peer.write(&vec![b'x'; BYTES])
    });
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let bearer = format!("Bearer {}", token.raw);
    let mut reader = Http2::begin(&deployment.client(), &[]);
    let fields = [("authorization", bearer.as_str())];
    reader.write(&http2::head(1, true, "GET", "/api/status", &fields));
    let (mut bytes, mut updates) = (0, 0);
    loop {
        let came = reader.until("the end", |frame| frame.kind == http2::DATA);
        bytes += came.payload.len();
        if came.ends_stream() {
            break;
        }
        let more = u32::try_from(came.payload.len())
            .expect("short")
            .to_be_bytes();
        for stream in [0, 1] {
            reader.write(&frame(http2::WINDOW_UPDATE, 0, stream, &more));
            updates += 1;
        }
    }
    assert_eq!(bytes, BYTES);
    assert!(updates > 500, "{updates}");
}
