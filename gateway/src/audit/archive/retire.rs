//! Removes closed files whose time is over, or for which there is no room.
//!
//! Invariant: before the first file goes, a signed record in the trail says which records are
//! removed and how they ended, so that what is left still verifies.

use std::fs::File;
use std::io;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta};
use serde_json::{Map, Value};

use super::{Keeper, remove};
use crate::audit::chain::hex;
use crate::audit::files::{self, FileName};
use crate::audit::notice::Notice;
use crate::audit::seals::Seals;
use crate::audit::trail::Trail;
use crate::audit::verify::{Scan, Trust};

/// Removes what is to go of the closed files, oldest first.
pub(super) fn retire(keeper: &Keeper, directory: &File, closed: &[FileName]) -> io::Result<()> {
    let now = keeper.clock.now();
    let by_age = keeper
        .retention
        .age
        .map_or(0, |age| too_old(closed, now.date_naive(), age));
    let by_size = match keeper.retention.bytes_max {
        Some(bytes_max) => too_many(directory, closed, bytes_max)?,
        None => 0,
    };
    let (count, reason) = if by_size > by_age {
        (by_size, "size")
    } else {
        (by_age, "age")
    };
    let going = &closed[..count];
    let Some(details) = describe(keeper, directory, going, reason)? else {
        return Ok(());
    };
    let seals = Seals::open(&keeper.home).map_err(io::Error::other)?;
    let mut trail = Trail::open(&keeper.path, seals, now)?;
    trail.retire(Notice::retired(details), now)?;
    for name in going {
        remove(directory, *name)?;
        tracing::info!(file = %name, reason, "audit file removed");
    }
    rustix::fs::fsync(directory)?;
    Ok(())
}

/// Returns how many of the oldest files are older than `age`. Where all are at once, the clock may
/// have jumped ahead: then nothing goes before there is a closed file of its new time.
fn too_old(closed: &[FileName], today: NaiveDate, age: Duration) -> usize {
    let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
    let kept_from = today.checked_sub_signed(age).unwrap_or(NaiveDate::MIN);
    match closed.last() {
        Some(newest) if newest.day >= kept_from => closed
            .iter()
            .take_while(|name| name.day < kept_from)
            .count(),
        Some(_) | None => 0,
    }
}

/// Returns how many of the oldest files have to go for the others to fit.
fn too_many(directory: &File, closed: &[FileName], bytes_max: u64) -> io::Result<usize> {
    let mut bytes = 0;
    for (position, name) in closed.iter().enumerate().rev() {
        bytes += files::bytes_on_disk(directory, *name)?;
        if bytes > bytes_max {
            return Ok(position + 1);
        }
    }
    Ok(0)
}

/// Says what is removed and whether it was in order; none if there is nothing to say it of.
fn describe(
    keeper: &Keeper,
    directory: &File,
    going: &[FileName],
    reason: &str,
) -> io::Result<Option<Map<String, Value>>> {
    let (Some(first_file), Some(last_file)) = (going.first(), going.last()) else {
        return Ok(None);
    };
    let trust = Trust::in_seals(&keeper.seals);
    let (mut records, mut findings) = (0, 0);
    let mut end = None;
    for name in going {
        let stored = files::open_to_read(directory, *name)?;
        let scan = Scan::of(*name, stored, &trust)?;
        records += scan.records;
        findings += scan.findings_total;
        end = scan.last_seq.map(|seq| (seq, scan.last_digest)).or(end);
    }
    let Some((last_seq, digest)) = end else {
        return Ok(None);
    };
    let members = [
        ("reason", Value::from(reason)),
        ("first_file", first_file.to_string().into()),
        ("last_file", last_file.to_string().into()),
        ("records", records.into()),
        ("findings", findings.into()),
        ("to", last_seq.into()),
        ("digest", hex(&digest).into()),
    ];
    Ok(Some(
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    ))
}
