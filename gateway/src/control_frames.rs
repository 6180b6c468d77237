//! Counts what an HTTP/2 client can make us do without asking for anything (RFC 9113, section 10.5).
//!
//! Invariant: frames that carry no request (PING, SETTINGS, PRIORITY, unknown ones) and cancelled
//! streams are bounded per connection and second, whatever the library does with them; what is over
//! the bound never reaches it.

use std::time::Duration;

use config::limit::Limits;
use tokio::time::Instant;

/// Follows one connection's frames.
#[derive(Debug)]
pub(crate) struct ControlFrames {
    place: Place,
    control: Bucket,
    resets: Bucket,
}

/// Too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flood;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the client's connection preface.
    Preface { left: usize },
    /// In a frame's head: payload length so far, type, and how many bytes have come.
    Head { length: u32, kind: u8, have: u8 },
    /// In a payload.
    Payload { left: u32 },
}

impl ControlFrames {
    /// Begins before the connection preface.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            place: Place::Preface {
                left: PREFACE_BYTES,
            },
            control: Bucket::new(limits.http2_control_frames_per_second_max),
            resets: Bucket::new(limits.http2_resets_per_second_max),
        }
    }

    /// Follows bytes that came.
    ///
    /// # Errors
    /// When there are too many such frames.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        while !bytes.is_empty() {
            let used = match &mut self.place {
                Place::Preface { left } => {
                    let used = (*left).min(bytes.len());
                    *left -= used;
                    if *left == 0 {
                        self.place = HEAD;
                    }
                    used
                }
                Place::Payload { left } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX);
                    let used = here.min(bytes.len());
                    *left -= u32::try_from(used).unwrap_or(*left);
                    if *left == 0 {
                        self.place = HEAD;
                    }
                    used
                }
                Place::Head { .. } => {
                    self.take_head(bytes[0])?;
                    1
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    fn take_head(&mut self, byte: u8) -> Result<(), Flood> {
        let Place::Head { length, kind, have } = &mut self.place else {
            return Ok(());
        };
        match *have {
            0..3 => *length = (*length << 8) | u32::from(byte),
            3 => *kind = byte,
            _ => {}
        }
        *have += 1;
        if *have < HEAD_BYTES {
            return Ok(());
        }
        let (length, kind) = (*length, *kind);
        self.place = if length == 0 {
            HEAD
        } else {
            Place::Payload { left: length }
        };
        match kind {
            DATA | HEADERS | WINDOW_UPDATE | CONTINUATION => Ok(()),
            RST_STREAM => self.resets.take(Instant::now()),
            _ => self.control.take(Instant::now()),
        }
    }
}

/// As many as a second allows may come at once, and that many more each second.
#[derive(Debug)]
struct Bucket {
    per_second: u32,
    left: f64,
    filled_at: Option<Instant>,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        Self {
            per_second,
            left: f64::from(per_second),
            filled_at: None,
        }
    }

    fn take(&mut self, now: Instant) -> Result<(), Flood> {
        let since = self
            .filled_at
            .replace(now)
            .map_or(Duration::ZERO, |at| now - at);
        let most = f64::from(self.per_second);
        self.left = (self.left + since.as_secs_f64() * most).min(most);
        if self.left < 1.0 {
            return Err(Flood);
        }
        self.left -= 1.0;
        Ok(())
    }
}

/// `PRI * HTTP/2.0`, two empty lines and `SM` among them; what is not that is the library's business.
const PREFACE_BYTES: usize = 24;

const HEAD: Place = Place::Head {
    length: 0,
    kind: 0,
    have: 0,
};

const HEAD_BYTES: u8 = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

#[cfg(test)]
mod tests {
    use config::gateway::GatewaySettings;
    use config::limit::Limits;
    use config::load::Sources;
    use tokio::time::Instant;

    use super::{Bucket, ControlFrames, Flood};
    use std::time::Duration;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn limits() -> Limits {
        let defaults = GatewaySettings::load(Sources::default()).expect("defaults");
        Limits {
            http2_control_frames_per_second_max: 10,
            http2_resets_per_second_max: 3,
            ..defaults.settings.limits
        }
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 1];
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_flood_of_any_control_frame_is_noticed() {
        for (kind, payload, most) in [
            (6, 8, 10),
            (4, 0, 10),
            (2, 5, 10),
            (7, 8, 10),
            (0xee, 3, 10),
            (3, 4, 3),
        ] {
            let mut frames = ControlFrames::new(&limits());
            assert_eq!(frames.follow(PREFACE), Ok(()));
            let bytes = frame(kind, &vec![0xff; payload]);
            for _ in 0..most {
                assert_eq!(frames.follow(&bytes), Ok(()), "type {kind}");
            }
            assert_eq!(frames.follow(&bytes), Err(Flood), "type {kind}");
        }
    }

    #[test]
    fn requests_and_bodies_are_not_counted_however_they_are_cut() {
        let bodies: Vec<u8> = (0..200)
            .flat_map(|size| {
                [
                    frame(1, b"headers"),
                    frame(0, &vec![6; size * 100]),
                    frame(8, &[0; 4]),
                    frame(9, &[]),
                ]
                .concat()
            })
            .collect();
        let bytes = [PREFACE, &bodies].concat();
        for step in [1, 7, 24, 1_000, bytes.len()] {
            let mut frames = ControlFrames::new(&limits());
            for piece in bytes.chunks(step) {
                assert_eq!(frames.follow(piece), Ok(()), "{step}");
            }
        }
    }

    #[test]
    fn the_bound_is_per_second() {
        let mut bucket = Bucket::new(10);
        let begin = Instant::now();
        for tenth in 0..100 {
            let now = begin + Duration::from_millis(101 * tenth);
            assert_eq!(bucket.take(now), Ok(()), "{tenth}");
        }
    }
}
