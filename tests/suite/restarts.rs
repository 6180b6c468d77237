//! A runtime that goes and comes back fails no idempotent request after a retry, and no change is
//! carried out twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::capture::Capture;
use tests::client::Client;
use tests::deployment::Deployment;
use tests::poll;

/// Asks until it is served: a lost connection and 502, 503, 504 are worth another attempt.
fn served_after_retries(client: &Client, target: &str) -> usize {
    let mut attempts = 0;
    let began = Instant::now();
    loop {
        attempts += 1;
        match client.request("GET", target).try_send() {
            Some(answer) if answer.status == 200 => return attempts,
            Some(answer) => {
                assert!(matches!(answer.status, 502..=504), "{}", answer.status);
                let hint = answer.field("retry-after");
                assert!(hint.is_some(), "{} without a hint", answer.status);
            }
            None => panic!("the gateway's own connection was lost"),
        }
        assert!(began.elapsed() < poll::PATIENCE, "never served");
        thread::yield_now();
    }
}

#[test]
fn restarts_of_the_runtime_fail_no_idempotent_request_after_retries() {
    let mut deployment = Deployment::builder().start();
    let client = deployment.client();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut asked = 0;
                    while !ended.load(Ordering::Relaxed) {
                        served_after_retries(&client, "/api/status");
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for round in 0..poll::rounds(3, 20) {
            if round % 2 == 0 {
                deployment.kill_runtime();
            } else {
                deployment.stop_runtime();
            }
            deployment.start_runtime();
            served_after_retries(&client, "/api/sessions");
        }
        ended.store(true, Ordering::Relaxed);
        for caller in callers {
            assert!(caller.join().expect("no request failed") > 0);
        }
    });
}

#[test]
fn a_change_is_never_sent_twice() {
    let deployment = Deployment::builder().without_runtime().start();
    let socket = deployment.home().runtime_socket();
    // Every second connection breaks off after the request, in a way that invites another attempt.
    let capture = Capture::scripted(&socket, |request, peer| {
        let breaks = request.head.contains("break");
        if !breaks {
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
        !breaks
    });
    let client = deployment.client();
    let mut connection = client.connect();
    for round in 0..poll::rounds(50, 500) {
        let kind = if round % 2 == 0 { "keep" } else { "break" };
        let target = format!("/api/control/stop?{kind}-{round}");
        let request = client.request("POST", &target).json(&json!({}));
        let status = connection.send(&request).status;
        if kind == "keep" {
            assert_eq!(status, 200);
        } else {
            assert!(matches!(status, 502 | 503), "{status}");
            connection = client.connect();
        }
    }
    let mut counts = BTreeMap::new();
    for request in capture.requests_for("POST") {
        let line = request.head.lines().next().unwrap_or_default().to_owned();
        *counts.entry(line).or_insert(0) += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(counts.len() >= poll::rounds(50, 500));
}

#[test]
fn a_stopping_gateway_ends_what_is_under_way_and_then_itself() {
    let mut deployment = Deployment::builder().without_runtime().start();
    let socket = deployment.home().runtime_socket();
    let _capture = Capture::scripted(&socket, |_, peer| {
        // Half an answer, and the rest when the gateway has been told to stop.
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        thread::sleep(Duration::from_millis(700));
        peer.write(b"cd")
    });
    let client = deployment.client();
    let mut connection = client.connect();
    let head = connection.open(&client.request("GET", "/api/status"));
    assert_eq!(head.status, 200);
    let began = Instant::now();
    assert_eq!(deployment.stop_gateway(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(connection.read_to_end(), b"abcd");
    assert!(!client.is_answered());
}
