//! Turns drafts into lines of JSON, and keeps them until they are numbered and written.
//!
//! Invariant: a line is one JSON object of at most [`LINE_BYTES_MAX`] bytes with its line feed,
//! whatever the draft holds.

use std::io::Write;
use std::ops::Range;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::chain::{self, Head};
use super::record::Draft;
use super::seals::Seals;
use super::text::{Written, write_text};

/// Longest line in bytes, with its line feed.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// Longest user agent in bytes, as written.
const USER_AGENT_BYTES_MAX: usize = 256;

/// Longest other text in bytes, as written.
const TEXT_BYTES_MAX: usize = 512;

/// Longest action, and longest name of a detail, in bytes, as written.
const NAME_BYTES_MAX: usize = 128;

/// Most bytes that all details take together. With the texts above, the numbers and the names of
/// the members, a line stays below [`LINE_BYTES_MAX`].
const DETAILS_BYTES_MAX: usize = 5 * 1024;

/// How deep lists and objects in a detail are written.
const DEPTH_MAX: usize = 4;

/// A draft as it will stand in the file, but for its time and its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// The members before `seq`, then those behind.
    bytes: &'a [u8],
    /// Length of the first part.
    split: usize,
    /// Milliseconds since the Unix epoch.
    unix_ms: i64,
    /// The record is signed: a checkpoint.
    signed: bool,
}

impl<'a> Line<'a> {
    /// Writes a draft into `scratch`, which is cleared first.
    pub(crate) fn render(scratch: &'a mut Vec<u8>, draft: &Draft<'_>, now: DateTime<Utc>) -> Self {
        scratch.clear();
        let mut pen = Pen {
            out: scratch,
            truncated: false,
        };
        pen.seed_members(draft);
        let split = pen.out.len();
        pen.own_members(draft);
        Self {
            bytes: scratch,
            split,
            unix_ms: now.timestamp_millis(),
            signed: false,
        }
    }

    /// Makes the record a checkpoint.
    pub(crate) const fn signed(self) -> Self {
        Self {
            signed: true,
            ..self
        }
    }

    /// Returns how many bytes the draft takes in memory.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Lines that wait for their number.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    split: usize,
    end: usize,
    unix_ms: i64,
    signed: bool,
}

impl Lines {
    /// Adds a line.
    pub(crate) fn push(&mut self, line: Line<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(line.bytes);
        self.entries.push(Entry {
            split: start + line.split,
            end: self.bytes.len(),
            unix_ms: line.unix_ms,
            signed: line.signed,
        });
    }

    /// Returns how many lines there are.
    pub(crate) const fn count(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many bytes they take.
    pub(crate) const fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the lines, and the memory of an unusual burst.
    pub(crate) fn clear(&mut self, bytes_kept_max: usize) {
        self.bytes.clear();
        self.entries.clear();
        self.bytes.shrink_to(bytes_kept_max);
        self.entries.shrink_to(bytes_kept_max / 64);
    }

    /// Writes the lines as they stand in the file, numbered and chained behind `head`, which moves
    /// on; the last one is sealed if it is the last of its commit. Returns where in `out` the last
    /// checkpoint stands.
    pub(crate) fn number(
        &self,
        out: &mut Vec<u8>,
        head: &mut Head,
        stamp: &mut Stamp,
        seals: &Seals,
        ending: Ending,
    ) -> Option<Range<usize>> {
        let mut start = 0;
        let mut checkpoint = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let from = out.len();
            head.seq += 1;
            out.extend_from_slice(b"{\"timestamp\":\"");
            out.extend_from_slice(stamp.text(entry.unix_ms).as_bytes());
            out.push(b'"');
            out.extend_from_slice(&self.bytes[start..entry.split]);
            out.extend_from_slice(b",\"seq\":");
            write_number(out, head.seq);
            out.extend_from_slice(b",\"unix_ms\":");
            write_number(out, entry.unix_ms);
            out.extend_from_slice(&self.bytes[entry.split..entry.end]);
            chain::write_hex(out, "prev", &head.digest);
            if entry.signed {
                seals.sign(out, from);
            }
            if ending == Ending::Sealed && index + 1 == self.entries.len() {
                seals.seal(out, from);
            }
            out.push(b'}');
            head.digest = chain::digest(&out[from..]);
            if entry.signed {
                checkpoint = Some(from..out.len());
            }
            out.push(b'\n');
            start = entry.end;
        }
        checkpoint
    }
}

/// Whether lines are the last ones of their commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// More follow in the same commit.
    Open,
    /// The last of them gets the seal.
    Sealed,
}

/// The text of the last second that was asked for.
#[derive(Debug)]
pub(crate) struct Stamp {
    second: i64,
    text: String,
}

impl Stamp {
    pub(crate) const fn new() -> Self {
        Self {
            second: i64::MIN,
            text: String::new(),
        }
    }

    /// Returns `2026-02-02T12:00:00Z` for milliseconds since the Unix epoch.
    fn text(&mut self, unix_ms: i64) -> &str {
        let second = unix_ms.div_euclid(1_000);
        if second != self.second {
            let time = DateTime::<Utc>::from_timestamp(second, 0).unwrap_or_default();
            self.text = time.to_rfc3339_opts(SecondsFormat::Secs, true);
            self.second = second;
        }
        &self.text
    }
}

struct Pen<'a> {
    out: &'a mut Vec<u8>,
    truncated: bool,
}

impl Pen<'_> {
    /// Writes the documented members behind the time stamp.
    fn seed_members(&mut self, draft: &Draft<'_>) {
        self.text("action", draft.action, NAME_BYTES_MAX);
        self.text("user", draft.user, TEXT_BYTES_MAX);
        self.text("resource", draft.resource, TEXT_BYTES_MAX);
        self.name("details");
        match draft.details {
            Some(details) => self.object(details, 1),
            None => self.out.extend_from_slice(b"{}"),
        }
        self.name("ip");
        self.out.push(b'"');
        if let Some(ip) = draft.ip {
            self.plain(ip.to_canonical());
        }
        self.out.push(b'"');
    }

    /// Writes the members of our own; those that are not known are left out.
    fn own_members(&mut self, draft: &Draft<'_>) {
        if let Some(id) = draft.request_id {
            self.word("request_id", id.as_str());
        }
        self.word("phase", draft.phase.name());
        self.word("outcome", draft.outcome.name());
        if let Some(status) = draft.status {
            self.name("status");
            self.plain(status);
        }
        if let Some(scope) = draft.scope {
            self.word("scope", scope.name());
        }
        if let Some(method) = draft.auth_method {
            self.word("auth_method", method.name());
        }
        if let Some(id) = draft.token_id {
            self.word("token_id", id.as_str());
        }
        if let Some(agent) = draft.user_agent {
            self.text("user_agent", agent, USER_AGENT_BYTES_MAX);
        }
        if let Some(duration) = draft.duration {
            self.name("duration_ms");
            let microseconds = duration.as_micros();
            let whole = microseconds / 1_000;
            let rest = microseconds % 1_000;
            self.plain(format_args!("{whole}.{rest:03}"));
        }
        if let Some(bytes) = draft.bytes {
            self.name("bytes");
            self.plain(bytes);
        }
        if self.truncated {
            self.name("truncated");
            self.out.extend_from_slice(b"true");
        }
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Writes a member whose value is one of our own words or ids.
    fn word(&mut self, name: &str, word: &str) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    fn text(&mut self, name: &str, text: &str, bytes_max: usize) {
        self.name(name);
        self.string(text, bytes_max);
    }

    fn string(&mut self, text: &str, bytes_max: usize) {
        if write_text(self.out, text, bytes_max) == Written::Cut {
            self.truncated = true;
        }
    }

    /// Writes a value whose text needs no escape.
    fn plain(&mut self, value: impl std::fmt::Display) {
        write_number(self.out, value);
    }

    /// Writes an object; a member that would go over the bound, and all behind it, are left out.
    fn object(&mut self, members: &Map<String, Value>, depth: usize) {
        let end = self.out.len() + Self::room(depth);
        self.out.push(b'{');
        let mut first = true;
        for (name, value) in members {
            let before = self.out.len();
            if !first {
                self.out.push(b',');
            }
            self.string(name, NAME_BYTES_MAX);
            self.out.push(b':');
            self.value(value, depth);
            if self.out.len() + 1 > end {
                self.out.truncate(before);
                self.truncated = true;
                break;
            }
            first = false;
        }
        self.out.push(b'}');
    }

    fn list(&mut self, values: &[Value], depth: usize) {
        let end = self.out.len() + Self::room(depth);
        self.out.push(b'[');
        let mut first = true;
        for value in values {
            let before = self.out.len();
            if !first {
                self.out.push(b',');
            }
            self.value(value, depth);
            if self.out.len() + 1 > end {
                self.out.truncate(before);
                self.truncated = true;
                break;
            }
            first = false;
        }
        self.out.push(b']');
    }

    /// Returns how many bytes an object or a list may take at a depth.
    const fn room(depth: usize) -> usize {
        if depth <= 1 {
            DETAILS_BYTES_MAX
        } else {
            DETAILS_BYTES_MAX / 2
        }
    }

    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            Value::Number(number) => self.plain(number),
            Value::String(text) => self.string(text, TEXT_BYTES_MAX),
            Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => {
                self.truncated = true;
                self.out.extend_from_slice(b"null");
            }
            Value::Array(values) => self.list(values, depth + 1),
            Value::Object(members) => self.object(members, depth + 1),
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "memory takes every byte, and numbers have no failing Display"
)]
fn write_number(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("a vector takes every byte");
}

#[cfg(test)]
mod tests;
