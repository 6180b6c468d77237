//! The hand-over: the session's branch goes from the runtime's own repository into the project's.
//!
//! Invariant: the one git call that writes the project can, by the kernel, write its objects and
//! references alone: not its settings, hooks, `HEAD`, index or files.

use config::contract::session::{HandOff, HandOffPlace};

use super::clone::FETCH;
use super::git::Call;
use super::{BranchError, Workspace};

/// Whether the agent's work stays on the session's branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It stays there.
    On,
    /// The project's current branch is moved forward if that is safe.
    Off,
}

impl Workspace {
    /// Hands the last checkpoint over to the project. May be repeated.
    ///
    /// Without a commit beyond the base no branch is made, and the note says so. A project that cannot
    /// be written is no error: the branch then stays in the runtime's own repository.
    ///
    /// # Errors
    /// When the runtime's own repository is not sound.
    pub async fn hand_over(&self, protection: Protection) -> Result<HandOff, BranchError> {
        let mut hand_off = HandOff {
            branch: self.branch.clone(),
            place: HandOffPlace::Runtime,
            commit: self.tip.clone(),
            commits: 0,
            files_changed: 0,
            is_pushed: false,
            pull_request: None,
            note: None,
        };
        if self.tip == self.base {
            hand_off.note = Some(NOTHING_DONE.to_owned());
            return Ok(hand_off);
        }
        self.check().await?;
        (hand_off.commits, hand_off.files_changed) = self.size().await?;
        let mut notes = Vec::new();
        match self.give().await {
            Ok(note) => {
                hand_off.place = HandOffPlace::Project;
                notes.extend(note);
            }
            Err(error) => notes.push(self.how_to_fetch(&error.to_string())),
        }
        if hand_off.place == HandOffPlace::Project && protection == Protection::Off {
            match self.forward().await {
                Ok(()) => hand_off.place = HandOffPlace::ProjectHead,
                Err(reason) => notes.push(format!(
                    "the project's current branch was not moved forward: {reason}; fix: git merge {}",
                    self.branch
                )),
            }
        }
        hand_off.note = (!notes.is_empty()).then(|| notes.join("; "));
        Ok(hand_off)
    }

    /// Tells that the last checkpoint stays in the runtime's own repository, and why.
    #[must_use]
    pub fn kept_back(&self, why: &str) -> HandOff {
        HandOff {
            branch: self.branch.clone(),
            place: HandOffPlace::Runtime,
            commit: self.tip.clone(),
            commits: 0,
            files_changed: 0,
            is_pushed: false,
            pull_request: None,
            note: Some(self.how_to_fetch(why)),
        }
    }

    /// Checks the branch, and every object, in the runtime's own repository.
    async fn check(&self) -> Result<(), BranchError> {
        let repository = self.kept();
        let found = self.git.commit(&repository, &self.reference()).await?;
        if found.as_deref() != Some(self.tip.as_str()) {
            return Err(self.unsound("the runtime's repository holds another commit"));
        }
        if !self
            .git
            .descends(&repository, &self.tip, &self.base)
            .await?
        {
            return Err(self.unsound("it does not descend from the project's commit"));
        }
        let check = Call::new("check the agent's objects", &repository).arguments([
            "fsck",
            "--strict",
            "--no-dangling",
            "--no-progress",
        ]);
        self.git.run(check).await?;
        Ok(())
    }

    /// Returns how many commits lie beyond the base, and how many files they change.
    async fn size(&self) -> Result<(u32, u32), BranchError> {
        let repository = self.kept();
        let count = Call::new("count the agent's commits", &repository)
            .arguments(["rev-list", "--count", "--end-of-options"])
            .arguments([format!("{}..{}", self.base, self.tip)]);
        let commits = self.git.run(count).await?.line();
        let files = self
            .git
            .files_changed(&repository, &self.base, &self.tip)
            .await?;
        Ok((commits.parse().unwrap_or(u32::MAX), files))
    }

    /// Makes the branch in the project. Returns a note if anything else changed there meanwhile.
    async fn give(&self) -> Result<Option<String>, BranchError> {
        let target = self.in_project();
        let (reference, repository) = (self.reference(), self.folder.repository());
        let before = self.other_references().await?;
        let mut fetch = Call::new("make the branch in the project", &target)
            .read(&repository)
            // A record of the reference's past would lie outside of what this call may write.
            .settings([("core.logAllRefUpdates".to_owned(), "false".to_owned())])
            .arguments(FETCH)
            .arguments(["--no-tags", "--refmap=", "--end-of-options"])
            .arguments([repository.as_os_str()])
            .arguments([format!("{reference}:{reference}")]);
        for place in ["objects", "refs", "reftable"] {
            let place = self.project.git_directory().join(place);
            if place.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                fetch = fetch.write(place);
            }
        }
        self.git.run(fetch).await?;
        if self.git.commit(&target, &reference).await?.as_deref() != Some(self.tip.as_str()) {
            return Err(self.unsound("its commit did not arrive in the project"));
        }
        let after = self.other_references().await?;
        Ok((before != after).then(|| OTHERS_CHANGED.to_owned()))
    }

    /// Lists the project's `HEAD` and references but the session's own, each with what it is at.
    async fn other_references(&self) -> Result<Vec<String>, BranchError> {
        let target = self.in_project();
        let list = Call::new("list the project's references", &target).arguments([
            "for-each-ref",
            "--format=%(refname) %(objectname) %(symref)",
        ]);
        let own = format!("{} ", self.reference());
        let mut references = self.git.run(list).await?.lines();
        references.retain(|line| !line.starts_with(&own));
        references.extend(self.git.head(&target).await?);
        references.extend(self.git.commit(&target, "HEAD").await?);
        Ok(references)
    }

    fn how_to_fetch(&self, why: &str) -> String {
        format!(
            "{why}; the branch is kept; to take it: `git fetch {} {}:{}` in the project",
            self.folder.repository().display(),
            self.branch,
            self.branch
        )
    }
}

const NOTHING_DONE: &str = "the agent changed nothing, so no branch was made";

const OTHERS_CHANGED: &str = "other references of the project changed while the branch was handed \
                              over, which this runtime did not do: check that it was you";
