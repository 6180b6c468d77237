//! What happens to the sessions of an earlier run when the runtime starts again.
//!
//! Invariant: before the first request is answered nothing of an earlier run keeps running, and every
//! session of it is carried on or in a final state with the reason.

use std::io;

use config::contract::session::{HandOff, SessionState, SessionView};
use serde_json::json;

use super::live::RecordError;
use super::orphans::{self, OrphanError};
use super::run::Agency;
use super::state::{IllegalMove, Move};
use super::trail::{RUNTIME, Trail};
use super::workshop::{WorkError, told};
use super::{Ending, Sessions, committed};
use crate::branch::Workspace;
use crate::clock;
use crate::folder::SessionFolder;
use crate::project::{Project, ProjectError};
use crate::store::{NewEvent, NewSession, Store, StoreError};

/// Why the sessions of an earlier run could not be brought to an end.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Something of them keeps running.
    #[error(transparent)]
    Orphans(#[from] OrphanError),
    /// What they left cannot be removed.
    #[error("cannot remove what an earlier run left: {0}")]
    Leftovers(#[from] io::Error),
    /// Their end could not be recorded.
    #[error("cannot record the end of an earlier session: {0}")]
    Record(#[from] RecordError),
}

impl From<StoreError> for RecoveryError {
    fn from(error: StoreError) -> Self {
        Self::Record(RecordError::Store(error))
    }
}

impl From<IllegalMove> for RecoveryError {
    fn from(error: IllegalMove) -> Self {
        Self::Record(RecordError::Illegal(error))
    }
}

/// Ends what runs of an earlier run, carries its sessions on or ends them, and returns how many there
/// were.
///
/// # Errors
/// When something keeps running or an end cannot be recorded; then the runtime must not start.
pub async fn sweep(
    store: &Store,
    agency: &Agency,
    sessions: &Sessions,
) -> Result<usize, RecoveryError> {
    let killed = orphans::end(store).await?;
    let sandbox = agency.sandbox().clone();
    tokio::task::spawn_blocking(move || sandbox.sweep())
        .await
        .map_err(io::Error::other)??;
    let unfinished = store.unfinished().await?;
    let count = unfinished.len();
    for session in unfinished {
        store.forget_processes(&session.session.view.id).await?;
        if let Err(ending) = sessions.carry_on(session.clone()).await {
            end(store, agency, &session.session, ending).await?;
        }
    }
    if killed > 0 || count > 0 {
        tracing::warn!(sessions = count, killed, "sessions of an earlier run found");
    }
    Ok(count)
}

async fn end(
    store: &Store,
    agency: &Agency,
    session: &NewSession,
    ending: Ending,
) -> Result<(), RecoveryError> {
    let old = &session.view;
    let mut reason = ending.reason.clone().unwrap_or_default();
    let mut view = SessionView::clone(old);
    let mut events = Vec::new();
    // Without a branch there was no clone yet, so there is no work.
    if !old.branch.is_empty() {
        match hand_over(agency, session, &ending).await {
            Ok(hand_off) => {
                events.push(NewEvent::new("hand_off", json!(hand_off)));
                view.hand_off = Some(hand_off);
            }
            Err(error) => {
                tracing::warn!(session = %old.id, %error, "work of an earlier run not handed over");
                reason = format!("{reason}; the work could not be handed over: {error}");
            }
        }
    }
    view.state = ending.state;
    view.reason = Some(reason.clone());
    let now = clock::now();
    view.ended_at = Some(clock::written(now));
    events.push(NewEvent::new(
        "state",
        json!({ "from": old.state, "to": view.state, "reason": reason }),
    ));
    let step = Move::new(old.state, ending.state)?;
    store.record(step, &view, events, now).await?;
    tracing::info!(session = %view.id, state = %view.state, reason, "session ended");
    Ok(())
}

/// Why the work of an earlier run could not be handed over.
#[derive(Debug, thiserror::Error)]
enum SalvageError {
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// Hands the last checkpoint over and says in the agent audit how the session ended.
async fn hand_over(
    agency: &Agency,
    session: &NewSession,
    ending: &Ending,
) -> Result<HandOff, SalvageError> {
    let settings = agency.settings();
    let view = &session.view;
    let project = Project::check(
        view.project.as_ref(),
        &settings.project_roots,
        &settings.home,
    )?;
    let folder = SessionFolder::create(&settings.home, &view.id).map_err(WorkError::from)?;
    let trail = Trail::open(&folder, &project).await?;
    let request_id = Some(&session.request_id);
    let handed_over = async {
        let workspace =
            Workspace::reopen(agency.sandbox(), &folder, &project, &view.branch).await?;
        committed::tell(&trail, &workspace, request_id).await?;
        // Nobody was asked, so nothing reaches the project.
        let hand_off = workspace.kept_back("the session could not be carried on");
        trail
            .add("hand_over", RUNTIME, request_id, told(&hand_off))
            .await?;
        Ok::<HandOff, WorkError>(hand_off)
    }
    .await;
    let details = json!({
        "state": ending.state,
        "reason": ending.reason,
        "user": RUNTIME,
    });
    trail
        .add("session_stop", RUNTIME, request_id, details)
        .await?;
    Ok(handed_over?)
}

/// Says that a session was interrupted.
pub(super) fn interrupted(state: SessionState) -> String {
    format!("the runtime ended while the session was {state}")
}
