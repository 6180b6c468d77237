//! Puts a renewed certificate in use without touching a connection, and waits for the end.
//!
//! Invariant: a bad new pair keeps the old one; either way the operator is told in log, metric
//! and audit.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::gateway::Tls;
use serde_json::{Map, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::record::{Draft, Outcome, Phase, SYSTEM};
use crate::certificate::{self, ActiveCertificate};
use crate::clock;
use crate::endpoint::EndpointFile;
use crate::state::State;

/// The audit action of a reload.
pub(crate) const CERTIFICATE_RELOAD: &str = "certificate.reload";

/// Time between two looks at the certificate's files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Follows the certificate's files and the process's signals.
#[derive(Debug)]
pub(crate) struct Reload {
    state: Arc<State>,
    certificate: Option<Arc<ActiveCertificate>>,
    endpoint: EndpointFile,
    seen: Option<Seen>,
    signals: Signals,
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

/// What identifies the state of both files.
type Seen = [(u64, i64, i64, u64); 2];

impl Reload {
    /// Begins with the pair in use.
    pub(crate) fn new(
        state: Arc<State>,
        certificate: Option<Arc<ActiveCertificate>>,
        endpoint: EndpointFile,
        signals: Signals,
    ) -> Self {
        let seen = state.settings.tls.as_ref().and_then(look);
        Self {
            state,
            certificate,
            endpoint,
            seen,
            signals,
        }
    }

    /// Returns the announced endpoint.
    pub(crate) const fn endpoint(&self) -> &EndpointFile {
        &self.endpoint
    }

    /// Reloads on SIGHUP and when the files change, until SIGTERM or SIGINT; returns which.
    pub(crate) async fn until_told_to_stop(&mut self) -> &'static str {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = self.signals.terminate.recv() => return "SIGTERM",
                _ = self.signals.interrupt.recv() => return "SIGINT",
                _ = self.signals.hang_up.recv() => self.reload("SIGHUP"),
                _ = looks.tick() => {
                    if self.state.settings.tls.as_ref().and_then(look) != self.seen {
                        self.reload("file change");
                    }
                }
            }
        }
    }

    fn reload(&mut self, cause: &'static str) {
        let (Some(tls), Some(active)) = (&self.state.settings.tls, &self.certificate) else {
            return;
        };
        // Looked at before the files are read: a change meanwhile is seen next time.
        self.seen = look(tls);
        let failure =
            match certificate::load(tls, clock::now()) {
                Ok(renewed) if renewed.leaf_sha256 == active.leaf_sha256() => return,
                Ok(renewed) => {
                    let sha256 = renewed.leaf_sha256.clone();
                    active.replace(renewed);
                    tracing::info!(cause, sha256, "certificate reloaded");
                    self.endpoint.replace_certificate(sha256).err().map(|error| {
                    format!("cannot announce the renewed certificate to the command line: {error}")
                })
                }
                Err(error) => Some(error.to_string()),
            };
        if let Some(failure) = &failure {
            tracing::error!(
                cause,
                failure,
                "certificate not reloaded; the old one stays in use"
            );
        }
        self.record(cause, failure);
    }

    fn record(&self, cause: &'static str, failure: Option<String>) {
        self.state.metrics.certificate_reload(failure.is_none());
        let outcome = if failure.is_none() {
            Outcome::Done
        } else {
            Outcome::Failed
        };
        let mut details = Map::from_iter([("cause".to_owned(), Value::from(cause))]);
        if let Some(failure) = failure {
            details.insert("failure".to_owned(), failure.into());
        }
        self.state.audit.later_now(Draft {
            user: SYSTEM,
            resource: "certificate",
            details: Some(&details),
            ..Draft::new(CERTIFICATE_RELOAD, Phase::Event, outcome)
        });
    }
}

/// Looks at both files; none if one of them cannot be seen, as in the middle of a replacement.
fn look(tls: &Tls) -> Option<Seen> {
    let identity = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((
            metadata.ino(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.len(),
        ))
    };
    Some([identity(&tls.certificate)?, identity(&tls.key)?])
}
