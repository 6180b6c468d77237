//! A runtime that breaks the rules of HTTP harms no caller: each reads one whole answer, or that there
//! is none; what strays is nobody's answer, and nothing of it is believed.

use tests::capture::{Capture, Captured, Peer};
use tests::client::Client;
use tests::deployment::Deployment;
use tests::poll;

/// What no caller may ever read.
const STRAY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";

const INTERNAL: &[u8] = b"X-Loki-Audit: internal\r\n";

struct Case {
    why: &'static str,
    answer: fn() -> Vec<u8>,
    /// The statuses that a caller may see; 0 is a connection that ends without a whole answer.
    statuses: &'static [u16],
}

const CASES: &[Case] = &[
    Case {
        why: "nothing at all",
        answer: Vec::new,
        statuses: &[502, 503],
    },
    Case {
        why: "no HTTP",
        answer: || b"stray stray stray\r\n\r\n".to_vec(),
        statuses: &[502, 503],
    },
    Case {
        why: "two lengths",
        answer: || {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 50\r\n\r\n{}";
            [head.as_slice(), STRAY].concat()
        },
        statuses: &[502],
    },
    Case {
        why: "a list of two lengths",
        answer: || {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2, 50\r\n\r\n{}";
            [head.as_slice(), STRAY].concat()
        },
        statuses: &[502],
    },
    Case {
        why: "a length that is no number",
        answer: || {
            [
                b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".as_slice(),
                STRAY,
            ]
            .concat()
        },
        statuses: &[502],
    },
    Case {
        why: "a length and chunks",
        answer: || {
            let head =
                b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\n{}\r\n0\r\n\r\n";
            [head.as_slice(), STRAY].concat()
        },
        statuses: &[200, 502],
    },
    Case {
        why: "more than its length",
        answer: || {
            [
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".as_slice(),
                STRAY,
            ]
            .concat()
        },
        statuses: &[200],
    },
    Case {
        why: "less than its length",
        answer: || b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{}".to_vec(),
        statuses: &[0],
    },
    Case {
        why: "a chunk without a size",
        answer: || b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}".to_vec(),
        statuses: &[0, 502],
    },
    Case {
        why: "chunks without an end",
        answer: || b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n".to_vec(),
        statuses: &[0],
    },
    Case {
        why: "a trailer that only we may read",
        answer: || {
            let head =
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n".as_slice();
            [head, INTERNAL, b"X-Trailer: stray\r\n\r\n"].concat()
        },
        statuses: &[0, 200, 502],
    },
    Case {
        why: "a body behind 204",
        answer: || [b"HTTP/1.1 204 No Content\r\n\r\n".as_slice(), STRAY].concat(),
        statuses: &[204],
    },
    Case {
        why: "a few interim answers with fields that only we may read",
        answer: || {
            let interim = [
                b"HTTP/1.1 103 Early Hints\r\n".as_slice(),
                INTERNAL,
                b"\r\n",
            ]
            .concat();
            let last = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            [interim.repeat(3).as_slice(), last].concat()
        },
        statuses: &[200],
    },
    Case {
        why: "interim answers without end",
        answer: || b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_000),
        statuses: &[502],
    },
    Case {
        why: "another protocol that nobody asked for",
        answer: || {
            let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            [head.as_slice(), STRAY].concat()
        },
        statuses: &[502],
    },
    Case {
        why: "more fields than anybody needs",
        answer: || {
            let fields = b"X-Field: value\r\n".repeat(10_000);
            [b"HTTP/1.1 200 OK\r\n".as_slice(), &fields, b"\r\n"].concat()
        },
        statuses: &[502],
    },
    Case {
        why: "a field longer than anybody needs",
        answer: || {
            let value = vec![b'x'; 200_000];
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Field: ".as_slice();
            [head, &value, b"\r\n\r\n{}"].concat()
        },
        statuses: &[502],
    },
    Case {
        why: "a header without end",
        answer: || {
            [
                b"HTTP/1.1 200 OK\r\nX-Field: ".as_slice(),
                &vec![b'x'; 3_000_000],
            ]
            .concat()
        },
        statuses: &[502, 503],
    },
];

/// Answers `?case=N` by that case's bytes and everything else by its own target.
fn answer(request: &Captured, peer: &mut Peer) -> bool {
    let target = request.head.split(' ').nth(1).unwrap_or_default();
    if let Some((_, number)) = target.split_once("?case=") {
        let case = number.parse::<usize>().ok().and_then(|at| CASES.get(at));
        let case = case.expect("a case of the list");
        peer.write(&(case.answer)());
        return false;
    }
    let length = target.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}");
    peer.write(head.as_bytes())
}

/// Returns the status of an answer that is whole by its own framing; 0 if it is not.
fn whole_status(told: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(told);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return 0;
    };
    let lower = head.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.parse::<usize>().ok());
    let whole = match length {
        Some(length) => body.len() == length,
        None if lower.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
        None => body.is_empty(),
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    if whole { status.unwrap_or(0) } else { 0 }
}

fn ask(client: &Client, method: &str, target: &str) -> Vec<u8> {
    let request = client.request(method, target).field("Connection", "close");
    client.raw(&request.to_bytes())
}

#[test]
fn no_broken_answer_reaches_anybody_as_a_whole_one_or_as_anothers() {
    let deployment = Deployment::builder()
        .with_tokens()
        .without_runtime()
        .with_gateway_settings("[runtime]\nread_timeout = \"2s\"\n")
        .start();
    let _capture = Capture::scripted(&deployment.home().runtime_socket(), answer);
    let clients = ["one", "two"].map(|name| {
        let token = deployment.token(name, &["--role", "viewer"]);
        deployment.client().with_token(&token.raw)
    });
    let [caller, _] = &clients;
    for (number, case) in CASES.iter().enumerate() {
        let told = ask(caller, "GET", &format!("/api/status?case={number}"));
        let text = String::from_utf8_lossy(&told);
        let shown: String = text.chars().take(500).collect();
        let status = whole_status(&told);
        assert!(case.statuses.contains(&status), "{}: {shown}", case.why);
        for never in ["stray", "internal", " 101 ", " 103 "] {
            assert!(!text.contains(never), "{}: {shown}", case.why);
        }
        for (position, client) in clients.iter().enumerate() {
            for round in 0..3 {
                let target = format!("/api/status?{number}-{position}-{round}");
                let answer = client.get(&target).with_status(200);
                assert_eq!(answer.text(), target, "after: {}", case.why);
            }
        }
    }
}

#[test]
fn a_body_behind_the_answer_to_head_is_nobodys() {
    let deployment = Deployment::builder()
        .with_tokens()
        .without_runtime()
        .start();
    let _capture = Capture::scripted(&deployment.home().runtime_socket(), |request, peer| {
        let target = request.head.split(' ').nth(1).unwrap_or_default();
        let length = target.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}");
        peer.write(head.as_bytes())
    });
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    for round in 0..poll::rounds(20, 200) {
        let told = ask(&client, "HEAD", &format!("/api/status?head-{round}"));
        assert!(
            told.ends_with(b"\r\n\r\n"),
            "{}",
            String::from_utf8_lossy(&told)
        );
        let target = format!("/api/status?get-{round}");
        assert_eq!(client.get(&target).with_status(200).text(), target);
    }
}
