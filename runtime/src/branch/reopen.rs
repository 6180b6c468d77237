//! Opens what an earlier run of the runtime left of a session, so that it can be carried on or handed
//! over.
//!
//! Invariant: only the runtime's own repository is believed; the clone, which the agent could write, is
//! read by the next checkpoint alone, as after any iteration.

use std::fs;

use super::clone::BASE;
use super::git::{Git, Repository};
use super::{BranchError, Workspace, reference};
use crate::folder::SessionFolder;
use crate::project::Project;
use crate::sandbox::Sandbox;

impl Workspace {
    /// Opens a session's last checkpoint on `branch`.
    ///
    /// # Errors
    /// When the runtime's own repository of the session is not there or not sound.
    pub async fn reopen(
        sandbox: &Sandbox,
        folder: &SessionFolder,
        project: &Project,
        branch: &str,
    ) -> Result<Self, BranchError> {
        let repository = folder.repository();
        let clone = folder.workspace().join(".git");
        let may_open = [
            project.git_directory(),
            project.directory(),
            &repository,
            &clone,
        ];
        let git = Git::new(sandbox, folder.git_home(), &may_open)?;
        let kept = Repository::own(&repository);
        let base = git
            .commit(&kept, BASE)
            .await?
            .ok_or_else(|| BranchError::Unsound {
                branch: branch.to_owned(),
                what: "the project had not arrived in the runtime's repository",
            })?;
        // Without a checkpoint the branch is not there yet.
        let tip = git.commit(&kept, &reference(branch)).await?;
        Ok(Self {
            git,
            folder: folder.clone(),
            project: project.clone(),
            branch: branch.to_owned(),
            tip: tip.unwrap_or_else(|| base.clone()),
            base,
            base_branch: base_branch(folder),
            notes: Vec::new(),
            refused: Vec::new(),
        })
    }
}

/// Reads on which branch the project stood; none if it stood on none, or that is not known.
fn base_branch(folder: &SessionFolder) -> Option<String> {
    let text = fs::read_to_string(folder.base_branch()).ok()?;
    (!text.is_empty()).then_some(text)
}
