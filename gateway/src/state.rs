//! What all requests share. Background work publishes into it; a request only reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use config::gateway::GatewaySettings;
use config::home::Home;

use crate::audit::Audit;
use crate::authn::Schemes;
use crate::authn::oidc::issuers::Issuers;
use crate::idempotency::Answers;
use crate::metrics::Metrics;
use crate::rates::Rates;
use crate::runtime_client::RuntimeClient;
use crate::statement::Statements;
use crate::suppression::Suppression;
use crate::throttle::Throttle;
use crate::tokens::index::Index;

/// Everything that a request may look at.
#[derive(Debug)]
pub(crate) struct State {
    /// The settings of this run.
    pub(crate) settings: GatewaySettings,
    /// The tokens, swapped as a whole.
    pub(crate) tokens: Arc<ArcSwap<Index>>,
    /// The issuers whose tokens are accepted too.
    pub(crate) issuers: Arc<Issuers>,
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
    /// Bounds how often one caller may ask.
    pub(crate) rates: Rates,
    /// Slows down whoever tries credentials.
    pub(crate) throttle: Throttle,
    /// Answers that asking again gets again.
    pub(crate) idempotency: Answers,
    /// Whether the gateway is stopping.
    pub(crate) draining: AtomicBool,
}

impl State {
    /// Returns whether the gateway is stopping.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Returns the data directory.
    pub(crate) const fn home(&self) -> &Home {
        &self.settings.home
    }

    /// Returns the issuers whose tokens are accepted too.
    pub(crate) const fn issuers(&self) -> &Arc<Issuers> {
        &self.issuers
    }

    /// Returns what credentials are checked against.
    pub(crate) fn schemes(&self) -> Schemes<'_> {
        Schemes {
            tokens: self.settings.opaque_tokens.then_some(&*self.tokens),
            withdrawn: &self.tokens,
            issuers: &self.issuers,
        }
    }

    /// Returns the scheme that callers use.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.settings.tls.is_some() {
            "https"
        } else {
            "http"
        }
    }
}
