//! The table of long-lived sandboxes that begin, run or end.
//!
//! Invariant: an id has one place, from before anything is made for it until everything was handed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::contract::id::SessionId;
use config::contract::sandbox::SandboxView;

use super::running::{Held, Stop};
use super::{Inner, StandingError};

/// What the runtime holds.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// None while it begins, or is handed over.
    pub(super) places: BTreeMap<SessionId, Option<Arc<Held>>>,
    /// Set at shutdown: nothing more is started.
    pub(super) closed: bool,
}

/// The place of one sandbox in the table; dropping it makes it free.
#[derive(Debug)]
pub(super) struct Place {
    inner: Arc<Inner>,
    id: SessionId,
}

impl Place {
    /// Takes the place of a sandbox that is to run, if as many may.
    pub(super) fn take_to_run(
        inner: &Arc<Inner>,
        view: &SandboxView,
    ) -> Result<Self, StandingError> {
        let live_max = usize::try_from(inner.agency.settings().sandbox.live_max);
        Self::take_within(inner, view, live_max.unwrap_or(usize::MAX))
    }

    /// Takes the place of a sandbox that does not run.
    pub(super) fn take(inner: &Arc<Inner>, view: &SandboxView) -> Result<Self, StandingError> {
        Self::take_within(inner, view, usize::MAX)
    }

    fn take_within(
        inner: &Arc<Inner>,
        view: &SandboxView,
        live_max: usize,
    ) -> Result<Self, StandingError> {
        let mut table = inner.table();
        if table.closed {
            return Err(StandingError::Closed);
        }
        if table.places.contains_key(&view.id) {
            return Err(StandingError::Taken {
                name: view.name.clone(),
                project: view.project.clone(),
            });
        }
        if table.places.len() >= live_max {
            return Err(StandingError::TooMany(LIVE));
        }
        table.places.insert(view.id.clone(), None);
        Ok(Self {
            inner: Arc::clone(inner),
            id: view.id.clone(),
        })
    }

    /// Puts a sandbox that runs now into its place.
    pub(super) fn fill(&self, held: &Arc<Held>) {
        let mut table = self.inner.table();
        if table.closed {
            held.stop.send_replace(Some(Stop::shutdown()));
        }
        table.places.insert(self.id.clone(), Some(Arc::clone(held)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.table().places.remove(&self.id);
    }
}

const LIVE: &str = "as many sandboxes run as the setting sandbox.live_max allows";
