//! What happens to the sessions of an earlier run when the runtime starts again.
//!
//! Invariant: nothing of an earlier run keeps running, and every session of it is in a final state
//! with the reason before the first request is answered.

use config::contract::session::{HandOff, SessionState, SessionView};
use serde_json::json;

use super::live::RecordError;
use super::orphans::{self, OrphanError};
use super::run::Agency;
use super::state::{IllegalMove, Move};
use super::trail::{RUNTIME, Trail};
use super::workshop::{WorkError, told};
use crate::branch::{Protection, Workspace};
use crate::clock;
use crate::folder::SessionFolder;
use crate::project::{Project, ProjectError};
use crate::store::{NewEvent, Store, StoreError, Unfinished};

/// Why the sessions of an earlier run could not be brought to an end.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Something of them keeps running.
    #[error(transparent)]
    Orphans(#[from] OrphanError),
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

/// Ends what an earlier run left, marks its sessions as failed, and returns how many there were.
///
/// # Errors
/// When something keeps running or an end cannot be recorded; then the runtime must not start.
pub async fn sweep(store: &Store, agency: &Agency) -> Result<usize, RecoveryError> {
    let killed = orphans::end(store).await?;
    let unfinished = store.unfinished().await?;
    for session in &unfinished {
        fail(store, agency, session).await?;
        store.forget_processes(&session.view.id).await?;
    }
    if killed > 0 || !unfinished.is_empty() {
        let sessions = unfinished.len();
        tracing::warn!(sessions, killed, "sessions of an earlier run ended");
    }
    Ok(unfinished.len())
}

async fn fail(store: &Store, agency: &Agency, session: &Unfinished) -> Result<(), RecoveryError> {
    let old = &session.view;
    let mut reason = interrupted(old.state);
    let mut view = SessionView::clone(old);
    let mut events = Vec::new();
    // Without a branch there was no clone yet, so there is no work.
    if !old.branch.is_empty() {
        match hand_over(agency, session).await {
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
    view.state = SessionState::Failed;
    view.reason = Some(reason.clone());
    let now = clock::now();
    view.ended_at = Some(clock::written(now));
    events.push(NewEvent::new(
        "state",
        json!({ "from": old.state, "to": view.state, "reason": reason }),
    ));
    let step = Move::new(old.state, SessionState::Failed)?;
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
async fn hand_over(agency: &Agency, session: &Unfinished) -> Result<HandOff, SalvageError> {
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
        // What was not finished never moves the project's own branch.
        let hand_off = workspace.hand_over(Protection::On).await?;
        trail
            .add("hand_over", RUNTIME, request_id, told(&hand_off))
            .await?;
        Ok::<HandOff, WorkError>(hand_off)
    }
    .await;
    let details = json!({
        "state": SessionState::Failed,
        "reason": interrupted(view.state),
        "user": RUNTIME,
    });
    trail
        .add("session_stop", RUNTIME, request_id, details)
        .await?;
    Ok(handed_over?)
}

fn interrupted(state: SessionState) -> String {
    format!("the runtime ended while the session was {state}")
}
