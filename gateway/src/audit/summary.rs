//! Counts what happened in the last days.
//!
//! Invariant: a request counts once, by its last phase, however many records tell of it; memory is
//! bounded however many records, users and actions there are.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use config::home::Home;
use serde::{Deserialize, Serialize};

use super::files::{self, FileName, Stored};
use super::forward::{LineEnd, read_line};
use super::parameter::{self, BadParameter};
use super::record::{Outcome, Phase};
use super::{AuditError, CHECKPOINT, in_directory};

/// Days that a summary covers unless told otherwise.
pub const DAYS_DEFAULT: u32 = 7;

/// Most days that a summary covers.
pub const DAYS_MAX: u32 = 366;

/// Most failures that a summary shows.
pub const RECENT_FAILURES_MAX: usize = 10;

/// Most bytes that one summary reads; of more, the newest files are read.
pub const SCAN_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Most actions and users that are counted apart; the others are counted together.
const NAMES_MAX: usize = 1_000;

/// Under which name the others are counted.
const OTHERS: &str = "(others)";

/// Most requests whose end was not seen yet; past it, a phase counts as the last one.
const OPEN_MAX: usize = 65_536;

/// What happened in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Days up to now that are covered.
    pub period_days: u32,
    /// Requests and other events.
    pub total_events: u64,
    /// Those that were done, or allowed and never ended.
    pub successful_events: u64,
    /// The others.
    pub failed_events: u64,
    /// Events by what was done.
    pub by_action: BTreeMap<String, u64>,
    /// Events by who did it.
    pub by_user: BTreeMap<String, u64>,
    /// Events by how it went.
    pub by_outcome: BTreeMap<Outcome, u64>,
    /// The last failures, newest first.
    pub recent_failures: Vec<Failure>,
    /// Lines that are not records; they are passed over.
    pub malformed: u64,
    /// Whether all files of the period were read; the oldest are left out past
    /// [`SCAN_BYTES_MAX`].
    pub complete: bool,
}

/// One event that was no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, in UTC.
    pub timestamp: String,
    /// What was done.
    pub action: String,
    /// Who did it.
    pub user: String,
    /// What it was done to; may be empty.
    pub resource: String,
    /// How it went.
    pub outcome: Outcome,
    /// The HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The members of a record that are counted.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    resource: Cow<'a, str>,
    unix_ms: i64,
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
    phase: Phase,
    outcome: Outcome,
    #[serde(default)]
    status: Option<u16>,
}

/// Reads the query string of `GET /api/enterprise/audit/summary`.
///
/// # Errors
/// When a parameter is unknown, given twice, malformed or out of bounds.
pub fn parse_days(text: Option<&str>) -> Result<u32, BadParameter> {
    let mut days = DAYS_DEFAULT;
    parameter::each(text, &["days"], |name, value| {
        days = parameter::number(name, value, 1, DAYS_MAX)?;
        Ok(())
    })?;
    Ok(days)
}

/// Counts the records of `home` of the last `days` days. Reads files, so call it where blocking
/// is allowed.
///
/// # Errors
/// When the directory or a file cannot be read.
pub fn summary(home: &Home, days: u32, now: DateTime<Utc>) -> Result<Summary, AuditError> {
    let path = home.audit();
    count(&path, days, now).map_err(in_directory(&path))
}

fn count(path: &Path, days: u32, now: DateTime<Utc>) -> io::Result<Summary> {
    let start = now - TimeDelta::days(i64::from(days));
    let mut counting = Counting {
        start_ms: start.timestamp_millis(),
        open: HashMap::new(),
        summary: Summary {
            period_days: days,
            complete: true,
            ..Summary::default()
        },
        failures: VecDeque::new(),
    };
    let mut names = files::list(path)?;
    names.retain(|name| name.day >= start.date_naive());
    if !names.is_empty() {
        let directory = File::open(path)?;
        let newest = names.last().copied();
        let (names, complete) = within_bytes(&directory, names)?;
        counting.summary.complete = complete;
        for name in names {
            let stored = files::open_to_read(&directory, name)?;
            counting.read(stored, Some(name) == newest)?;
        }
    }
    Ok(counting.finish())
}

/// Keeps the newest files that together are not larger than [`SCAN_BYTES_MAX`], the newest always.
fn within_bytes(directory: &File, names: Vec<FileName>) -> io::Result<(Vec<FileName>, bool)> {
    let mut bytes = 0;
    let mut kept = Vec::new();
    for name in names.into_iter().rev() {
        bytes += files::bytes_on_disk(directory, name)?;
        if bytes > SCAN_BYTES_MAX && !kept.is_empty() {
            kept.reverse();
            return Ok((kept, false));
        }
        kept.push(name);
    }
    kept.reverse();
    Ok((kept, true))
}

struct Counting {
    start_ms: i64,
    /// Requests whose end was not seen yet, with what was last known.
    open: HashMap<String, Failure>,
    summary: Summary,
    failures: VecDeque<Failure>,
}

impl Counting {
    fn read(&mut self, stored: Stored, is_newest: bool) -> io::Result<()> {
        let mut reader = stored.reader()?;
        let mut line = Vec::new();
        loop {
            let end = match read_line(&mut reader, &mut line) {
                Ok(Some(end)) => end,
                Ok(None) => break,
                Err(error) if files::is_damage(&error) => {
                    self.summary.malformed += 1;
                    break;
                }
                Err(error) => return Err(error),
            };
            match end {
                LineEnd::Feed => self.record(&line),
                // A writer may be about to finish it.
                LineEnd::OfFile if is_newest => {}
                LineEnd::OfFile | LineEnd::Oversized(_) => self.summary.malformed += 1,
            }
        }
        Ok(())
    }

    fn record(&mut self, line: &[u8]) {
        let Ok(seen) = serde_json::from_slice::<Seen<'_>>(line) else {
            self.summary.malformed += 1;
            return;
        };
        if seen.unix_ms < self.start_ms || seen.action == CHECKPOINT {
            return;
        }
        match (seen.phase, seen.request_id.as_deref()) {
            (Phase::Decision | Phase::Outcome, Some(id))
                if self.open.len() < OPEN_MAX || self.open.contains_key(id) =>
            {
                self.open.insert(id.to_owned(), seen.event());
            }
            (Phase::End, Some(id)) => {
                self.open.remove(id);
                self.event(seen.event());
            }
            (Phase::Decision | Phase::Outcome | Phase::Event | Phase::End, _) => {
                self.event(seen.event());
            }
        }
    }

    fn event(&mut self, event: Failure) {
        let summary = &mut self.summary;
        summary.total_events += 1;
        add(&mut summary.by_action, &event.action);
        add(&mut summary.by_user, &event.user);
        *summary.by_outcome.entry(event.outcome).or_default() += 1;
        if event.outcome.is_success() {
            summary.successful_events += 1;
            return;
        }
        summary.failed_events += 1;
        if self.failures.len() == RECENT_FAILURES_MAX {
            self.failures.pop_front();
        }
        self.failures.push_back(event);
    }

    fn finish(mut self) -> Summary {
        // What never ended counts as it was last known.
        let mut open: Vec<Failure> = std::mem::take(&mut self.open).into_values().collect();
        open.sort_by(|a, b| (&a.timestamp, &a.request_id).cmp(&(&b.timestamp, &b.request_id)));
        for event in open {
            self.event(event);
        }
        let mut failures: Vec<Failure> = self.failures.into();
        failures.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
        failures.reverse();
        self.summary.recent_failures = failures;
        self.summary
    }
}

impl Seen<'_> {
    fn event(self) -> Failure {
        Failure {
            timestamp: self.timestamp.into_owned(),
            action: self.action.into_owned(),
            user: self.user.into_owned(),
            resource: self.resource.into_owned(),
            outcome: self.outcome,
            status: self.status,
            request_id: self.request_id.map(Cow::into_owned),
        }
    }
}

fn add(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
        return;
    }
    let name = if counts.len() < NAMES_MAX {
        name
    } else {
        OTHERS
    };
    *counts.entry(name.to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests;
