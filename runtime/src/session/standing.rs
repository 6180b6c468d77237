//! Long-lived sandboxes: one for each name on a project, started, looked into and stopped by people.
//!
//! Invariant: a sandbox ends with the runtime, and no two of the same name run on a project at once; it
//! works in a clone of its own, of which the project gets a branch and nothing else.

mod begin;
mod conversation;
mod log;
mod place;
mod running;
mod shell;
mod wanted;
mod work;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::contract::caller::{Caller, Statement};
use config::contract::id::SessionId;
use config::contract::sandbox::{SandboxLog, SandboxState, SandboxView, StartSandbox};
use jail::order::{Size, TerminalKind};
use serde_json::json;
use tokio::sync::oneshot;

use self::place::{Place, Table};
use self::running::{Ask, Held, Stop};
use self::wanted::Wanted;
use super::run::Agency;
use super::workshop::WorkError;
use super::{StartError, may_see};
use crate::clock;
use crate::folder::SessionFolder;
use crate::policy::Policy;
use crate::sandbox::PathError;
use crate::store::{Store, StoreError};

pub use conversation::ShellError;
pub use shell::{Keys, Screen, Shell};

/// The long-lived sandboxes of a runtime; cheap to clone.
#[derive(Clone, Debug)]
pub struct Standing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    agency: Arc<Agency>,
    store: Store,
    policy: Policy,
    table: Mutex<Table>,
}

/// Why something could not be done with a long-lived sandbox.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// A member has a value that it cannot have.
    #[error("{field} {why}")]
    Invalid {
        /// The member.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The paths that may be written cannot be what they are.
    #[error("allowed_paths (LOKI_ALLOWED_PATHS): {0}")]
    Paths(#[from] PathError),
    /// The project cannot be used, or the host cannot enforce the sandbox.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The caller knows of no such sandbox.
    #[error("there is no sandbox {0:?}")]
    Unknown(String),
    /// One of that name runs, begins or ends.
    #[error("sandbox {name} of {project} is there already")]
    Taken {
        /// Its name.
        name: String,
        /// Its project.
        project: String,
    },
    /// As many run as may, or as many are kept.
    #[error("{0}")]
    TooMany(&'static str),
    /// It still runs.
    #[error("sandbox {0} runs")]
    Runs(SessionId),
    /// It has not ended within the bound.
    #[error("sandbox {0} is still ending")]
    StillEnding(SessionId),
    /// No shell can be had.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The runtime is about to end.
    #[error("the runtime is shutting down")]
    Closed,
    /// It could not be carried out.
    #[error("{0}")]
    Work(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task of the runtime was lost.
    #[error("a task of the runtime was lost")]
    Lost,
}

impl From<WorkError> for StandingError {
    fn from(error: WorkError) -> Self {
        Self::Work(error.to_string())
    }
}

impl Standing {
    /// Builds the long-lived sandboxes of a runtime that starts: those of an earlier run have ended with
    /// it.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn new(
        agency: Arc<Agency>,
        store: Store,
        policy: Policy,
    ) -> Result<Self, StoreError> {
        for mut view in store.sandboxes().await? {
            if view.state != SandboxState::Ended {
                view.state = SandboxState::Ended;
                view.reason =
                    Some("the runtime ended; the next start goes on with its work".into());
                view.shells = 0;
                view.ended_at = Some(clock::written(clock::now()));
                store.put_sandbox(&view).await?;
            }
        }
        Ok(Self(Arc::new(Inner {
            agency,
            store,
            policy,
            table: Mutex::default(),
        })))
    }

    /// Starts a sandbox and returns it once its keeper is there.
    ///
    /// # Errors
    /// See [`StandingError`]; then nothing runs.
    pub async fn start(
        &self,
        request: StartSandbox,
        statement: &Statement,
    ) -> Result<SandboxView, StandingError> {
        let wanted = Wanted::judge(request, &self.0.policy)?;
        let (inner, statement) = (Arc::clone(&self.0), statement.clone());
        // A caller that goes away must not leave a sandbox without a task.
        tokio::spawn(async move { inner.begin(wanted, &statement).await })
            .await
            .map_err(|_| StandingError::Lost)?
    }

    /// Lists those that a caller may see.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<SandboxView>, StandingError> {
        let mut views = self.0.store.sandboxes().await?;
        views.retain(|view| may_see(caller, &view.project));
        for view in &mut views {
            if let Some(held) = self.0.live(&view.id) {
                *view = SandboxView::clone(&held.view());
            }
        }
        Ok(views)
    }

    /// Returns one that a caller may see.
    ///
    /// # Errors
    /// When there is none, or the store refuses.
    pub async fn show(&self, id: &str, caller: &Caller) -> Result<SandboxView, StandingError> {
        let unknown = || StandingError::Unknown(id.chars().take(64).collect());
        let parsed: SessionId = id.parse().map_err(|_| unknown())?;
        let view = match self.0.live(&parsed) {
            Some(held) => Some(SandboxView::clone(&held.view())),
            None => self.0.store.sandbox(&parsed).await?,
        };
        view.filter(|view| may_see(caller, &view.project))
            .ok_or_else(unknown)
    }

    /// Reads from a place in a sandbox's log on; from the end if none is named.
    ///
    /// # Errors
    /// As [`Self::show`], and when the log cannot be read.
    pub async fn log(
        &self,
        id: &str,
        after: Option<u64>,
        caller: &Caller,
    ) -> Result<SandboxLog, StandingError> {
        let view = self.show(id, caller).await?;
        let folder = SessionFolder::place(&self.0.agency.settings().home, &view.id);
        let path = folder.join("sandbox.log");
        let read = tokio::task::spawn_blocking(move || log::read(&path, after));
        let read = read.await.map_err(|_| StandingError::Lost)?;
        let piece = read.map_err(|error| StandingError::Work(error.to_string()))?;
        Ok(SandboxLog {
            text: piece.text,
            next: piece.next,
            state: view.state,
        })
    }

    /// Stops a sandbox, hands its work over, and returns it as it ended.
    ///
    /// # Errors
    /// As [`Self::show`], and when it does not end in time.
    pub async fn stop(
        &self,
        id: &str,
        statement: &Statement,
    ) -> Result<SandboxView, StandingError> {
        let view = self.show(id, &statement.caller).await?;
        let Some(held) = self.0.live(&view.id) else {
            let (inner, statement) = (Arc::clone(&self.0), statement.clone());
            return tokio::spawn(async move { inner.salvage(view, &statement).await })
                .await
                .map_err(|_| StandingError::Lost)?;
        };
        held.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert_with(|| Stop {
                reason: format!("stopped by {}", statement.caller.user),
                request_id: Some(statement.request_id.clone()),
                suspends: false,
            });
            first
        });
        let mut ended = held.view.subscribe();
        let within = self.0.agency.settings().sessions.stop_grace + HAND_OVER_TIME_MAX;
        let ended = ended.wait_for(|view| view.state == SandboxState::Ended);
        match tokio::time::timeout(within, ended).await {
            Ok(Ok(view)) => Ok(SandboxView::clone(&view)),
            Ok(Err(_)) => Err(StandingError::Lost),
            Err(_) => Err(StandingError::StillEnding(held.id.clone())),
        }
    }

    /// Removes an ended sandbox and everything that is kept of it.
    ///
    /// # Errors
    /// As [`Self::show`], and when it runs or its folder cannot be removed.
    pub async fn remove(&self, id: &str, caller: &Caller) -> Result<SandboxView, StandingError> {
        let view = self.show(id, caller).await?;
        let runs = |_| StandingError::Runs(view.id.clone());
        let place = Place::take(&self.0, &view).map_err(runs)?;
        self.0.forget(&view.id).await?;
        drop(place);
        Ok(view)
    }

    /// Opens a shell in a sandbox that runs; that it was asked for is recorded before.
    ///
    /// # Errors
    /// As [`Self::show`], and when no shell can be had.
    pub async fn shell(
        &self,
        view: &SandboxView,
        size: Size,
        kind: TerminalKind,
        statement: &Statement,
    ) -> Result<Shell, StandingError> {
        let held = self.0.live(&view.id).ok_or(ShellError::NotRunning)?;
        let (user, request_id) = (statement.caller.user.clone(), statement.request_id.clone());
        let details = json!({ "sandbox": view.name });
        let trail = held.trail.clone();
        trail
            .add("shell_open", &user, Some(&request_id), details)
            .await?;
        let (answer, opened) = oneshot::channel();
        let ask = Ask::Open { size, kind, answer };
        let not_running = |_| ShellError::NotRunning;
        held.asks
            .send(ask)
            .await
            .map_err(|_| ShellError::NotRunning)?;
        let opened = tokio::time::timeout(OPENS_WITHIN, opened).await;
        let late = |_| ShellError::Inside("it does not answer".to_owned());
        let opened = opened.map_err(late)?.map_err(not_running)??;
        Ok(Shell::new(
            opened,
            held.asks.clone(),
            trail,
            user,
            request_id,
        ))
    }

    /// Waits until somebody wants a sandbox to end; at once if it does not run.
    pub async fn ending(&self, id: &SessionId) {
        if let Some(held) = self.0.live(id) {
            held.stop_asked().await;
        }
    }

    /// Takes nothing more on and ends all of them, within a bound; their work waits for the next start.
    pub async fn shut_down(&self, within: Duration) {
        let held: Vec<Arc<Held>> = {
            let mut table = self.0.table();
            table.closed = true;
            table.places.values().flatten().cloned().collect()
        };
        for held in &held {
            held.stop.send_if_modified(|stop| {
                let first = stop.is_none();
                stop.get_or_insert_with(Stop::shutdown);
                first
            });
        }
        let all = async {
            for held in &held {
                let mut view = held.view.subscribe();
                // Its sender is held here, so only its end or the bound ends the wait.
                drop(
                    view.wait_for(|view| view.state == SandboxState::Ended)
                        .await,
                );
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::error!("a long-lived sandbox was broken off");
        }
    }
}

impl Inner {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // The table is whole after every statement, so a panic elsewhere cannot have broken it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, id: &SessionId) -> Option<Arc<Held>> {
        self.table().places.get(id).cloned().flatten()
    }
}

const OPENS_WITHIN: Duration = Duration::from_secs(10);

/// Longest wait for the hand-over after the process tree is gone.
const HAND_OVER_TIME_MAX: Duration = Duration::from_secs(60);
