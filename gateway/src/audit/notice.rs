//! What the audit trail records about itself.
//!
//! Invariant: whatever happened to the files that a reader could not see from them is one record.

use std::io;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::files::FileName;
use super::record::{Draft, Outcome, Phase, SYSTEM};

/// The action of the record that stands for records which were lost.
pub const GAP: &str = "audit.gap";

/// The action of the record behind a line that was not finished.
pub const RECOVERED: &str = "audit.recovered";

/// The action of the record about files that were deleted, swapped, cut or rewritten.
pub const REPLACED: &str = "audit.replaced";

/// The action of the record about a file that the disk did not take.
pub const FAILED: &str = "audit.failed";

/// The action of a signed checkpoint.
pub const CHECKPOINT: &str = "audit.checkpoint";

/// The action of the record about closed files that were removed because their time was over.
pub const RETIRED: &str = "audit.retired";

/// The action of the record that says why fewer or no records follow.
pub const DISK_FULL: &str = "audit.disk_full";

/// One record about the trail itself.
#[derive(Debug)]
pub(crate) struct Notice {
    action: &'static str,
    outcome: Outcome,
    details: Map<String, Value>,
}

impl Notice {
    /// Says that so many records were lost for want of room or of a disk.
    pub(crate) fn gap(lost: u64) -> Self {
        Self::new(GAP, Outcome::Failed).with("lost", lost)
    }

    /// Says that a line which was not finished was ended.
    pub(crate) fn recovered(name: FileName) -> Self {
        Self::new(RECOVERED, Outcome::Done).with("file", name.to_string())
    }

    /// Says that a file is no longer what was written.
    pub(crate) fn replaced(name: FileName, reason: &str) -> Self {
        Self::new(REPLACED, Outcome::Failed)
            .with("file", name.to_string())
            .with("reason", reason)
    }

    /// Says that the directory was deleted or swapped.
    pub(crate) fn directory_replaced() -> Self {
        Self::new(REPLACED, Outcome::Failed).with("reason", "directory")
    }

    /// Says that the disk failed, and which records of the file may be missing from it.
    pub(crate) fn failed(name: FileName, error: &io::Error, doubt: &RangeInclusive<u64>) -> Self {
        Self::new(FAILED, Outcome::Failed)
            .with("file", name.to_string())
            .with("reason", error.to_string())
            .with("in_doubt_from", *doubt.start())
            .with("in_doubt_to", *doubt.end())
    }

    /// Says which closed files are removed.
    pub(crate) const fn retired(details: Map<String, Value>) -> Self {
        Self {
            action: RETIRED,
            outcome: Outcome::Done,
            details,
        }
    }

    /// Says that what is left of the disk belongs to the records of changes.
    pub(crate) fn disk_low(free_bytes: u64) -> Self {
        Self::new(DISK_FULL, Outcome::Failed)
            .with("stopped", "reads and refusals")
            .with("free_bytes", free_bytes)
    }

    /// Says that nothing is recorded any more because the disk is full.
    pub(crate) fn disk_full(error: &io::Error) -> Self {
        Self::new(DISK_FULL, Outcome::Failed)
            .with("stopped", "everything: changes are refused")
            .with("reason", error.to_string())
    }

    /// Signs everything before it.
    pub(crate) fn checkpoint() -> Self {
        Self::new(CHECKPOINT, Outcome::Done)
    }

    /// Returns whether the record is a checkpoint.
    pub(crate) fn is_checkpoint(&self) -> bool {
        self.action == CHECKPOINT
    }

    /// Returns the record.
    pub(crate) fn draft(&self) -> Draft<'_> {
        Draft {
            user: SYSTEM,
            resource: "audit:trail",
            details: Some(&self.details),
            ..Draft::new(self.action, Phase::Event, self.outcome)
        }
    }

    fn new(action: &'static str, outcome: Outcome) -> Self {
        Self {
            action,
            outcome,
            details: Map::new(),
        }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}
