//! How often the gateway asks for memory to serve one request, and that it stays within a bound.
//!
//! Caller and origin use buffers of their own, so that everything counted is the gateway's: the
//! proxy's, the admission's, the audit's.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and it reads clocks"
)]

use std::alloc::System;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use config::home::Home;
use config::load::Sources;
use config::private;
use gateway::serve;
use gateway::settings_source::SettingsSource;
use gateway::tokens::format::FreshToken;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests that are not counted: connections are opened and buffers grown meanwhile.
const BEFORE: usize = 200;

/// Requests that are counted.
const COUNTED: usize = 2_000;

/// Most allocations of a request with an opaque token that is audited and forwarded.
const FORWARDED_MAX: usize = 220;

/// Most allocations of a request whose token nobody has.
const REFUSED_MAX: usize = 120;

#[test]
#[expect(
    clippy::print_stderr,
    reason = "the figures are shown to whoever asks for them"
)]
fn a_request_allocates_within_its_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = furnish(folder.path());
    let origin = UnixListener::bind(folder.path().join("origin.sock")).expect("a socket");
    thread::spawn(move || {
        for stream in origin.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    let source = settings(folder.path());
    let loaded = source.load().expect("the settings are right");
    thread::spawn(move || serve::run(loaded, source));
    let address = address(folder.path());

    let unknown = FreshToken::generate().expect("a token");
    let unknown = unknown.raw().expose();
    for (what, token, status, most) in [
        ("forwarded", token.as_str(), "200", FORWARDED_MAX),
        ("refused", unknown, "401", REFUSED_MAX),
    ] {
        let mut caller = Caller::new(&address, token, status);
        for _ in 0..BEFORE {
            caller.ask();
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..COUNTED {
            caller.ask();
        }
        let change = region.change();
        let each = (change.allocations + change.reallocations).div_ceil(COUNTED);
        assert!(each <= most, "{what}: {each} allocations, at most {most}");
        // Shown by `cargo test -- --nocapture`.
        eprintln!(
            "{what}: {each} allocations, {} bytes",
            change.bytes_allocated / COUNTED
        );
    }
}

/// Makes a data directory with one token; returns it.
fn furnish(folder: &Path) -> String {
    let home = Home::new(folder.join("home"));
    let token = FreshToken::generate().expect("a token");
    let digest = serde_json::to_string(&token.raw().digest()).expect("a digest");
    let text = format!(
        "{{\"version\":1,\"tokens\":[{{\"id\":\"tok-00000000\",\"name\":\"bot\",\"sha256\":{digest},\
         \"scopes\":[\"read\"],\"created_at\":\"{}\",\"created_by\":\"local:test\"}}]}}\n",
        DateTime::<Utc>::UNIX_EPOCH.to_rfc3339()
    );
    private::create_closed_directory(home.directory()).expect("a data directory");
    private::create_closed_directory(&home.dashboard()).expect("a folder of tokens");
    private::replace_file(&home.tokens(), text.as_bytes()).expect("a token file");
    token.raw().expose().to_owned()
}

fn settings(folder: &Path) -> SettingsSource {
    let file = folder.join("gateway.toml");
    let origin = folder.join("origin.sock");
    let text = format!(
        "[auth]\ntokens = true\n[runtime]\nsocket = {:?}\n\
         [limits]\nfailed_credentials_max = 4294967295\n[rates]\nread = \"10000000/s\"\n",
        origin.display().to_string()
    );
    fs::write(&file, text).expect("a settings file");
    let home = folder.join("home").display().to_string();
    let sources = Sources::default()
        .with_flag("--data-dir", Some(home))
        .with_flag("--port", Some("0".to_owned()));
    SettingsSource::new(sources, Some(file))
}

/// Returns where the gateway listens, once it does.
fn address(folder: &Path) -> String {
    let file = Home::new(folder.join("home")).endpoint();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = fs::read_to_string(&file).unwrap_or_default();
        if let Some((_, rest)) = text.split_once("http://") {
            let end = rest.find('"').expect("an address ends");
            return rest[..end].to_owned();
        }
        assert!(Instant::now() < deadline, "the gateway does not listen");
        thread::yield_now();
    }
}

/// Answers every request of a connection with the same bytes.
fn answer(mut stream: UnixStream) {
    let mut buffer = [0; 8_192];
    let mut filled = 0;
    while let Ok(count) = stream.read(&mut buffer[filled..]) {
        filled += count;
        if count == 0 {
            return;
        }
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// One kept-open connection.
struct Caller {
    stream: TcpStream,
    request: Vec<u8>,
    status: &'static str,
    buffer: [u8; 4_096],
}

impl Caller {
    fn new(address: &str, token: &str, status: &'static str) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_nodelay(true).expect("a socket option");
        let request = format!(
            "GET /api/status HTTP/1.1\r\nHost: {address}\r\nUser-Agent: test/1\r\n\
             Accept: */*\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        Self {
            stream,
            request: request.into_bytes(),
            status,
            buffer: [0; 4_096],
        }
    }

    fn ask(&mut self) {
        self.stream
            .write_all(&self.request)
            .expect("the request is sent");
        let mut filled = 0;
        loop {
            let count = self
                .stream
                .read(&mut self.buffer[filled..])
                .expect("an answer");
            assert!(count > 0, "the connection ended");
            filled += count;
            // Every answer here is one JSON object.
            if self.buffer[..filled].ends_with(b"}") {
                break;
            }
        }
        let status = &self.buffer[9..12];
        assert_eq!(status, self.status.as_bytes());
    }
}
