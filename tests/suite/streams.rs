//! Streams are relayed after the same admission as everything else, and end with the right to them.
//!
//! The runtime is scripted, so that it says what no runtime should.

use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use serde_json::Value;
use tests::capture::{Capture, Captured, Peer};
use tests::client::{Client, Connection, Request};
use tests::command;
use tests::deployment::{Builder, Deployment};
use tests::poll;

const PATH: &str = "/api/sessions/sess-abc123abc123/events";

/// How soon after a revocation, or its expiry, a stream of a token is over.
const BOUND: Duration = Duration::from_secs(1);

const EVENTS: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct Relay {
    deployment: Deployment,
    capture: Capture,
    /// Says that a connection of the runtime is over.
    over: Receiver<()>,
}

impl Relay {
    fn new(builder: Builder, script: fn(&Captured, &mut Peer)) -> Self {
        let deployment = builder.without_runtime().start();
        let (sender, over) = channel();
        let sender: Arc<Mutex<Sender<()>>> = Arc::new(Mutex::new(sender));
        let socket = deployment.home().runtime_socket();
        let capture = Capture::scripted(&socket, move |request, peer| {
            script(request, peer);
            if sender.lock().expect("no thread failed").send(()).is_err() {
                // The test is over.
            }
            false
        });
        Self {
            deployment,
            capture,
            over,
        }
    }

    fn caller(&self, name: &str) -> Client {
        let token = self.deployment.token(name, &["--role", "viewer"]);
        self.deployment.client().with_token(&token.raw)
    }

    fn revoke(&self, name: &str) -> Instant {
        let _done = self
            .deployment
            .loki(&["enterprise", "token", "revoke", name])
            .ended_with(0);
        Instant::now()
    }

    fn assert_runtime_noticed(&self) {
        let noticed = self.over.recv_timeout(poll::PATIENCE);
        noticed.expect("the runtime's side ends too");
    }
}

/// One event, then silence until the other side is gone.
fn one_event(_: &Captured, peer: &mut Peer) {
    peer.write(EVENTS);
    peer.write(b"d\r\ndata: first\n\n\r\n");
    while !peer.read().is_empty() {}
}

/// Agrees to a WebSocket and returns what comes.
fn echo(_: &Captured, peer: &mut Peer) {
    peer.write(SWITCHED);
    loop {
        let came = peer.read();
        if came.is_empty() || !peer.write(&came) {
            return;
        }
    }
}

fn websocket(client: &Client) -> Request<'_> {
    client
        .request("GET", PATH)
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn open_events(client: &Client) -> Connection {
    let mut connection = client.connect();
    let head = connection.open(&client.request("GET", PATH));
    assert_eq!(head.status, 200);
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    connection.read_until(b"data: first\n\n");
    connection
}

fn open_websocket(client: &Client) -> Connection {
    let mut connection = client.connect();
    let head = connection.open(&websocket(client));
    assert_eq!(head.status, 101);
    connection.write(b"\x82\x85abcdhello");
    connection.read_until(b"\x82\x85abcdhello");
    connection
}

#[test]
fn nobody_gets_a_stream_without_admission() {
    let relay = Relay::new(Deployment::builder().with_tokens(), echo);
    let nobody = relay.deployment.client();
    let weak = relay.deployment.token("auditor", &["--scopes", "audit"]);
    let weak = nobody.with_token(&weak.raw);
    for (client, status) in [(&nobody, 401), (&weak, 403)] {
        let answer = websocket(client).send();
        assert_eq!(answer.status, status, "{}", answer.text());
        let answer = client.request("GET", PATH).send();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let caller = relay.caller("viewer");
    let foreign = websocket(&caller).field("Origin", "https://evil.example.org");
    let _refused = foreign.send().with_status(403);
    assert_eq!(relay.capture.requests_for("GET"), []);
}

#[test]
fn nothing_is_tunnelled_before_the_runtime_agrees() {
    let relay = Relay::new(Deployment::builder().with_tokens(), |_, peer| {
        peer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}");
    });
    let caller = relay.caller("viewer");
    let smuggled = b"GET /internal/figures HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // In the same packet as the request: refused before anything reaches the runtime.
    let mut early = caller.connect();
    early.write(&[websocket(&caller).to_bytes(), smuggled.to_vec()].concat());
    let told = early.read_to_end();
    assert!(
        told.starts_with(b"HTTP/1.1 400 "),
        "{:?}",
        String::from_utf8_lossy(&told)
    );
    assert_eq!(relay.capture.requests_for("GET"), []);
    // After a refusal: the connection is over.
    let mut late = caller.connect();
    late.write(&websocket(&caller).to_bytes());
    late.read_until(b"{}");
    late.write(smuggled);
    assert_eq!(late.read_to_end(), b"");
    assert_eq!(relay.capture.requests_for("GET").len(), 1);
}

#[test]
fn an_improper_websocket_is_refused_before_the_runtime() {
    let relay = Relay::new(Deployment::builder().with_tokens(), echo);
    let token = relay.deployment.token("viewer", &["--role", "viewer"]);
    let client = relay.deployment.client();
    let start = |method: &str, version: &str| {
        format!(
            "{method} {PATH} {version}\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n",
            token.raw
        )
    };
    for (what, head) in [
        (
            "no Connection",
            start("GET", "HTTP/1.1") + "Upgrade: websocket\r\n\r\n",
        ),
        (
            "HTTP/1.0",
            start("GET", "HTTP/1.0") + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            "POST",
            start("POST", "HTTP/1.1") + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            "a body",
            start("GET", "HTTP/1.1")
                + "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx",
        ),
        (
            "a list",
            start("GET", "HTTP/1.1") + "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
        ),
        (
            "twice",
            start("GET", "HTTP/1.1")
                + "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            "not a stream",
            start("GET", "HTTP/1.1").replace(PATH, "/api/status")
                + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
    ] {
        let answer = client.raw(head.as_bytes());
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 400 "), "{what}: {text}");
    }
    assert_eq!(relay.capture.requests_for(""), []);
}

#[test]
fn a_stream_ends_when_its_token_is_revoked_and_no_other_does() {
    for (open, ended) in [
        (
            open_events as fn(&Client) -> Connection,
            b"0\r\n\r\n".as_slice(),
        ),
        (open_websocket, b"\x88\x02\x03\xf0"),
    ] {
        let script = |request: &Captured, peer: &mut Peer| {
            if request.values("upgrade").is_empty() {
                one_event(request, peer);
            } else {
                echo(request, peer);
            }
        };
        let relay = Relay::new(Deployment::builder().with_tokens(), script);
        let (gone, kept) = (relay.caller("gone"), relay.caller("kept"));
        let mut revoked = open(&gone);
        let mut other = open_websocket(&kept);
        let returned = relay.revoke("gone");
        revoked.read_until(ended);
        assert!(returned.elapsed() < BOUND, "{:?}", returned.elapsed());
        relay.assert_runtime_noticed();
        other.write(b"\x82\x85abcdagain");
        other.read_until(b"again");
        let _recorded = relay
            .deployment
            .audit()
            .until("the ended stream", |record| {
                record["action"] == "session.events"
                    && record["details"]["ended_by"] == "credential"
            });
    }
}

#[test]
fn a_stream_ends_when_all_of_a_role_are_withdrawn() {
    let relay = Relay::new(Deployment::builder().with_tokens(), one_event);
    let mut stream = open_events(&relay.caller("viewer"));
    let line = ["enterprise", "token", "revoke", "--role", "viewer"];
    let _done = relay.deployment.loki(&line).ended_with(0);
    let returned = Instant::now();
    stream.read_until(b"0\r\n\r\n");
    assert!(returned.elapsed() < BOUND, "{:?}", returned.elapsed());
}

#[test]
fn a_stream_ends_when_its_token_expires() {
    let relay = Relay::new(Deployment::builder().with_tokens(), one_event);
    let caller = relay.caller("short");
    // No test waits for a day: the token's end is put close.
    let path = relay.deployment.home().tokens();
    let text = fs::read_to_string(&path).expect("the token file");
    let mut stored: Value = serde_json::from_str(&text).expect("JSON");
    let end = Utc::now() + TimeDelta::seconds(8);
    stored["tokens"][0]["expires_at"] = end.to_rfc3339().into();
    fs::write(&path, stored.to_string()).expect("it can be written");
    let whoami = || caller.get("/api/auth/whoami").with_status(200).json();
    poll::until("the new end is known", || {
        whoami()["expires_at"].is_string().then_some(())
    });
    let mut stream = open_events(&caller);
    stream.read_until(b"0\r\n\r\n");
    let late = Utc::now() - end;
    let bound = TimeDelta::from_std(BOUND).expect("a second");
    assert!((TimeDelta::zero()..bound).contains(&late), "{late}");
    let _refused = caller.get("/api/auth/whoami").with_status(401);
}

#[test]
fn a_stream_ends_when_the_settings_take_its_right_away() {
    let relay = Relay::new(Deployment::builder(), one_event);
    let caller = relay.deployment.client();
    let mut stream = open_events(&caller);
    let text = "[auth]\ntokens = true\n";
    relay.deployment.write_settings("gateway.toml", text);
    let reload = caller.request("POST", "/api/config/reload");
    let _done = reload.send().with_status(200);
    let returned = Instant::now();
    stream.read_until(b"0\r\n\r\n");
    assert!(returned.elapsed() < BOUND, "{:?}", returned.elapsed());
}

#[test]
fn a_stopping_gateway_ends_streams_politely_and_at_once() {
    let script = |request: &Captured, peer: &mut Peer| {
        if request.values("upgrade").is_empty() {
            one_event(request, peer);
        } else {
            echo(request, peer);
        }
    };
    let mut relay = Relay::new(Deployment::builder().with_tokens(), script);
    let caller = relay.caller("viewer");
    let mut events = open_events(&caller);
    let mut socket = open_websocket(&caller);
    let told = Instant::now();
    assert_eq!(relay.deployment.stop_gateway(), Some(0));
    assert!(
        told.elapsed() < Duration::from_secs(5),
        "{:?}",
        told.elapsed()
    );
    assert!(events.read_to_end().ends_with(b"0\r\n\r\n"));
    assert!(socket.read_to_end().ends_with(b"\x88\x02\x03\xe9"));
}

#[test]
fn a_silent_stream_and_a_long_frame_are_cut() {
    let settings = "[streams]\nidle_timeout = \"1s\"\nframe_bytes_max = 1000\n";
    let relay = Relay::new(
        Deployment::builder()
            .with_tokens()
            .with_gateway_settings(settings),
        echo,
    );
    let caller = relay.caller("viewer");
    let mut silent = open_websocket(&caller);
    assert!(silent.read_to_end().ends_with(b"\x88\x02\x03\xe9"));
    let mut long = open_websocket(&caller);
    long.write(b"\x82\xfe\x03\xe9abcd");
    assert!(long.read_to_end().ends_with(b"\x88\x02\x03\xf1"));
    let metrics = caller.get("/metrics").with_status(200);
    for (by, count) in [("idle", 1), ("frame_too_long", 1)] {
        let line = format!("loki_gateway_streams_ended_total{{by=\"{by}\"}} {count}");
        assert!(metrics.text().contains(&line), "{line}");
    }
    assert!(metrics.text().contains("loki_gateway_streams_open 0"));
}

#[test]
fn one_principal_cannot_take_every_place() {
    let settings = "[streams]\nwebsockets_per_principal_max = 2\n";
    let relay = Relay::new(
        Deployment::builder()
            .with_tokens()
            .with_gateway_settings(settings),
        echo,
    );
    let (caller, other) = (relay.caller("viewer"), relay.caller("other"));
    let held = [open_websocket(&caller), open_websocket(&caller)];
    let told = websocket(&caller).send().with_status(429);
    assert!(told.text().contains("too_many_streams"), "{}", told.text());
    let _served = open_websocket(&other);
    drop(held);
    poll::until("a place is free again", || {
        let mut connection = caller.connect();
        (connection.open(&websocket(&caller)).status == 101).then_some(())
    });
}

#[test]
fn a_runtime_that_breaks_off_or_talks_nonsense_harms_no_caller() {
    let check = |script: fn(&Captured, &mut Peer), expected: u16| {
        let relay = Relay::new(Deployment::builder().with_tokens(), script);
        let caller = relay.caller("viewer");
        let answer = caller.request("GET", PATH).send();
        assert_eq!(answer.status, expected, "{}", answer.text());
    };
    check(|_, _| {}, 503);
    check(
        |_, peer| {
            peer.write(SWITCHED);
        },
        502,
    );
    check(
        |_, peer| {
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx");
        },
        502,
    );
    check(
        |_, peer| {
            let field = b"X-Field: value\r\n".repeat(10_000);
            peer.write(&[b"HTTP/1.1 200 OK\r\n".as_slice(), &field, b"\r\n"].concat());
        },
        502,
    );
    let relay = Relay::new(Deployment::builder().with_tokens(), |_, peer| {
        peer.write(EVENTS);
        peer.write(b"d\r\ndata: first\n\n\r\nd\r\ndata");
    });
    let caller = relay.caller("viewer");
    let mut cut = open_events(&caller);
    assert!(!cut.read_to_end().ends_with(b"0\r\n\r\n"), "looks whole");
}

#[test]
fn a_websocket_goes_over_tls_and_never_in_the_clear() {
    let relay = Relay::new(Deployment::builder().with_tokens().with_tls(), echo);
    let caller = relay.caller("viewer");
    let url = relay.deployment.endpoint().expect("it listens").url;
    let address = url.strip_prefix("https://").expect("TLS").parse();
    let clear = Client::plain(address.expect("an address"));
    let told = clear.raw(&websocket(&caller).to_bytes());
    let told = String::from_utf8_lossy(&told);
    assert!(!told.contains("HTTP/1.1"), "{told}");
    assert_eq!(relay.capture.requests(), []);
    let _served = open_websocket(&caller);
}

#[test]
fn what_crosses_is_ours() {
    let relay = Relay::new(Deployment::builder().with_tokens().with_tls(), |_, peer| {
        peer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              X-Loki-Audit: e30\r\nSec-WebSocket-Protocol: loki\r\nServer: runtime\r\n\r\n",
        );
    });
    let caller = relay.caller("viewer");
    let request = websocket(&caller)
        .field("Sec-WebSocket-Protocol", "loki")
        .field("X-Loki-Caller", "forged")
        .field("Cookie", "secret=1");
    let head = caller.connect().open(&request);
    assert_eq!(head.status, 101);
    assert_eq!(head.field("sec-websocket-protocol"), Some("loki"));
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("x-loki-audit"), None);
    assert_eq!(head.field("server"), None);
    assert!(head.field("x-request-id").is_some());
    let arrived = relay.capture.requests_for("GET");
    assert_eq!(arrived.len(), 1);
    let arrived = &arrived[0];
    assert_eq!(arrived.values("upgrade"), ["websocket"]);
    assert_eq!(arrived.values("connection"), ["Upgrade"]);
    assert_eq!(arrived.values("sec-websocket-version"), ["13"]);
    assert_eq!(arrived.values("x-loki-caller").len(), 1);
    assert_eq!(arrived.values("host").len(), 1);
    for absent in ["forged", "secret=1", "loki_"] {
        assert!(!arrived.head.contains(absent), "{}", arrived.head);
    }
}

#[test]
fn events_come_at_once_over_both_versions() {
    let relay = Relay::new(Deployment::builder().with_tokens().with_tls(), |_, peer| {
        peer.write(EVENTS);
        peer.write(b"d\r\ndata: first\n\n\r\n");
        peer.write(b"e\r\ndata: second\n\n\r\n0\r\n\r\n");
    });
    let token = relay.deployment.token("viewer", &["--role", "viewer"]);
    let url = relay.deployment.endpoint().expect("it listens").url;
    let target = format!("{}{PATH}", url.replace("127.0.0.1", "localhost"));
    for version in ["--http1.1", "--http2"] {
        let mut curl = relay.deployment.foreign_command("curl");
        curl.args(["-sSN", version, "--cacert"])
            .arg(relay.deployment.root().join("server-cert.pem"))
            .args([
                "-H",
                &format!("Authorization: Bearer {}", token.raw),
                &target,
            ]);
        let finished = command::run(&mut curl).ended_with(0);
        assert_eq!(
            finished.output(),
            "data: first\n\ndata: second\n\n",
            "{version}"
        );
    }
}
