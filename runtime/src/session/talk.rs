//! Speaks with an agent's program that asks by its own streams.
//!
//! Invariant: a line is bounded, and so is all that is heard; a conversation that breaks off is not done.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::operation::Counter;
use crate::provider::dialect::Outcome;
use crate::provider::dialogue::{Brief, Dialogue, Language, Step};

/// A conversation, before, while and after it takes place.
#[derive(Debug)]
pub(super) struct Talk {
    dialogue: Dialogue,
    /// The message with which it begins.
    first: Option<serde_json::Value>,
    streams: Option<(BufReader<OwnedReadHalf>, OwnedWriteHalf)>,
    line: Vec<u8>,
    bytes_left: u64,
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// The program is there.
    Opened(UnixStream),
    /// A line, without its end.
    Line(Vec<u8>),
    /// Nothing more: the program has ended the conversation, or went over a bound.
    Nothing,
}

impl Talk {
    /// Prepares a conversation in which no more than `bytes_max` are heard.
    pub(super) fn new(language: Language, brief: Brief, bytes_max: u64) -> Self {
        let (dialogue, first) = Dialogue::new(language, brief);
        Self {
            dialogue,
            first: Some(first),
            streams: None,
            line: Vec::new(),
            bytes_left: bytes_max,
        }
    }

    /// Waits for the next line, and before that for the program. Safe to cancel: nothing is lost.
    pub(super) async fn hear(&mut self, counter: &mut Counter) -> Heard {
        let Some((reader, _)) = &mut self.streams else {
            return if self.first.is_some() {
                Heard::Opened(counter.conversation().await)
            } else {
                // It is over.
                std::future::pending().await
            };
        };
        loop {
            let Ok(piece) = reader.fill_buf().await else {
                return self.break_off();
            };
            let end = piece.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(piece.len(), |end| end + 1);
            let taken = u64::try_from(length).unwrap_or(u64::MAX);
            if length == 0 || taken > self.bytes_left || self.line.len() + length > LINE_BYTES_MAX {
                return self.break_off();
            }
            self.bytes_left -= taken;
            self.line.extend_from_slice(&piece[..length]);
            reader.consume(length);
            if end.is_some() {
                self.line.pop();
                return Heard::Line(std::mem::take(&mut self.line));
            }
        }
    }

    /// Begins to speak.
    pub(super) async fn begin(&mut self, stream: UnixStream) {
        let (reader, writer) = stream.into_split();
        self.streams = Some((BufReader::new(reader), writer));
        if let Some(first) = self.first.take() {
            self.say(&first).await;
        }
    }

    /// Returns what is to be done about a line.
    pub(super) fn judge(&mut self, line: &[u8]) -> Vec<Step> {
        self.dialogue.hear(line)
    }

    /// Says something; a program that does not listen any more is found out by what it says next.
    pub(super) async fn say(&mut self, message: &serde_json::Value) {
        let Some((_, writer)) = &mut self.streams else {
            return;
        };
        let written = writer.write_all(format!("{message}\n").as_bytes()).await;
        if let Err(error) = written {
            tracing::debug!(%error, "an agent's program does not listen");
        }
    }

    /// Ends the conversation.
    pub(super) fn end(&mut self) {
        self.first = None;
        self.streams = None;
    }

    /// Returns what became of the work.
    pub(super) fn outcome(&self) -> Outcome {
        self.dialogue.outcome().clone()
    }

    fn break_off(&mut self) -> Heard {
        self.end();
        Heard::Nothing
    }
}

/// Longest line that is heard: a program may show a whole file that it wants to change.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
