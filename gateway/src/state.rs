//! What all requests share. Background work publishes into it; a request only reads.

use std::sync::Arc;

use arc_swap::ArcSwap;
use config::home::Home;
use tokio::sync::watch;

use crate::audit::Audit;
use crate::authn::client_certificate::PeerCertificates;
use crate::forward::Kept;
use crate::idempotency::Answers;
use crate::metrics::Metrics;
use crate::rates::Rates;
use crate::reload::Reloads;
use crate::runtime_client::RuntimeClient;
use crate::snapshot::Snapshot;
use crate::statement::Statements;
use crate::stream::Streams;
use crate::suppression::Suppression;
use crate::throttle::Throttle;

/// Everything that a request may look at.
#[derive(Debug)]
pub(crate) struct State {
    /// Settings, tokens, issuer and certificate, replaced as a whole.
    pub(crate) current: ArcSwap<Snapshot>,
    /// How the current snapshot is replaced.
    pub(crate) reloads: Reloads,
    /// The data directory of this run.
    pub(crate) home: Home,
    /// Whether this run writes the audit trail.
    pub(crate) audit_enabled: bool,
    /// The audit trail.
    pub(crate) audit: Audit,
    /// The instruments.
    pub(crate) metrics: Metrics,
    /// Makes caller statements.
    pub(crate) statements: Statements,
    /// Asks the runtime on the gateway's own behalf.
    pub(crate) runtime: RuntimeClient,
    /// Bounds the records of refused callers.
    pub(crate) suppression: Suppression,
    /// The clients' certificates of live connections.
    pub(crate) peer_certificates: PeerCertificates,
    /// The connections to the runtime that wait for a request.
    pub(crate) kept: Kept,
    /// The open streams, by principal.
    pub(crate) streams: Streams,
    /// Bounds how often one caller may ask.
    pub(crate) rates: Rates,
    /// Slows down whoever tries credentials.
    pub(crate) throttle: Throttle,
    /// Answers that asking again gets again.
    pub(crate) idempotency: Answers,
    /// Tells the newest state's generation to whoever waits for one.
    pub(crate) reloaded: watch::Sender<u64>,
    /// Turns true once, when the gateway is told to stop.
    pub(crate) stopping: watch::Sender<bool>,
}

impl State {
    /// Returns the state to judge a request by, from its start to its end.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Returns whether the gateway is stopping.
    pub(crate) fn is_draining(&self) -> bool {
        *self.stopping.borrow()
    }
}
