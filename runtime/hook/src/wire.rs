//! The words that the runtime and `loki-hook` exchange: one line of JSON each way, on a connection of
//! its own for every question.
//!
//! Invariant: what was read is of the known version and has no unknown member.

use std::io::{self, BufRead, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of these words.
pub const VERSION: u32 = 1;

/// Longest question in bytes; a tool that is given more is refused.
pub const QUESTION_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Longest answer in bytes.
pub const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The name of the socket in a gate's folder. Both ends name it from within that folder, because a
/// socket's path may be short only.
pub const SOCKET: &str = "s";

/// The name of the key's file in a gate's folder.
pub const KEY: &str = "key";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// The handler before each tool.
    ToolUse,
    /// The server that is asked where the program's own rules are silent.
    Permission,
}

/// Asks whether a tool may be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Is [`VERSION`].
    pub version: u32,
    /// What only this session's programs can read; others cannot ask in its name.
    pub key: String,
    /// Who asks.
    pub asker: Asker,
    /// The program's name of this use of the tool; empty if it gave none.
    pub call: String,
    /// The tool.
    pub tool: String,
    /// What it is given.
    pub input: Value,
    /// The working directory of the program; empty if it is not known.
    pub directory: String,
}

/// Opens a conversation: what follows on this connection is what a vendor's program says by its standard
/// streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// Is [`VERSION`].
    pub version: u32,
    /// As that of a [`Question`].
    pub key: String,
    /// Is true.
    pub conversation: bool,
}

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Opening {
    /// One question.
    Question(Question),
    /// A conversation.
    Conversation(Conversation),
}

/// Says whether it may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Is [`VERSION`].
    pub version: u32,
    /// Whether the tool may be used, now and once, with exactly this input.
    pub allowed: bool,
    /// Why; reaches the agent.
    pub reason: String,
}

impl Answer {
    /// Builds an answer.
    #[must_use]
    pub fn new(allowed: bool, reason: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            allowed,
            reason: reason.into(),
        }
    }
}

/// Reads one line, whole and of at most `bytes_max`.
///
/// # Errors
/// When there is none, it is longer, or it is not what was expected.
pub fn read_line<T: DeserializeOwned>(from: impl Read, bytes_max: u64) -> io::Result<T> {
    let mut line = Vec::new();
    // Byte by byte: what follows on the connection belongs to somebody else.
    let mut from = io::BufReader::with_capacity(1, from.take(bytes_max));
    from.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        let why = "the line is torn or too long";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    serde_json::from_slice(&line).map_err(io::Error::from)
}

/// Writes one line.
///
/// # Errors
/// When it cannot be written.
pub fn write_line(mut to: impl Write, words: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(words)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::{ANSWER_BYTES_MAX, Answer, read_line, write_line};

    fn read(text: &[u8]) -> Option<Answer> {
        read_line(text, ANSWER_BYTES_MAX).ok()
    }

    #[test]
    fn what_is_torn_too_long_or_not_an_answer_is_none() {
        let long = [&[b' '; 70 * 1024][..], br#"{"version":1}"#, b"\n"].concat();
        for text in [
            &b""[..],
            b"\n",
            b"yes\n",
            br#"{"version":1,"allowed":true,"reason":""}"#,
            b"{\"version\":1,\"allowed\":true}\n",
            b"{\"version\":1,\"allowed\":\"true\",\"reason\":\"\"}\n",
            b"{\"version\":1,\"allowed\":true,\"reason\":\"\",\"more\":1}\n",
            &long,
        ] {
            assert_eq!(read(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let answer = Answer::new(true, "a \u{1f512} reason\nof two lines");
        let mut line = Vec::new();
        write_line(&mut line, &answer).expect("memory takes it");
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(read(&line), Some(answer));
    }
}
