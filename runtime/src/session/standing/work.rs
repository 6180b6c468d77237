//! The clone in which a long-lived sandbox works, and what becomes of the work.
//!
//! Invariant: nobody is asked here, so whatever a session would have to ask about is kept back: nothing
//! of it reaches the project.

use config::contract::id::RequestId;
use config::contract::sandbox::SandboxView;
use config::contract::session::{HandOff, HandOffPlace};
use serde_json::json;

use crate::approval::rules::{self, Freedom};
use crate::branch::{Protection, Workspace};
use crate::clock;
use crate::folder::SessionFolder;
use crate::project::Project;
use crate::session::committed;
use crate::session::gate::Gate;
use crate::session::run::Agency;
use crate::session::trail::{RUNTIME, Trail};
use crate::session::workshop::{WorkError, told};

/// Where a long-lived sandbox works.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) folder: SessionFolder,
    pub(super) trail: Trail,
    pub(super) workspace: Workspace,
}

impl Work {
    /// Makes a clone; or goes on with the one whose work the project does not have yet.
    pub(super) async fn open(
        agency: &Agency,
        project: &Project,
        view: &SandboxView,
        earlier: Option<&SandboxView>,
    ) -> Result<Self, WorkError> {
        let (home, id) = (agency.settings().home.clone(), view.id.clone());
        let folder =
            tokio::task::spawn_blocking(move || SessionFolder::create(&home, &id)).await??;
        let trail = Trail::open(&folder, project).await?;
        let sandbox = agency.sandbox();
        if let Some(earlier) = earlier.filter(|earlier| is_owed(earlier)) {
            let branch = &earlier.branch;
            let workspace = Workspace::reopen(sandbox, &folder, project, branch).await?;
            // Where nothing was done, a fresh clone is of more use.
            if earlier.hand_off.is_none() || workspace.tip() != workspace.base() {
                return Ok(Self {
                    folder,
                    trail,
                    workspace,
                });
            }
        }
        let emptied = folder.clone();
        tokio::task::spawn_blocking(move || emptied.renew()).await??;
        let workspace = Workspace::prepare(sandbox, &folder, project, clock::now()).await?;
        Ok(Self {
            folder,
            trail,
            workspace,
        })
    }

    /// Commits what was done and hands it over, or keeps it back and says why. Nothing may be running.
    pub(super) async fn hand_over(
        &mut self,
        agency: &Agency,
        name: &str,
        request_id: Option<&RequestId>,
    ) -> Result<HandOff, WorkError> {
        let message = format!("sandbox {name}");
        self.workspace.checkpoint(&message).await?;
        let refused = self.workspace.take_refused();
        if !refused.is_empty() {
            let details = json!({ "files": refused });
            self.trail
                .add("files_refused", RUNTIME, request_id, details)
                .await?;
        }
        committed::tell(&self.trail, &self.workspace, request_id).await?;
        let hand_off = match self.why_kept_back(agency).await? {
            Some(why) => self.workspace.kept_back(&why),
            None => self.workspace.hand_over(Protection::On).await?,
        };
        self.trail
            .add("hand_over", RUNTIME, request_id, told(&hand_off))
            .await?;
        Ok(hand_off)
    }

    async fn why_kept_back(&self, agency: &Agency) -> Result<Option<String>, WorkError> {
        if self.workspace.tip() == self.workspace.base() {
            return Ok(None);
        }
        let autonomy = &agency.settings().autonomy;
        let freedom = Freedom {
            mode: autonomy.mode,
            staged: autonomy.staged,
        };
        if let Some(why) = rules::why_asked(freedom, Gate::HandOver) {
            return Ok(Some(format!("nobody was asked, and {why}")));
        }
        let findings = self.workspace.findings().await?;
        if findings.is_empty() {
            return Ok(None);
        }
        let secrets = findings.secrets.iter().map(|secret| &secret.path);
        let found: Vec<&str> = findings
            .protected
            .iter()
            .chain(secrets)
            .take(FOUND_SHOWN_MAX)
            .map(String::as_str)
            .collect();
        Ok(Some(format!(
            "the work holds what needs a look: {}",
            found.join(", ")
        )))
    }
}

/// Returns whether an earlier run of a sandbox left work that the project does not have.
pub(super) fn is_owed(earlier: &SandboxView) -> bool {
    let given = earlier.hand_off.as_ref().is_some_and(|hand_off| {
        matches!(
            hand_off.place,
            HandOffPlace::Project | HandOffPlace::ProjectHead
        )
    });
    !given && !earlier.branch.is_empty()
}

const FOUND_SHOWN_MAX: usize = 10;
