//! Frames of a WebSocket (RFC 6455, section 5), as a client reads and writes them.
//!
//! Invariant: what is written is masked, and what is read is no longer than a bound.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::client::stream::random;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

impl Frame {
    /// Returns the frame's bytes.
    pub(super) fn written(&self) -> Vec<u8> {
        let (opcode, payload) = match self {
            Self::Text(text) => (TEXT, text.as_bytes()),
            Self::Binary(payload) => (BINARY, payload.as_slice()),
            Self::Ping(payload) => (PING, payload.as_slice()),
            Self::Pong(payload) => (PONG, payload.as_slice()),
            Self::Close(payload) => (CLOSE, payload.as_slice()),
        };
        let mut bytes = vec![FIN | opcode];
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(short), _) if short < 126 => bytes.push(MASKED | short),
            (_, Ok(length)) => {
                bytes.push(MASKED | 126);
                bytes.extend(length.to_be_bytes());
            }
            (_, Err(_)) => {
                bytes.push(MASKED | 127);
                bytes.extend((payload.len() as u64).to_be_bytes());
            }
        }
        let mask = random();
        bytes.extend(mask);
        let masked = payload.iter().zip(mask.iter().cycle());
        bytes.extend(masked.map(|(byte, key)| byte ^ key));
        bytes
    }
}

/// Reads a frame.
pub(super) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let [first, second] = {
        let mut head = [0; 2];
        reader.read_exact(&mut head).await?;
        head
    };
    if first & FIN == 0 || second & MASKED != 0 {
        return Err(broken());
    }
    let length = match second {
        126 => u64::from(reader.read_u16().await?),
        127 => reader.read_u64().await?,
        short => u64::from(short),
    };
    if length > PAYLOAD_BYTES_MAX {
        return Err(broken());
    }
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    reader.read_exact(&mut payload).await?;
    match first & OPCODE {
        TEXT => String::from_utf8(payload)
            .map(Frame::Text)
            .map_err(|_| broken()),
        BINARY => Ok(Frame::Binary(payload)),
        PING => Ok(Frame::Ping(payload)),
        PONG => Ok(Frame::Pong(payload)),
        CLOSE => Ok(Frame::Close(payload)),
        _ => Err(broken()),
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame breaks the rules")
}

const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const PAYLOAD_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::{Frame, read};

    #[tokio::test]
    async fn frames_that_break_the_rules_are_refused() {
        for bytes in [
            &[][..],
            &[0x81],
            &[0x01, 1, b'x'],
            &[0x81, 0x81, 0, 0, 0, 0, b'x'],
            &[0x83, 1, b'x'],
            &[0x81, 1, 0xff],
            &[0x82, 127, 0, 0, 0, 0, 0xff, 0, 0, 0],
        ] {
            let mut reader = bytes;
            assert!(read(&mut reader).await.is_err(), "{bytes:?}");
        }
        let mut reader = &[0x82, 1, b'x'][..];
        let frame = read(&mut reader).await.expect("a sound frame");
        assert_eq!(frame, Frame::Binary(b"x".to_vec()));
    }

    #[test]
    fn what_is_written_is_masked() {
        let written = Frame::Binary(b"abc".to_vec()).written();
        assert_eq!(written[..2], [0x82, 0x83]);
        let mask = &written[2..6];
        let shown: Vec<u8> = written[6..]
            .iter()
            .zip(mask)
            .map(|(byte, key)| byte ^ key)
            .collect();
        assert_eq!(shown, b"abc");
        assert_eq!(Frame::Text("x".repeat(300)).written()[1], 0x80 | 126);
    }
}
