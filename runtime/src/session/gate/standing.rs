//! The gatekeeper that asks only what the runtime itself insists on, and remembers answers while it
//! lives: after a restart the session asks again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use config::contract::caller::Statement;
use config::contract::id::SessionId;
use tokio::sync::watch;

use super::{Asked, Decision, Gate, GateError, Gatekeeper, Later, Question};
use crate::session::live::Live;

/// Asks a person about changes of protected files alone.
#[derive(Debug, Default)]
pub struct Standing {
    waiting: Mutex<BTreeMap<String, watch::Sender<bool>>>,
}

impl Standing {
    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, watch::Sender<bool>>> {
        // The map is whole after every statement, so a panic elsewhere cannot have broken it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gatekeeper for Standing {
    fn ask<'later>(
        &'later self,
        session: &'later Live,
        question: &'later Question,
    ) -> Later<'later, Result<Asked, GateError>> {
        let asked = match question.gate {
            Gate::FirstRun
            | Gate::IterationEnd
            | Gate::HandOver
            | Gate::Push
            | Gate::PullRequest => Asked::Open,
            Gate::ProtectedFiles => {
                let approval = session.id().to_string();
                self.waiting()
                    .entry(approval.clone())
                    .or_insert_with(|| watch::Sender::new(false));
                let reason = question.summary.clone();
                Asked::Waits { approval, reason }
            }
        };
        Box::pin(std::future::ready(Ok(asked)))
    }

    fn decision<'later>(
        &'later self,
        _session: &'later Live,
        approval: &'later str,
    ) -> Later<'later, Result<Decision, GateError>> {
        let approved = self.waiting().get(approval).map(watch::Sender::subscribe);
        Box::pin(async move {
            let nothing = || GateError::NothingWaits("nothing was asked".to_owned());
            let mut approved = approved.ok_or_else(nothing)?;
            match approved.wait_for(|approved| *approved).await {
                Ok(_) => Ok(Decision::Approved),
                Err(_) => Err(nothing()),
            }
        })
    }

    fn consume<'later>(
        &'later self,
        _session: &'later Live,
        approval: &'later str,
        _question: &'later Question,
    ) -> Later<'later, Result<(), GateError>> {
        self.waiting().remove(approval);
        Box::pin(std::future::ready(Ok(())))
    }

    fn approve<'later>(
        &'later self,
        session: &'later SessionId,
        _statement: &'later Statement,
    ) -> Later<'later, Result<(), GateError>> {
        let answered = match self.waiting().get(session.as_str()) {
            Some(sender) => {
                sender.send_replace(true);
                Ok(())
            }
            None => Err(GateError::NothingWaits(format!(
                "session {session} waits for nothing"
            ))),
        };
        Box::pin(std::future::ready(answered))
    }
}
