//! Pausing and resuming: a paused session has everything of it frozen, and time does not count.
//!
//! Invariant: only the session's own task moves it; callers leave a wish and wait for its effect.

use config::contract::approval::Resume;
use config::contract::caller::Statement;
use config::contract::id::{RequestId, SessionId};
use config::contract::session::{SessionState, SessionView};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gate::GateError;
use super::live::Live;
use super::trail::{RUNTIME, Trail};
use super::workshop::WorkError;
use super::{Sessions, may_see};
use crate::store::StoreError;

/// Who wants a session to pause or to go on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who, for people to read.
    pub by: String,
    /// The request, if a caller asked.
    pub request_id: Option<RequestId>,
    /// Why.
    pub reason: String,
}

/// What is wanted of a session that was not asked to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// That it works; if it was paused before, somebody wanted it to go on.
    Work(Option<Order>),
    /// That it pauses.
    Pause(Order),
}

/// How a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The session goes on.
    Resumed,
    /// The session was asked to stop.
    Stopped,
}

/// Why a session was not paused or resumed.
#[derive(Debug, thiserror::Error)]
pub enum HaltError {
    /// The caller knows of no such session.
    #[error("there is no session {0:?}")]
    Unknown(String),
    /// No session is in a fitting state.
    #[error("no session can be {0}")]
    NoCandidate(&'static str),
    /// Several are.
    #[error("several sessions can be {what}")]
    Several {
        /// `paused` or `resumed`.
        what: &'static str,
        /// Which.
        candidates: Vec<SessionId>,
    },
    /// The session's state does not allow it.
    #[error("session {id} is {state}: it cannot be {what}")]
    WrongState {
        /// The session.
        id: SessionId,
        /// Where it stands.
        state: SessionState,
        /// `paused` or `resumed`.
        what: &'static str,
    },
    /// It was asked for, but has not happened within the bound.
    #[error("session {id} will be {what} when its current step is over")]
    Later {
        /// The session.
        id: SessionId,
        /// `paused` or `resumed`.
        what: &'static str,
    },
    /// What the session waits for was not approved.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Order {
    /// Builds a caller's order.
    #[must_use]
    pub fn by_caller(statement: &Statement, what: &str) -> Self {
        let by = statement.caller.user.clone();
        Self {
            reason: format!("{what} by {by}"),
            request_id: Some(statement.request_id.clone()),
            by,
        }
    }

    /// Builds the runtime's own order.
    #[must_use]
    pub fn by_runtime(reason: String) -> Self {
        Self {
            by: RUNTIME.to_owned(),
            request_id: None,
            reason,
        }
    }
}

impl Sessions {
    /// Pauses a session and returns it as soon as nothing of it runs any more.
    ///
    /// # Errors
    /// See [`HaltError`].
    pub async fn pause(
        &self,
        id: &SessionId,
        statement: &Statement,
    ) -> Result<SessionView, HaltError> {
        let live = self.visible(id, statement, PAUSED).await?;
        pause_live(&live, statement).await
    }

    /// Pauses the only session that works.
    ///
    /// # Errors
    /// See [`HaltError`].
    pub async fn pause_only(&self, statement: &Statement) -> Result<SessionView, HaltError> {
        let live = self.only(statement, PAUSED, can_be_paused)?;
        pause_live(&live, statement).await
    }

    /// Approves what a session waits for, or lets a paused one go on, and returns it as it goes on.
    ///
    /// # Errors
    /// See [`HaltError`].
    pub async fn resume(
        &self,
        id: &SessionId,
        looked_at: Option<&Resume>,
        statement: &Statement,
    ) -> Result<SessionView, HaltError> {
        let live = self.visible(id, statement, RESUMED).await?;
        self.resume_live(&live, looked_at, statement).await
    }

    /// Resumes the only session that is paused or waits for a person.
    ///
    /// # Errors
    /// See [`HaltError`].
    pub async fn resume_only(
        &self,
        looked_at: Option<&Resume>,
        statement: &Statement,
    ) -> Result<SessionView, HaltError> {
        let live = self.only(statement, RESUMED, can_be_resumed)?;
        self.resume_live(&live, looked_at, statement).await
    }

    async fn resume_live(
        &self,
        live: &Live,
        looked_at: Option<&Resume>,
        statement: &Statement,
    ) -> Result<SessionView, HaltError> {
        let state = live.view().state;
        if !can_be_resumed(state) && !live.is_pause_asked() {
            return Err(wrong_state(live, RESUMED));
        }
        if state == SessionState::WaitingApproval {
            let looked_at = looked_at.ok_or_else(|| GateError::NotSaid(live.id().clone()))?;
            let gatekeeper = self.gatekeeper();
            gatekeeper.approve(live.id(), looked_at, statement).await?;
            // It is approved, whether or not the session has moved on by then; it may soon wait for
            // something else.
            let moved = live.reached(|now| now != SessionState::WaitingApproval);
            return Ok(match tokio::time::timeout(APPROVED_WITHIN, moved).await {
                Ok(view) => SessionView::clone(&view),
                Err(_) => SessionView::clone(&live.view()),
            });
        }
        if looked_at.is_some() {
            // What was looked at is not what the session is held by.
            return Err(wrong_state(live, RESUMED));
        }
        live.ask_to_resume(Order::by_caller(statement, RESUMED));
        // What was asked before it paused may be asked again, and it may pause again at once: the budget
        // may be used up twice over.
        tokio::select! {
            biased;
            resumed = reached(live, RESUMED, |now| now != SessionState::Paused) => resumed,
            () = live.pause_asked() => Ok(SessionView::clone(&live.view())),
        }
    }

    async fn visible(
        &self,
        id: &SessionId,
        statement: &Statement,
        what: &'static str,
    ) -> Result<Arc<Live>, HaltError> {
        let live = self.visible_live(&statement.caller);
        if let Some(live) = live.into_iter().find(|live| live.id() == id) {
            return Ok(live);
        }
        let stored = self.stored(id).await?;
        match stored.filter(|view| may_see(&statement.caller, &view.project)) {
            Some(view) => Err(HaltError::WrongState {
                id: id.clone(),
                state: view.state,
                what,
            }),
            None => Err(HaltError::Unknown(id.to_string())),
        }
    }

    fn only(
        &self,
        statement: &Statement,
        what: &'static str,
        fits: fn(SessionState) -> bool,
    ) -> Result<Arc<Live>, HaltError> {
        let mut live = self.visible_live(&statement.caller);
        live.retain(|session| fits(session.view().state));
        match live.as_slice() {
            [] => Err(HaltError::NoCandidate(what)),
            [only] => Ok(Arc::clone(only)),
            several => Err(HaltError::Several {
                what,
                candidates: several.iter().map(|live| live.id().clone()).collect(),
            }),
        }
    }
}

/// Stays paused, if that is wanted, until the session is to go on or to stop; then it is back in the
/// state in which it was, or still paused if that was [`SessionState::WaitingApproval`].
pub(super) async fn hold(live: &Live, trail: &Trail) -> Result<Held, WorkError> {
    if live.stop_request().is_some() {
        return Ok(Held::Stopped);
    }
    let Some(order) = live.pause_order() else {
        return Ok(Held::Resumed);
    };
    let mut before = live.view().state;
    if before == SessionState::Paused {
        // An earlier run has paused it; nothing of it runs.
        before = SessionState::Running;
    } else {
        live.move_to(SessionState::Paused, |view| {
            view.reason = Some(order.reason.clone());
        })
        .await?;
        told(live, trail, "session_pause", &order).await?;
    }
    let since = Instant::now();
    let resumed = tokio::select! {
        _ = live.stop_asked() => return Ok(Held::Stopped),
        resumed = live.resume_asked() => resumed,
    };
    live.was_held(since.elapsed());
    if before != SessionState::WaitingApproval {
        live.move_to(before, |view| view.reason = None).await?;
    }
    if let Some(order) = resumed {
        told(live, trail, "session_resume", &order).await?;
    }
    Ok(Held::Resumed)
}

async fn told(live: &Live, trail: &Trail, action: &str, order: &Order) -> Result<(), WorkError> {
    let details = json!({ "user": order.by, "reason": order.reason });
    let request_id = order.request_id.as_ref();
    trail
        .tell_of(live, action, RUNTIME, request_id, details)
        .await
}

async fn pause_live(live: &Live, statement: &Statement) -> Result<SessionView, HaltError> {
    let view = live.view();
    if view.state == SessionState::Paused {
        return Ok(SessionView::clone(&view));
    }
    if !can_be_paused(view.state) {
        return Err(wrong_state(live, PAUSED));
    }
    live.ask_to_pause(Order::by_caller(statement, PAUSED));
    let over = |now: SessionState| now == SessionState::Paused || !can_be_paused(now);
    let view = reached(live, PAUSED, over).await?;
    if view.state == SessionState::Paused {
        Ok(view)
    } else {
        Err(wrong_state(live, PAUSED))
    }
}

/// Waits until the session is in a state, within a bound.
async fn reached(
    live: &Live,
    what: &'static str,
    wanted: impl Fn(SessionState) -> bool,
) -> Result<SessionView, HaltError> {
    let reached = live.reached(wanted);
    match tokio::time::timeout(EFFECT_WITHIN, reached).await {
        Ok(view) => Ok(SessionView::clone(&view)),
        Err(_) => Err(HaltError::Later {
            id: live.id().clone(),
            what,
        }),
    }
}

fn wrong_state(live: &Live, what: &'static str) -> HaltError {
    HaltError::WrongState {
        id: live.id().clone(),
        state: live.view().state,
        what,
    }
}

const fn can_be_paused(state: SessionState) -> bool {
    match state {
        SessionState::Preparing | SessionState::Running | SessionState::Verifying => true,
        SessionState::Created
        | SessionState::Paused
        | SessionState::WaitingApproval
        | SessionState::Completed
        | SessionState::Failed
        | SessionState::Stopped
        | SessionState::Expired => false,
    }
}

const fn can_be_resumed(state: SessionState) -> bool {
    matches!(state, SessionState::Paused | SessionState::WaitingApproval)
}

const PAUSED: &str = "paused";
const RESUMED: &str = "resumed";

/// Longest wait for an approved session to move on.
const APPROVED_WITHIN: Duration = Duration::from_secs(2);

/// Longest wait for a wish to take effect: the clone of a large project is being made, for example.
const EFFECT_WITHIN: Duration = Duration::from_secs(20);
