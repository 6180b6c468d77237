//! What people say reaches the agent; what it does can be followed, and read in full.

use std::fs;

use serde_json::{Value, json};
use tests::agent::Agent;
use tests::client::Client;
use tests::deployment::Deployment;

/// Works in each iteration only when the test says so, by a file in the agent's private folder.
fn waiting() -> Deployment {
    let lines = "echo ready\nwhile [ ! -f \"$TMPDIR/go\" ]; do sleep 0.1; done\n\
                 rm \"$TMPDIR/go\"\necho x >>work.txt";
    Deployment::builder()
        .with_provider("claude", Agent::doing(lines))
        .with_verification(&["/bin/sh", "test.sh"])
        .with_variable("LOKI_MAX_ITERATIONS", "2")
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .start()
}

fn go(deployment: &Deployment, id: &str) {
    let folder = deployment.home().runtime().join("sessions").join(id);
    fs::write(folder.join("private/tmp/go"), "").unwrap();
}

/// Reads a stream of events until it ends.
fn streamed(client: &Client, id: &str, after: Option<u64>) -> String {
    let target = format!("/api/sessions/{id}/events");
    let mut request = client
        .request("GET", &target)
        .field("Accept", "text/event-stream");
    if let Some(after) = after {
        request = request.field("Last-Event-ID", &after.to_string());
    }
    let answer = request.send();
    assert!(matches!(answer.status, 200 | 204), "{}", answer.text());
    answer.text().to_owned()
}

fn numbers(text: &str) -> Vec<u64> {
    text.lines()
        .filter_map(|line| line.strip_prefix("id: ")?.parse().ok())
        .collect()
}

#[test]
fn what_cannot_be_said_is_refused() {
    let deployment = waiting();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let path = format!("/api/sessions/{id}/input");
    for body in [
        json!({}),
        json!({"text": " "}),
        json!({"text": "x".repeat(17 * 1024)}),
    ] {
        let answer = client.post(&path, &body);
        assert!(
            matches!(answer.status, 400 | 422),
            "{body}: {}",
            answer.text()
        );
    }
    let _stopped = deployment.loki(&["stop"]).ended_with(0);
    let _over = client
        .post(&path, &json!({"text": "late"}))
        .with_status(409);
    for target in ["log?lines=0", "log?lines=x", "events?after=x"] {
        let target = format!("/api/sessions/{id}/{target}");
        let _refused = client.get(&target).with_status(400);
    }
}

#[test]
fn what_is_said_stands_in_the_next_prompt_and_survives_the_runtime() {
    let mut deployment = waiting();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let _running = deployment.session_in(&client, &id, &["running"]);
    let said = "Keep the public interface as it is.";
    let _told = deployment
        .loki(&["attach", &id, "--say", said])
        .ended_with(0);
    deployment.kill_runtime();
    deployment.start_runtime();
    let folder = deployment.home().runtime().join("sessions").join(&id);
    go(&deployment, &id);
    let prompt = tests::poll::until("the second iteration", || {
        fs::read_to_string(folder.join("prompt-2.txt")).ok()
    });
    assert!(prompt.contains(said), "{prompt}");
    go(&deployment, &id);
    let _failed = deployment.session_in(&client, &id, &["failed"]);
    let diff = deployment.loki(&["diff", &id]).ended_with(0);
    assert!(diff.text().contains("+++ b/work.txt"), "{diff}");
    let logs = deployment
        .loki(&["logs", &id, "--iteration", "2"])
        .ended_with(0);
    assert!(logs.text().contains("ready"), "{logs}");
    let listed = deployment.loki(&["sessions", "list"]).ended_with(0);
    assert!(listed.text().contains(&id), "{listed}");
}

#[test]
fn a_stream_has_every_event_once_and_goes_on_after_the_last_one_seen() {
    let deployment = waiting();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let _running = deployment.session_in(&client, &id, &["running"]);
    let text = std::thread::scope(|scope| {
        let reader = scope.spawn(|| streamed(&client, &id, None));
        go(&deployment, &id);
        let folder = deployment.home().runtime().join("sessions").join(&id);
        tests::poll::until("the second iteration", || {
            folder.join("prompt-2.txt").exists().then_some(())
        });
        go(&deployment, &id);
        reader.join().unwrap()
    });
    let count = u64::try_from(numbers(&text).len()).unwrap();
    assert_eq!(numbers(&text), (1..=count).collect::<Vec<_>>(), "{text}");
    let last = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("data: "));
    let last: Value = serde_json::from_str(last.unwrap()).unwrap();
    assert_eq!(last["data"]["to"], "failed", "{last}");
    let rest = streamed(&client, &id, Some(count - 3));
    assert_eq!(numbers(&rest), [count - 2, count - 1, count]);
    assert_eq!(numbers(&streamed(&client, &id, Some(count))), [0_u64; 0]);
}

#[test]
fn a_websocket_tells_what_happens_and_what_was_missed() {
    let deployment = waiting();
    let client = deployment.client();
    let plain = client.get("/ws");
    assert_eq!(plain.status, 426, "{}", plain.text());
    let id = deployment.start_session(&client, deployment.project("app").path());
    let _running = deployment.session_in(&client, &id, &["running"]);
    let mut connection = client.connect();
    let opening = client
        .request("GET", "/ws")
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let head = connection.open(&opening);
    assert_eq!(head.status, 101);
    assert_eq!(
        head.field("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    connection.read_until(b"\"type\":\"connected\"");
    connection.write(&masked(&json!({"type": "ping"})));
    connection.read_until(b"\"type\":\"pong\"");
    let wanted = json!({"type": "subscribe", "data": {"session": id, "after": 0}});
    connection.write(&masked(&wanted));
    connection.read_until(b"\"to\":\"created\"");
    let _stopped = deployment.loki(&["stop", &id]).ended_with(0);
    connection.read_until(b"\"to\":\"stopped\"");
}

/// Writes a message as a client has to: in one frame, masked.
fn masked(message: &Value) -> Vec<u8> {
    let text = message.to_string();
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126, "a short message");
    let hidden = text.bytes().zip(MASK.iter().cycle());
    let hidden: Vec<u8> = hidden.map(|(byte, key)| byte ^ key).collect();
    [&[0x81, 0x80 | length][..], &MASK, &hidden].concat()
}

const MASK: [u8; 4] = [7, 77, 177, 17];
