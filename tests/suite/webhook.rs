//! A receiver is told that something waits, signed and with a link alone; and nothing depends on it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::agent::Agent;
use tests::approval::{decide, waiting};
use tests::deployment::Deployment;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(30);

/// Receives notices; the first is answered with an error. Returns its port and what comes.
fn receiver() -> (u16, Receiver<(String, String)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, received) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let mut stream = stream;
            let mut bytes = Vec::new();
            let mut piece = [0; 4096];
            let (head, body) = loop {
                let length = stream.read(&mut piece).unwrap();
                assert!(length > 0, "a whole notice");
                bytes.extend_from_slice(&piece[..length]);
                let text = String::from_utf8(bytes.clone()).unwrap();
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && body.ends_with('}')
                {
                    break (head.to_owned(), body.to_owned());
                }
            };
            let status = if number == 0 { 500 } else { 204 };
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            if sender.send((head, body)).is_err() {
                return;
            }
        }
    });
    (port, received)
}

fn deployment(port: u16, key: &str) -> tests::deployment::Builder {
    let builder = Deployment::builder()
        .with_provider("claude", Agent::doing("true"))
        .with_variable("LOKI_STAGED_AUTONOMY", "true");
    let file = builder.root().join("webhook.key");
    fs::write(&file, key).unwrap();
    builder.with_runtime_settings(&format!(
        "approvals.webhook.url = \"http://127.0.0.1:{port}/hook?a=b\"\n\
         approvals.webhook.key_file = {file:?}\n\
         approvals.webhook.link = \"https://loki.example.org/\"\n"
    ))
}

#[test]
fn a_notice_is_signed_says_where_to_look_and_is_tried_again() {
    let (port, received) = receiver();
    let deployment = deployment(port, KEY).start();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let first = waiting(&deployment, &client, &id, "first_run");
    let mut notices = Vec::new();
    for _ in 0..2 {
        notices.push(received.recv_timeout(PATIENCE).unwrap());
    }
    let (head, body) = &notices[1];
    assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
    let said: Value = serde_json::from_str(body).unwrap();
    let name = first["id"].as_str().unwrap();
    let link = format!("https://loki.example.org/api/approvals/{name}");
    assert_eq!(
        said,
        json!({"type": "approval_requested", "approval": name, "session": id,
            "gate": "first_run", "deadline": first["deadline"], "link": link})
    );
    let signed = head
        .lines()
        .find_map(|line| line.strip_prefix("X-Loki-Signature: "))
        .unwrap();
    let (moment, tag) = signed.split_once(",v1=").unwrap();
    let moment = moment.strip_prefix("t=").unwrap();
    assert_eq!(tag, hmac(KEY.as_bytes(), &format!("{moment}.{body}")));
}

/// HMAC-SHA-256 (RFC 2104) in hexadecimal digits, for a key of at most one block.
fn hmac(key: &[u8], text: &str) -> String {
    let padded = |pad: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0));
        key.take(64).map(|byte| byte ^ pad).collect()
    };
    let inner = Sha256::digest([&padded(0x36)[..], text.as_bytes()].concat());
    let outer = Sha256::digest([&padded(0x5c)[..], &inner].concat());
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_receiver_that_is_not_there_holds_up_nobody() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let deployment = deployment(port, KEY).start();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let first = waiting(&deployment, &client, &id, "first_run");
    assert_eq!(decide(&client, &first, "approve", &json!({})), 200);
    let _view = deployment.session_in(&client, &id, &["completed"]);
}
