//! What the audit trail counts about itself, for the metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters of one running trail; read at any time, by anyone.
#[derive(Debug)]
pub struct Tally {
    written: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
    queued: AtomicU64,
    writable: AtomicBool,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self {
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
