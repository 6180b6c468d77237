//! The checkpoint: what the work tree holds becomes a commit on the session's branch.
//!
//! Wherever the agent has gone in its clone, the branch ends up descending from the base and holding
//! what the work tree holds:
//! - commits that the agent made on the session's branch, or on another that goes on from it, are kept;
//! - if it went elsewhere (an older commit, a branch of its own beside), its files are committed on top
//!   of the session's branch, and its commits there are left behind;
//! - if it rewrote or deleted the branch so that the base is gone from it, its files are committed on
//!   top of the last checkpoint.
//!
//! Invariant: only plumbing is used, which starts neither hooks nor editors, and no agent is running.

use std::ffi::OsString;

use super::git::Call;
use super::{BranchError, Workspace};

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

/// Where the next commit goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parent {
    commit: String,
    note: Option<&'static str>,
}

impl Workspace {
    /// Commits what the work tree holds on the session's branch and brings it into the runtime's own
    /// repository; `None` if nothing changed since the last checkpoint. No agent may be running.
    ///
    /// # Errors
    /// When git refuses, or what the agent left is no sound repository. What was kept before stays.
    pub async fn checkpoint(&mut self, message: &str) -> Result<Option<Checkpoint>, BranchError> {
        self.remove_locks().await?;
        let parent = self.parent().await?;
        self.stand_on_branch(&parent.commit).await?;
        let commit = self.commit_files(&parent.commit, message).await?;
        if commit == self.tip {
            return Ok(None);
        }
        let before = self.tip.clone();
        self.keep(&commit).await?;
        let files_changed = self
            .git
            .files_changed(&self.kept(), &before, &commit)
            .await?;
        Ok(Some(Checkpoint {
            commit,
            files_changed,
            note: parent.note.map(str::to_owned),
        }))
    }

    /// Removes the locks of git processes that were killed with the agent.
    async fn remove_locks(&self) -> Result<(), BranchError> {
        let repository = self.folder.workspace().join(".git");
        let locks = [
            "index.lock".to_owned(),
            "HEAD.lock".to_owned(),
            "packed-refs.lock".to_owned(),
            "config.lock".to_owned(),
            format!("{}.lock", self.reference()),
        ]
        .map(|lock| repository.join(lock));
        for lock in locks {
            // The agent may have put a link anywhere, so only a jailed program removes in there.
            let removed = self.git.remove(&self.folder.workspace(), &lock).await?;
            if removed {
                tracing::info!(lock = %lock.display(), "stale git lock removed");
            }
        }
        Ok(())
    }

    /// Chooses the commit on top of which the work tree is committed.
    async fn parent(&self) -> Result<Parent, BranchError> {
        let clone = self.in_clone();
        let reference = self.reference();
        let on_branch = self.git.head(&clone).await?.as_ref() == Some(&reference);
        let head = self.git.commit(&clone, "HEAD").await?;
        let branch = self.git.commit(&clone, &reference).await?;
        let Some(branch) = branch else {
            return Ok(self.last_kept(BRANCH_GONE));
        };
        if !self.git.descends(&clone, &branch, &self.base).await? {
            return Ok(self.last_kept(BRANCH_REWRITTEN));
        }
        if on_branch || head.as_ref() == Some(&branch) {
            let (commit, note) = (branch, None);
            return Ok(Parent { commit, note });
        }
        if let Some(head) = head
            && self.git.descends(&clone, &head, &branch).await?
        {
            let (commit, note) = (head, Some(WENT_ON));
            return Ok(Parent { commit, note });
        }
        let (commit, note) = (branch, Some(WENT_ASIDE));
        Ok(Parent { commit, note })
    }

    fn last_kept(&self, note: &'static str) -> Parent {
        Parent {
            commit: self.tip.clone(),
            note: Some(note),
        }
    }

    /// Puts the branch on a commit and `HEAD` on the branch. The files stay as they are.
    async fn stand_on_branch(&self, commit: &str) -> Result<(), BranchError> {
        let reference = self.reference();
        let set = self
            .inside("set the session's branch")
            .arguments(["update-ref", "--no-deref", "--end-of-options"])
            .arguments([&reference, commit]);
        self.git.run(set).await?;
        let stand = self.inside("return to the session's branch").arguments([
            "symbolic-ref",
            "HEAD",
            &reference,
        ]);
        self.git.run(stand).await?;
        Ok(())
    }

    /// Commits all files on top of `parent` if they differ from it. Returns the branch's new commit.
    async fn commit_files(&mut self, parent: &str, message: &str) -> Result<String, BranchError> {
        let filters = self.git.without_filters(&self.in_clone()).await?;
        let whole =
            ["core.sparseCheckout", "index.sparse"].map(|key| (key.to_owned(), "false".to_owned()));
        let add = self
            .inside("add the agent's files")
            .settings(filters)
            .settings(whole)
            .arguments(["add", "--all", "--no-warn-embedded-repo", "--", "."]);
        self.git.run(add).await?;
        self.refuse_settings().await?;
        let write = self
            .inside("write the agent's files")
            .arguments(["write-tree"]);
        let tree = self.git.run(write).await?.line();
        let before = self
            .inside("look up the last files")
            .arguments(["rev-parse", "--verify", "--end-of-options"])
            .arguments([format!("{parent}^{{tree}}")]);
        if self.git.run(before).await?.line() == tree {
            return Ok(parent.to_owned());
        }
        let commit = self
            .inside("commit the agent's files")
            .arguments(["commit-tree", "-p", parent])
            .arguments([OsString::from("-m"), message_of(message).into()])
            .arguments([tree]);
        let commit = self.git.run(commit).await?.line();
        self.stand_on_branch(&commit).await?;
        Ok(commit)
    }

    /// Describes a call inside the clone. It may write the workspace and nothing else.
    pub(super) fn inside(&self, what: &'static str) -> Call {
        Call::new(what, &self.in_clone())
            .work_tree(self.folder.workspace())
            .write(self.folder.workspace())
    }
}

/// Makes a lawful commit message: no NUL, not empty, and short enough for an argument.
fn message_of(message: &str) -> String {
    let mut text: String = message
        .chars()
        .filter(|character| *character != '\0')
        .take(MESSAGE_CHARACTERS_MAX)
        .collect();
    if text.trim().is_empty() {
        "checkpoint".clone_into(&mut text);
    }
    text
}

const BRANCH_GONE: &str = "the agent had deleted the session's branch: its files were committed on \
                           top of the last checkpoint";
const BRANCH_REWRITTEN: &str = "the agent had rewritten the session's branch without its base: its \
                                files were committed on top of the last checkpoint";
const WENT_ON: &str = "the agent had left the session's branch for another that goes on from it: its \
                       commits there were taken over";
const WENT_ASIDE: &str = "the agent had left the session's branch: its files were committed on top of \
                          it, and its commits elsewhere are left behind";

const MESSAGE_CHARACTERS_MAX: usize = 16 * 1024;
