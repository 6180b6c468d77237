//! Puts a new state of settings and certificate in use without touching a connection, and waits for
//! the end.
//!
//! Invariant: a bad new state keeps the old one as a whole; either way the operator is told in log,
//! metric, audit and `loki config status`.

mod look;
mod reloads;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::SecondsFormat;
use config::contract::reload::Attempt;
use config::gateway::reload::{Difference, difference};
use config::gateway::{GatewaySettings, Loaded};
use config::load::Mistakes;
use serde_json::{Map, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::record::{Draft, Outcome, Phase, SYSTEM};
use crate::clock;
use crate::endpoint::EndpointFile;
use crate::service_manager::ServiceManager;
use crate::settings_change;
use crate::settings_source::SettingsSource;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::state::State;
use crate::tokens::index::Index;
pub(crate) use look::Looks;
pub(crate) use reloads::{Asks, Reloads};

/// The audit action of an attempt to take a new state into use.
pub(crate) const CONFIG_RELOAD: &str = "config.reload";

/// The audit action of a renewed certificate, or of one that cannot be used.
pub(crate) const CERTIFICATE_RELOAD: &str = "certificate.reload";

/// Time between two looks at the files; a change counts once it has settled for one.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Follows the files, the process's signals and the operators' commands.
#[derive(Debug)]
pub(crate) struct Reload {
    /// Where the new state is published.
    pub(crate) state: Arc<State>,
    /// Where the settings come from.
    pub(crate) source: SettingsSource,
    /// The tokens, which are followed by themselves.
    pub(crate) tokens: Arc<ArcSwap<Index>>,
    /// The announced endpoint.
    pub(crate) endpoint: EndpointFile,
    /// What was seen of the files.
    pub(crate) looks: Looks,
    /// The signals.
    pub(crate) signals: Signals,
    /// The operators' commands.
    pub(crate) asks: Asks,
    /// Who is told about it.
    pub(crate) manager: ServiceManager,
}

/// Why a new state is not taken into use.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("the settings have mistakes")]
    Mistakes(#[from] Mistakes),
    #[error(
        "{} cannot change while the gateway runs: restart it, or set it back", .0.join(", ")
    )]
    Restart(Vec<String>),
    #[error("authentication cannot be switched off while the gateway runs: restart it")]
    OpenDoor,
    #[error("TLS cannot be switched on or off while the gateway runs: restart it")]
    OtherScheme,
    #[error(transparent)]
    Unusable(#[from] SnapshotError),
    #[error("cannot record the change: {0}")]
    NotRecorded(io::Error),
}

impl Rejected {
    /// Says everything that is wrong, one text each.
    fn failures(&self) -> Vec<String> {
        match self {
            Self::Mistakes(mistakes) => mistakes.0.iter().map(ToString::to_string).collect(),
            Self::Restart(_)
            | Self::OpenDoor
            | Self::OtherScheme
            | Self::Unusable(_)
            | Self::NotRecorded(_) => vec![self.to_string()],
        }
    }

    const fn is_about_certificate(&self) -> bool {
        matches!(self, Self::Unusable(SnapshotError::Certificate(_)))
    }
}

/// The signals that the gateway listens for. Until they are installed each of them ends the
/// process, so that is done before anybody learns that there is a gateway.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// When the system refuses them.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

impl Reload {
    /// Reloads on SIGHUP, on command and when the files change, until SIGTERM or SIGINT; returns
    /// which.
    pub(crate) async fn until_told_to_stop(&mut self) -> &'static str {
        self.looks = Looks::begin(&files(&self.source, &self.state.snapshot()));
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = self.signals.terminate.recv() => return "SIGTERM",
                _ = self.signals.interrupt.recv() => return "SIGINT",
                _ = self.signals.hang_up.recv() => self.reload("SIGHUP").await,
                answer = self.asks.next() => {
                    self.reload("command").await;
                    let status = self.state.reloads.status(&self.state.current.load());
                    if answer.send(status).is_err() {
                        tracing::debug!("whoever asked for a reload is gone");
                    }
                }
                _ = ticks.tick() => {
                    if self.looks.have_changed(&files(&self.source, &self.state.snapshot())) {
                        self.reload("file change").await;
                    }
                }
            }
        }
    }

    async fn reload(&mut self, cause: &'static str) {
        let before = self.state.snapshot();
        // Looked at before the files are read: a change meanwhile is seen next time.
        self.looks = Looks::begin(&files(&self.source, &before));
        let mut changed = Vec::new();
        let failures = match self.attempt(&before, &mut changed).await {
            Ok(after) => {
                self.looks = Looks::begin(&files(&self.source, &after));
                tracing::info!(cause, generation = after.generation, "settings reloaded");
                self.tell_certificate(cause, &before, &after);
                Vec::new()
            }
            Err(rejected) => {
                let failures = rejected.failures();
                tracing::error!(
                    cause,
                    failure = failures.join("; "),
                    "settings not reloaded; the old ones stay in use"
                );
                if rejected.is_about_certificate() {
                    self.record(CERTIFICATE_RELOAD, "certificate", cause, &[], &failures);
                    self.state.metrics.certificate_reload(false);
                }
                failures
            }
        };
        let status = match failures.first() {
            None => format!("state {} in use", self.state.snapshot().generation),
            Some(failure) => format!("the last reload was rejected: {failure}"),
        };
        self.manager
            .tell(&format!("STATUS={}", status.replace('\n', " ")));
        self.state.metrics.reload(failures.is_empty());
        self.record(CONFIG_RELOAD, "config:gateway", cause, &changed, &failures);
        self.state.reloads.remember(Attempt {
            at: clock::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            cause: cause.to_owned(),
            done: failures.is_empty(),
            changed,
            failures,
        });
    }

    /// Builds the new state from what the operator set, and publishes it.
    async fn attempt(
        &mut self,
        before: &Snapshot,
        changed: &mut Vec<String>,
    ) -> Result<Arc<Snapshot>, Rejected> {
        let loaded = self.source.load()?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let found = difference(&before.effective, &loaded.effective);
        changed.clone_from(&found.changed);
        refuse_what_cannot_change(before, &loaded, found)?;
        let after = Snapshot::build(loaded, &self.tokens, Some(before), clock::now())?;
        settings_change::record(&self.state.home, &after.effective, &self.state.audit)
            .await
            .map_err(Rejected::NotRecorded)?;
        let after = Arc::new(after);
        self.state.current.store(Arc::clone(&after));
        self.state.reloaded.send_replace(after.generation);
        if let Err(error) = self.endpoint.follow(&after) {
            tracing::error!(%error, "cannot announce the new state to the command line");
        }
        Ok(after)
    }

    fn tell_certificate(&self, cause: &'static str, before: &Snapshot, after: &Snapshot) {
        let leaf = |snapshot: &Snapshot| snapshot.tls.as_ref().map(|tls| tls.leaf_sha256.clone());
        if let Some(sha256) = leaf(after).filter(|sha256| leaf(before).as_ref() != Some(sha256)) {
            tracing::info!(cause, sha256, "certificate reloaded");
            self.record(CERTIFICATE_RELOAD, "certificate", cause, &[], &[]);
            self.state.metrics.certificate_reload(true);
        }
    }

    fn record(
        &self,
        action: &'static str,
        resource: &str,
        cause: &'static str,
        changed: &[String],
        failures: &[String],
    ) {
        let outcome = if failures.is_empty() {
            Outcome::Done
        } else {
            Outcome::Failed
        };
        let mut details = Map::from_iter([("cause".to_owned(), Value::from(cause))]);
        for (name, texts) in [("changed", changed), ("failure", failures)] {
            if !texts.is_empty() {
                details.insert(name.to_owned(), texts.join("; ").into());
            }
        }
        self.state.audit.later_now(Draft {
            user: SYSTEM,
            resource,
            details: Some(&details),
            ..Draft::new(action, Phase::Event, outcome)
        });
    }
}

fn refuse_what_cannot_change(
    before: &Snapshot,
    loaded: &Loaded<GatewaySettings>,
    found: Difference,
) -> Result<(), Rejected> {
    if !found.restart.is_empty() {
        return Err(Rejected::Restart(found.restart));
    }
    // Connections were accepted without a look at whose they are.
    if before.settings.tokens_required && !loaded.settings.tokens_required {
        return Err(Rejected::OpenDoor);
    }
    if before.settings.tls.is_some() != loaded.settings.tls.is_some() {
        return Err(Rejected::OtherScheme);
    }
    Ok(())
}

/// The files that make up a state.
fn files(source: &SettingsSource, snapshot: &Snapshot) -> Vec<PathBuf> {
    let mut files = vec![source.file().to_owned()];
    if let Some(tls) = &snapshot.settings.tls {
        files.extend(tls.files());
    }
    files
}
