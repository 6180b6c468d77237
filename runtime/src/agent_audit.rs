//! The record of what an agent did, one JSON object per line, each chained to the one before.
//!
//! Invariant: lines are only ever added; the file lies outside the agent's reach.

use chrono::{DateTime, Utc};
use config::contract::id::RequestId;
use serde_json::{Map, Value};

use crate::folder::SessionFolder;
use crate::project::Project;

/// The open record of one session.
#[derive(Debug)]
pub struct AgentAudit {}

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

/// Says why the record cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AgentAuditError {
    /// To be filled.
    #[error("cannot")]
    Not,
}

impl AgentAudit {
    /// Opens a session's record, continuing what is there.
    ///
    /// # Errors
    /// When the file cannot be opened, or its end is not what this program writes.
    pub fn open(folder: &SessionFolder, project: &Project) -> Result<Self, AgentAuditError> {
        unimplemented!("{folder:?}{project:?}")
    }

    /// Adds one line, durable when this returns. Blocks on the disk.
    ///
    /// The project's view is best effort: the first time that it cannot be written, the reason is
    /// returned as a note, and not again.
    ///
    /// # Errors
    /// When the session's own record cannot be written.
    pub fn append(
        &mut self,
        entry: Entry,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, AgentAuditError> {
        unimplemented!("{entry:?}{now}")
    }
}
