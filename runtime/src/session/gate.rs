//! Gates: where a session stops until it may go on.
//!
//! Invariant: only the gatekeeper opens one. While it waits nothing of the session runs; a stop always
//! wins; an approval that expires pauses the session and never opens the gate. A session that is
//! carried on after a restart comes to the same gate with the same question, so that what still waits
//! counts; what was approved before and not used does not, and is asked anew.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use config::contract::approval::Resume;
use config::contract::caller::Statement;
use config::contract::id::SessionId;
use config::contract::session::SessionState;
use serde_json::{Value, json};

use super::halt::{self, Held, Order};
use super::live::Live;
use super::trail::{RUNTIME, Trail};
use super::workshop::WorkError;
use crate::store::NewEvent;

/// Something that is there later.
pub type Later<'later, T> = Pin<Box<dyn Future<Output = T> + Send + 'later>>;

/// The places at which a session may have to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Before the provider's program runs for the first time.
    FirstRun,
    /// After an iteration that is not the last.
    IterationEnd,
    /// Before anything reaches the project.
    HandOver,
    /// Before a branch is pushed to the project's remote.
    Push,
    /// Before a pull request is made or updated.
    PullRequest,
    /// Before files reach the project that decide what its machines run: CI definitions, submodules
    /// and attributes.
    ProtectedFiles,
    /// Before one use of a tool, where the rules want a person.
    Operation,
    /// When a budget is used up.
    Budget,
}

impl Gate {
    /// Returns the name as written in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstRun => "first_run",
            Self::IterationEnd => "iteration_end",
            Self::HandOver => "hand_over",
            Self::Push => "push",
            Self::PullRequest => "pull_request",
            Self::ProtectedFiles => "protected_files",
            Self::Operation => "operation",
            Self::Budget => "budget",
        }
    }
}

/// What a session asks at a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Where it stands.
    pub gate: Gate,
    /// Its iteration, from 1; 0 before the first.
    pub iteration: u32,
    /// One line for people.
    pub summary: String,
    /// Exactly what will be done; the same action gives the same value.
    pub action: Value,
}

/// What a gatekeeper says at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Go on; nobody has to be asked.
    Open,
    /// A person has to decide.
    Waits {
        /// What the decision is filed under.
        approval: String,
        /// Why, for people.
        reason: String,
    },
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Approved {
        /// Who decided.
        by: String,
    },
    /// Do not.
    Rejected {
        /// Who decided.
        by: String,
        /// Why; reaches the agent.
        reason: String,
    },
    /// Nobody decided in time.
    Expired,
}

/// Why a gate could not be asked or answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Whoever answers may not.
    #[error("{0}")]
    MayNot(String),
    /// The caller did not say what was looked at.
    #[error("session {0} waits for an approval: say which one, and its digest")]
    NotSaid(SessionId),
    /// Nothing waits, or it was decided already.
    #[error("{0}")]
    NothingWaits(String),
    /// It could not be recorded.
    #[error("cannot keep the approval: {0}")]
    Broken(String),
}

/// Decides who has to be asked for what, and keeps the answers.
pub trait Gatekeeper: fmt::Debug + Send + Sync + 'static {
    /// Asks whether a session may go on. The same question again is the same question still.
    fn ask<'later>(
        &'later self,
        session: &'later Live,
        question: &'later Question,
    ) -> Later<'later, Result<Asked, GateError>>;

    /// Waits for a decision.
    fn decision<'later>(
        &'later self,
        session: &'later Live,
        approval: &'later str,
    ) -> Later<'later, Result<Decision, GateError>>;

    /// Uses an approval up, right before what was approved is done.
    fn consume<'later>(
        &'later self,
        session: &'later Live,
        approval: &'later str,
        question: &'later Question,
    ) -> Later<'later, Result<(), GateError>>;

    /// Takes a question back: whoever asked it does not wait any more.
    fn withdraw<'later>(
        &'later self,
        session: &'later Live,
        approval: &'later str,
    ) -> Later<'later, Result<(), GateError>>;

    /// Ends what a session that has ended was waiting for.
    fn ended<'later>(
        &'later self,
        _session: &'later SessionId,
    ) -> Later<'later, Result<(), GateError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Approves, for a caller, what a session waits for, if that is what the caller looked at.
    fn approve<'later>(
        &'later self,
        session: &'later SessionId,
        looked_at: &'later Resume,
        statement: &'later Statement,
    ) -> Later<'later, Result<(), GateError>>;
}

/// How a session came through a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// It may go on.
    Open,
    /// It may not.
    Rejected {
        /// Who decided.
        by: String,
        /// Why.
        reason: String,
    },
    /// It was asked to stop.
    Stopped,
}

/// Brings a session through a gate. It is in the state in which it came, unless that is
/// [`SessionState::Preparing`], to which nothing leads back.
pub(super) async fn pass(
    live: &Live,
    trail: &Trail,
    gatekeeper: &dyn Gatekeeper,
    question: &Question,
) -> Result<Passage, WorkError> {
    let before = live.view().state;
    loop {
        if live.stop_request().is_some() {
            return Ok(Passage::Stopped);
        }
        let (approval, reason) = match gatekeeper.ask(live, question).await? {
            Asked::Open => {
                return_to(live, before).await?;
                return Ok(Passage::Open);
            }
            Asked::Waits { approval, reason } => (approval, reason),
        };
        let note = |action, text: String| {
            let approval = &approval;
            async move { told(live, trail, action, approval, question, &text).await }
        };
        if !is_shown(live, &reason) {
            note("approval_request", reason.clone()).await?;
        }
        wait(live, reason).await?;
        let decision = tokio::select! {
            _ = live.stop_asked() => return Ok(Passage::Stopped),
            decision = gatekeeper.decision(live, &approval) => decision?,
        };
        match decision {
            Decision::Approved { by } => {
                note("approval_decision", format!("approved by {by}")).await?;
                gatekeeper.consume(live, &approval, question).await?;
                note("approval_consumption", USED.to_owned()).await?;
                return_to(live, before).await?;
                return Ok(Passage::Open);
            }
            Decision::Rejected { by, reason } => {
                note("approval_decision", format!("rejected by {by}: {reason}")).await?;
                return_to(live, before).await?;
                return Ok(Passage::Rejected { by, reason });
            }
            Decision::Expired => {
                let reason = format!("nobody decided in time: {}", question.summary);
                note("approval_expiry", reason.clone()).await?;
                live.ask_to_pause(Order::by_runtime(reason));
                if halt::hold(live, trail).await? == Held::Stopped {
                    return Ok(Passage::Stopped);
                }
            }
        }
    }
}

/// Records, for the agent audit and as an event, what became of a question.
pub(super) async fn told(
    live: &Live,
    trail: &Trail,
    action: &'static str,
    approval: &str,
    question: &Question,
    text: &str,
) -> Result<(), WorkError> {
    let details = json!({
        "approval": approval,
        "gate": question.gate.name(),
        "iteration": question.iteration,
        "summary": question.summary,
        "text": text,
    });
    trail.tell(live, action, RUNTIME, details.clone()).await?;
    live.happened(vec![NewEvent::new(action, details)]).await?;
    Ok(())
}

/// Returns whether the session waits for exactly this already, as one does that is carried on.
fn is_shown(live: &Live, reason: &str) -> bool {
    let view = live.view();
    view.state == SessionState::WaitingApproval && view.reason.as_deref() == Some(reason)
}

/// Has the session wait, and says why.
pub(super) async fn wait(live: &Live, reason: String) -> Result<(), WorkError> {
    if is_shown(live, &reason) {
        return Ok(());
    }
    if live.view().state == SessionState::WaitingApproval {
        live.update(Vec::new(), |view| view.reason = Some(reason))
            .await?;
    } else {
        live.move_to(SessionState::WaitingApproval, |view| {
            view.reason = Some(reason);
        })
        .await?;
    }
    Ok(())
}

/// Has the session go on as before it waited.
pub(super) async fn return_to(live: &Live, before: SessionState) -> Result<(), WorkError> {
    let now = live.view().state;
    let can_return = before != SessionState::Preparing && before != SessionState::WaitingApproval;
    if now != before && can_return {
        live.move_to(before, |view| view.reason = None).await?;
    }
    Ok(())
}

/// What is recorded of an approval right before what was approved is done.
pub(super) const USED: &str = "used up, to do exactly this";
