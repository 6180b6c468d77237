//! One durable record from a process that keeps no trail open: the command line.

use config::home::Home;

use super::line::{Line, Lines};
use super::record::Draft;
use super::seals::Seals;
use super::trail::{Durability, Trail};
use super::{AuditError, in_directory};
use crate::clock;

/// Appends one record to the audit files of `home` and returns when it is on the disk. Safe while
/// a gateway writes to the same files.
///
/// # Errors
/// When the keys, the directory or its newest file cannot be used.
pub fn append(home: &Home, draft: &Draft<'_>) -> Result<(), AuditError> {
    let path = home.audit();
    let now = clock::now();
    let mut scratch = Vec::new();
    let mut lines = Lines::default();
    lines.push(Line::render(&mut scratch, draft, now));
    let seals = Seals::open(home)?;
    Trail::open(&path, seals, now)
        .and_then(|mut trail| trail.commit(&lines, Durability::Now, now))
        .map_err(in_directory(&path))
}
