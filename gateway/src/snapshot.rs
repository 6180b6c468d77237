//! Settings, tokens, issuers and certificate as one state, replaced as a whole.
//!
//! Invariant: a request sees one snapshot from start to end, and a connection's handshake one; a new
//! state is built completely before anybody sees it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use config::gateway::{GatewaySettings, Loaded};
use config::load::Effective;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, ServerConfig};

use crate::admission::Admitted;
use crate::authn::Schemes;
use crate::authn::client_certificate::PeerCertificate;
use crate::authn::oidc::fetch::FetchError;
use crate::authn::oidc::issuers::Issuers;
use crate::certificate::{self, CertificateError};
use crate::clock;
use crate::metrics::TokenCounts;
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
    /// The tokens, which are followed by themselves.
    pub(crate) tokens: Arc<ArcSwap<Index>>,
    /// The issuers whose tokens are accepted too.
    pub(crate) issuers: Issuers,
}

/// What a handshake needs.
#[derive(Debug)]
pub(crate) struct Tls {
    /// The configuration of the TLS library.
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the main pair's leaf (DER), as hex.
    pub(crate) leaf_sha256: String,
    /// The authorities of clients, if there are any.
    authorities: Option<Vouching>,
    /// The first state with these authorities.
    pub(crate) authorities_since: u64,
    tickets: Arc<dyn ProducesTickets>,
}

/// Who vouches for clients.
#[derive(Debug)]
struct Vouching {
    /// SHA-256 of the authorities, as hex.
    sha256: String,
    verifier: Arc<dyn ClientCertVerifier>,
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

impl Snapshot {
    /// Builds a state; the tokens are followed by themselves. Issuers whose settings are as `before` stay in
    /// use with their keys.
    ///
    /// # Errors
    /// When the certificate or the issuer cannot be used.
    pub(crate) fn build(
        loaded: Loaded<GatewaySettings>,
        tokens: &Arc<ArcSwap<Index>>,
        before: Option<&Self>,
        now: DateTime<Utc>,
    ) -> Result<Self, SnapshotError> {
        let settings = loaded.settings;
        let tls = match &settings.tls {
            Some(files) => Some(Tls::load(files, before, now)?),
            None => None,
        };
        let kept = before.map(|before| &before.issuers);
        let issuers = Issuers::new(&settings.issuers, &settings.home, kept)?;
        Ok(Self {
            generation: before.map_or(1, |before| before.generation + 1),
            loaded_at: now,
            tokens: Arc::clone(tokens),
            tls,
            issuers,
            settings,
            effective: loaded.effective,
        })
    }

    /// Returns what credentials are checked against, on a connection with this certificate.
    pub(crate) fn schemes<'a>(
        &'a self,
        certificate: Option<&'a PeerCertificate>,
        now: DateTime<Utc>,
    ) -> Schemes<'a> {
        let certificate = certificate.filter(|certificate| self.vouches_for(certificate, now));
        Schemes {
            tokens: self.settings.opaque_tokens.then_some(&*self.tokens),
            withdrawn: &self.tokens,
            issuers: &self.issuers,
            certificate,
            principals: self
                .settings
                .tls
                .as_ref()
                .map_or(&[], |tls| tls.principals()),
        }
    }

    /// Returns whether the authorities of clients vouch for a certificate, which others may have
    /// vouched for when its connection began.
    pub(crate) fn vouches_for(&self, certificate: &PeerCertificate, now: DateTime<Utc>) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| match &tls.authorities {
            Some(vouching) => certificate.is_of(&*vouching.verifier, tls.authorities_since, now),
            None => false,
        })
    }

    /// Returns whether somebody starts a session for which nobody else could approve, as far as the
    /// gateway knows: whom an issuer or a certificate's authority vouches for, it does not.
    pub(crate) fn is_sole_approver(&self, admitted: &Admitted) -> bool {
        if admitted.operation().name != "session.start" {
            return false;
        }
        let others = !self.issuers.is_empty()
            || self
                .settings
                .tls
                .as_ref()
                .is_some_and(|tls| !tls.principals().is_empty());
        let principal = &admitted.caller().principal;
        !others
            && !self
                .tokens
                .load()
                .another_may_approve(principal, clock::now())
    }

    /// Counts the tokens; none where no tokens are accepted.
    pub(crate) fn token_counts(&self, now: DateTime<Utc>) -> Option<TokenCounts> {
        self.settings
            .opaque_tokens
            .then(|| self.tokens.load().counts(now))
    }

    /// Returns since when the keys of one issuer were not seen, the longest of all; none where no
    /// keys are known.
    pub(crate) fn issuer_keys_age(&self, now: DateTime<Utc>) -> Option<Duration> {
        self.issuers.keys_age_max(now)
    }

    /// Returns the scheme that callers use.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl Tls {
    fn load(
        settings: &config::gateway::tls::Tls,
        before: Option<&Snapshot>,
        now: DateTime<Utc>,
    ) -> Result<Self, SnapshotError> {
        let pairs = settings
            .pairs()
            .map(|pair| certificate::load(pair, now))
            .collect::<Result<Vec<_>, _>>()?;
        let authorities = settings
            .client
            .as_ref()
            .map(|client| certificate::load_authorities(&client.ca))
            .transpose()?;
        let sha256 = authorities.as_ref().map(|found| &found.sha256);
        // A resumed session is believed what its first handshake proved, so the keys of tickets
        // change with whom clients are believed.
        let kept = before
            .and_then(|before| before.tls.as_ref())
            .filter(|tls| tls.authorities_sha256() == sha256);
        let tickets = match kept {
            Some(tls) => Arc::clone(&tls.tickets),
            None => certificate::tickets()?,
        };
        let generation = before.map_or(1, |before| before.generation + 1);
        Ok(Self {
            config: certificate::server_config(
                settings,
                &pairs,
                authorities.as_ref(),
                Arc::clone(&tickets),
            )?,
            leaf_sha256: pairs
                .first()
                .map(|pair| pair.leaf_sha256.clone())
                .unwrap_or_default(),
            authorities_since: kept.map_or(generation, |tls| tls.authorities_since),
            authorities: authorities
                .map(|found| {
                    Ok::<_, rustls::Error>(Vouching {
                        verifier: found.verifier()?,
                        sha256: found.sha256,
                    })
                })
                .transpose()?,
            tickets,
        })
    }

    fn authorities_sha256(&self) -> Option<&String> {
        self.authorities.as_ref().map(|vouching| &vouching.sha256)
    }
}
