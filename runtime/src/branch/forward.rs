//! Branch protection off: the project's current branch is moved forward to the agent's work.
//!
//! Invariant: it happens only where nothing is lost and no program of the project would be needed:
//! the same branch still at the base, no uncommitted file, no content filter.

use std::fs;

use super::clone::changed_files;
use super::git::Call;
use super::{BranchError, Workspace};

/// Says why the project's branch was left where it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stay {
    #[error("{0}")]
    Because(&'static str),
    #[error("it has {0} uncommitted files")]
    Uncommitted(u32),
    #[error(transparent)]
    Branch(#[from] BranchError),
}

impl Workspace {
    /// Moves the project's current branch, its index and its files to the session's last commit.
    pub(super) async fn forward(&self) -> Result<(), Stay> {
        let target = self.in_project();
        let Some(base_branch) = &self.base_branch else {
            return Err(Stay::Because("no branch was checked out"));
        };
        if self.git.head(&target).await?.as_ref() != Some(base_branch) {
            return Err(Stay::Because("another branch is checked out by now"));
        }
        if self.git.commit(&target, "HEAD").await?.as_ref() != Some(&self.base) {
            return Err(Stay::Because("it has moved since the session began"));
        }
        match changed_files(&self.git, &self.project).await? {
            0 => (),
            files => return Err(Stay::Uncommitted(files)),
        }
        if self.needs_filters().await? {
            return Err(Stay::Because(
                "the project uses content filters, such as Git LFS, which only its owner may start",
            ));
        }
        let merge = Call::new("move the project's branch forward", &target)
            .work_tree(self.project.directory())
            .write(self.project.directory())
            .settings(self.git.without_filters(&target).await?)
            .arguments(["merge", "--ff-only", "--quiet", "--no-edit", "--no-stat"])
            .arguments(["--end-of-options", &self.tip]);
        self.git.run(merge).await?;
        if self.git.commit(&target, "HEAD").await?.as_ref() == Some(&self.tip) {
            Ok(())
        } else {
            Err(Stay::Because("it did not arrive at the agent's commit"))
        }
    }

    /// Returns whether any attribute, old or new, binds a file to a filter.
    async fn needs_filters(&self) -> Result<bool, BranchError> {
        let own = self.project.git_directory().join("info/attributes");
        if own.symlink_metadata().is_ok() && !fs::read(&own).is_ok_and(|text| text.is_empty()) {
            return Ok(true);
        }
        for commit in [&self.base, &self.tip] {
            let search = Call::new("look for filters", &self.kept())
                .arguments(["grep", "--quiet", "--fixed-strings", "-e", "filter"])
                .arguments([commit, "--", ":(glob)**/.gitattributes"]);
            if self.git.query(search).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
