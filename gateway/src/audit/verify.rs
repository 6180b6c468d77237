//! Proves that nothing was changed in or removed from the audit files, as far as that can be
//! proven, and says how far that is.
//!
//! Invariant: nothing is called proven that is not; whatever does not fit is named by file and line.

mod report;
mod scan;
mod snapshot;
mod trust;

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use config::home::Home;

pub use report::{Finding, Kind, Report, Signed};
pub(crate) use scan::Scan;
pub use trust::Trust;

use super::chain::NOTHING;
use super::parameter::{self, BadParameter};
use super::{AuditError, in_directory};
use report::proven;
use scan::First;
use snapshot::Snapshot;

/// Most findings that a report shows; all are counted.
pub const FINDINGS_MAX: usize = 100;

/// Most threads that read files.
const THREADS_MAX: usize = 4;

/// Checks all audit files of `home` by what `trust` knows. Reads every file, so call it where
/// blocking is allowed. Safe while a gateway writes.
///
/// # Errors
/// When the directory or a file cannot be read.
pub fn verify(home: &Home, trust: &Trust) -> Result<Report, AuditError> {
    let path = home.audit();
    let check = || {
        let snapshot = Snapshot::take(&path, trust)?;
        let scans = scan_all(&snapshot, trust)?;
        Ok(judge(&path, trust, &snapshot, scans))
    };
    check().map_err(in_directory(&path))
}

/// Reads the query string of `GET /api/enterprise/audit/verify`, which has no parameters.
///
/// # Errors
/// When there is one.
pub fn no_parameters(text: Option<&str>) -> Result<(), BadParameter> {
    parameter::each(text, &[], |_, _| Ok(()))
}

/// Reads the files, several at a time; the results are in the order of the files.
fn scan_all(snapshot: &Snapshot, trust: &Trust) -> io::Result<Vec<Scan>> {
    let files = &snapshot.files;
    let next = AtomicUsize::new(0);
    let scans = Mutex::new(Vec::new());
    let work = || -> io::Result<()> {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let scan = Scan::read(file, trust)?;
            let mut scans = scans.lock().unwrap_or_else(PoisonError::into_inner);
            scans.push(scan);
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(THREADS_MAX).min(files.len()))
            .map(|_| scope.spawn(work))
            .collect();
        work()?;
        for other in others {
            other.join().unwrap_or_else(|_| {
                Err(io::Error::other("a thread that reads audit files failed"))
            })?;
        }
        io::Result::Ok(())
    })?;
    let mut scans = scans.into_inner().unwrap_or_else(PoisonError::into_inner);
    scans.sort_by_key(|scan| scan.name);
    Ok(scans)
}

fn judge(
    path: &std::path::Path,
    trust: &Trust,
    snapshot: &Snapshot,
    mut scans: Vec<Scan>,
) -> Report {
    let mut report = Report::new(path);
    report.files = scans.len() as u64;
    for file in &snapshot.foreign {
        report.add(Finding::new(file.to_string(), 0, Kind::NotAFile));
    }
    for scan in &mut scans {
        report.lines += scan.lines;
        report.records += scan.records;
        report.findings_total += scan.findings_total;
        report.findings.append(&mut scan.findings);
    }
    stitch(&scans, snapshot, &mut report);
    report.first_seq = scans
        .iter()
        .find_map(|scan| scan.first.as_ref())
        .map(|first| first.seq);
    report.last_seq = scans.iter().rev().find_map(|scan| scan.last_seq);
    report.last_checkpoint = scans
        .iter()
        .rev()
        .find_map(|scan| scan.checkpoints.last().cloned());
    seal(&scans, trust, &mut report);
    kept(&scans, trust, snapshot, &mut report);
    report
        .findings
        .sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    report.findings.truncate(FINDINGS_MAX);
    report.valid = report.findings_total == 0;
    report.proven = proven(&report, trust, snapshot);
    report
}

/// Follows the chain from file to file.
fn stitch(scans: &[Scan], snapshot: &Snapshot, report: &mut Report) {
    let mut before: Option<&Scan> = None;
    for scan in scans.iter().filter(|scan| scan.lines > 0) {
        if let Some((last, line)) = before.and_then(|last| Some((last, last.open_end?)))
            && !scan.first.as_ref().is_some_and(|first| first.mends)
        {
            report.add(Finding::new(last.stored_name(), line, Kind::NoRecord));
        }
        if let Some(first) = &scan.first {
            let (seq, digest) = match before {
                Some(before) => (before.last_seq.unwrap_or(0), before.last_digest),
                None => (0, NOTHING),
            };
            let in_doubt = || {
                let failed = first.failed.as_ref();
                failed.is_some_and(|failed| {
                    failed.in_doubt_from <= seq + 1
                        && (first.prev == digest || snapshot.branches(failed, &first.prev))
                })
            };
            if first.line > 1 || (first.prev == digest && first.seq == seq + 1) {
                // A line before it in the same file was judged there.
            } else if before.is_none() && is_retired(scans, first) {
                report.retired_to = Some(first.seq.saturating_sub(1));
            } else if in_doubt() {
                report.notes.push(format!(
                    "the disk failed when {} was written: of the records that record {} names, some may be missing",
                    before.map_or_else(String::new, Scan::stored_name),
                    first.seq
                ));
            } else {
                let (place, line) = match before {
                    Some(before) if first.seq == seq + 1 => (before, before.lines),
                    Some(_) | None => (scan, first.line),
                };
                let kind = scan::kind_of_break(seq, first.seq);
                report.add(Finding::new(place.stored_name(), line, kind));
            }
        }
        before = Some(scan);
    }
    match before.and_then(|last| Some((last, last.open_end?))) {
        Some((last, line)) if last.torn => report.notes.push(format!(
            "{} line {line} is not finished: a writer was interrupted; the next one will say so",
            last.stored_name()
        )),
        Some((last, line)) => report.add(Finding::new(last.stored_name(), line, Kind::NoRecord)),
        None => {}
    }
}

/// Returns whether the records before the first one were removed with a record that says so. Those
/// that it names may go one file after the other.
fn is_retired(scans: &[Scan], first: &First) -> bool {
    let before = first.seq.saturating_sub(1);
    let mut retired = scans.iter().flat_map(|scan| &scan.retired);
    before > 0
        && retired.any(|retired| {
            before < retired.to || (before == retired.to && first.prev == retired.digest)
        })
}

/// Sees whether the newest record has the seal of a commit; one that was interrupted has none.
fn seal(scans: &[Scan], trust: &Trust, report: &mut Report) {
    if trust.mac.is_none() {
        return;
    }
    let newest = scans.iter().rev().find(|scan| scan.records > 0);
    if let Some(scan) = newest.filter(|scan| !scan.last_sealed && !scan.torn) {
        report.add(Finding::new(
            scan.stored_name(),
            scan.last_line,
            Kind::NoSeal,
        ));
    }
}

/// Looks for the checkpoint that was kept elsewhere.
fn kept(scans: &[Scan], trust: &Trust, snapshot: &Snapshot, report: &mut Report) {
    let Some(kept) = trust.kept.as_ref().or(snapshot.kept.as_ref()) else {
        return;
    };
    let found = scans
        .iter()
        .flat_map(|scan| &scan.checkpoints)
        .any(|checkpoint| checkpoint.seq == kept.seq && checkpoint.digest == kept.digest);
    if found {
        return;
    }
    if report.retired_to.is_some_and(|to| kept.seq <= to) {
        report.notes.push(format!(
            "checkpoint {}, which was kept elsewhere, was removed because its time was over",
            kept.seq
        ));
        return;
    }
    let last = scans.iter().rev().find(|scan| scan.records > 0);
    let last_seq = last.and_then(|scan| scan.last_seq).unwrap_or(0);
    let kind = if last_seq < kept.seq {
        Kind::CutOff {
            from: last_seq + 1,
            to: kept.seq,
        }
    } else {
        Kind::CheckpointGone { seq: kept.seq }
    };
    let finding = match last {
        Some(scan) => Finding::new(scan.stored_name(), scan.last_line, kind),
        None => Finding::nowhere(kind),
    };
    report.add(finding);
}

#[cfg(test)]
mod tests;
