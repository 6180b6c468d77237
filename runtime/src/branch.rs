//! The agent's work as git knows it: its own clone, its checkpoints, its hand-over.
//!
//! Invariant: git runs only inside the jail, and of the project's repository only the session's own
//! branch is ever written, unless branch protection is off and the project's branch can be moved forward.

mod checkpoint;
mod clone;
mod commits;
mod diff;
mod findings;
mod forward;
mod git;
mod hand_off;
mod harvest;
mod keep;
mod name;
mod publish;
mod reopen;

use std::io;
use std::path::PathBuf;

use crate::folder::SessionFolder;
use crate::project::Project;
use crate::sandbox::SandboxError;

pub use checkpoint::Checkpoint;
pub use commits::{Commit, Commits, FileChange};
pub use findings::{Findings, Secret};
pub use hand_off::Protection;
pub(crate) use harvest::AGENTS_SETTINGS;
pub use publish::{Credential, Published, Remote};

use git::{Git, Repository};

/// The clone in which one session's agent works.
#[derive(Debug)]
pub struct Workspace {
    git: Git,
    folder: SessionFolder,
    project: Project,
    /// Without `refs/heads/`.
    branch: String,
    /// The project's commit on which the session began.
    base: String,
    /// The reference that the project had checked out, if it was one.
    base_branch: Option<String>,
    /// The last commit of the branch that the runtime's own repository has.
    tip: String,
    notes: Vec<String>,
    /// Files that were not taken over.
    refused: Vec<String>,
}

/// Says what could not be done with a repository.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// Git refused.
    #[error("cannot {what}: {said}")]
    Git {
        /// What was being done.
        what: &'static str,
        /// What git said, on one line.
        said: String,
    },
    /// The jail refused.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The project has nothing to begin with.
    #[error("cannot clone {project}: it has no commit; fix: make one: `git add . && git commit`", project = .project.display())]
    NoCommit {
        /// The project.
        project: PathBuf,
    },
    /// A file of the session cannot be written.
    #[error("cannot {what} {path}: {source}", path = .path.display())]
    File {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The branch in the runtime's own repository is not what was put there.
    #[error("cannot hand over {branch}: {what}")]
    Unsound {
        /// The branch.
        branch: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Workspace {
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

    /// Returns the last commit that was kept; the base if there was none.
    #[must_use]
    pub fn tip(&self) -> &str {
        &self.tip
    }

    /// Returns what a person should know about the clone, for example what was left out.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns where the agent works.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.folder.workspace()
    }

    /// Returns the repository of the clone. The agent can write it.
    fn in_clone(&self) -> Repository {
        Repository::of_workspace(&self.folder.workspace())
    }

    /// Returns the runtime's own repository.
    fn kept(&self) -> Repository {
        Repository::own(&self.folder.repository())
    }

    /// Returns the project's repository.
    fn in_project(&self) -> Repository {
        Repository::own(self.project.git_directory())
    }

    /// Returns the session's branch as a whole reference.
    fn reference(&self) -> String {
        reference(&self.branch)
    }
}

/// Returns a branch as a whole reference.
fn reference(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

#[cfg(test)]
mod tests;
