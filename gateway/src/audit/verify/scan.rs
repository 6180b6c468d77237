//! Checks one file by itself: its lines, how they are chained, their seals and signatures.

use std::borrow::Cow;
use std::io::{self, BufRead};

use aws_lc_rs::{hmac, signature};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::FINDINGS_MAX;
use super::report::{Finding, Kind, Signed};
use super::snapshot::Opened;
use super::trust::Trust;
use crate::audit::chain::{Digest, NOTHING, OVERSIZED, cut_hex, digest, from_hex};
use crate::audit::files::{self, FileName, Form, Stored};
use crate::audit::forward::{LineEnd, read_line};
use crate::audit::seals::CHECKPOINT_DOMAIN;
use crate::audit::{CHECKPOINT, FAILED, RECOVERED, RETIRED};

/// What a file says by itself.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) name: FileName,
    form: Form,
    pub(crate) lines: u64,
    pub(crate) records: u64,
    /// The first record.
    pub(crate) first: Option<First>,
    pub(crate) last_seq: Option<u64>,
    /// The line of the last record.
    pub(crate) last_line: u64,
    /// SHA-256 of the last line.
    pub(crate) last_digest: Digest,
    /// The last line, if it is no record: the next file must say why.
    pub(crate) open_end: Option<u64>,
    /// The last line is not finished.
    pub(crate) torn: bool,
    /// Whether the last record has the seal of a commit.
    pub(crate) last_sealed: bool,
    pub(crate) checkpoints: Vec<Signed>,
    /// What was removed, as its records say.
    pub(crate) retired: Vec<Retired>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) findings_total: u64,
}

/// What a record about removed files names.
#[derive(Debug)]
pub(crate) struct Retired {
    /// The last record that was removed.
    pub(crate) to: u64,
    /// SHA-256 of the last line that was removed.
    pub(crate) digest: Digest,
}

/// The first record of a file.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) seq: u64,
    pub(crate) line: u64,
    pub(crate) prev: Digest,
    /// It says why the line before it is no record.
    pub(crate) mends: bool,
    pub(crate) failed: Option<Failed>,
}

/// What a record about a failed disk names.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) file: FileName,
    pub(crate) in_doubt_from: u64,
}

#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    seq: u64,
    #[serde(borrow, default)]
    prev: Cow<'a, str>,
    #[serde(borrow, default)]
    key_id: Option<Cow<'a, str>>,
}

/// Returns what is wrong when the record behind `last` has number `seq` and is chained to
/// something else.
pub(crate) const fn kind_of_break(last: u64, seq: u64) -> Kind {
    if seq == last + 1 {
        Kind::Changed
    } else if seq > last {
        Kind::Missing {
            from: last + 1,
            to: seq - 1,
        }
    } else {
        Kind::OutOfOrder { seq }
    }
}

impl Scan {
    /// Reads a file of a snapshot.
    pub(crate) fn read(file: &Opened, trust: &Trust) -> io::Result<Self> {
        let mut scan = Self::new(file.name, file.form);
        scan.read_lines(&mut file.reader(), trust)?;
        Ok(scan)
    }

    /// Reads an open file.
    pub(crate) fn of(name: FileName, stored: Stored, trust: &Trust) -> io::Result<Self> {
        let mut scan = Self::new(name, stored.form);
        scan.read_lines(&mut stored.reader()?, trust)?;
        Ok(scan)
    }

    const fn new(name: FileName, form: Form) -> Self {
        Self {
            name,
            form,
            lines: 0,
            records: 0,
            first: None,
            last_seq: None,
            last_line: 0,
            last_digest: NOTHING,
            open_end: None,
            torn: false,
            last_sealed: false,
            checkpoints: Vec::new(),
            retired: Vec::new(),
            findings: Vec::new(),
            findings_total: 0,
        }
    }

    fn read_lines(&mut self, reader: &mut impl BufRead, trust: &Trust) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            let end = match read_line(reader, &mut line) {
                Ok(Some(end)) => end,
                Ok(None) => return Ok(()),
                // The disk is no reason to say that somebody changed the file.
                Err(error) if files::is_damage(&error) => {
                    self.add(self.lines + 1, Kind::Damaged);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            self.lines += 1;
            match end {
                LineEnd::Feed => self.line(&line, trust),
                LineEnd::OfFile => {
                    self.torn = true;
                    self.no_record(digest(&line));
                }
                LineEnd::Oversized(_) => self.no_record(OVERSIZED),
            }
        }
    }

    /// Returns the name under which the file lies in the directory.
    pub(crate) fn stored_name(&self) -> String {
        self.name.stored(self.form)
    }

    fn line(&mut self, line: &[u8], trust: &Trust) {
        // What cannot be read is a finding of its own, whatever is wrong with it.
        let parsed = serde_json::from_slice::<Seen<'_>>(line).ok();
        let record = parsed.and_then(|seen| Some((from_hex::<32>(seen.prev.as_bytes())?, seen)));
        let Some((prev, seen)) = record else {
            return self.no_record(digest(line));
        };
        let mends = seen.action == RECOVERED || seen.action == FAILED;
        if let Some(before) = self.open_end.take()
            && !mends
        {
            self.add(before, Kind::NoRecord);
        }
        if self.first.is_none() {
            self.first = Some(First {
                seq: seen.seq,
                line: self.lines,
                prev,
                mends,
                failed: (seen.action == FAILED).then(|| failed(line)).flatten(),
            });
        }
        self.follow(&seen, prev);
        self.records += 1;
        self.last_seq = Some(seen.seq);
        self.last_line = self.lines;
        self.last_digest = digest(line);
        self.last_sealed = self.seal(line, trust);
        if seen.action == CHECKPOINT {
            self.checkpoint(line, &seen, trust);
        }
        if seen.action == RETIRED {
            self.retired.extend(retired(line));
        }
    }

    /// Compares a record with the line before it in the same file.
    fn follow(&mut self, seen: &Seen<'_>, prev: Digest) {
        if self.lines == 1 {
            return;
        }
        let last = self.last_seq.unwrap_or(seen.seq.saturating_sub(1));
        if prev == self.last_digest && seen.seq == last + 1 {
            return;
        }
        let kind = kind_of_break(last, seen.seq);
        let line = self.lines - u64::from(kind == Kind::Changed);
        self.add(line, kind);
    }

    /// Checks the seal, if the record has one; returns whether it has.
    fn seal(&mut self, line: &[u8], trust: &Trust) -> bool {
        let open = line.strip_suffix(b"}").unwrap_or(line);
        let Some((covered, tag)) = cut_hex::<32>(open, "mac") else {
            return false;
        };
        let wrong = trust
            .mac
            .as_ref()
            .is_some_and(|key| hmac::verify(key, covered, &tag).is_err());
        if wrong {
            self.add(self.lines, Kind::BadSeal);
        }
        true
    }

    fn checkpoint(&mut self, line: &[u8], seen: &Seen<'_>, trust: &Trust) {
        let open = line.strip_suffix(b"}").unwrap_or(line);
        let unsealed = cut_hex::<32>(open, "mac").map_or(open, |(covered, _)| covered);
        let key_id = seen.key_id.as_deref().unwrap_or_default();
        if key_id != trust.public_key.id() {
            let key_id = key_id.chars().take(16).collect();
            return self.add(self.lines, Kind::UnknownKey { key_id });
        }
        let good = cut_hex::<64>(unsealed, "signature").is_some_and(|(covered, bytes)| {
            let key =
                signature::UnparsedPublicKey::new(&signature::ED25519, trust.public_key.bytes());
            key.verify(&[CHECKPOINT_DOMAIN, covered].concat(), &bytes)
                .is_ok()
        });
        if !good {
            return self.add(self.lines, Kind::BadSignature);
        }
        self.checkpoints.push(Signed {
            seq: seen.seq,
            timestamp: seen.timestamp.chars().take(32).collect(),
            file: self.stored_name(),
            line: self.lines,
            key_id: trust.public_key.id(),
            digest: self.last_digest,
        });
    }

    fn no_record(&mut self, digest: Digest) {
        if let Some(before) = self.open_end.replace(self.lines) {
            self.add(before, Kind::NoRecord);
        }
        self.last_digest = digest;
    }

    fn add(&mut self, line: u64, kind: Kind) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            let finding = Finding::new(self.stored_name(), line, kind);
            self.findings.push(finding);
        }
    }
}

fn failed(line: &[u8]) -> Option<Failed> {
    let details = details(line)?;
    Some(Failed {
        file: details.get("file")?.as_str()?.parse().ok()?,
        in_doubt_from: details.get("in_doubt_from")?.as_u64()?,
    })
}

fn retired(line: &[u8]) -> Option<Retired> {
    let details = details(line)?;
    Some(Retired {
        to: details.get("to")?.as_u64()?,
        digest: from_hex(details.get("digest")?.as_str()?.as_bytes())?,
    })
}

fn details(line: &[u8]) -> Option<Map<String, Value>> {
    #[derive(Deserialize)]
    struct Detailed {
        details: Map<String, Value>,
    }
    let record: Detailed = serde_json::from_slice(line).ok()?;
    Some(record.details)
}
