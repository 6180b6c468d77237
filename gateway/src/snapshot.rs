//! Settings, tokens, issuer and certificate as one state, replaced as a whole.
//!
//! Invariant: a request sees one snapshot from start to end, and a connection's handshake one; a new
//! state is built completely before anybody sees it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use config::gateway::{GatewaySettings, Loaded, oidc};
use config::home::Home;
use config::load::Effective;
use rustls::server::{ProducesTickets, ServerConfig};
use tokio::task::AbortHandle;

use crate::authn::Schemes;
use crate::authn::oidc::fetch::FetchError;
use crate::authn::oidc::live::LiveIssuer;
use crate::certificate::{self, CertificateError};
use crate::tokens::index::Index;

/// One state.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Counts the states of this run from 1.
    pub(crate) generation: u64,
    /// When it was built.
    pub(crate) loaded_at: DateTime<Utc>,
    /// The settings.
    pub(crate) settings: GatewaySettings,
    /// The settings' values and origins.
    pub(crate) effective: Vec<Effective>,
    /// The TLS configuration; without it, plain HTTP.
    pub(crate) tls: Option<Tls>,
    tokens: Option<Arc<ArcSwap<Index>>>,
    issuer: Option<Arc<FollowedIssuer>>,
}

/// What a handshake needs.
#[derive(Debug)]
pub(crate) struct Tls {
    /// The configuration of the TLS library.
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the leaf (DER), as hex.
    pub(crate) leaf_sha256: String,
}

/// Why a state cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The issuer's settings cannot be used.
    #[error("cannot use the issuer: {0}")]
    Issuer(#[from] FetchError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What every state of a run is built from besides its settings.
#[derive(Debug)]
pub(crate) struct Materials {
    tokens: Arc<ArcSwap<Index>>,
    tickets: Arc<dyn ProducesTickets>,
}

impl Materials {
    /// Takes the tokens, which are followed by themselves, and makes the keys of session tickets.
    ///
    /// # Errors
    /// When the crypto library refuses.
    pub(crate) fn new(tokens: Arc<ArcSwap<Index>>) -> Result<Self, SnapshotError> {
        Ok(Self {
            tokens,
            tickets: certificate::tickets()?,
        })
    }
}

impl Snapshot {
    /// Builds a state. An issuer whose settings are as `before` stays in use with its keys.
    ///
    /// # Errors
    /// When the certificate or the issuer cannot be used.
    pub(crate) fn build(
        loaded: Loaded<GatewaySettings>,
        materials: &Materials,
        before: Option<&Self>,
        now: DateTime<Utc>,
    ) -> Result<Self, SnapshotError> {
        let settings = loaded.settings;
        let tls = match &settings.tls {
            Some(files) => Some(Tls::load(files, materials, now)?),
            None => None,
        };
        let issuer = match &settings.oidc {
            Some(issuer) => Some(FollowedIssuer::like(issuer, &settings.home, before)?),
            None => None,
        };
        Ok(Self {
            generation: before.map_or(1, |before| before.generation + 1),
            loaded_at: now,
            tokens: settings
                .opaque_tokens
                .then(|| Arc::clone(&materials.tokens)),
            tls,
            issuer,
            settings,
            effective: loaded.effective,
        })
    }

    /// Returns what credentials are checked against.
    pub(crate) fn schemes(&self) -> Schemes<'_> {
        Schemes {
            tokens: self.tokens.as_deref(),
            issuer: self.issuer.as_deref().map(|issuer| &*issuer.live),
        }
    }

    /// Returns the scheme that callers use.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl Tls {
    fn load(
        files: &config::gateway::Tls,
        materials: &Materials,
        now: DateTime<Utc>,
    ) -> Result<Self, SnapshotError> {
        let certificate = certificate::load(files, now)?;
        Ok(Self {
            config: certificate::server_config(&certificate, Arc::clone(&materials.tickets))?,
            leaf_sha256: certificate.leaf_sha256,
        })
    }
}

/// An issuer whose keys are looked at until the last snapshot that holds it is gone.
#[derive(Debug)]
struct FollowedIssuer {
    settings: oidc::Issuer,
    live: Arc<LiveIssuer>,
    looking: AbortHandle,
}

impl FollowedIssuer {
    fn like(
        settings: &oidc::Issuer,
        home: &Home,
        before: Option<&Snapshot>,
    ) -> Result<Arc<Self>, FetchError> {
        let kept = before
            .and_then(|before| before.issuer.as_ref())
            .filter(|kept| kept.settings == *settings);
        if let Some(kept) = kept {
            return Ok(Arc::clone(kept));
        }
        let live = Arc::new(LiveIssuer::new(settings.clone(), home)?);
        Ok(Arc::new(Self {
            settings: settings.clone(),
            looking: live.watch(),
            live,
        }))
    }
}

impl Drop for FollowedIssuer {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
