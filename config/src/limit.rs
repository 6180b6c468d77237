//! Bounds on everything that a peer of the gateway can make grow.

use std::time::Duration;

use crate::load::{Key, Reader};

/// The gateway's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at once.
    pub connections_max: u32,
    /// Most connections at once from one address.
    pub connections_per_address_max: u32,
    /// Longest request header in bytes, all fields together.
    pub header_bytes_max: u32,
    /// Most header fields.
    pub header_count_max: u32,
    /// Longest path and query in bytes.
    pub target_bytes_max: u32,
    /// Longest TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest time from a request's first byte to the end of its header.
    pub header_timeout: Duration,
    /// Fewest bytes of a request body per second, once its first [`Self::header_timeout`] is over.
    pub body_bytes_per_second_min: u32,
    /// Longest wait for a caller to take the next bytes of an answer.
    pub write_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Longest wait for requests under way when stopping.
    pub drain_timeout: Duration,
    /// Most streams of one HTTP/2 connection at once.
    pub http2_streams_max: u32,
    /// Most control frames (PING, SETTINGS, PRIORITY, unknown ones) of one HTTP/2 connection per
    /// second.
    pub http2_control_frames_per_second_max: u32,
    /// Most streams of one HTTP/2 connection that its client cancels per second.
    pub http2_resets_per_second_max: u32,
    /// Bad credentials of one network (IPv4 /32, IPv6 /64) that cost nothing.
    pub failed_credentials_max: u32,
    /// Most audit records that wait for the disk.
    pub audit_queue_max: u32,
}

impl Limits {
    /// Reads the `[limits]` table.
    pub(crate) fn read(reader: &mut Reader) -> Self {
        Self {
            connections_max: reader.value(&Key::new("limits.connections_max"), 10_000),
            connections_per_address_max: reader
                .value(&Key::new("limits.connections_per_address_max"), 1_000),
            header_bytes_max: reader.value(&Key::new("limits.header_bytes_max"), 32 * 1024),
            header_count_max: reader.value(&Key::new("limits.header_count_max"), 100),
            target_bytes_max: reader.value(&Key::new("limits.target_bytes_max"), 8 * 1024),
            handshake_timeout: reader.value(
                &Key::new("limits.handshake_timeout"),
                Duration::from_secs(10),
            ),
            header_timeout: reader
                .value(&Key::new("limits.header_timeout"), Duration::from_secs(10)),
            body_bytes_per_second_min: reader
                .value(&Key::new("limits.body_bytes_per_second_min"), 1_024),
            write_timeout: reader.value(&Key::new("limits.write_timeout"), Duration::from_secs(30)),
            idle_timeout: reader.value(&Key::new("limits.idle_timeout"), Duration::from_secs(60)),
            drain_timeout: reader.value(&Key::new("limits.drain_timeout"), Duration::from_secs(10)),
            http2_streams_max: reader.value(&Key::new("limits.http2_streams_max"), 100),
            http2_control_frames_per_second_max: reader
                .value(&Key::new("limits.http2_control_frames_per_second_max"), 100),
            http2_resets_per_second_max: reader
                .value(&Key::new("limits.http2_resets_per_second_max"), 200),
            failed_credentials_max: reader.value(&Key::new("limits.failed_credentials_max"), 300),
            audit_queue_max: reader.value(&Key::new("limits.audit_queue_max"), 8_192),
        }
    }
}
