//! A shell in a long-lived sandbox, as the one who types has it.
//!
//! Invariant: what is typed is in the agent audit, durable, before the shell has it; where it cannot be
//! recorded, it does not get there.

use std::io;
use std::time::Duration;

use config::contract::id::RequestId;
use jail::order::Size;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::conversation::Opened;
use super::running::Ask;
use crate::session::trail::Trail;

/// An open shell: dropping both parts hangs it up.
#[derive(Debug)]
pub struct Shell {
    /// What is shown.
    pub screen: Screen,
    /// What is typed.
    pub keys: Keys,
}

/// What a shell shows.
#[derive(Debug)]
pub struct Screen {
    stream: OwnedReadHalf,
    ended: oneshot::Receiver<u8>,
}

/// The way in which a shell is typed at.
#[derive(Debug)]
pub struct Keys {
    stream: OwnedWriteHalf,
    number: u32,
    asks: mpsc::Sender<Ask>,
    line: Line,
    trail: Trail,
    user: String,
    request_id: RequestId,
}

/// What was typed since the last record.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
}

impl Shell {
    pub(super) fn new(
        opened: Opened,
        asks: mpsc::Sender<Ask>,
        trail: Trail,
        user: String,
        request_id: RequestId,
    ) -> Self {
        let (reader, writer) = opened.stream.into_split();
        Self {
            screen: Screen {
                stream: reader,
                ended: opened.ended,
            },
            keys: Keys {
                stream: writer,
                number: opened.number,
                asks,
                line: Line::default(),
                trail,
                user,
                request_id,
            },
        }
    }
}

impl Screen {
    /// Waits for the next piece that is shown; none after the last. Safe to cancel.
    ///
    /// # Errors
    /// When the sandbox has broken off.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::with_capacity(PIECE_BYTES_MAX);
        let length = self.stream.read_buf(&mut bytes).await?;
        Ok((length > 0).then_some(bytes))
    }

    /// Returns the shell's exit code; none if the sandbox ended first.
    pub async fn code(self) -> Option<u8> {
        let ended = tokio::time::timeout(CODE_WITHIN, self.ended).await;
        ended.ok()?.ok()
    }
}

impl Keys {
    /// Types.
    ///
    /// # Errors
    /// When it cannot be recorded, or the shell takes nothing.
    pub async fn press(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(text) = self.line.take(bytes) {
            let details = json!({ "shell": self.number, "text": text });
            let (user, request_id) = (&self.user, Some(&self.request_id));
            let recorded = self.trail.add("shell_input", user, request_id, details);
            recorded.await.map_err(io::Error::other)?;
        }
        let typed = self.stream.write_all(bytes);
        let typed = tokio::time::timeout(TAKES_WITHIN, typed).await;
        typed.map_err(|_| io::Error::other("the shell takes nothing"))?
    }

    /// Tells that the terminal has another size.
    pub async fn resize(&self, size: Size) {
        let number = self.number;
        // A sandbox that has ended needs no size.
        drop(self.asks.send(Ask::Resize { number, size }).await);
    }
}

impl Line {
    /// Takes what was typed; returns what is to be recorded, once something is about to be carried out.
    fn take(&mut self, bytes: &[u8]) -> Option<String> {
        self.bytes.extend_from_slice(bytes);
        let is_carried_out = bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
        if !is_carried_out && self.bytes.len() < LINE_BYTES_MAX {
            return None;
        }
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        self.bytes.clear();
        Some(text)
    }
}

const PIECE_BYTES_MAX: usize = 16 * 1024;
const LINE_BYTES_MAX: usize = 4 * 1024;
const CODE_WITHIN: Duration = Duration::from_secs(5);
const TAKES_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, Line};

    #[test]
    fn nothing_is_carried_out_that_is_not_recorded() {
        let mut line = Line::default();
        assert_eq!(line.take(b"rm -r"), None);
        assert_eq!(line.take(b"f x\r"), Some("rm -rf x".to_owned()));
        assert_eq!(line.take(b"\r"), Some(String::new()));
        assert_eq!(line.take(b"a\rb\rc"), Some("a\rb\rc".to_owned()));
        let long = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(
            line.take(&long).map(|text| text.len()),
            Some(LINE_BYTES_MAX)
        );
    }
}
