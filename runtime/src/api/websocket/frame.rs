//! Frames of a WebSocket (RFC 6455, section 5), as a server reads and writes them.
//!
//! Invariant: a client's frame is masked, whole, and no longer than a bound; anything else ends the
//! connection.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum Frame {
    /// A message.
    Text(String),
    /// Bytes, such as what is typed at a terminal.
    Binary(Vec<u8>),
    /// Asks for a pong.
    Ping(Vec<u8>),
    /// Answers a ping.
    Pong(Vec<u8>),
    /// Ends the connection.
    Close(Vec<u8>),
}

impl Frame {
    /// Builds the end of a connection.
    pub(in crate::api) fn close(code: u16) -> Self {
        Self::Close(code.to_be_bytes().to_vec())
    }

    const fn opcode(&self) -> u8 {
        match self {
            Self::Text(_) => TEXT,
            Self::Binary(_) => BINARY,
            Self::Close(_) => CLOSE,
            Self::Ping(_) => PING,
            Self::Pong(_) => PONG,
        }
    }

    fn payload(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(payload)
            | Self::Ping(payload)
            | Self::Pong(payload)
            | Self::Close(payload) => payload,
        }
    }
}

/// Reads a client's frame.
///
/// # Errors
/// When the connection ends, or the frame breaks the rules.
pub(super) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; 2];
    reader.read_exact(&mut head).await?;
    let [first, second] = head;
    if first & FIN == 0 || second & MASKED == 0 {
        return Err(broken("it is in pieces or not masked"));
    }
    let length = match second & LENGTH {
        126 => u64::from(reader.read_u16().await?),
        127 => reader.read_u64().await?,
        short => u64::from(short),
    };
    if length > PAYLOAD_BYTES_MAX {
        return Err(broken("it is too long"));
    }
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    reader.read_exact(&mut payload).await?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    match first & OPCODE {
        TEXT => String::from_utf8(payload)
            .map(Frame::Text)
            .map_err(|_| broken("it is no text")),
        BINARY => Ok(Frame::Binary(payload)),
        CLOSE => Ok(Frame::Close(payload)),
        PING => Ok(Frame::Ping(payload)),
        PONG => Ok(Frame::Pong(payload)),
        _ => Err(broken("its kind is not spoken here")),
    }
}

/// Writes a frame.
///
/// # Errors
/// When the connection ends.
pub(super) async fn write(writer: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    let payload = frame.payload();
    let mut bytes = vec![FIN | frame.opcode()];
    if let Ok(short) = u8::try_from(payload.len())
        && short < 126
    {
        bytes.push(short);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        bytes.push(126);
        bytes.extend(length.to_be_bytes());
    } else {
        bytes.push(127);
        let length = u64::try_from(payload.len()).map_err(io::Error::other)?;
        bytes.extend(length.to_be_bytes());
    }
    bytes.extend_from_slice(payload);
    writer.write_all(&bytes).await?;
    writer.flush().await
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const PAYLOAD_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::{Frame, PAYLOAD_BYTES_MAX, read, write};

    fn masked(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let hidden = payload.iter().zip(mask.iter().cycle());
        let hidden: Vec<u8> = hidden.map(|(byte, key)| byte ^ key).collect();
        [&[first], length, &mask, &hidden].concat()
    }

    #[tokio::test]
    async fn frames_that_break_the_rules_are_refused() {
        let long = (PAYLOAD_BYTES_MAX + 1).to_be_bytes();
        for bytes in [
            Vec::new(),
            vec![0x81, 0x01, b'x'],
            masked(0x01, &[0x81], b"x"),
            masked(0x83, &[0x81], b"x"),
            masked(0x81, &[0x81], b"\xff"),
            [&[0x81, 0xff][..], &long, &[0; 4]].concat(),
        ] {
            assert!(read(&mut bytes.as_slice()).await.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn frames_are_read_and_written_as_the_standard_has_them() {
        let bytes = masked(0x81, &[0x82], b"hi");
        let read = read(&mut bytes.as_slice()).await;
        assert_eq!(read.ok(), Some(Frame::Text("hi".to_owned())));
        let mut written = Vec::new();
        write(&mut written, &Frame::Text("x".repeat(200)))
            .await
            .expect("written");
        assert_eq!(written[..4], [0x81, 126, 0, 200]);
    }
}
