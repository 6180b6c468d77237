//! Follows the bytes of an HTTP/1 connection before any parser sees them (RFC 9112).
//!
//! Invariant: a byte passes only as part of a request whose framing can be read in one way. Heads
//! are held back until they are whole and checked; bodies are followed to their exact end.

mod chunks;
mod head;

use chunks::Chunks;
pub(crate) use head::Bounds;
use head::Framing;
pub(crate) use head::has_control;

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The head is longer or has more fields than allowed.
    HeadTooLong,
    /// The target is longer than allowed.
    TargetTooLong,
    /// A rule of HTTP or of the strict front is broken.
    Malformed(&'static str),
}

/// How an answer begins that agrees to a WebSocket.
const SWITCHED: &[u8] = b"HTTP/1.1 101 ";

/// Where in a request the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Head,
    Length(u64),
    Chunked(Chunks),
    /// Behind a head that asks for a WebSocket, until it is answered.
    Asked,
    /// Behind the answer that agreed: no HTTP any more.
    Tunnel,
    /// Behind one that did not: nothing that comes is handed on.
    Over,
}

impl Place {
    /// Where the connection stands behind a head.
    const fn behind(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Head,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::new()),
            Framing::Upgrade => Self::Asked,
        }
    }
}

/// Follows one connection's requests, one after the other.
#[derive(Debug)]
pub(crate) struct Wire {
    bounds: Bounds,
    place: Place,
    head: Vec<u8>,
}

/// How far the bytes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// For a request to begin.
    Idle,
    /// For the rest of a head.
    Head,
    /// For the rest of a body.
    Body,
}

impl Wire {
    /// Begins before the first request.
    pub(crate) const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            place: Place::Head,
            head: Vec::new(),
        }
    }

    /// Returns the number of bytes that are held back.
    pub(crate) const fn held(&self) -> usize {
        self.head.len()
    }

    /// Gives memory back that nothing waits in.
    pub(crate) fn release(&mut self) {
        if self.head.is_empty() {
            self.head = Vec::new();
        }
    }

    /// Tells what the connection waits for.
    pub(crate) const fn waits(&self) -> Waits {
        match self.place {
            Place::Head if self.head.is_empty() => Waits::Idle,
            Place::Head => Waits::Head,
            Place::Length(_) | Place::Chunked(_) => Waits::Body,
            // How long these may take is the stream's business.
            Place::Asked | Place::Tunnel | Place::Over => Waits::Idle,
        }
    }

    /// Takes note of bytes that leave: the answer to whoever asked for a WebSocket decides what the
    /// bytes behind the request are.
    pub(crate) fn answering(&mut self, bytes: &[u8]) {
        if self.place == Place::Asked {
            self.place = if bytes.starts_with(SWITCHED) {
                Place::Tunnel
            } else {
                Place::Over
            };
        }
    }

    /// Returns whether nothing that comes may be handed on.
    pub(crate) fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// Follows bytes that lie within a body of known length, where every byte passes; returns
    /// whether they all do, and takes nothing if not.
    pub(crate) fn skim(&mut self, count: usize) -> bool {
        match &mut self.place {
            Place::Length(left) if *left > count as u64 => {
                *left -= count as u64;
                true
            }
            Place::Tunnel => true,
            Place::Length(_) | Place::Head | Place::Chunked(_) | Place::Asked | Place::Over => {
                false
            }
        }
    }

    /// Follows bytes that are exactly one whole head, as they mostly are; returns whether that is
    /// so, and takes nothing if not. Nothing is copied.
    ///
    /// # Errors
    /// What is wrong with the head.
    pub(crate) fn glance(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        if self.place != Place::Head
            || !self.head.is_empty()
            || head::end(bytes, 0) != Some(bytes.len())
        {
            return Ok(false);
        }
        head::check_lines(bytes, 0, self.bounds)?;
        self.place = Place::behind(head::check(bytes, self.bounds)?);
        Ok(true)
    }

    /// Takes bytes that came and appends to `passed` those that may go on.
    ///
    /// # Errors
    /// The first fault; the bytes from there on never pass.
    pub(crate) fn take(&mut self, mut bytes: &[u8], passed: &mut Vec<u8>) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let used = match &mut self.place {
                Place::Head => self.take_head(bytes, passed)?,
                Place::Length(left) => {
                    let used =
                        usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    passed.extend_from_slice(&bytes[..used]);
                    *left -= used as u64;
                    if *left == 0 {
                        self.place = Place::Head;
                    }
                    used
                }
                Place::Chunked(chunks) => {
                    let (used, ended) = chunks.follow(bytes).map_err(Fault::Malformed)?;
                    passed.extend_from_slice(&bytes[..used]);
                    if ended {
                        self.place = Place::Head;
                    }
                    used
                }
                Place::Tunnel => {
                    passed.extend_from_slice(bytes);
                    bytes.len()
                }
                Place::Asked | Place::Over => {
                    return Err(Fault::Malformed("bytes before the WebSocket was agreed to"));
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Gathers a head; passes it on once it is whole and sound. Returns the bytes used.
    fn take_head(&mut self, bytes: &[u8], passed: &mut Vec<u8>) -> Result<usize, Fault> {
        let held = self.head.len();
        self.head.extend_from_slice(bytes);
        let end = head::end(&self.head, held);
        let seen = end.unwrap_or(self.head.len());
        head::check_lines(&self.head[..seen], held, self.bounds)?;
        let Some(end) = end else {
            return Ok(bytes.len());
        };
        self.place = Place::behind(head::check(&self.head[..end], self.bounds)?);
        passed.extend_from_slice(&self.head[..end]);
        self.head.clear();
        // Memory of a large head is not kept for the life of the connection.
        self.head.shrink_to(1024);
        Ok(end - held)
    }
}

#[cfg(test)]
mod tests;
