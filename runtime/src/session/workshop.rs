//! Where one session's work is done: its folder, its clone, its agent audit.
//!
//! Invariant: whatever goes wrong in between, the work done so far is handed over at the end.

use std::io;
use std::path::{Path, PathBuf};

use config::contract::session::{HandOff, SessionState};
use serde_json::json;
use tokio::task::JoinError;

use super::Ending;
use super::gate::{Asked, GateError, Gatekeeper, Passage, pass};
use super::halt::{self, Held};
use super::live::{Live, RecordError};
use super::orphans::OrphanError;
use super::stop::Request;
use super::trail::{RUNTIME, Trail};
use super::{committed, publication, questions};
use crate::agent_audit::AgentAuditError;
use crate::branch::{BranchError, Credential, Protection, Workspace};
use crate::clock;
use crate::folder::{FolderError, SessionFolder};
use crate::operation::CounterError;
use crate::provider::version::Unfit;
use crate::sandbox::{Sandbox, SandboxError};
use crate::store::{NewEvent, StoreError};

/// Why the work on a session could not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    /// Its folder cannot be made.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its agent audit cannot be kept; without it nothing goes on.
    #[error(transparent)]
    Audit(#[from] AgentAuditError),
    /// Its repository is not usable.
    #[error(transparent)]
    Branch(#[from] BranchError),
    /// A program cannot be started or ended.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// What happened cannot be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file of the session cannot be written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A gate cannot be asked; then it stays shut.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The agent's program would have nowhere to ask.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// The provider's program cannot be asked.
    #[error("cannot start {program}: {why}; fix: {fix}")]
    Provider {
        /// The program.
        program: String,
        /// What went wrong.
        why: String,
        /// How to get it.
        fix: &'static str,
    },
    /// The provider's program will not do.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// What ran for the session cannot be ended.
    #[error(transparent)]
    Orphans(#[from] OrphanError),
    /// A program that serves itself would have no port.
    #[error("cannot find a free port of loopback for the agent's program: {0}")]
    Port(io::Error),
    /// A task of the runtime was lost.
    #[error("a task of the runtime was lost: {0}")]
    Lost(#[from] JoinError),
}

impl From<StoreError> for WorkError {
    fn from(error: StoreError) -> Self {
        Self::Record(RecordError::Store(error))
    }
}

/// The open workshop of one session.
#[derive(Debug)]
pub(super) struct Workshop<'work> {
    pub(super) live: &'work Live,
    pub(super) sandbox: &'work Sandbox,
    pub(super) folder: &'work SessionFolder,
    pub(super) trail: &'work Trail,
    pub(super) workspace: Workspace,
}

impl<'work> Workshop<'work> {
    /// Makes the clone, or opens the one that an earlier run made; nothing if the session is asked to
    /// stop meanwhile.
    pub(super) async fn open(
        live: &'work Live,
        sandbox: &'work Sandbox,
        folder: &'work SessionFolder,
        trail: &'work Trail,
    ) -> Result<Option<Self>, WorkError> {
        let project = &live.assignment().project;
        let view = live.view();
        if !view.branch.is_empty() {
            let workspace = Workspace::reopen(sandbox, folder, project, &view.branch).await?;
            let workshop = Self {
                live,
                sandbox,
                folder,
                trail,
                workspace,
            };
            workshop.tell_commits().await?;
            return Ok(Some(workshop));
        }
        folder.renew()?;
        let workspace = tokio::select! {
            workspace = Workspace::prepare(sandbox, folder, project, clock::now()) => workspace?,
            _ = live.stop_asked() => return Ok(None),
        };
        let mut events = vec![NewEvent::new(
            "note",
            json!({
                "text": "the project was cloned",
                "branch": workspace.branch(),
                "base": workspace.base(),
            }),
        )];
        for note in workspace.notes() {
            events.push(NewEvent::new("note", json!({ "text": note })));
        }
        live.update(events, |view| {
            workspace.branch().clone_into(&mut view.branch);
        })
        .await?;
        Ok(Some(Self {
            live,
            sandbox,
            folder,
            trail,
            workspace,
        }))
    }

    /// Commits what the agent left and returns the number of files that changed.
    pub(super) async fn checkpoint(&mut self, iteration: u32) -> Result<u32, WorkError> {
        let message = format!("{}: iteration {iteration}", self.live.view().prd);
        let checkpoint = self.workspace.checkpoint(&message).await?;
        self.tell_refused().await?;
        let Some(checkpoint) = checkpoint else {
            return Ok(0);
        };
        self.tell_commits().await?;
        if let Some(note) = checkpoint.note {
            let event = NewEvent::new("note", json!({ "text": note }));
            self.live.happened(vec![event]).await?;
        }
        Ok(checkpoint.files_changed)
    }

    /// Records each commit that was kept and is not recorded yet: those of the last checkpoint, and those
    /// whose record something came between, such as the end of the runtime.
    async fn tell_commits(&self) -> Result<(), WorkError> {
        let recorded = self.trail.commit();
        let since = self.workspace.commits_since(recorded.as_deref()).await?;
        let Some(commits) = since else {
            return Ok(());
        };
        let agent = self.live.assignment().provider.name();
        let mut events = Vec::new();
        for (action, details) in committed::records(&commits) {
            self.trail
                .tell(self.live, action, agent, details.clone())
                .await?;
            let event = if action == committed::COMMIT {
                "commit"
            } else {
                action
            };
            events.push(NewEvent::new(event, details));
        }
        self.live.happened(events).await?;
        Ok(())
    }

    /// Tells of files of the agent that were not taken over.
    async fn tell_refused(&mut self) -> Result<(), WorkError> {
        let refused = self.workspace.take_refused();
        if refused.is_empty() {
            return Ok(());
        }
        let details = json!({ "files": refused });
        let agent = self.live.assignment().provider.name();
        self.trail
            .tell(self.live, "files_refused", agent, details)
            .await?;
        let text = "new settings of agents, or files in the place of the agent audit, were refused and removed";
        let data = json!({ "text": text, "files": refused });
        self.live
            .happened(vec![NewEvent::new("note", data)])
            .await?;
        Ok(())
    }

    /// Hands the work over; only what is done may move the project's own branch.
    pub(super) async fn hand_over(
        &self,
        ending: Ending,
        gatekeeper: &dyn Gatekeeper,
        credential: Option<&Credential>,
    ) -> Ending {
        let is_done = ending.state == SessionState::Completed;
        let protection = if is_done && !self.live.assignment().branch_protection {
            Protection::Off
        } else {
            Protection::On
        };
        let handed_over = async {
            self.tell_commits().await?;
            match self.may_hand_over(protection, gatekeeper).await? {
                Passage::Open => {
                    self.finish_verifying(is_done).await?;
                    let mut hand_off = self.workspace.hand_over(protection).await?;
                    if is_done && protection == Protection::On {
                        publication::publish(self, gatekeeper, credential, &mut hand_off).await?;
                    }
                    self.record(hand_off).await?;
                    Ok(None)
                }
                Passage::Rejected { by, reason } => {
                    self.keep_back(&format!("{by} did not approve the hand-over: {reason}"))
                        .await?;
                    Ok(Some(Ending::rejected(&by, &reason)))
                }
                Passage::Stopped => {
                    let request = self.live.stop_request();
                    // The next run of the runtime asks again.
                    if !request.as_ref().is_some_and(Request::suspends) {
                        self.keep_back("the hand-over was not approved").await?;
                    }
                    Ok(request.map(|request| request.ending()))
                }
            }
        };
        let handed_over: Result<Option<Ending>, WorkError> = handed_over.await;
        match handed_over {
            Ok(None) => ending,
            Ok(Some(other)) => other,
            Err(error) => ending.not_handed_over(&error, &self.folder.repository()),
        }
    }

    /// Asks whether the work may reach the project. Whoever was asked to stop does not wait for it.
    async fn may_hand_over(
        &self,
        protection: Protection,
        gatekeeper: &dyn Gatekeeper,
    ) -> Result<Passage, WorkError> {
        let (live, trail) = (self.live, self.trail);
        if self.workspace.tip() == self.workspace.base() {
            return Ok(Passage::Open);
        }
        let view = live.view();
        let moves_head = protection == Protection::Off;
        let diff = self.workspace.diff().await?;
        let handing_over = questions::hand_over(&view, &self.workspace, moves_head, &diff);
        let mut asked = vec![handing_over];
        let findings = self.workspace.findings().await?;
        if !findings.is_empty() {
            asked.push(questions::protected_files(
                &view,
                &self.workspace,
                &findings,
            ));
        }
        let stops =
            live.stop_request().is_some() || halt::hold(live, trail).await? == Held::Stopped;
        for question in &asked {
            let passage = if stops {
                match gatekeeper.ask(live, question).await? {
                    Asked::Open => Passage::Open,
                    Asked::Waits { .. } => Passage::Stopped,
                }
            } else {
                pass(live, trail, gatekeeper, question).await?
            };
            if passage != Passage::Open {
                return Ok(passage);
            }
        }
        Ok(Passage::Open)
    }

    /// Moves a session that is done to where it can be completed from: it was carried on elsewhere.
    async fn finish_verifying(&self, is_done: bool) -> Result<(), WorkError> {
        if is_done && self.live.view().state != SessionState::Verifying {
            self.live
                .move_to(SessionState::Verifying, |view| view.reason = None)
                .await?;
        }
        Ok(())
    }

    /// Leaves the work in the runtime's own repository and says so.
    async fn keep_back(&self, why: &str) -> Result<(), WorkError> {
        self.record(self.workspace.kept_back(why)).await
    }

    async fn record(&self, hand_off: HandOff) -> Result<(), WorkError> {
        self.trail
            .tell(self.live, "hand_over", RUNTIME, told(&hand_off))
            .await?;
        let event = NewEvent::new("hand_off", json!(hand_off));
        self.live
            .update(vec![event], |view| view.hand_off = Some(hand_off))
            .await?;
        Ok(())
    }
}

impl Ending {
    /// Builds the end of a session that a person did not approve.
    pub(super) fn rejected(by: &str, reason: &str) -> Self {
        Self {
            state: SessionState::Stopped,
            reason: Some(format!("{by} did not approve: {reason}")),
        }
    }

    /// Adds that the work could not be handed over; then nothing is done.
    fn not_handed_over(self, error: &WorkError, repository: &Path) -> Self {
        let state = if self.state == SessionState::Completed {
            SessionState::Failed
        } else {
            self.state
        };
        let repository = repository.display();
        Self {
            state,
            ..self.but(&format!(
                "the work could not be handed over: {error}; what was committed is in {repository}"
            ))
        }
    }
}

/// Returns what the agent audit holds of a hand-over.
pub(super) fn told(hand_off: &HandOff) -> serde_json::Value {
    json!({
        "branch": hand_off.branch,
        "place": hand_off.place,
        "commit": hand_off.commit,
        "commits": hand_off.commits,
        "files_changed": hand_off.files_changed,
        "is_pushed": hand_off.is_pushed,
        "pull_request": hand_off.pull_request,
    })
}
