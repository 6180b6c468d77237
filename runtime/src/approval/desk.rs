//! The desk: asks people, keeps what they decide, and lets what was approved through, once.
//!
//! Invariant: a decision is stored before anybody acts on it; a deadline holds by the wall clock and
//! by the time that has passed, whichever comes first.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use config::contract::approval::{ApprovalState, ApprovalView, Outcome, Resume};
use config::contract::caller::Statement;
use config::contract::id::{ApprovalId, SessionId};
use config::runtime::autonomy::Approvals;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use super::rules::{Freedom, why_asked};
use super::state::{Happening, Step};
use super::webhook::{Notices, WebhookError};
use crate::clock;
use crate::identity::{self, NoRandomness};
use crate::session::gate::{Asked, Decision, Gate, GateError, Gatekeeper, Later, Question};
use crate::session::live::Live;
use crate::session::may_see;
use crate::store::{Decider, NewApproval, Store, StoreError, StoredApproval};

/// Where people are asked; cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    store: Store,
    settings: Approvals,
    notices: Option<Notices>,
    /// Rises with each change.
    changes: Arc<watch::Sender<u64>>,
}

/// Why something could not be decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The caller knows of no such approval.
    #[error("there is no approval {0:?}")]
    Unknown(String),
    /// It was decided otherwise, or cannot be decided any more.
    #[error("approval {id} is {state}")]
    Decided {
        /// The approval.
        id: ApprovalId,
        /// Where it stands.
        state: ApprovalState,
    },
    /// It was asked for something else than was looked at.
    #[error("approval {id} is about another action than the one that was looked at")]
    OtherDigest {
        /// The approval.
        id: ApprovalId,
    },
    /// Who started the session may not decide for it.
    #[error("whoever started session {0} may not approve for it")]
    FourEyes(SessionId),
    /// The session waits for nothing.
    #[error("session {0} does not wait for this approval")]
    NothingWaits(SessionId),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

impl Desk {
    /// Builds the desk of a runtime.
    #[must_use]
    pub fn new(store: Store, settings: Approvals) -> Self {
        Self {
            store,
            settings,
            notices: None,
            changes: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Has a receiver told of what waits, if the settings name one. Needs a tokio runtime.
    ///
    /// # Errors
    /// When notices cannot be signed.
    pub fn with_notices(mut self) -> Result<Self, WebhookError> {
        self.notices = self
            .settings
            .webhook
            .as_ref()
            .map(Notices::begin)
            .transpose()?;
        Ok(self)
    }

    /// Marks what an earlier run left under way, and lets lapse what was approved and not used. To be called before its sessions are looked at.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn find_interrupted(&self) -> Result<(), StoreError> {
        let count = self.store.mark_indeterminate().await?;
        if count > 0 {
            tracing::warn!(
                count,
                "approved actions were under way when the runtime ended"
            );
        }
        Ok(())
    }

    /// Ends what the sessions that have ended were waiting for.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn end_orphans(&self) -> Result<(), StoreError> {
        self.store.end_approvals(None).await.map(drop)
    }

    /// Decides for a caller. The same decision twice is no more than once.
    ///
    /// # Errors
    /// See [`DecideError`].
    pub async fn decide(
        &self,
        id: &ApprovalId,
        word: Word,
        looked_at: Option<&str>,
        reason: Option<String>,
        statement: &Statement,
    ) -> Result<ApprovalView, DecideError> {
        let caller = &statement.caller;
        let unknown = || DecideError::Unknown(id.to_string());
        let approval = self.store.approval(id).await?.ok_or_else(unknown)?;
        if !may_see(caller, &approval.view.project) {
            return Err(unknown());
        }
        if looked_at.is_some_and(|digest| digest != approval.view.digest) {
            return Err(DecideError::OtherDigest { id: id.clone() });
        }
        if word == Word::Approve
            && self.settings.four_eyes
            && caller.principal == approval.principal
        {
            return Err(DecideError::FourEyes(approval.view.session));
        }
        let decider = Decider {
            user: caller.user.clone(),
            principal: caller.principal.clone(),
            reason,
        };
        let (happening, wanted) = match word {
            Word::Approve => (Happening::Approve, ApprovalState::Approved),
            Word::Reject => (Happening::Reject, ApprovalState::Rejected),
        };
        let (step, approval) = self
            .happens(id, happening, Some(&decider))
            .await?
            .ok_or_else(unknown)?;
        match step {
            Step::Stay => Ok(approval.view),
            Step::To(state) if state == wanted => Ok(approval.view),
            Step::To(_) | Step::Refused => Err(DecideError::Decided {
                id: id.clone(),
                state: approval.view.state,
            }),
        }
    }

    /// Returns an approval that the caller may see.
    ///
    /// # Errors
    /// When there is none, or the store refuses.
    pub async fn show(
        &self,
        id: &ApprovalId,
        statement: &Statement,
    ) -> Result<ApprovalView, DecideError> {
        let approval = self.store.approval(id).await?;
        approval
            .map(|approval| approval.view)
            .filter(|view| may_see(&statement.caller, &view.project))
            .ok_or_else(|| DecideError::Unknown(id.to_string()))
    }

    /// Lists approvals that the caller may see, newest first.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn list(
        &self,
        session: Option<&SessionId>,
        only_waiting: bool,
        statement: &Statement,
    ) -> Result<Vec<ApprovalView>, StoreError> {
        let projects = statement.caller.projects.as_deref();
        let found = self
            .store
            .approvals(projects, session, only_waiting, LISTED_MAX)
            .await?;
        Ok(found.into_iter().map(|approval| approval.view).collect())
    }

    async fn happens(
        &self,
        id: &ApprovalId,
        happening: Happening<'_>,
        decider: Option<&Decider>,
    ) -> Result<Option<(Step, StoredApproval)>, StoreError> {
        let changed = self
            .store
            .approval_happens(id, happening, decider, clock::now())
            .await?;
        if matches!(changed, Some((Step::To(_), _))) {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(changed)
    }

    async fn asked(&self, session: &Live, question: &Question) -> Result<Asked, GateError> {
        let view = session.view();
        let freedom = Freedom {
            mode: view.autonomy_mode,
            staged: view.staged_autonomy,
        };
        let Some(why) = why_asked(freedom, question.gate) else {
            return Ok(Asked::Open);
        };
        let now = clock::now();
        let new = NewApproval {
            id: identity::approval_id()?,
            session: session.id().clone(),
            gate: question.gate.name(),
            iteration: question.iteration,
            summary: question.summary.clone(),
            why: self.because(session.id(), why).await?,
            digest: digest(session.id(), question),
            action: question.action.clone(),
            deadline: self.deadline(question.gate.name(), now),
        };
        let approval = self.store.ask_approval(&new, now).await?;
        if approval.view.id == new.id
            && let (Some(notices), Some(webhook)) = (&self.notices, &self.settings.webhook)
        {
            notices.tell(&approval.view, &webhook.link);
        }
        self.changes.send_modify(|count| *count += 1);
        Ok(Asked::Waits {
            approval: approval.view.id.to_string(),
            reason: format!("{} ({})", approval.view.summary, approval.view.id),
        })
    }

    /// Adds to the reason that an earlier step may or may not have been carried out.
    async fn because(&self, session: &SessionId, why: &str) -> Result<String, StoreError> {
        let earlier = self
            .store
            .approvals(None, Some(session), false, LISTED_MAX)
            .await?;
        let interrupted = earlier
            .iter()
            .any(|approval| approval.view.outcome == Some(Outcome::Indeterminate));
        Ok(if interrupted {
            format!(
                "{why}; the runtime ended while an approved step was under way, so that it is not \
                 known whether that was carried out"
            )
        } else {
            why.to_owned()
        })
    }

    /// Returns how long a question at a gate waits.
    fn within(&self, gate: &str) -> Duration {
        if gate == Gate::Operation.name() {
            self.settings.operation_deadline
        } else {
            self.settings.deadline
        }
    }

    fn deadline(&self, gate: &str, now: DateTime<Utc>) -> DateTime<Utc> {
        let within = TimeDelta::from_std(self.within(gate)).unwrap_or(TimeDelta::MAX);
        now.checked_add_signed(within)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    async fn decided(&self, approval: &str) -> Result<Decision, GateError> {
        let id = known(approval)?;
        let mut changes = self.changes.subscribe();
        let began = Instant::now();
        loop {
            changes.mark_unchanged();
            let (_, found) = self
                .happens(&id, Happening::Tick, None)
                .await?
                .ok_or_else(|| GateError::NothingWaits(format!("there is no approval {id}")))?;
            match found.view.state {
                ApprovalState::Requested => {}
                ApprovalState::Approved => {
                    return Ok(Decision::Approved {
                        by: found.view.decided_by.unwrap_or_default(),
                    });
                }
                ApprovalState::Rejected => {
                    return Ok(Decision::Rejected {
                        by: found.view.decided_by.unwrap_or_default(),
                        reason: found.view.reason.unwrap_or_default(),
                    });
                }
                ApprovalState::Expired | ApprovalState::Lapsed => return Ok(Decision::Expired),
                state @ (ApprovalState::Cancelled
                | ApprovalState::Superseded
                | ApprovalState::Consumed) => {
                    return Err(GateError::NothingWaits(format!("approval {id} is {state}")));
                }
            }
            let within = self.within(&found.view.gate);
            // A clock that was set back does not make it wait longer.
            if began.elapsed() >= within {
                let late = found.deadline;
                self.store
                    .approval_happens(&id, Happening::Tick, None, late)
                    .await?;
                continue;
            }
            let by_clock = (found.deadline - clock::now()).to_std().unwrap_or_default();
            let left = by_clock.min(within.saturating_sub(began.elapsed()));
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(left.min(LOOK_AGAIN)) => {}
            }
        }
    }

    async fn used(
        &self,
        session: &Live,
        approval: &str,
        question: &Question,
    ) -> Result<(), GateError> {
        let id = known(approval)?;
        let digest = digest(session.id(), question);
        let done = self.happens(&id, Happening::Consume(&digest), None).await?;
        match done {
            Some((Step::To(ApprovalState::Consumed), _)) => Ok(()),
            Some((_, found)) => Err(GateError::NothingWaits(format!(
                "approval {id} cannot be used: it is {}",
                found.view.state
            ))),
            None => Err(GateError::NothingWaits(format!(
                "there is no approval {id}"
            ))),
        }
    }

    async fn approve_waiting(
        &self,
        session: &SessionId,
        looked_at: &Resume,
        statement: &Statement,
    ) -> Result<(), DecideError> {
        let waiting = self.store.approvals(None, Some(session), true, 1).await?;
        let found = waiting
            .first()
            .filter(|found| found.view.id == looked_at.approval)
            .ok_or_else(|| DecideError::NothingWaits(session.clone()))?;
        let digest = Some(looked_at.digest.as_str());
        self.decide(&found.view.id, Word::Approve, digest, None, statement)
            .await
            .map(drop)
    }
}

impl Gatekeeper for Desk {
    fn ask<'later>(
        &'later self,
        session: &'later Live,
        question: &'later Question,
    ) -> Later<'later, Result<Asked, GateError>> {
        Box::pin(self.asked(session, question))
    }

    fn decision<'later>(
        &'later self,
        _session: &'later Live,
        approval: &'later str,
    ) -> Later<'later, Result<Decision, GateError>> {
        Box::pin(self.decided(approval))
    }

    fn consume<'later>(
        &'later self,
        session: &'later Live,
        approval: &'later str,
        question: &'later Question,
    ) -> Later<'later, Result<(), GateError>> {
        Box::pin(self.used(session, approval, question))
    }

    fn approve<'later>(
        &'later self,
        session: &'later SessionId,
        looked_at: &'later Resume,
        statement: &'later Statement,
    ) -> Later<'later, Result<(), GateError>> {
        Box::pin(async move {
            self.approve_waiting(session, looked_at, statement)
                .await
                .map_err(|error| match error {
                    DecideError::FourEyes(_) => GateError::MayNot(error.to_string()),
                    DecideError::Store(error) => error.into(),
                    DecideError::Unknown(_)
                    | DecideError::Decided { .. }
                    | DecideError::OtherDigest { .. }
                    | DecideError::NothingWaits(_) => GateError::NothingWaits(error.to_string()),
                })
        })
    }

    fn withdraw<'later>(
        &'later self,
        _session: &'later Live,
        approval: &'later str,
    ) -> Later<'later, Result<(), GateError>> {
        Box::pin(async move {
            let id = known(approval)?;
            self.happens(&id, Happening::SessionEnded, None).await?;
            Ok(())
        })
    }

    fn ended<'later>(
        &'later self,
        session: &'later SessionId,
    ) -> Later<'later, Result<(), GateError>> {
        Box::pin(async move {
            self.store.end_approvals(Some(session)).await?;
            self.changes.send_modify(|count| *count += 1);
            Ok(())
        })
    }
}

impl From<StoreError> for GateError {
    fn from(error: StoreError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<NoRandomness> for GateError {
    fn from(error: NoRandomness) -> Self {
        Self::Broken(error.to_string())
    }
}

fn known(approval: &str) -> Result<ApprovalId, GateError> {
    approval
        .parse()
        .map_err(|_| GateError::NothingWaits(format!("there is no approval {approval:?}")))
}

/// Returns the digest of exactly what a session asks for. Objects are ordered by their members'
/// names, so that the same action always gives the same text.
fn digest(session: &SessionId, question: &Question) -> String {
    let whole: Value = json!({
        "session": session,
        "gate": question.gate.name(),
        "iteration": question.iteration,
        "action": question.action,
    });
    let hash = Sha256::digest(whole.to_string().as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

const LISTED_MAX: u32 = 200;

/// Longest wait until the clock is looked at again: it may have been set.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
