//! Stopping: the answer comes when the process tree is gone and the branch is handed over.
//!
//! Invariant: stopping what has ended changes nothing and succeeds; stopping "the" session works
//! only if there is exactly one.

use std::sync::Arc;
use std::time::Duration;

use config::contract::caller::{Caller, Statement};
use config::contract::id::{RequestId, SessionId};
use config::contract::session::{SessionState, SessionView};
use serde::{Deserialize, Serialize};

use super::live::Live;
use super::{Ending, Sessions, may_see};
use crate::store::StoreError;

/// A request to stop a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asked, for people to read.
    pub by: String,
    /// The request, if a caller asked.
    pub request_id: Option<RequestId>,
    reason: String,
    /// Whether a later run of the runtime carries the session on.
    #[serde(skip)]
    suspends: bool,
}

/// Why a session could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The caller knows of no such session.
    #[error("there is no session {0:?}")]
    Unknown(String),
    /// No session is live.
    #[error("no session is live")]
    NoneLive,
    /// Several sessions are live.
    #[error("several sessions are live")]
    SeveralLive(Vec<SessionId>),
    /// It has not ended within the bound.
    #[error("session {0} is still ending")]
    StillEnding(SessionId),
    /// Nothing runs any more, but the end could not be stored.
    #[error("session {0} has ended, but that could not be recorded")]
    NotRecorded(SessionId),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Request {
    /// Builds a caller's request.
    #[must_use]
    pub fn by_caller(statement: &Statement) -> Self {
        let by = statement.caller.user.clone();
        Self {
            reason: format!("stopped by {by}"),
            request_id: Some(statement.request_id.clone()),
            by,
            suspends: false,
        }
    }

    /// Builds the runtime's own request at its orderly end.
    #[must_use]
    pub fn shutdown() -> Self {
        Self {
            by: "runtime".to_owned(),
            request_id: None,
            reason: "the runtime was shut down".to_owned(),
            suspends: true,
        }
    }

    /// Returns whether a later run of the runtime carries the session on.
    #[must_use]
    pub const fn suspends(&self) -> bool {
        self.suspends
    }

    /// Returns how a session ends that was asked so.
    #[must_use]
    pub fn ending(&self) -> Ending {
        Ending {
            state: SessionState::Stopped,
            reason: Some(self.reason.clone()),
        }
    }
}

impl Sessions {
    /// Stops a session and returns it as it ended.
    ///
    /// # Errors
    /// See [`StopError`].
    pub async fn stop(
        &self,
        id: &SessionId,
        statement: &Statement,
    ) -> Result<SessionView, StopError> {
        let unknown = || StopError::Unknown(id.to_string());
        let visible = |view: &SessionView| may_see(&statement.caller, &view.project);
        if let Some(live) = self.live().into_iter().find(|live| live.id() == id) {
            if !visible(&live.view()) {
                return Err(unknown());
            }
            return self.stop_live(&live, Request::by_caller(statement)).await;
        }
        let view = self.inner.store.session(id).await?;
        let view = view.filter(visible).ok_or_else(unknown)?;
        if view.state.is_final() {
            Ok(view)
        } else {
            Err(StopError::NotRecorded(id.clone()))
        }
    }

    /// Stops the only live session that the caller may see.
    ///
    /// # Errors
    /// When there is none or more than one, and as [`Self::stop`].
    pub async fn stop_only(&self, statement: &Statement) -> Result<SessionView, StopError> {
        let live = self.visible_live(&statement.caller);
        match live.as_slice() {
            [] => Err(StopError::NoneLive),
            [only] => self.stop_live(only, Request::by_caller(statement)).await,
            several => Err(StopError::SeveralLive(
                several.iter().map(|live| live.id().clone()).collect(),
            )),
        }
    }

    /// Returns the live sessions that a caller may see, newest first.
    #[must_use]
    pub fn visible_live(&self, caller: &Caller) -> Vec<Arc<Live>> {
        let mut live = self.live();
        live.retain(|session| may_see(caller, &session.view().project));
        live
    }

    /// Takes nothing more on, ends what runs for sessions, and waits for it at most `within`; the next
    /// run carries them on. Returns the sessions that were not ready for that by then.
    pub async fn shut_down(&self, within: Duration) -> Vec<SessionId> {
        self.inner.table().closed = true;
        let all_left = async {
            while let Some(session) = self.live().pop() {
                for other in self.live() {
                    other.ask_to_stop(Request::shutdown());
                }
                session.left().await;
            }
        };
        if tokio::time::timeout(within, all_left).await.is_ok() {
            return Vec::new();
        }
        self.live().iter().map(|live| live.id().clone()).collect()
    }

    async fn stop_live(&self, live: &Live, request: Request) -> Result<SessionView, StopError> {
        // Stopping works on a full disk too; then only a crash before the end could undo it.
        let noted = self.inner.store.note_stop(live.id(), &request);
        match tokio::time::timeout(NOTED_WITHIN, noted).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(session = %live.id(), %error, "request to stop not recorded");
            }
            Err(_) => tracing::warn!(session = %live.id(), "request to stop not recorded in time"),
        }
        live.ask_to_stop(request);
        let within = self.inner.settings.sessions.stop_grace + HAND_OVER_TIME_MAX;
        if tokio::time::timeout(within, live.left()).await.is_err() {
            return Err(StopError::StillEnding(live.id().clone()));
        }
        let view = live.view();
        if view.state.is_final() {
            Ok(SessionView::clone(&view))
        } else {
            Err(StopError::NotRecorded(live.id().clone()))
        }
    }
}

/// Longest wait for the record of the request: what is wanted is the end.
const NOTED_WITHIN: Duration = Duration::from_secs(2);

/// Longest wait for the hand-over after the process tree is gone.
const HAND_OVER_TIME_MAX: Duration = Duration::from_secs(60);
