//! Keeps a session within its budget: what is used up waits for a person, who grants all of it once more.
//!
//! Invariant: nothing more is spent between the finding that a budget is used up and its grant; what
//! was granted is granted once, also across a restart of the runtime.

use config::contract::session::AutonomyMode;
use serde_json::json;

use super::Ending;
use super::budget;
use super::gate::Passage;
use super::halt::{self, Held, Order};
use super::live::Live;
use super::questions;
use super::run::{Agency, stopped};
use super::trail::RUNTIME;
use super::workshop::{WorkError, Workshop};
use crate::folder;
use crate::store::NewEvent;

impl Agency {
    /// Holds the session as long as a budget is used up; returns its end if it may not go on.
    pub(super) async fn keep_budget(
        &self,
        workshop: &Workshop<'_>,
    ) -> Result<Option<Ending>, WorkError> {
        let live = workshop.live;
        let place = workshop.folder.directory().to_owned();
        let disk_bytes = tokio::task::spawn_blocking(move || folder::bytes_below(&place)).await?;
        while let Some(why) = budget::exceeded(&live.view(), &self.settings().budget, disk_bytes) {
            tell(workshop, &why).await?;
            if live.view().autonomy_mode == AutonomyMode::Perpetual {
                if pause(workshop, &why).await? == Held::Stopped {
                    return Ok(Some(stopped(live)));
                }
                continue;
            }
            let question = questions::budget(&live.view(), &why);
            match self.pass(workshop, &question).await? {
                Passage::Open => grant(live).await?,
                Passage::Stopped => return Ok(Some(stopped(live))),
                Passage::Rejected { by, reason } => {
                    return Ok(Some(Ending::rejected(&by, &reason)));
                }
            }
        }
        Ok(None)
    }
}

/// Grants a budget that an earlier run of the runtime asked for, now that a person let the session go
/// on which was paused for that.
pub(super) async fn grant_if_asked(live: &Live) -> Result<(), WorkError> {
    if live.view().usage.budget_is_asked {
        grant(live).await?;
    }
    Ok(())
}

async fn tell(workshop: &Workshop<'_>, why: &str) -> Result<(), WorkError> {
    let details = json!({ "reason": why });
    let (live, trail) = (workshop.live, workshop.trail);
    trail
        .tell(live, "budget_exceeded", RUNTIME, details.clone())
        .await?;
    live.happened(vec![NewEvent::new("budget", details)])
        .await?;
    Ok(())
}

async fn pause(workshop: &Workshop<'_>, why: &str) -> Result<Held, WorkError> {
    let live = workshop.live;
    live.update(Vec::new(), |view| view.usage.budget_is_asked = true)
        .await?;
    let reason = format!("the budget is used up: {why}; to grant it again: loki resume");
    live.ask_to_pause(Order::by_runtime(reason));
    let held = halt::hold(live, workshop.trail).await?;
    if held == Held::Resumed {
        grant(live).await?;
    }
    Ok(held)
}

async fn grant(live: &Live) -> Result<(), WorkError> {
    let granted = NewEvent::new("budget", json!({ "granted": true }));
    live.update(vec![granted], |view| {
        view.usage.budget_is_asked = false;
        view.usage.budgets_granted = view.usage.budgets_granted.saturating_add(1);
    })
    .await?;
    Ok(())
}
