//! What a WebSocket's two sides say to each other passes as it is, both ways, right and wrong alike: which
//! frames are sound is theirs to judge, and a verdict through the gateway is the one without it.

use tests::capture::Capture;
use tests::client::{Client, Connection};
use tests::deployment::Deployment;

const PATH: &str = "/api/sessions/sess-abc123abc123/events";

const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const MASK: [u8; 4] = *b"mask";

/// A frame whose first byte and payload are as given.
fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(mask | u8::try_from(length).expect("short")),
        length @ 126..65_536 => {
            bytes.push(mask | 126);
            bytes.extend(u16::try_from(length).expect("short").to_be_bytes());
        }
        length => {
            bytes.push(mask | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend(MASK);
    }
    bytes.extend(payload);
    bytes
}

/// Frames as the chapters of the usual conformance suites have them.
fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let one = |first, payload: &[u8]| frame(first, true, payload);
    let mut cases = vec![
        ("an empty text", one(0x81, b"")),
        ("an empty binary", one(0x82, b"")),
        ("a ping", one(0x89, b"ping")),
        ("a ping of most bytes", one(0x89, &[7; 125])),
        ("a ping that is too long", one(0x89, &[7; 126])),
        ("a pong that nobody asked for", one(0x8a, b"pong")),
        ("reserved bits", one(0xf1, b"reserved")),
        ("an unknown kind", one(0x83, b"unknown")),
        ("an unknown control kind", one(0x8b, b"unknown")),
        (
            "a ping in pieces",
            [one(0x09, b"a"), one(0x80, b"b")].concat(),
        ),
        (
            "a text in pieces with a ping between",
            [one(0x01, b"a"), one(0x89, b"p"), one(0x80, b"b")].concat(),
        ),
        ("a continuation of nothing", one(0x80, b"nothing")),
        ("a text that is no text", one(0x81, &[0xc0, 0xaf, 0xff])),
        ("a close without a reason", one(0x88, b"")),
        ("a close of half a status", one(0x88, &[3])),
        ("a close with a status", one(0x88, &[0x03, 0xe8])),
        ("a close with a reason", one(0x88, b"\x03\xe8because")),
        ("a close with a status of nobody", one(0x88, &[0, 0])),
        ("a frame without a mask", frame(0x81, false, b"unmasked")),
    ];
    for length in [124, 125, 126, 127, 128, 65_535, 65_536, 200_000] {
        cases.push(("a length at a border", one(0x82, &vec![b'x'; length])));
    }
    cases
}

fn open(client: &Client) -> Connection {
    let mut connection = client.connect();
    let request = client
        .request("GET", PATH)
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(connection.open(&request).status, 101);
    connection
}

/// Reads as many bytes as are expected.
fn read(connection: &mut Connection, length: usize) -> Vec<u8> {
    let mut came = Vec::new();
    while came.len() < length {
        let more = connection.read();
        assert!(!more.is_empty(), "ended after {} of {length}", came.len());
        came.extend(more);
    }
    came
}

#[test]
fn every_frame_passes_both_ways_as_it_came() {
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .without_runtime()
        .with_gateway_settings("[streams]\nwebsockets_per_principal_max = 100\n")
        .start();
    let _capture = Capture::scripted(&deployment.home().runtime_socket(), |_, peer| {
        peer.write(SWITCHED);
        loop {
            let came = peer.read();
            if came.is_empty() || !peer.write(&came) {
                return false;
            }
        }
    });
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    for (what, bytes) in cases() {
        let mut whole = open(&client);
        whole.write(&bytes);
        assert!(read(&mut whole, bytes.len()) == bytes, "{what}, whole");
        let mut pieces = open(&client);
        for piece in bytes.chunks(bytes.len().div_ceil(20)) {
            pieces.write(piece);
        }
        assert!(read(&mut pieces, bytes.len()) == bytes, "{what}, in pieces");
    }
}
