//! What a check found, where, and what follows from it.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::FINDINGS_MAX;
use super::snapshot::Snapshot;
use super::trust::Trust;
use crate::audit::chain::Digest;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether everything fits.
    pub valid: bool,
    /// The audit directory.
    pub directory: String,
    /// Files that were read.
    pub files: u64,
    /// Lines in them.
    pub lines: u64,
    /// Lines that are records.
    pub records: u64,
    /// Number of the oldest record.
    pub first_seq: Option<u64>,
    /// Up to which number records were removed because their time was over, as a record says.
    pub retired_to: Option<u64>,
    /// Number of the newest record.
    pub last_seq: Option<u64>,
    /// The newest checkpoint whose signature is good.
    pub last_checkpoint: Option<Signed>,
    /// What does not fit, oldest first; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How much does not fit.
    pub findings_total: u64,
    /// What is unusual and yet explained by the records themselves.
    pub notes: Vec<String>,
    /// What is proven, and against whom; and what is not.
    pub proven: Vec<String>,
}

/// A checkpoint whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// Its number: everything before it is signed.
    pub seq: u64,
    /// When it was signed, as it says itself.
    pub timestamp: String,
    /// In which file it stands.
    pub file: String,
    /// On which line, from 1.
    pub line: u64,
    /// The key that signed it.
    pub key_id: String,
    /// SHA-256 of its line.
    #[serde(skip)]
    pub(crate) digest: Digest,
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which file; empty if there is none.
    pub file: String,
    /// On which line, from 1; 0 for the file as a whole.
    pub line: u64,
    /// What is wrong.
    #[serde(flatten)]
    pub kind: Kind,
    /// The same for people.
    pub text: String,
}

impl Finding {
    pub(crate) fn new(file: String, line: u64, kind: Kind) -> Self {
        Self {
            file,
            line,
            text: kind.to_string(),
            kind,
        }
    }

    pub(crate) fn nowhere(kind: Kind) -> Self {
        Self {
            file: String::new(),
            line: 0,
            text: kind.to_string(),
            kind,
        }
    }
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A name of an audit file belongs to something else.
    NotAFile,
    /// The rest of a packed file cannot be unpacked.
    Damaged,
    /// A line is no record, and none behind it says why.
    NoRecord,
    /// The record behind it was chained to another content of this line.
    Changed,
    /// Records before this line are gone.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// A record stands where a later one is due.
    OutOfOrder {
        /// Its number.
        seq: u64,
    },
    /// The seal of a commit was not made with the key.
    BadSeal,
    /// The newest record has no seal.
    NoSeal,
    /// The signature of a checkpoint is wrong.
    BadSignature,
    /// A checkpoint was signed with another key.
    UnknownKey {
        /// The key that it names.
        key_id: String,
    },
    /// The trail ends before a checkpoint that was kept elsewhere.
    CutOff {
        /// The first record that is gone.
        from: u64,
        /// The checkpoint.
        to: u64,
    },
    /// A checkpoint that was kept elsewhere is not in the trail.
    CheckpointGone {
        /// The checkpoint.
        seq: u64,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile => out.write_str("this is no regular file"),
            Self::Damaged => {
                out.write_str("from here on the file cannot be unpacked: it was changed or cut")
            }
            Self::NoRecord => out.write_str("this is no chained record, and none says why"),
            Self::Changed => {
                out.write_str("the line was changed: the one behind it is chained to other content")
            }
            Self::Missing { from, to } => {
                write!(out, "records {from} to {to} were removed before this line")
            }
            Self::OutOfOrder { seq } => write!(
                out,
                "record {seq} is not in its place: inserted, repeated or moved"
            ),
            Self::BadSeal => out.write_str(
                "the seal was not made with the key: the line was changed, or the chain recomputed",
            ),
            Self::NoSeal => out.write_str(
                "the newest record has no seal: the end was cut off, or written without the key",
            ),
            Self::BadSignature => out.write_str("the signature of the checkpoint is wrong"),
            Self::UnknownKey { key_id } => {
                write!(
                    out,
                    "the checkpoint was signed with another key: {key_id:?}"
                )
            }
            Self::CutOff { from, to } => write!(
                out,
                "records {from} to {to} were cut off: checkpoint {to} was kept elsewhere"
            ),
            Self::CheckpointGone { seq } => write!(
                out,
                "checkpoint {seq}, which was kept elsewhere, is not here: the trail was replaced"
            ),
        }
    }
}

impl Report {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            valid: false,
            directory: path.display().to_string(),
            files: 0,
            lines: 0,
            records: 0,
            first_seq: None,
            retired_to: None,
            last_seq: None,
            last_checkpoint: None,
            findings: Vec::new(),
            findings_total: 0,
            notes: Vec::new(),
            proven: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// Says what is proven and against whom, and what is not.
pub(crate) fn proven(report: &Report, trust: &Trust, snapshot: &Snapshot) -> Vec<String> {
    let Some(last) = report.last_seq else {
        return vec!["nothing: there are no records".to_owned()];
    };
    if !report.valid {
        return vec!["nothing from the first finding on".to_owned()];
    }
    let mut said = Vec::new();
    let first = report.retired_to.map_or(1, |to| to + 1);
    if trust.mac.is_some() {
        said.push(format!(
            "records {first} to {last} are in order, complete and unchanged, against whoever can write the audit files but not read the keys"
        ));
        said.push(match snapshot.kept {
            Some(kept) => format!(
                "nothing was cut off at the end up to checkpoint {}, kept beside the keys; later records could have been cut off without a trace",
                kept.seq
            ),
            None => "no checkpoint was kept yet: records could have been cut off at the end without a trace".to_owned(),
        });
    } else {
        said.push(match &report.last_checkpoint {
            Some(checkpoint) => format!(
                "records {first} to {} are as the holder of key {} signed them; later ones are only consistent in themselves",
                checkpoint.seq, checkpoint.key_id
            ),
            None => "no checkpoint is there: the records are only consistent in themselves".to_owned(),
        });
    }
    if let Some(to) = report.retired_to {
        said.push(format!(
            "records 1 to {to} were removed because their time was over, as a signed record says; of them only their end is known"
        ));
    }
    said.push(match trust.kept {
        Some(kept) => format!(
            "against everyone, also whoever has the keys: records {first} to {}, by the checkpoint that was given",
            kept.seq
        ),
        None => "against whoever has the keys nothing is proven; only a checkpoint kept off this host would".to_owned(),
    });
    said
}
