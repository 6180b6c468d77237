//! A runtime's socket that understands nothing: it keeps the very bytes that arrive and answers 200.
//!
//! What a client is told proves little about a proxy; what reached the other side proves it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::poll;

/// The bytes that reached the runtime's place, request by request.
#[derive(Debug, Clone, Default)]
pub struct Capture(Arc<Mutex<Vec<Captured>>>);

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Request line and fields, with their line ends.
    pub head: String,
    /// The body that its length announced.
    pub body: Vec<u8>,
}

impl Captured {
    /// Returns every value of a field, however it is written.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(field, _)| field.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// Returns the names of all fields, in small letters, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(field, _)| field.to_ascii_lowercase())
            .collect();
        names.sort();
        names
    }
}

impl Capture {
    /// Listens at a path until the test ends; every answer is `answer` as JSON.
    ///
    /// # Panics
    /// When the path cannot be listened on.
    #[must_use]
    pub fn listen(socket: &Path, answer: &'static str) -> Self {
        let folder = socket.parent().expect("a socket lies in a folder");
        std::fs::create_dir_all(folder).expect("a folder");
        for private in [folder, folder.parent().expect("a data directory")] {
            crate::certificate::set_mode(private, 0o700);
        }
        let listener = UnixListener::bind(socket).expect("the path is free");
        let capture = Self::default();
        let kept = capture.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                thread::spawn(move || kept.serve(stream, answer));
            }
        });
        capture
    }

    /// Returns every request so far.
    ///
    /// # Panics
    /// When the capturing thread has failed.
    #[must_use]
    pub fn requests(&self) -> Vec<Captured> {
        self.0.lock().expect("no capturing thread failed").clone()
    }

    /// Returns the requests whose first line starts with `line`.
    #[must_use]
    pub fn requests_for(&self, line: &str) -> Vec<Captured> {
        let mut requests = self.requests();
        requests.retain(|request| request.head.starts_with(line));
        requests
    }

    fn serve(&self, mut stream: UnixStream, answer: &str) {
        stream
            .set_read_timeout(Some(poll::PATIENCE))
            .expect("a timeout can be set");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some(captured) = read(&mut reader) {
            self.0.lock().expect("no thread failed").push(captured);
            let text = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read(reader: &mut BufReader<UnixStream>) -> Option<Captured> {
    let mut head = String::new();
    loop {
        let start = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head[start..].trim_end().is_empty() {
            break;
        }
    }
    let mut captured = Captured {
        head,
        body: Vec::new(),
    };
    let length = captured
        .values("content-length")
        .first()
        .and_then(|text| text.parse().ok());
    captured.body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut captured.body).ok()?;
    Some(captured)
}
