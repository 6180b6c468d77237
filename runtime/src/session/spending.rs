//! Keeps a session within its budget: what is used up waits for a person, who grants all of it once more.
//!
//! Invariant: nothing more is spent between the finding that a budget is used up and its grant; what
//! was granted is granted once, also across a restart of the runtime.

use std::time::{Duration, Instant};

use config::contract::session::{AutonomyMode, SessionView};
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior};

use super::Ending;
use super::agent::cost;
use super::budget;
use super::gate::Passage;
use super::halt::{self, Held, Order};
use super::live::Live;
use super::questions;
use super::run::{Agency, stopped};
use super::trail::{RUNTIME, Trail};
use super::workshop::{WorkError, Workshop};
use crate::folder;
use crate::provider::dialect::Spent;
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
                Passage::Open => grant(live, workshop.trail).await?,
                Passage::Stopped => return Ok(Some(stopped(live))),
                Passage::Rejected { by, reason } => {
                    return Ok(Some(Ending::rejected(&by, &reason)));
                }
            }
        }
        Ok(None)
    }
}

/// Watches over what an agent's run uses while it goes on.
#[derive(Debug)]
pub(super) struct Meter<'run> {
    agency: &'run Agency,
    workshop: &'run Workshop<'run>,
    looks: Interval,
    began: Instant,
    held: Duration,
    count: u32,
    disk_bytes: u64,
}

impl<'run> Meter<'run> {
    /// Begins to watch.
    pub(super) fn new(agency: &'run Agency, workshop: &'run Workshop<'run>) -> Self {
        let mut looks = tokio::time::interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            agency,
            workshop,
            looks,
            began: Instant::now(),
            held: workshop.live.held(),
            count: 0,
            disk_bytes: 0,
        }
    }

    /// Waits until it is time to look. Safe to cancel.
    pub(super) async fn next(&mut self) {
        self.looks.tick().await;
    }

    /// Tells which budget is used up, with what this run has used so far.
    pub(super) async fn exceeded(&mut self, spent: Spent) -> Result<Option<String>, WorkError> {
        if self.count.is_multiple_of(DISK_LOOKS) {
            let place = self.workshop.folder.directory().to_owned();
            self.disk_bytes =
                tokio::task::spawn_blocking(move || folder::bytes_below(&place)).await?;
        }
        self.count = self.count.wrapping_add(1);
        let live = self.workshop.live;
        let mut view = SessionView::clone(&live.view());
        let usage = &mut view.usage;
        usage.input_tokens = usage.input_tokens.saturating_add(spent.input_tokens);
        usage.output_tokens = usage.output_tokens.saturating_add(spent.output_tokens);
        let held = live.held().saturating_sub(self.held);
        usage.work_seconds += self.began.elapsed().saturating_sub(held).as_secs_f64();
        if let Some(usd) = cost(&live.assignment().provider, spent) {
            view.cost_usd = Some(view.cost_usd.unwrap_or(0.0) + usd);
        }
        let budget = &self.agency.settings().budget;
        Ok(budget::exceeded(&view, budget, self.disk_bytes))
    }

    /// Holds a frozen run until a person grants the budget once more, or does not.
    pub(super) async fn hold(&self, why: &str) -> Result<Passage, WorkError> {
        let live = self.workshop.live;
        tell(self.workshop, why).await?;
        if live.view().autonomy_mode == AutonomyMode::Perpetual {
            return Ok(match pause(self.workshop, why).await? {
                Held::Resumed => Passage::Open,
                Held::Stopped => Passage::Stopped,
            });
        }
        let since = Instant::now();
        let question = questions::budget(&live.view(), why);
        let passage = self.agency.pass(self.workshop, &question).await?;
        live.was_held(since.elapsed());
        if passage == Passage::Open {
            grant(live, self.workshop.trail).await?;
        }
        Ok(passage)
    }
}

/// Grants a budget that an earlier run of the runtime asked for, now that a person let the session go
/// on which was paused for that.
pub(super) async fn grant_if_asked(live: &Live, trail: &Trail) -> Result<(), WorkError> {
    if live.view().usage.budget_is_asked {
        grant(live, trail).await?;
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
        grant(live, workshop.trail).await?;
    }
    Ok(held)
}

/// Grants the whole budget once more; who did so is in the record before.
async fn grant(live: &Live, trail: &Trail) -> Result<(), WorkError> {
    let times = live.view().usage.budgets_granted.saturating_add(1);
    let details = json!({ "times": times });
    trail.tell(live, "budget_grant", RUNTIME, details).await?;
    let granted = NewEvent::new("budget", json!({ "granted": true }));
    live.update(vec![granted], |view| {
        view.usage.budget_is_asked = false;
        view.usage.budgets_granted = view.usage.budgets_granted.saturating_add(1);
    })
    .await?;
    Ok(())
}

/// Time between two looks at what a run uses.
const LOOKS: Duration = Duration::from_secs(1);

/// The disk is looked at once in so many looks.
const DISK_LOOKS: u32 = 10;
