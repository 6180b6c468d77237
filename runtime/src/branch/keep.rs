//! The way of a commit out of the agent's reach: a bundle made inside, fetched by the runtime's own
//! repository.
//!
//! Invariant: git that reads what the agent wrote can write neither the runtime's repository nor the
//! project, and git that writes the repository reads one file and checks every object in it.

use std::io;

use super::clone::FETCH;
use super::git::Call;
use super::{BranchError, Workspace};

impl Workspace {
    /// Brings the clone's branch, which is at `commit`, into the runtime's own repository.
    pub(super) async fn keep(&mut self, commit: &str) -> Result<(), BranchError> {
        let reference = self.reference();
        let (repository, place) = (self.kept(), self.folder.repository());
        if commit == self.base {
            // Nothing lies between, and git makes no empty bundle.
            let set = Call::new("set the branch back", &repository)
                .write(&place)
                .arguments(["update-ref", "--end-of-options", &reference, commit]);
            self.git.run(set).await?;
        } else {
            self.carry(&reference).await?;
        }
        if self.git.commit(&repository, &reference).await?.as_deref() != Some(commit) {
            return Err(self.unsound("its commit did not arrive in the runtime's repository"));
        }
        commit.clone_into(&mut self.tip);
        Ok(())
    }

    async fn carry(&self, reference: &str) -> Result<(), BranchError> {
        let folder = self.folder.bundle_folder();
        let bundle = folder.join("work.bundle");
        self.remove_bundle()?;
        let pack = Call::new("pack the agent's commits", &self.in_clone())
            .write(self.folder.workspace())
            .write(&folder)
            .arguments(["bundle", "create", "--quiet"])
            .arguments([bundle.as_os_str()])
            .arguments([format!("{}..{reference}", self.base)]);
        self.git.run(pack).await?;
        let fetch = Call::new("take over the agent's commits", &self.kept())
            .read(&folder)
            .write(self.folder.repository())
            .arguments(FETCH)
            .arguments(["--no-tags", "--end-of-options"])
            .arguments([bundle.as_os_str()])
            .arguments([format!("+{reference}:{reference}")]);
        self.git.run(fetch).await?;
        self.remove_bundle()
    }

    fn remove_bundle(&self) -> Result<(), BranchError> {
        let path = self.folder.bundle_folder().join("work.bundle");
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(BranchError::File {
                what: "remove",
                path,
                source,
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn unsound(&self, what: &'static str) -> BranchError {
        BranchError::Unsound {
            branch: self.branch.clone(),
            what,
        }
    }
}
