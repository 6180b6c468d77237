//! Counts what an HTTP/2 client can make us do without asking for anything (RFC 9113, section 10.5).
//!
//! Invariant: frames that carry no request (PING, SETTINGS, PRIORITY, unknown ones, WINDOW_UPDATE
//! beyond what our own DATA calls for) and cancelled streams are bounded per connection and second,
//! whatever the library does with them; what is over the bound never reaches it.

use std::time::Duration;

use config::limit::Limits;
use tokio::time::Instant;

/// Follows one connection's frames, both ways.
#[derive(Debug)]
pub(crate) struct ControlFrames {
    came: Walk,
    left: Walk,
    control: Bucket,
    resets: Bucket,
    /// How many WINDOW_UPDATE frames the DATA frames that left entitle the peer to.
    updates_owed: u32,
}

/// Too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flood;

impl ControlFrames {
    /// Begins before the connection preface.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            came: Walk(Place::Preface {
                left: PREFACE_BYTES,
            }),
            left: Walk(HEAD),
            control: Bucket::new(limits.http2_control_frames_per_second_max),
            resets: Bucket::new(limits.http2_resets_per_second_max),
            updates_owed: 0,
        }
    }

    /// Follows bytes that came.
    ///
    /// # Errors
    /// When there are too many frames that ask for nothing.
    pub(crate) fn came(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let Self {
            came,
            control,
            resets,
            updates_owed,
            ..
        } = self;
        came.follow(bytes, |kind| match kind {
            DATA | HEADERS | CONTINUATION => Ok(()),
            WINDOW_UPDATE if *updates_owed > 0 => {
                *updates_owed -= 1;
                Ok(())
            }
            RST_STREAM => resets.take(Instant::now()),
            _ => control.take(Instant::now()),
        })
    }

    /// Follows bytes that left: an honest reader answers each DATA frame by an update of its
    /// stream's window and one of the connection's at most.
    pub(crate) fn left(&mut self, bytes: &[u8]) {
        let Self {
            left, updates_owed, ..
        } = self;
        let followed = left.follow(bytes, |kind| {
            if kind == DATA {
                *updates_owed = (*updates_owed + 2).min(UPDATES_OWED_MAX);
            }
            Ok(())
        });
        debug_assert_eq!(followed, Ok(()), "what leaves is no flood");
    }
}

/// Where in a direction's frames the bytes stand.
#[derive(Debug)]
struct Walk(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the client's connection preface.
    Preface { left: usize },
    /// In a frame's head: payload length so far, type, and how many bytes have come.
    Head { length: u32, kind: u8, have: u8 },
    /// In a payload.
    Payload { left: u32 },
}

impl Walk {
    /// Calls `each` with the type of every frame whose head ends in these bytes.
    fn follow(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(u8) -> Result<(), Flood>,
    ) -> Result<(), Flood> {
        while !bytes.is_empty() {
            let used = match &mut self.0 {
                Place::Preface { left } => {
                    let used = (*left).min(bytes.len());
                    *left -= used;
                    if *left == 0 {
                        self.0 = HEAD;
                    }
                    used
                }
                Place::Payload { left } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX);
                    let used = here.min(bytes.len());
                    *left -= u32::try_from(used).unwrap_or(*left);
                    if *left == 0 {
                        self.0 = HEAD;
                    }
                    used
                }
                Place::Head { .. } => {
                    if let Some(kind) = self.take_head(bytes[0]) {
                        each(kind)?;
                    }
                    1
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Takes one byte of a head; returns the frame's type at its end.
    fn take_head(&mut self, byte: u8) -> Option<u8> {
        let Place::Head { length, kind, have } = &mut self.0 else {
            return None;
        };
        match *have {
            0..3 => *length = (*length << 8) | u32::from(byte),
            3 => *kind = byte,
            _ => {}
        }
        *have += 1;
        if *have < HEAD_BYTES {
            return None;
        }
        let (length, kind) = (*length, *kind);
        self.0 = if length == 0 {
            HEAD
        } else {
            Place::Payload { left: length }
        };
        Some(kind)
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

/// Updates that may be owed at once: those of 64 MiB in frames of the usual size.
const UPDATES_OWED_MAX: u32 = 8_192;

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
            (8, 4, 10),
            (3, 4, 3),
        ] {
            let mut frames = ControlFrames::new(&limits());
            assert_eq!(frames.came(PREFACE), Ok(()));
            let bytes = frame(kind, &vec![0xff; payload]);
            for _ in 0..most {
                assert_eq!(frames.came(&bytes), Ok(()), "type {kind}");
            }
            assert_eq!(frames.came(&bytes), Err(Flood), "type {kind}");
        }
    }

    #[test]
    fn requests_and_bodies_are_not_counted_however_they_are_cut() {
        let bodies: Vec<u8> = (0..200)
            .flat_map(|size| {
                [
                    frame(1, b"headers"),
                    frame(0, &vec![6; size * 100]),
                    frame(9, &[]),
                ]
                .concat()
            })
            .collect();
        let bytes = [PREFACE, &bodies].concat();
        for step in [1, 7, 24, 1_000, bytes.len()] {
            let mut frames = ControlFrames::new(&limits());
            for piece in bytes.chunks(step) {
                assert_eq!(frames.came(piece), Ok(()), "{step}");
            }
        }
    }

    #[test]
    fn updates_that_answer_what_left_are_not_counted_and_all_others_are() {
        let update = frame(8, &[0, 0, 0, 1]);
        let data = frame(0, &[7; 100]);
        let other = frame(1, b"headers");
        for step in [1, 5, 9, 10, 1_000] {
            let mut frames = ControlFrames::new(&limits());
            assert_eq!(frames.came(PREFACE), Ok(()));
            for _ in 0..100 {
                for piece in [data.clone(), other.clone()].concat().chunks(step) {
                    frames.left(piece);
                }
                assert_eq!(frames.came(&update), Ok(()), "{step}");
                assert_eq!(frames.came(&update), Ok(()), "{step}");
            }
            for _ in 0..10 {
                assert_eq!(frames.came(&update), Ok(()), "{step}");
            }
            assert_eq!(frames.came(&update), Err(Flood), "{step}");
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
