//! Finds records, newest first.
//!
//! Invariant: memory is bounded by the page that is asked for, and reading by
//! [`SCAN_BYTES_MAX`]; what was not read is said, never passed over.

use std::borrow::Cow;
use std::path::Path;

use aws_lc_rs::hmac;
use chrono::{Days, NaiveDate, NaiveTime};
use config::home::Home;
use serde::{Deserialize, Serialize};

pub use super::parameter::BadParameter;

use super::backward::{Backward, Found};
use super::files::{self, FileName, Form, Identity, Stored};
use super::forward::{LineEnd, read_line};
use super::index::{self, Index};
use super::parameter;
use super::record::{Outcome, Record};
use super::{AuditError, in_directory};

/// Records in a page unless told otherwise.
pub const LIMIT_DEFAULT: u32 = 100;

/// Most records in a page.
pub const LIMIT_MAX: u32 = 1_000;

/// Most records that can be passed over.
pub const OFFSET_MAX: u32 = 100_000;

/// Most bytes that one query reads.
pub const SCAN_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The parameters that say which page is wanted.
const PAGE: [&str; 3] = ["limit", "offset", "cursor"];

/// The parameters that say which records are wanted.
pub(crate) const FILTERS: [&str; 7] = [
    "start_date",
    "end_date",
    "action",
    "user",
    "resource",
    "outcome",
    "request_id",
];

/// What is looked for. Texts are compared whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Most records in the page.
    pub limit: u32,
    /// How many newer ones are passed over.
    pub offset: u32,
    /// Only records with a smaller number: where the page before ended.
    pub cursor: Option<u64>,
    /// The first UTC day.
    pub start_date: Option<NaiveDate>,
    /// The last UTC day.
    pub end_date: Option<NaiveDate>,
    /// What was done.
    pub action: Option<String>,
    /// Who did it.
    pub user: Option<String>,
    /// What it was done to.
    pub resource: Option<String>,
    /// How it went.
    pub outcome: Option<Outcome>,
    /// The request.
    pub request_id: Option<String>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            limit: LIMIT_DEFAULT,
            offset: 0,
            cursor: None,
            start_date: None,
            end_date: None,
            action: None,
            user: None,
            resource: None,
            outcome: None,
            request_id: None,
        }
    }
}

impl Query {
    /// Reads the query string of `GET /api/enterprise/audit`.
    ///
    /// # Errors
    /// When a parameter is unknown, given twice, malformed or out of bounds.
    pub fn parse(text: Option<&str>) -> Result<Self, BadParameter> {
        let mut query = Self::default();
        let known: Vec<&str> = PAGE.into_iter().chain(FILTERS).collect();
        parameter::each(text, &known, |name, value| query.set(name, value))?;
        if query.cursor.is_some() && query.offset > 0 {
            return Err(BadParameter::new("offset", "give it or cursor, not both"));
        }
        query.check_days()?;
        Ok(query)
    }

    pub(crate) fn check_days(&self) -> Result<(), BadParameter> {
        match (self.start_date, self.end_date) {
            (Some(start), Some(end)) if start > end => {
                Err(BadParameter::new("start_date", "it lies after end_date"))
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), BadParameter> {
        match name {
            "limit" => self.limit = parameter::number(name, value, 1, LIMIT_MAX)?,
            "offset" => self.offset = parameter::number(name, value, 0, OFFSET_MAX)?,
            "cursor" => self.cursor = Some(cursor(name, value)?),
            "start_date" => self.start_date = Some(date(name, value)?),
            "end_date" => self.end_date = Some(date(name, value)?),
            "action" => self.action = Some(parameter::text(name, value)?),
            "user" => self.user = Some(parameter::text(name, value)?),
            "resource" => self.resource = Some(parameter::text(name, value)?),
            "outcome" => self.outcome = Some(outcome(name, value)?),
            "request_id" => self.request_id = Some(parameter::text(name, value)?),
            other => return Err(BadParameter::new(other, "unknown")),
        }
        Ok(())
    }

    pub(crate) fn fits(&self, record: &Seen<'_>) -> bool {
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == text)
        };
        is(&self.action, &record.action)
            && is(&self.user, &record.user)
            && is(&self.resource, &record.resource)
            && is(&self.request_id, record.request_id.as_deref().unwrap_or(""))
            && self.outcome.is_none_or(|outcome| outcome == record.outcome)
            && self.cursor.is_none_or(|cursor| record.seq < cursor)
            && self.fits_days(&record.timestamp)
    }

    fn fits_days(&self, timestamp: &str) -> bool {
        if self.start_date.is_none() && self.end_date.is_none() {
            return true;
        }
        let day = timestamp
            .get(..10)
            .and_then(|day| day.parse::<NaiveDate>().ok());
        day.is_some_and(|day| {
            self.start_date.is_none_or(|start| start <= day)
                && self.end_date.is_none_or(|end| day <= end)
        })
    }

    /// Returns whether the index of a file says that a record that fits may be in it.
    fn may_be_indexed(&self, index: &Index) -> bool {
        let named = |kind, wanted: &Option<String>| {
            wanted
                .as_deref()
                .is_none_or(|text| index.may_name(kind, text))
        };
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        let (Some((first_seq, _)), Some((first_ms, last_ms))) =
            (index.facts.seqs, index.facts.unix_ms)
        else {
            return false;
        };
        let next_day = self
            .end_date
            .and_then(|end| end.checked_add_days(Days::new(1)));
        self.cursor.is_none_or(|cursor| first_seq < cursor)
            && self
                .start_date
                .is_none_or(|start| midnight(start) <= last_ms)
            && next_day.is_none_or(|next| first_ms < midnight(next))
            && self
                .action
                .as_deref()
                .is_none_or(|action| index.may_act(action))
            && self.outcome.is_none_or(|outcome| index.may_end(outcome))
            && named(index::Kind::User, &self.user)
            && named(index::Kind::Resource, &self.resource)
            && named(index::Kind::Request, &self.request_id)
    }

    /// Returns whether an index can spare reading.
    const fn is_selective(&self) -> bool {
        self.cursor.is_some()
            || self.start_date.is_some()
            || self.end_date.is_some()
            || self.action.is_some()
            || self.outcome.is_some()
            || self.user.is_some()
            || self.resource.is_some()
            || self.request_id.is_some()
    }

    /// A file never holds records of a later day than its own, but the first ones of a file may
    /// have happened on the day before.
    pub(crate) fn may_be_in(&self, name: FileName) -> bool {
        let last = self
            .end_date
            .and_then(|end| end.checked_add_days(Days::new(1)));
        self.start_date.is_none_or(|start| start <= name.day)
            && last.is_none_or(|last| name.day <= last)
    }
}

/// Why a query read no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// Everything in the range of days was read: there are no older records that fit.
    End,
    /// The page is full: there may be more behind a larger offset.
    Limit,
    /// [`SCAN_BYTES_MAX`] bytes were read: ask for fewer days.
    ScanBytesMax,
}

/// A part of the records that fit, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The records.
    pub entries: Vec<Record>,
    /// Most records in the page, as asked for.
    pub limit: u32,
    /// How many newer ones were passed over, as asked for.
    pub offset: u32,
    /// Why there are no more.
    pub stopped_by: StoppedBy,
    /// What to give as `cursor` for the page behind this one; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<u64>,
    /// Lines that were looked at.
    pub scanned: u64,
    /// Lines among them that are not records; they are passed over.
    pub malformed: u64,
}

/// The members of a record that a query compares.
#[derive(Deserialize)]
pub(crate) struct Seen<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    resource: Cow<'a, str>,
    seq: u64,
    outcome: Outcome,
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
}

/// Returns the records of `home` that fit, newest first. Reads files, so call it where blocking
/// is allowed.
///
/// # Errors
/// When the directory or a file cannot be read.
pub fn query(home: &Home, query: &Query) -> Result<Page, AuditError> {
    let path = home.audit();
    let key = if query.is_selective() {
        index::key(home)
    } else {
        None
    };
    search(&path, query, key.as_ref()).map_err(in_directory(&path))
}

fn search(path: &Path, query: &Query, key: Option<&hmac::Key>) -> std::io::Result<Page> {
    let mut page = Page {
        entries: Vec::new(),
        limit: query.limit,
        offset: query.offset,
        stopped_by: StoppedBy::End,
        next_cursor: None,
        scanned: 0,
        malformed: 0,
    };
    let mut search = Search {
        query,
        passed: 0,
        bytes_left: SCAN_BYTES_MAX,
    };
    let names = files::list(path)?;
    if names.is_empty() {
        return Ok(page);
    }
    let directory = std::fs::File::open(path)?;
    let newest = names.last().copied();
    for name in names
        .into_iter()
        .rev()
        .filter(|name| query.may_be_in(*name))
    {
        let is_newest = Some(name) == newest;
        if let Some(key) = key.filter(|_| !is_newest)
            && let Some(index) = Index::load(&directory, name, key)?
            && !query.may_be_indexed(&index)
        {
            continue;
        }
        let stored = files::open_to_read(&directory, name)?;
        let stopped_by = match stored.form {
            Form::Plain => {
                let (_, length) = Identity::of(&stored.file)?;
                let lines = Backward::new(&stored.file, length);
                search.read(lines, is_newest, &mut page)?
            }
            Form::Packed => search.read_packed(&directory, name, stored, &mut page)?,
        };
        if let Some(stopped_by) = stopped_by {
            page.stopped_by = stopped_by;
            break;
        }
    }
    if page.stopped_by == StoppedBy::Limit {
        page.next_cursor = page.entries.last().map(|record| record.seq);
    }
    Ok(page)
}

struct Search<'a> {
    query: &'a Query,
    /// How many records that fit were passed over.
    passed: u32,
    bytes_left: u64,
}

impl Search<'_> {
    fn read(
        &mut self,
        mut lines: Backward<'_>,
        is_newest: bool,
        page: &mut Page,
    ) -> std::io::Result<Option<StoppedBy>> {
        while let Some(line) = lines.next_line()? {
            let bytes = match line {
                Found::Line(bytes) => bytes,
                // A writer may be about to finish it.
                Found::Unfinished(_) if is_newest => continue,
                Found::Unfinished(_) | Found::Oversized => &[],
            };
            page.scanned += 1;
            if !self.consider(bytes, page) {
                page.malformed += 1;
            }
            if page.entries.len() as u64 >= u64::from(self.query.limit) {
                return Ok(Some(StoppedBy::Limit));
            }
            match self.bytes_left.checked_sub(bytes.len() as u64 + 1) {
                Some(left) => self.bytes_left = left,
                None => return Ok(Some(StoppedBy::ScanBytesMax)),
            }
        }
        Ok(None)
    }

    /// Reads a packed file, which can be read from its start alone: once to count what fits, and
    /// once for the newest of it. What cannot be unpacked counts as one malformed line.
    fn read_packed(
        &mut self,
        directory: &std::fs::File,
        name: FileName,
        stored: Stored,
        page: &mut Page,
    ) -> std::io::Result<Option<StoppedBy>> {
        let mut fitting: u64 = 0;
        let mut bytes: u64 = 0;
        let whole = each_line(stored, |line| {
            page.scanned += 1;
            bytes += line.len() as u64 + 1;
            match serde_json::from_slice::<Seen<'_>>(line) {
                Ok(seen) => fitting += u64::from(self.query.fits(&seen)),
                Err(_) => page.malformed += 1,
            }
        })?;
        page.malformed += u64::from(!whole);
        let over = u64::from(self.query.offset - self.passed).min(fitting);
        self.passed += u32::try_from(over).unwrap_or(u32::MAX);
        let last = fitting - over;
        let room = u64::from(self.query.limit) - page.entries.len() as u64;
        let wanted = last.saturating_sub(room)..last;
        if !wanted.is_empty() {
            let mut found = Vec::new();
            let mut position = 0;
            each_line(files::open_to_read(directory, name)?, |line| {
                let fits = serde_json::from_slice::<Seen<'_>>(line)
                    .is_ok_and(|seen| self.query.fits(&seen));
                if fits && wanted.contains(&position) {
                    found.extend(serde_json::from_slice::<Record>(line).ok());
                }
                position += u64::from(fits);
            })?;
            page.entries.extend(found.into_iter().rev());
        }
        if page.entries.len() as u64 >= u64::from(self.query.limit) {
            return Ok(Some(StoppedBy::Limit));
        }
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None => return Ok(Some(StoppedBy::ScanBytesMax)),
        }
        Ok(None)
    }

    /// Adds a record to the page if it fits; returns whether it is a record at all.
    fn consider(&mut self, bytes: &[u8], page: &mut Page) -> bool {
        let Ok(seen) = serde_json::from_slice::<Seen<'_>>(bytes) else {
            return false;
        };
        if !self.query.fits(&seen) {
            return true;
        }
        if self.passed < self.query.offset {
            self.passed += 1;
            return true;
        }
        match serde_json::from_slice(bytes) {
            Ok(record) => {
                page.entries.push(record);
                true
            }
            Err(_) => false,
        }
    }
}

/// Calls `each` with every line, without its feed; an oversized one is empty. Returns false if the
/// file cannot be unpacked to its end.
fn each_line(stored: Stored, mut each: impl FnMut(&[u8])) -> std::io::Result<bool> {
    let mut reader = stored.reader()?;
    let mut line = Vec::new();
    loop {
        match read_line(&mut reader, &mut line) {
            Ok(Some(LineEnd::Feed)) => each(&line),
            Ok(Some(LineEnd::OfFile | LineEnd::Oversized(_))) => each(&[]),
            Ok(None) => return Ok(true),
            Err(error) if files::is_damage(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn cursor(name: &str, value: &str) -> Result<u64, BadParameter> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number.ok_or_else(|| BadParameter::new(name, "give the next_cursor of the page before"))
}

fn date(name: &str, value: &str) -> Result<NaiveDate, BadParameter> {
    let date = NaiveDate::parse_from_str(value, "%Y-%m-%d").ok();
    date.filter(|date| date.to_string() == value)
        .ok_or_else(|| BadParameter::new(name, "give a UTC day such as 2026-02-02"))
}

fn outcome(name: &str, value: &str) -> Result<Outcome, BadParameter> {
    let found = Outcome::EVERY
        .into_iter()
        .find(|outcome| outcome.name() == value);
    found.ok_or_else(|| {
        let names = Outcome::EVERY.map(Outcome::name).join(", ");
        BadParameter::new(name, format!("give one of {names}"))
    })
}

#[cfg(test)]
mod tests;
