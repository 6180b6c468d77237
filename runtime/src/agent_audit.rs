//! The record of what an agent did, one JSON object per line, each chained to the one before.
//!
//! Invariant: lines are only ever added; the file lies outside the agent's reach; a line's `hash` is
//! the SHA-256 of the hash before it (64 digits, zeros at first) and of the line without its member
//! `hash`, as it stands there.

mod view;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use config::contract::agent_audit::{Chained, Link};
use config::contract::id::{RequestId, SessionId};
use config::private;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::folder::SessionFolder;
use crate::project::Project;

use view::View;

/// The open record of one session.
#[derive(Debug)]
pub struct AgentAudit {
    file: File,
    path: PathBuf,
    session: SessionId,
    link: Link,
    /// Bytes of whole lines.
    length: u64,
    /// The commit that was recorded last.
    commit: Option<String>,
    /// Where the project's owner sees the record; none after it failed.
    view: Option<View>,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was done, for example `git_commit`.
    pub action: String,
    /// Who did it: the provider's name, or `loki` for the runtime itself.
    pub agent: String,
    /// The facts.
    pub details: Map<String, Value>,
    /// The request that led to it, if one did.
    pub request_id: Option<RequestId>,
}

/// One line of the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// When it was done (RFC 3339, UTC, whole seconds).
    pub timestamp: String,
    /// What was done.
    pub action: String,
    /// Who did it.
    pub agent: String,
    /// The facts.
    pub details: Map<String, Value>,
    /// In which session.
    pub session: SessionId,
    /// The request that led to it, if one did.
    pub request_id: Option<RequestId>,
    /// Rises by one within the session, from 1.
    pub seq: u64,
    /// Chains the line to the one before, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

/// Says why the record cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AgentAuditError {
    /// The file cannot be used.
    #[error("cannot {what} agent audit {path}: {source}", path = .path.display())]
    File {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A line is not what this program writes.
    #[error("cannot continue agent audit {path}: line {number} is damaged; fix: keep the file as evidence under another name", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        number: u64,
    },
    /// An entry cannot be written as JSON.
    #[error("cannot write agent audit entry as JSON: {0}")]
    Entry(#[from] serde_json::Error),
}

impl AgentAudit {
    /// Opens a session's record, continuing what is there. The whole chain is checked; a last line
    /// that a crash left half written is cut off, since nobody was told that it was kept.
    ///
    /// # Errors
    /// When the file cannot be opened, or a line is not what this program writes.
    pub fn open(folder: &SessionFolder, project: &Project) -> Result<Self, AgentAuditError> {
        let path = folder.agent_audit();
        let failed = |what, source| AgentAuditError::File {
            what,
            path: path.clone(),
            source,
        };
        let mut file = private::append_file(&path).map_err(|source| failed("open", source))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .map_err(|source| failed("read", source))?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        text.truncate(whole);
        let (link, commit) = check(&path, &text, Some(folder.session()))?;
        let length = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(length)
            .and_then(|()| private::sync_parent(&path))
            .map_err(|source| failed("open", source))?;
        let view = View::new(project);
        if length > 0
            && let Err(error) = view.catch_up(folder.session(), &text)
        {
            tracing::info!(session = %folder.session(), %error, "agent audit not caught up");
        }
        Ok(Self {
            file,
            session: folder.session().clone(),
            link,
            length,
            commit,
            view: Some(view),
            path,
        })
    }

    /// Returns the commit that was recorded last.
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }

    /// Adds one line, durable when this returns. Blocks on the disk.
    ///
    /// The project's view is best effort: the first time that it cannot be written, the reason is
    /// returned as a note, and the view is not tried again.
    ///
    /// # Errors
    /// When the session's own record cannot be written.
    pub fn append(
        &mut self,
        entry: Entry,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, AgentAuditError> {
        let mut line = Line {
            timestamp: now.to_rfc3339_opts(SecondsFormat::Secs, true),
            action: entry.action,
            agent: entry.agent,
            details: entry.details,
            session: self.session.clone(),
            request_id: entry.request_id,
            seq: self.link.seq + 1,
            hash: String::new(),
        };
        line.hash = self.link.hash_of_next(&serde_json::to_vec(&line)?);
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.write(&text).map_err(|source| AgentAuditError::File {
            what: "write",
            path: self.path.clone(),
            source,
        })?;
        if let Some(commit) = commit_of(&line) {
            self.commit = Some(commit);
        }
        self.link = Link {
            seq: line.seq,
            hash: line.hash,
        };
        Ok(self.show(&text))
    }

    /// Writes a line as a whole, or takes back what was written of it.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let written = self
            .file
            .write_all(text)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn show(&mut self, text: &[u8]) -> Option<String> {
        let view = self.view.as_ref()?;
        match view.append(text) {
            Ok(()) => None,
            Err(error) => {
                let note = error.to_string();
                self.view = None;
                Some(note)
            }
        }
    }
}

/// Checks the chain of a session's record. Returns the number of lines.
///
/// # Errors
/// When the file cannot be read, or the first line that is not what this program wrote.
pub fn verify(path: &Path) -> Result<u64, AgentAuditError> {
    let text = std::fs::read(path).map_err(|source| AgentAuditError::File {
        what: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(check(path, &text, None)?.0.seq)
}

/// Follows the chain through whole lines, which must all be of the session if one is named. Returns its
/// end, and the last commit that a line tells of.
fn check(
    path: &Path,
    text: &[u8],
    session: Option<&SessionId>,
) -> Result<(Link, Option<String>), AgentAuditError> {
    let mut link = Link::default();
    let mut commit = None;
    for text in text.split_inclusive(|byte| *byte == b'\n') {
        let number = link.seq + 1;
        let damaged = || AgentAuditError::Damaged {
            path: path.to_owned(),
            number,
        };
        let line: Line = serde_json::from_slice(text).map_err(|_| damaged())?;
        if session.is_some_and(|session| *session != line.session) {
            return Err(damaged());
        }
        if let Some(told) = commit_of(&line) {
            commit = Some(told);
        }
        let chained = Chained {
            session: line.session,
            seq: line.seq,
            hash: line.hash,
        };
        link = link.follow(text, &chained).map_err(|_| damaged())?;
    }
    Ok((link, commit))
}

/// Returns where a line says that the session's branch stood.
fn commit_of(line: &Line) -> Option<String> {
    let told = line.details.get("commit")?.as_str()?;
    COMMITS
        .contains(&line.action.as_str())
        .then(|| told.to_owned())
}

/// The actions whose `commit` is where the session's branch stood then.
const COMMITS: [&str; 2] = ["git_commit", "git_reset"];

#[cfg(test)]
mod tests;
