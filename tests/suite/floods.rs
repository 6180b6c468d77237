//! Frames that ask for nothing cost their sender the connection, and nobody else anything.

use std::time::{Duration, Instant};

use tests::client::Client;
use tests::deployment::Deployment;
use tests::poll;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest time that a flood may go on.
const BOUND: Duration = Duration::from_secs(5);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A request for `/health` on a stream: static table entries and a literal authority.
fn headers(stream: u32) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, 7];
    block.extend(b"/health");
    block.extend([0x41, 9]);
    block.extend(b"localhost");
    frame(1, 0x5, stream, &block)
}

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

/// What a flood sends, by the number of the piece.
type Piece = fn(u32) -> Vec<u8>;

#[test]
fn floods_are_cut_and_others_are_served() {
    let deployment = Deployment::builder().with_tls().with_tokens().start();
    let client = deployment.client();
    let mut other = client.connect();
    let health = client.request("GET", "/health/live");
    let floods: [(&str, Piece); 5] = [
        ("PING", |_| frame(6, 0, 0, &[0; 8])),
        ("SETTINGS", |_| frame(4, 0, 0, &[0, 4, 0, 0, 255, 255])),
        ("PRIORITY", |number| {
            frame(2, 0, 2 * (number % 100) + 1, &[0, 0, 0, 0, 16])
        }),
        ("an unknown type", |_| frame(0xbe, 0, 0, b"greasy")),
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
    assert!(counted >= 4, "{counted}");
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
