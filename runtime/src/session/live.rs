//! One live session: what it was asked, where it stands, and who wants it to stop.
//!
//! Invariant: only the session's own task records; what is seen in memory is stored already.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use config::contract::id::{RequestId, SessionId};
use config::contract::session::{SessionState, SessionView};
use config::runtime::Asks;
use serde_json::json;
use tokio::sync::watch;

use super::Ending;
use super::halt::{Order, Wish};
use super::state::{IllegalMove, Move};
use super::stop;
use crate::clock;
use crate::policy::Policy;
use crate::project::Project;
use crate::provider::Command;
use crate::provider::version::Fit;
use crate::sandbox::Profile;
use crate::store::{NewEvent, Store, StoreError};

/// What a session was asked to do.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The PRD's text.
    pub prd_text: String,
    /// The program that works.
    pub provider: Command,
    /// Where it works.
    pub project: Project,
    /// How tightly its programs are held.
    pub profile: Profile,
    /// Whether the work stays on the session's branch.
    pub branch_protection: bool,
    /// Which commands it may run.
    pub policy: Policy,
    /// The projects of which the session's starter may read; none means all.
    pub readable: Option<Vec<String>>,
    /// The request that started it.
    pub request_id: RequestId,
}

/// Why something could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The session cannot move there.
    #[error(transparent)]
    Illegal(#[from] IllegalMove),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A live session.
#[derive(Debug)]
pub struct Live {
    id: SessionId,
    assignment: Assignment,
    store: Store,
    view: watch::Sender<Arc<SessionView>>,
    stop: watch::Sender<Option<stop::Request>>,
    wish: watch::Sender<Wish>,
    left: watch::Sender<bool>,
    at_work: AtomicBool,
    /// Milliseconds for which it was held, pauses and waits together.
    held_ms: AtomicU64,
    created: Instant,
    fit: OnceLock<Fit>,
}

impl Live {
    /// Builds a session that was stored just now, or by an earlier run; then it is `age` old, and a
    /// paused one stays so.
    #[must_use]
    pub fn new(store: Store, view: SessionView, assignment: Assignment, age: Duration) -> Self {
        let wish = match view.state {
            SessionState::Paused => {
                Wish::Pause(Order::by_runtime(view.reason.clone().unwrap_or_default()))
            }
            SessionState::Created
            | SessionState::Preparing
            | SessionState::Running
            | SessionState::WaitingApproval
            | SessionState::Verifying
            | SessionState::Completed
            | SessionState::Failed
            | SessionState::Stopped
            | SessionState::Expired => Wish::Work(None),
        };
        let now = Instant::now();
        Self {
            id: view.id.clone(),
            assignment,
            store,
            view: watch::Sender::new(Arc::new(view)),
            stop: watch::Sender::new(None),
            wish: watch::Sender::new(wish),
            left: watch::Sender::new(false),
            at_work: AtomicBool::new(false),
            held_ms: AtomicU64::new(0),
            created: now.checked_sub(age).unwrap_or(now),
            fit: OnceLock::new(),
        }
    }

    /// Returns its id.
    #[must_use]
    pub const fn id(&self) -> &SessionId {
        &self.id
    }

    /// Returns what it was asked to do.
    #[must_use]
    pub const fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Returns what callers see of it.
    #[must_use]
    pub fn view(&self) -> Arc<SessionView> {
        Arc::clone(&self.view.borrow())
    }

    /// Returns the time since it was created.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.created.elapsed()
    }

    /// Returns whether an agent's program runs for it.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.at_work.load(Ordering::Relaxed)
    }

    /// Notes whether an agent's program runs for it.
    pub(super) fn set_at_work(&self, at_work: bool) {
        self.at_work.store(at_work, Ordering::Relaxed);
    }

    /// Returns what the provider's program says of itself, once it was asked.
    pub(super) fn fit(&self) -> Option<&Fit> {
        self.fit.get()
    }

    /// Notes what the provider's program says of itself.
    pub(super) fn set_fit(&self, fit: Fit) {
        self.fit.get_or_init(|| fit);
    }

    /// Returns how the provider's program asks before it acts, if it does.
    pub(super) fn asks(&self) -> Option<Asks> {
        let provider = &self.assignment.provider;
        let does = provider.needs().is_none() || self.fit().is_some_and(|fit| fit.asks);
        provider.asks().filter(|_| does)
    }

    /// Returns for how long it was held since this run of the runtime began.
    pub(super) fn held(&self) -> Duration {
        Duration::from_millis(self.held_ms.load(Ordering::Relaxed))
    }

    /// Adds a time for which it was held.
    pub(super) fn was_held(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.held_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Returns the store, for what is not part of the view.
    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// Moves the session and records what happened, in one step.
    ///
    /// # Errors
    /// When the move is illegal or cannot be stored; then nothing has changed.
    pub async fn move_to(
        &self,
        state: SessionState,
        change: impl FnOnce(&mut SessionView),
    ) -> Result<(), RecordError> {
        let old = self.view();
        let step = Move::new(old.state, state)?;
        let mut view = SessionView::clone(&old);
        view.state = state;
        change(&mut view);
        let mut data = json!({ "from": old.state, "to": state });
        if let Some(reason) = &view.reason {
            data["reason"] = json!(reason);
        }
        if view.iteration > 0 {
            data["iteration"] = json!(view.iteration);
        }
        self.record(step, view, vec![NewEvent::new("state", data)])
            .await
    }

    /// Records a change of the view that is no move, with what happened.
    ///
    /// # Errors
    /// When the session has ended, or it cannot be stored.
    pub async fn update(
        &self,
        events: Vec<NewEvent>,
        change: impl FnOnce(&mut SessionView),
    ) -> Result<(), RecordError> {
        let old = self.view();
        let step = Move::stay(old.state)?;
        let mut view = SessionView::clone(&old);
        change(&mut view);
        self.record(step, view, events).await
    }

    /// Records what happened.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn happened(&self, events: Vec<NewEvent>) -> Result<(), RecordError> {
        if !events.is_empty() {
            self.store.append(&self.id, events, clock::now()).await?;
        }
        Ok(())
    }

    async fn record(
        &self,
        step: Move,
        view: SessionView,
        events: Vec<NewEvent>,
    ) -> Result<(), RecordError> {
        self.store.record(step, &view, events, clock::now()).await?;
        self.view.send_replace(Arc::new(view));
        Ok(())
    }

    /// Records the end; tries again for a while, because nothing runs any more and the record is owed.
    pub(super) async fn end(&self, ending: Ending) {
        for attempt in 1..=END_ATTEMPTS_MAX {
            let recorded = self
                .move_to(ending.state, |view| {
                    view.reason.clone_from(&ending.reason);
                    view.ended_at = Some(clock::written(clock::now()));
                })
                .await;
            match recorded {
                Ok(()) => {
                    let reason = ending.reason.as_deref();
                    tracing::info!(session = %self.id, state = %ending.state, reason, "session ended");
                    return;
                }
                Err(error) => {
                    tracing::error!(session = %self.id, %error, attempt, "session end not recorded");
                    tokio::time::sleep(END_PAUSE * attempt).await;
                }
            }
        }
    }

    /// Asks the session to stop; the first request counts.
    pub fn ask_to_stop(&self, request: stop::Request) {
        self.stop.send_if_modified(|asked| {
            let is_first = asked.is_none();
            if is_first {
                *asked = Some(request);
            }
            is_first
        });
    }

    /// Waits until somebody asks it to stop.
    pub async fn stop_asked(&self) -> stop::Request {
        let mut asked = self.stop.subscribe();
        loop {
            if let Some(request) = asked.borrow_and_update().clone() {
                return request;
            }
            if asked.changed().await.is_err() {
                // The sender lives in `self`; without it there is nobody left to ask.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns the request to stop, if there is one.
    #[must_use]
    pub fn stop_request(&self) -> Option<stop::Request> {
        self.stop.borrow().clone()
    }

    /// Asks the session to pause; the first request counts.
    pub fn ask_to_pause(&self, order: Order) {
        self.wish.send_if_modified(|wish| match wish {
            Wish::Pause(_) => false,
            Wish::Work(_) => {
                *wish = Wish::Pause(order);
                true
            }
        });
    }

    /// Asks the session to go on.
    pub fn ask_to_resume(&self, order: Order) {
        self.wish.send_replace(Wish::Work(Some(order)));
    }

    /// Returns who wants it to pause, if anybody does.
    pub(super) fn pause_order(&self) -> Option<Order> {
        match &*self.wish.borrow() {
            Wish::Pause(order) => Some(order.clone()),
            Wish::Work(_) => None,
        }
    }

    /// Returns whether somebody wants it to pause.
    #[must_use]
    pub fn is_pause_asked(&self) -> bool {
        self.pause_order().is_some()
    }

    /// Waits until somebody wants it to pause.
    pub(super) async fn pause_asked(&self) {
        let mut wish = self.wish.subscribe();
        // The sender lives in `self`, so that waiting for it does not fail.
        let asked = wish.wait_for(|wish| matches!(wish, Wish::Pause(_)));
        if asked.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until nobody wants it to pause any more and returns who wanted it to go on.
    pub(super) async fn resume_asked(&self) -> Option<Order> {
        let mut wish = self.wish.subscribe();
        let resumed = wish.wait_for(|wish| matches!(wish, Wish::Work(_))).await;
        let order = resumed.map(|wish| match &*wish {
            Wish::Work(order) => order.clone(),
            Wish::Pause(_) => None,
        });
        match order {
            Ok(order) => order,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until the session is in a state that is wanted, or in a final one.
    pub(super) async fn reached(&self, wanted: impl Fn(SessionState) -> bool) -> Arc<SessionView> {
        let mut view = self.view.subscribe();
        let there = |view: &Arc<SessionView>| wanted(view.state) || view.state.is_final();
        let reached = view.wait_for(there).await.map(|view| Arc::clone(&view));
        match reached {
            Ok(view) => view,
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns whether a session that would end so is left for the next run to carry on.
    pub(super) fn is_suspended(&self, ending: &Ending) -> bool {
        let suspends = self
            .stop_request()
            .is_some_and(|request| request.suspends());
        suspends && ending.state == SessionState::Stopped
    }

    /// Says that the session's task is over.
    pub(super) fn leave(&self) {
        self.left.send_replace(true);
    }

    /// Waits until the session's task is over.
    pub(super) async fn left(&self) {
        let mut left = self.left.subscribe();
        while !*left.borrow_and_update() {
            if left.changed().await.is_err() {
                return;
            }
        }
    }
}

const END_ATTEMPTS_MAX: u32 = 4;
const END_PAUSE: Duration = Duration::from_millis(250);
