//! Speaks with an agent's program that asks by its own streams.
//!
//! Invariant: a line is bounded, and so is all that is heard; a conversation that breaks off is not done.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

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
        match next_line(reader, &mut self.line, &mut self.bytes_left).await {
            Some(line) => Heard::Line(line),
            None => {
                self.end();
                Heard::Nothing
            }
        }
    }

    /// Returns the next line of a program that has ended; nothing when there is no more, or when some
    /// process that outlived its supervisor holds the conversation open.
    pub(super) async fn hear_out(&mut self) -> Option<Vec<u8>> {
        let (reader, _) = self.streams.as_mut()?;
        let line = next_line(reader, &mut self.line, &mut self.bytes_left);
        let line = timeout(HEARD_OUT_WITHIN, line).await.ok().flatten();
        if line.is_none() {
            self.end();
        }
        line
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
}

/// Reads a line, without its end, of which `begun` may be there already; nothing at the end and beyond a
/// bound. Safe to cancel: what was read stays in `begun`.
async fn next_line(
    reader: &mut BufReader<OwnedReadHalf>,
    begun: &mut Vec<u8>,
    bytes_left: &mut u64,
) -> Option<Vec<u8>> {
    loop {
        let piece = reader.fill_buf().await.ok()?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(piece.len(), |end| end + 1);
        let taken = u64::try_from(length).unwrap_or(u64::MAX);
        if length == 0 || taken > *bytes_left || begun.len() + length > LINE_BYTES_MAX {
            return None;
        }
        *bytes_left -= taken;
        begun.extend_from_slice(&piece[..length]);
        reader.consume(length);
        if end.is_some() {
            begun.pop();
            return Some(std::mem::take(begun));
        }
    }
}

/// Longest line that is heard: a program may show a whole file that it wants to change.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest wait for the end of what a program said that is gone: all of it is there already.
const HEARD_OUT_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::Talk;
    use crate::provider::dialogue::{Brief, Language};

    #[tokio::test]
    async fn what_a_program_said_is_heard_although_it_is_gone() {
        let brief = Brief {
            prompt: "work".to_owned(),
            directory: "/app".to_owned(),
            model: None,
        };
        let mut talk = Talk::new(Language::Acp, brief, 100);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        talk.begin(ours).await;
        let said = b"{\"id\":0}\n{\"id\":1}\n{\"torn\"";
        theirs.write_all(said).await.unwrap();
        drop(theirs);
        assert_eq!(talk.hear_out().await.unwrap(), b"{\"id\":0}");
        assert_eq!(talk.hear_out().await.unwrap(), b"{\"id\":1}");
        assert_eq!(talk.hear_out().await, None, "half a line is none");
        assert_eq!(talk.hear_out().await, None);
    }
}
