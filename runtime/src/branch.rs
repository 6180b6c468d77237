//! The agent's work as git knows it: its own clone, its checkpoints, its hand-over.
//!
//! Invariant: git runs only inside the jail, and of the project's repository only the session's own
//! branch is ever written, unless branch protection is off and the project's branch can be moved forward.

use std::path::Path;

use chrono::{DateTime, Utc};
use config::contract::session::HandOff;

use crate::folder::SessionFolder;
use crate::project::Project;
use crate::sandbox::Sandbox;

/// The clone in which one session's agent works.
#[derive(Debug)]
pub struct Workspace {
    branch: String,
    base: String,
    notes: Vec<String>,
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The commit's id.
    pub commit: String,
    /// Files that differ from the checkpoint before.
    pub files_changed: u32,
    /// What a person should know about how it came about.
    pub note: Option<String>,
}

/// Whether the agent's work stays on the session's branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It stays there.
    On,
    /// The project's current branch is moved forward if that is safe.
    Off,
}

/// Says what could not be done with a repository.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// To be filled.
    #[error("cannot")]
    Not,
}

impl Workspace {
    /// Clones the project's `HEAD` for a session, on a new branch `loki/session-<seconds>-<pid>`.
    ///
    /// # Errors
    /// When the project has no commit, or cannot be cloned; the text names the fix where there is one.
    pub async fn prepare(
        sandbox: &Sandbox,
        folder: &SessionFolder,
        project: &Project,
        now: DateTime<Utc>,
    ) -> Result<Self, BranchError> {
        unimplemented!("{sandbox:?}{folder:?}{project:?}{now}")
    }

    /// Temporary.
    pub fn reopen(_: &Sandbox, _: &SessionFolder, _: &Project, _: &str, _: &str) -> Self {
        unimplemented!()
    }

    /// Returns the session's branch, without `refs/heads/`.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Returns the project's commit on which the session began.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns what a person should know about the clone, for example what was left out.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns where the agent works.
    #[must_use]
    pub fn directory(&self) -> &Path {
        unimplemented!()
    }

    /// Commits what the work tree holds on the session's branch and brings it into the runtime's own
    /// repository; `None` if nothing changed since the last checkpoint. No agent may be running.
    ///
    /// # Errors
    /// When git refuses, or what the agent left is no sound repository.
    pub async fn checkpoint(&mut self, message: &str) -> Result<Option<Checkpoint>, BranchError> {
        unimplemented!("{message}")
    }

    /// Hands the last checkpoint over to the project.
    ///
    /// # Errors
    /// When the runtime's own repository is not sound. A project that cannot be written is no error:
    /// the branch then stays in the runtime's repository, and the note says so.
    pub async fn hand_over(&self, protection: Protection) -> Result<HandOff, BranchError> {
        unimplemented!("{protection:?}")
    }
}
