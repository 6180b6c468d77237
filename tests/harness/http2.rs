//! HTTP/2 frames, written by hand: a proper client refuses to send half of what an attacker sends.

use crate::client::{Client, Connection};

/// How a client begins.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub const DATA: u8 = 0;
/// Fields.
pub const HEADERS: u8 = 1;
/// A stream is given up.
pub const RST_STREAM: u8 = 3;
/// Agreements.
pub const SETTINGS: u8 = 4;
/// The connection is given up.
pub const GOAWAY: u8 = 7;
/// More may be sent.
pub const WINDOW_UPDATE: u8 = 8;
/// More fields.
pub const CONTINUATION: u8 = 9;

/// The flag of a stream's last frame, and of agreements that were taken note of.
pub const END_STREAM: u8 = 1;
const ACKNOWLEDGED: u8 = 1;
/// The flag of a block's last frame.
pub const END_HEADERS: u8 = 4;

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Returns whether the stream ends with it.
    #[must_use]
    pub const fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// Makes a frame.
///
/// # Panics
/// When the payload is longer than a frame can say.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    assert_eq!(length[0], 0, "too long for a frame");
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Makes a block of fields as they are, each a literal.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text.bytes());
        }
    }
    block
}

/// The length of a literal: an integer with a prefix of seven bits.
fn length(block: &mut Vec<u8>, length: usize) {
    const PREFIX_MAX: usize = 127;
    let byte = |number: usize| u8::try_from(number).expect("it fits");
    if length < PREFIX_MAX {
        block.push(byte(length));
        return;
    }
    block.push(byte(PREFIX_MAX));
    let mut rest = length - PREFIX_MAX;
    while rest >= 128 {
        block.push(byte(rest % 128 + 128));
        rest /= 128;
    }
    block.push(byte(rest));
}

/// Makes a whole request head.
#[must_use]
pub fn head(stream: u32, end: bool, method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ];
    all.extend(fields);
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &block(&all))
}

/// A connection whose frames are written by hand.
#[derive(Debug)]
pub struct Http2 {
    connection: Connection,
    came: Vec<u8>,
}

impl Http2 {
    /// Connects and agrees to the other side's settings; `settings` are ours.
    #[must_use]
    pub fn begin(client: &Client, settings: &[u8]) -> Self {
        let mut http2 = Self {
            connection: client.offering_http2().connect(),
            came: Vec::new(),
        };
        http2.write(PREFACE);
        http2.write(&frame(SETTINGS, 0, 0, settings));
        http2
    }

    /// Writes bytes; the other side may be gone.
    pub fn write(&mut self, bytes: &[u8]) {
        self.connection.write(bytes);
    }

    /// Writes bytes; returns whether the other side still takes them.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.connection.try_write(bytes)
    }

    /// Returns the next frame; none at the end of the connection.
    pub fn next_frame(&mut self) -> Option<Frame> {
        const HEAD_BYTES: usize = 9;
        loop {
            if let [a, b, c, kind, flags, s, t, u, v, rest @ ..] = &*self.came {
                let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
                if let Some(payload) = rest.get(..length) {
                    let frame = Frame {
                        kind: *kind,
                        flags: *flags,
                        stream: u32::from_be_bytes([*s & 0x7f, *t, *u, *v]),
                        payload: payload.to_owned(),
                    };
                    self.came.drain(..HEAD_BYTES + length);
                    self.agree(&frame);
                    return Some(frame);
                }
            }
            let more = self.connection.read();
            if more.is_empty() {
                return None;
            }
            self.came.extend(more);
        }
    }

    /// Returns the next frame that fits.
    ///
    /// # Panics
    /// When the connection ends before.
    pub fn until(&mut self, what: &str, fits: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next_frame();
            let frame = frame.unwrap_or_else(|| panic!("the connection ended before {what}"));
            if fits(&frame) {
                return frame;
            }
        }
    }

    fn agree(&mut self, came: &Frame) {
        if came.kind == SETTINGS && came.flags & ACKNOWLEDGED == 0 {
            self.write(&frame(SETTINGS, ACKNOWLEDGED, 0, &[]));
        }
    }
}
