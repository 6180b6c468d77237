//! Turns what an agent's program writes into events: bounded lines, a bounded number of them.
//!
//! Invariant: whatever a program writes, what is kept of it here stays within the bounds; the whole
//! is in the raw log.

use serde_json::json;

use crate::sandbox::{Chunk, Stream};
use crate::store::NewEvent;

/// Longest line in bytes; the rest of a longer one is left out.
pub const LINE_BYTES_MAX: usize = 4 * 1024;

/// Most lines of one iteration that become events.
pub const LINES_MAX: u32 = 2_000;

/// Most bytes of the end of the output that the next prompt may quote.
const TAIL_BYTES_MAX: usize = 16 * 1024;

/// The lines of one iteration.
#[derive(Debug)]
pub struct Output {
    iteration: u32,
    output: Line,
    error: Line,
    lines: u32,
    tail: Vec<u8>,
}

#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    /// Whether bytes were left out.
    cut: bool,
}

impl Output {
    /// Begins the output of an iteration.
    #[must_use]
    pub fn new(iteration: u32) -> Self {
        Self {
            iteration,
            output: Line::default(),
            error: Line::default(),
            lines: 0,
            tail: Vec::new(),
        }
    }

    /// Takes a piece of output and returns the events of the lines that it ends.
    pub fn take(&mut self, chunk: &Chunk) -> Vec<NewEvent> {
        self.tail.extend_from_slice(&chunk.bytes);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..surplus);
        let mut events = Vec::new();
        let mut pieces = chunk.bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.line(chunk.stream).add(piece);
            if pieces.peek().is_some() {
                events.extend(self.end_line(chunk.stream));
            }
        }
        events
    }

    /// Ends the output: returns the events of unfinished lines and the end of the whole.
    #[must_use]
    pub fn finish(mut self) -> (Vec<NewEvent>, String) {
        let mut events = Vec::new();
        for stream in [Stream::Output, Stream::Error] {
            if !self.line(stream).bytes.is_empty() {
                events.extend(self.end_line(stream));
            }
        }
        (events, String::from_utf8_lossy(&self.tail).into_owned())
    }

    const fn line(&mut self, stream: Stream) -> &mut Line {
        match stream {
            Stream::Output => &mut self.output,
            Stream::Error => &mut self.error,
        }
    }

    fn end_line(&mut self, stream: Stream) -> Option<NewEvent> {
        let line = std::mem::take(self.line(stream));
        self.lines = self.lines.saturating_add(1);
        if self.lines > LINES_MAX {
            return (self.lines == LINES_MAX + 1).then(|| {
                let text = format!(
                    "only the first {LINES_MAX} lines of an iteration become events; the rest is in \
                     the session's log alone"
                );
                NewEvent::new("note", json!({ "iteration": self.iteration, "text": text }))
            });
        }
        let name = match stream {
            Stream::Output => "stdout",
            Stream::Error => "stderr",
        };
        let text = String::from_utf8_lossy(&line.bytes);
        let mut data = json!({
            "iteration": self.iteration,
            "stream": name,
            "text": text.trim_end_matches('\r'),
        });
        if line.cut {
            data["cut"] = json!(true);
        }
        Some(NewEvent::new("output", data))
    }
}

impl Line {
    fn add(&mut self, piece: &[u8]) {
        let fits = piece.len().min(LINE_BYTES_MAX - self.bytes.len());
        self.bytes.extend_from_slice(&piece[..fits]);
        self.cut |= fits < piece.len();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{LINE_BYTES_MAX, LINES_MAX, Output};
    use crate::sandbox::{Chunk, Stream};

    fn all(chunks: &[(Stream, &[u8])]) -> (Vec<(&'static str, Value)>, String) {
        let mut output = Output::new(1);
        let mut events = Vec::new();
        for (stream, bytes) in chunks {
            events.extend(output.take(&Chunk {
                stream: *stream,
                bytes: bytes.to_vec(),
            }));
        }
        let (last, tail) = output.finish();
        events.extend(last);
        let events = events.into_iter().map(|event| (event.kind, event.data));
        (events.collect(), tail)
    }

    fn line(stream: &str, text: &str) -> (&'static str, Value) {
        let data = json!({ "iteration": 1, "stream": stream, "text": text });
        ("output", data)
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        let (events, _) = all(&[(Stream::Output, &long), (Stream::Output, b"y\nz")]);
        let cut = json!({
            "iteration": 1,
            "stream": "stdout",
            "text": "x".repeat(LINE_BYTES_MAX),
            "cut": true,
        });
        assert_eq!(events, [("output", cut), line("stdout", "z")]);
    }

    #[test]
    fn lines_beyond_the_bound_are_left_out_and_that_is_said_once() {
        let many = b"x\n".repeat(LINES_MAX as usize + 10);
        let (events, tail) = all(&[(Stream::Output, &many)]);
        assert_eq!(events.len(), LINES_MAX as usize + 1);
        assert_eq!(events.last().map(|event| event.0), Some("note"));
        assert!(tail.len() <= 16 * 1024);
    }

    #[test]
    fn streams_are_kept_apart_and_pieces_put_together() {
        let (events, tail) = all(&[
            (Stream::Output, b"on"),
            (Stream::Error, b"warn\r\n"),
            (Stream::Output, b"e\n\ntwo"),
            (Stream::Error, b"\xff"),
        ]);
        assert_eq!(
            events,
            [
                line("stderr", "warn"),
                line("stdout", "one"),
                line("stdout", ""),
                line("stdout", "two"),
                line("stderr", "\u{fffd}"),
            ]
        );
        assert_eq!(tail, "onwarn\r\ne\n\ntwo\u{fffd}");
    }
}
