//! A runtime's socket that understands nothing: it keeps the very bytes that arrive and answers 200, or
//! whatever bytes its script has.
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
        Self::scripted(socket, move |_, peer| {
            let text = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
            peer.write(text.as_bytes())
        })
    }

    /// Listens at a path until the test ends. The script gets each request and the connection, and
    /// says whether another request may follow on it.
    ///
    /// # Panics
    /// When the path cannot be listened on.
    #[must_use]
    pub fn scripted(
        socket: &Path,
        script: impl Fn(&Captured, &mut Peer) -> bool + Send + Sync + 'static,
    ) -> Self {
        let folder = socket.parent().expect("a socket lies in a folder");
        std::fs::create_dir_all(folder).expect("a folder");
        for private in [folder, folder.parent().expect("a data directory")] {
            crate::certificate::set_mode(private, 0o700);
        }
        let listener = UnixListener::bind(socket).expect("the path is free");
        let capture = Self::default();
        let kept = capture.clone();
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, script) = (kept.clone(), Arc::clone(&script));
                thread::spawn(move || kept.serve(stream, &*script));
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

    fn serve(&self, stream: UnixStream, script: &dyn Fn(&Captured, &mut Peer) -> bool) {
        let patience = Some(poll::PATIENCE);
        let timeouts = stream
            .set_read_timeout(patience)
            .and_then(|()| stream.set_write_timeout(patience));
        timeouts.expect("timeouts can be set");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut peer = Peer { reader, stream };
        while let Some(captured) = read(&mut peer.reader) {
            let kept = captured.clone();
            self.0.lock().expect("no thread failed").push(kept);
            if !script(&captured, &mut peer) {
                return;
            }
        }
    }
}

/// The other side of a captured connection.
#[derive(Debug)]
pub struct Peer {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Peer {
    /// Writes bytes as they are; returns whether they were taken.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Returns the next bytes that come; none at the end.
    pub fn read(&mut self) -> Vec<u8> {
        let Ok(found) = self.reader.fill_buf() else {
            return Vec::new();
        };
        let found = found.to_owned();
        self.reader.consume(found.len());
        found
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
    if captured.values("transfer-encoding").contains(&"chunked") {
        captured.body = read_chunks(reader)?;
        return Some(captured);
    }
    let length = captured
        .values("content-length")
        .first()
        .and_then(|text| text.parse().ok());
    captured.body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut captured.body).ok()?;
    Some(captured)
}

fn read_chunks(reader: &mut BufReader<UnixStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..]).ok()?;
        let mut end = String::new();
        reader.read_line(&mut end).ok()?;
        if size == 0 {
            return Some(body);
        }
    }
}
