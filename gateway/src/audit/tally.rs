//! What the audit trail counts about itself, for the metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts};

/// Upper bounds in seconds of how long the disk takes.
const SYNC_BUCKETS: [f64; 12] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];

/// Counters of one running trail; read at any time, by anyone.
#[derive(Debug)]
pub struct Tally {
    written: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
    queued: AtomicU64,
    writable: AtomicBool,
    last_seq: AtomicU64,
    disk_free_bytes: AtomicU64,
    disk_low: AtomicBool,
    forwarded_seq: AtomicU64,
    forwarded: AtomicU64,
    forward_connected: AtomicBool,
    syncs: Histogram,
}

impl Tally {
    #[expect(
        clippy::expect_used,
        reason = "name and buckets are constants, and every test of the trail makes one"
    )]
    pub(crate) fn new() -> Self {
        let syncs = HistogramOpts::new(
            "loki_gateway_audit_sync_duration_seconds",
            "How long the disk took to make audit records durable that somebody waited for.",
        );
        Self {
            syncs: Histogram::with_opts(syncs.buckets(SYNC_BUCKETS.to_vec()))
                .expect("the name is valid"),
            last_seq: AtomicU64::new(0),
            disk_free_bytes: AtomicU64::new(0),
            disk_low: AtomicBool::new(false),
            forwarded_seq: AtomicU64::new(0),
            forwarded: AtomicU64::new(0),
            forward_connected: AtomicBool::new(false),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            writable: AtomicBool::new(true),
        }
    }

    /// Returns how many records were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Returns how many records were lost: for want of room, or of a disk.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Returns how often a caller was told that its record is not on the disk.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns how many records wait to be written.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Returns whether the last attempt to write succeeded.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    /// Returns the number of the last record.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Relaxed)
    }

    /// Returns how many bytes of the disk were free when it was last looked at.
    #[must_use]
    pub fn disk_free_bytes(&self) -> u64 {
        self.disk_free_bytes.load(Ordering::Relaxed)
    }

    /// Returns whether what is left of the disk belongs to the records of changes.
    #[must_use]
    pub fn is_disk_low(&self) -> bool {
        self.disk_low.load(Ordering::Acquire)
    }

    /// Returns how many records were sent to the syslog receiver, those sent again included.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::Relaxed)
    }

    /// Returns how many records the syslog receiver was not sent yet.
    #[must_use]
    pub fn forward_lag(&self) -> u64 {
        let sent = self.forwarded_seq.load(Ordering::Relaxed);
        self.last_seq().saturating_sub(sent)
    }

    /// Returns whether there is a connection to the syslog receiver.
    #[must_use]
    pub fn is_forward_connected(&self) -> bool {
        self.forward_connected.load(Ordering::Relaxed)
    }

    /// Returns how long the disk took, for a registry.
    #[must_use]
    pub fn syncs(&self) -> Histogram {
        self.syncs.clone()
    }

    pub(crate) fn observe_sync(&self, took: Duration) {
        self.syncs.observe(took.as_secs_f64());
    }

    pub(crate) fn set_last_seq(&self, seq: u64) {
        self.last_seq.store(seq, Ordering::Relaxed);
    }

    pub(crate) fn set_disk(&self, free_bytes: u64, low: bool) {
        self.disk_free_bytes.store(free_bytes, Ordering::Relaxed);
        self.disk_low.store(low, Ordering::Release);
    }

    pub(crate) fn set_forwarded(&self, seq: u64) {
        self.forwarded_seq.store(seq, Ordering::Relaxed);
    }

    pub(crate) fn count_forwarded(&self) {
        self.forwarded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_forward_connected(&self, connected: bool) {
        self.forward_connected.store(connected, Ordering::Relaxed);
    }

    pub(crate) fn count_written(&self, records: u64) {
        self.written.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn count_lost(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_queued(&self, records: usize) {
        self.queued.store(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Release);
    }
}
