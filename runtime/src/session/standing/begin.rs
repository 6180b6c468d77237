//! How a long-lived sandbox comes to be, and what is done when it has ended.
//!
//! Invariant: what is made for a sandbox is known to the store before; what it did is handed over once it
//! is gone, or waits for its next start.

use std::ffi::OsString;
use std::sync::Arc;

use config::contract::caller::Statement;
use config::contract::id::SessionId;
use config::contract::sandbox::{SandboxState, SandboxView};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::conversation::Conversation;
use super::log::Log;
use super::place::Place;
use super::running::{Held, Running};
use super::wanted::{Wanted, id_of};
use super::work::Work;
use super::{Inner, StandingError};
use crate::clock;
use crate::folder::SessionFolder;
use crate::sandbox::Profile;
use crate::session::trail::RUNTIME;
use crate::session::workshop::WorkError;
use crate::session::{StartError, Worker, checked_project};

impl Inner {
    pub(super) async fn begin(
        self: Arc<Self>,
        wanted: Wanted,
        statement: &Statement,
    ) -> Result<SandboxView, StandingError> {
        let settings = self.agency.settings();
        let project = checked_project(settings, &wanted.project, &statement.caller).await?;
        let of_runtime = settings.allowed_paths.as_deref();
        let paths = wanted.allowed_paths.as_deref();
        let profile = Profile::new(project.directory(), true, of_runtime, paths)?;
        profile.check_present()?;
        let enforcement = self.agency.admit(&profile);
        let enforcement = enforcement.map_err(StartError::NotAdmitted)?;
        let directory = project.directory().display().to_string();
        let mut view = SandboxView {
            id: id_of(&directory, &wanted.name),
            name: wanted.name,
            project: directory,
            state: SandboxState::Running,
            reason: None,
            command: wanted.command,
            started_by: statement.caller.user.clone(),
            branch: String::new(),
            shells: 0,
            hand_off: None,
            effective_enforcement: enforcement,
            started_at: clock::written(clock::now()),
            ended_at: None,
        };
        let place = Place::take_to_run(&self, &view)?;
        let earlier = self.store.sandbox(&view.id).await?;
        // What is made is known of before.
        if earlier.is_none() && !self.store.put_sandbox(&view).await? {
            return Err(StandingError::TooMany(KEPT));
        }
        let begun = async {
            let work = Work::open(&self.agency, &project, &view, earlier.as_ref()).await?;
            work.workspace.branch().clone_into(&mut view.branch);
            self.store.put_sandbox(&view).await?;
            self.run(&view, &profile, work, statement).await
        };
        let begun: Result<_, StandingError> = begun.await;
        let (held, running) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.give_up(view, earlier.is_some(), &error).await?;
                return Err(error);
            }
        };
        place.fill(&held);
        tracing::info!(sandbox = %view.id, name = view.name, "sandbox started");
        let inner = Arc::clone(&self);
        tokio::spawn(async move { inner.attend(place, held, running).await });
        Ok(view)
    }

    /// Records that a sandbox did not come to be; one of which nothing is there is forgotten.
    async fn give_up(
        &self,
        mut view: SandboxView,
        is_known: bool,
        error: &StandingError,
    ) -> Result<(), StandingError> {
        if !view.branch.is_empty() {
            view.state = SandboxState::Ended;
            view.reason = Some(error.to_string());
            view.ended_at = Some(clock::written(clock::now()));
            self.store.put_sandbox(&view).await?;
        } else if !is_known {
            self.forget(&view.id).await?;
        }
        Ok(())
    }

    /// Removes what is kept of a sandbox, its folder first.
    pub(super) async fn forget(&self, id: &SessionId) -> Result<(), StandingError> {
        let folder = SessionFolder::place(&self.agency.settings().home, id);
        let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        });
        let removed = removed.await.map_err(|_| StandingError::Lost)?;
        let failed = |error| StandingError::Work(format!("its folder cannot be removed: {error}"));
        removed.map_err(failed)?;
        self.store.remove_sandbox(id).await?;
        Ok(())
    }

    /// Starts the keeper and waits for it to come.
    async fn run(
        &self,
        view: &SandboxView,
        profile: &Profile,
        work: Work,
        statement: &Statement,
    ) -> Result<(Arc<Held>, Running), StandingError> {
        let details = json!({
            "name": view.name,
            "project": view.project,
            "command": view.command,
            "user": view.started_by,
        });
        let request_id = Some(&statement.request_id);
        work.trail
            .add("sandbox_start", RUNTIME, request_id, details)
            .await?;
        let cannot_log = |error: std::io::Error| StandingError::Work(format!("its log: {error}"));
        let mut log = Log::open(work.folder.sandbox_log())
            .await
            .map_err(cannot_log)?;
        let told = format!("started by {} at {}", view.started_by, view.started_at);
        log.note(&told).await.map_err(cannot_log)?;
        let program = view.command.as_ref().map(|line| {
            let words = ["/bin/sh", "-c", line];
            words.map(OsString::from).to_vec()
        });
        let (way_out, decisions) = self.agency.way_out();
        let sandbox = self.agency.sandbox();
        let confined = sandbox.keeper(profile, &work.folder, program, way_out);
        let mut tree = sandbox.start(confined, u64::MAX).map_err(WorkError::from)?;
        let door = tree.control().ok_or(StandingError::Lost)?;
        let conversation = tokio::select! {
            conversation = Conversation::begin(door) => conversation,
            // What it says then is why it could not be entered.
            said = tree.next() => {
                let said = said.map(|chunk| String::from_utf8_lossy(&chunk.bytes).into_owned());
                let why = said.unwrap_or_default().trim().to_owned();
                return match tree.wait().await {
                    Err(error) => Err(WorkError::from(error).into()),
                    Ok(_) => Err(StandingError::Work(format!("it ended at once: {why}"))),
                };
            }
        };
        let conversation = conversation.map_err(|error| StandingError::Work(error.to_string()))?;
        let (sender, asks) = mpsc::channel(ASKS_MAX);
        let held = Arc::new(Held {
            id: view.id.clone(),
            view: watch::Sender::new(Arc::new(view.clone())),
            stop: watch::Sender::new(None),
            asks: sender,
            trail: work.trail.clone(),
        });
        let running = Running {
            tree,
            conversation,
            log,
            work,
            asks,
            decisions,
            request_id: statement.request_id.clone(),
        };
        Ok((held, running))
    }

    /// Attends a sandbox to its end and hands its work over.
    async fn attend(self: Arc<Self>, place: Place, held: Arc<Held>, running: Running) {
        let (reason, mut work, mut log) = running.attend(&self.agency, &held).await;
        held.change(|view| {
            view.state = SandboxState::Ending;
            view.shells = 0;
        });
        let stop = held.stop.borrow().clone();
        let request_id = stop.as_ref().and_then(|stop| stop.request_id.as_ref());
        let details = json!({ "reason": reason });
        let told = work.trail.add("sandbox_stop", RUNTIME, request_id, details);
        if let Err(error) = told.await {
            tracing::error!(sandbox = %held.id, %error, "end of a sandbox not recorded");
        }
        let name = held.view().name.clone();
        let mut reason = reason;
        let suspends = stop.as_ref().is_some_and(|stop| stop.suspends);
        let hand_off = if suspends {
            None
        } else {
            match work.hand_over(&self.agency, &name, request_id).await {
                Ok(hand_off) => Some(hand_off),
                Err(error) => {
                    reason = format!("{reason}; the work could not be handed over: {error}");
                    None
                }
            }
        };
        if let Err(error) = log.note(&format!("ended: {reason}")).await {
            tracing::warn!(sandbox = %held.id, %error, "end of a sandbox not logged");
        }
        let mut ended = SandboxView::clone(&held.view());
        ended.state = SandboxState::Ended;
        ended.reason = Some(reason);
        ended.hand_off = hand_off;
        ended.ended_at = Some(clock::written(clock::now()));
        if let Err(error) = self.store.put_sandbox(&ended).await {
            tracing::error!(sandbox = %held.id, %error, "end of a sandbox not stored");
        }
        // Whoever waits for its end may start it anew at once.
        drop(place);
        held.view.send_replace(Arc::new(ended));
        tracing::info!(sandbox = %held.id, "sandbox ended");
    }

    /// Hands over the work of a sandbox that ended without that.
    pub(super) async fn salvage(
        self: Arc<Self>,
        mut view: SandboxView,
        statement: &Statement,
    ) -> Result<SandboxView, StandingError> {
        let place = Place::take(&self, &view)?;
        if view.hand_off.is_some() || view.branch.is_empty() {
            return Ok(view);
        }
        let settings = self.agency.settings();
        let project = checked_project(settings, &view.project, &statement.caller).await?;
        let mut work = Work::open(&self.agency, &project, &view, Some(&view)).await?;
        let request_id = Some(&statement.request_id);
        let hand_off = work.hand_over(&self.agency, &view.name, request_id).await?;
        view.hand_off = Some(hand_off);
        self.store.put_sandbox(&view).await?;
        drop(place);
        Ok(view)
    }
}

const KEPT: &str = "as many sandboxes are kept as may be: remove one with loki sandbox remove";

/// Questions that wait for a sandbox's task.
const ASKS_MAX: usize = 16;
