use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use gateway::tokens::format::FreshToken;
use serde_json::Value;

use super::{Client, Credential, Reach};
use crate::failure::Exit;

/// Answers one request with `answer` and returns what was asked.
fn answer_once(listener: TcpListener, answer: String) -> JoinHandle<String> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut asked = Vec::new();
        let mut piece = [0; 1024];
        while !asked.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut piece).expect("a request");
            asked.extend_from_slice(&piece[..read]);
        }
        stream.write_all(answer.as_bytes()).expect("written");
        String::from_utf8(asked).expect("text")
    })
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

fn client(url: &str, token: &FreshToken) -> Client {
    let credential = Credential::parse(token.raw().expose(), "test".to_owned()).expect("a token");
    let url = url.parse().expect("an address");
    Client::named(&url, &Reach::default(), Some(credential)).expect("a client")
}

#[test]
fn a_redirect_is_not_followed() {
    let token = FreshToken::generate().expect("randomness");
    let (elsewhere, target) = listen();
    elsewhere.set_nonblocking(true).expect("a mode");
    let (listener, url) = listen();
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {target}/api/status\r\ncontent-length: 0\r\n\r\n"
    );
    let server = answer_once(listener, answer);
    let failure = client(&url, &token)
        .get::<Value>("/api/status")
        .expect_err("no answer");
    assert_eq!(failure.exit(), Exit::Failed);
    let asked = server.join().expect("a request");
    assert!(asked.contains(token.raw().expose()));
    assert!(elsewhere.accept().is_err(), "nobody was asked there");
}

#[test]
fn a_token_is_not_sent_in_clear_text_to_another_machine() {
    let token = FreshToken::generate().expect("randomness");
    let credential = Credential::parse(token.raw().expose(), "test".to_owned()).expect("a token");
    let url = "http://192.0.2.1".parse().expect("an address");
    let refused = Client::named(&url, &Reach::default(), Some(credential));
    assert_eq!(refused.expect_err("refused").exit(), Exit::Usage);
}

#[test]
fn texts_that_are_no_tokens_are_refused_and_not_shown() {
    for text in ["", " ", "loki_short", "two words", "line\r\nx-evil: 1", "ö"] {
        let failure = Credential::parse(text, "LOKI_TOKEN".to_owned()).expect_err("no token");
        assert_eq!(failure.exit(), Exit::Usage, "{text:?}");
        assert_eq!(failure.what(), "LOKI_TOKEN holds no token");
    }
}
