//! Ten thousand events of one session reach a hundred readers, each of them all, in order.

use std::fs;
use std::sync::Barrier;
use std::thread;

use tests::agent::Agent;
use tests::client::{Client, Connection};
use tests::deployment::Deployment;
use tests::poll;

const EVENTS: u64 = 10_000;
const READERS: usize = 100;

/// Says one thing after the other once it is told to.
const TALKING: &str = "echo work >work.txt\nuntil [ -e \"$TMPDIR/go\" ]; do sleep 0.1; done\n\
    seq 10000 | sed 's/.*/{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"&\"}]}}/'\n\
    echo '{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false}'";

fn open(client: &Client, path: &str) -> Connection {
    let mut connection = client.connect();
    let head = connection.open(
        &client
            .request("GET", path)
            .field("Accept", "text/event-stream"),
    );
    assert_eq!(head.status, 200, "{}", head.text());
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    connection
}

/// Reads a stream until the session has ended, and returns it without the frames of its transfer.
fn read(mut connection: Connection) -> String {
    let mut raw = Vec::new();
    let end: &[u8] = b"\"to\":\"completed\"";
    loop {
        let piece = connection.read();
        assert!(!piece.is_empty(), "the stream ended early");
        let seen = raw.len().saturating_sub(end.len());
        raw.extend(piece);
        if raw[seen..].windows(end.len()).any(|window| window == end) {
            break;
        }
    }
    let mut rest = raw.as_slice();
    let mut text = Vec::new();
    while let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let start = line + 2;
        let end = (start + size).min(rest.len());
        text.extend_from_slice(&rest[start..end]);
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn every_reader_gets_every_event_in_order() {
    let deployment = Deployment::builder()
        .with_dialect("claude", Agent::doing(TALKING), "claude")
        .start();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let folder = deployment.home().runtime().join("sessions").join(&id);
    poll::until("the agent waits", || {
        folder.join("workspace/work.txt").exists().then_some(())
    });
    let path = format!("/api/sessions/{id}/events?after=0");
    let ready = Barrier::new(READERS + 1);
    let heard: Vec<String> = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                scope.spawn(|| {
                    let connection = open(&client, &path);
                    ready.wait();
                    read(connection)
                })
            })
            .collect();
        ready.wait();
        fs::write(folder.join("private/tmp/go"), "").unwrap();
        let heard = readers.into_iter().map(|reader| reader.join().unwrap());
        heard.collect()
    });
    for (number, text) in heard.iter().enumerate() {
        let ids: Vec<u64> = text
            .lines()
            .filter_map(|line| line.strip_prefix("id:"))
            .map(|id| id.trim().parse().unwrap())
            .collect();
        let count = u64::try_from(ids.len()).unwrap();
        assert!(count > EVENTS, "reader {number}: {count}");
        assert_eq!(ids, (1..=count).collect::<Vec<_>>(), "reader {number}");
    }
}
