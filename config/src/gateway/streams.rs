//! Bounds on streams: server-sent events and WebSockets, which may go on for hours.

use std::time::Duration;

use crate::load::{Key, Reader};

/// The bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Most streams of one principal at once.
    pub per_principal_max: u32,
    /// Most of them that are WebSockets.
    pub websockets_per_principal_max: u32,
    /// Longest WebSocket frame in bytes.
    pub frame_bytes_max: u64,
    /// How long a stream is kept on which nothing moves.
    pub idle_timeout: Duration,
    /// Longest life of a stream; whoever reads it asks again.
    pub duration_max: Duration,
}

impl Streams {
    /// Reads the `[streams]` table.
    pub(crate) fn read(reader: &mut Reader) -> Self {
        Self {
            per_principal_max: reader.value(&Key::new("streams.per_principal_max"), 256),
            websockets_per_principal_max: reader
                .value(&Key::new("streams.websockets_per_principal_max"), 32),
            frame_bytes_max: reader.value(&Key::new("streams.frame_bytes_max"), 1024 * 1024),
            idle_timeout: reader.value(&Key::new("streams.idle_timeout"), Duration::from_secs(120)),
            duration_max: reader.value(
                &Key::new("streams.duration_max"),
                Duration::from_secs(12 * 3_600),
            ),
        }
    }
}
