//! What requests know of reloads: the last attempt, and a way to ask for one.

use std::path::PathBuf;

use arc_swap::ArcSwapOption;
use chrono::SecondsFormat;
use config::contract::reload::{Attempt, SettingsStatus};
use tokio::sync::{mpsc, oneshot};

use crate::snapshot::Snapshot;

/// Most requests that wait for a reload at once.
const WAITING_MAX: usize = 16;

type Answer = oneshot::Sender<SettingsStatus>;

/// The requests' side.
#[derive(Debug)]
pub(crate) struct Reloads {
    file: PathBuf,
    last_attempt: ArcSwapOption<Attempt>,
    asks: mpsc::Sender<Answer>,
}

/// The other side, which carries reloads out.
#[derive(Debug)]
pub(crate) struct Asks(mpsc::Receiver<Answer>);

impl Reloads {
    /// Begins without an attempt.
    pub(crate) fn new(file: PathBuf) -> (Self, Asks) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let reloads = Self {
            file,
            last_attempt: ArcSwapOption::empty(),
            asks: sender,
        };
        (reloads, Asks(receiver))
    }

    /// Has the settings read anew; none if the gateway is stopping.
    pub(crate) async fn ask(&self) -> Option<SettingsStatus> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(answer).await.ok()?;
        answered.await.ok()
    }

    /// Keeps an attempt for whoever asks.
    pub(super) fn remember(&self, attempt: Attempt) {
        self.last_attempt.store(Some(attempt.into()));
    }

    /// Tells which settings are in use.
    pub(crate) fn status(&self, snapshot: &Snapshot) -> SettingsStatus {
        SettingsStatus {
            generation: snapshot.generation,
            loaded_at: snapshot
                .loaded_at
                .to_rfc3339_opts(SecondsFormat::Millis, true),
            file: self.file.display().to_string(),
            last_attempt: self.last_attempt.load().as_deref().cloned(),
        }
    }
}

impl Asks {
    /// Returns the next one who asks; never, once nobody can.
    pub(super) async fn next(&mut self) -> Answer {
        match self.0.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}
