//! All issuers in use, and the tokens of theirs that were found good.
//!
//! Invariant: whose keys are asked is decided by the token's `iss` alone, and no issuer's key ever
//! vouches for another. What is remembered holds as long as the settings and the issuer's keys.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use config::gateway::oidc::{Algorithm, Issuer};
use config::home::Home;
use tokio::task::AbortHandle;

use super::fault::Fault;
use super::fetch::FetchError;
use super::jws::Sealed;
use super::live::{LiveIssuer, Rejected};
use super::verified::{Remembered, Verified};
use crate::credential::Credential;

/// The issuers of one settings snapshot.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    list: Vec<Arc<LiveIssuer>>,
    by_url: HashMap<String, usize>,
    algorithms: Vec<Algorithm>,
    verified: Verified,
}

impl Issuers {
    /// Takes issuers into use; those of `before` whose settings are the same go on as they are.
    ///
    /// # Errors
    /// When the certificate authorities of one cannot be used.
    pub(crate) fn new(
        settings: &[Issuer],
        home: &Home,
        before: Option<&Self>,
    ) -> Result<Self, FetchError> {
        let mut issuers = Self::default();
        for issuer in settings {
            let known = before.and_then(|before| {
                before
                    .list
                    .iter()
                    .find(|live| live.settings() == issuer)
                    .map(Arc::clone)
            });
            let live = match known {
                Some(live) => live,
                None => Arc::new(LiveIssuer::new(issuer.clone(), home)?),
            };
            let new = issuer
                .algorithms
                .iter()
                .filter(|one| !issuers.algorithms.contains(one));
            issuers.algorithms.extend(new.copied().collect::<Vec<_>>());
            issuers
                .by_url
                .insert(issuer.url.clone(), issuers.list.len());
            issuers.list.push(live);
        }
        Ok(issuers)
    }

    /// Begins looking at the keys of all in the background.
    pub(crate) fn watch(&self) -> Vec<AbortHandle> {
        self.list.iter().map(LiveIssuer::watch).collect()
    }

    /// Returns whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns them, in the order of the settings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &LiveIssuer> {
        self.list.iter().map(|live| &**live)
    }

    /// Returns the credential that a token is. `patient` callers may wait a second for new keys.
    ///
    /// # Errors
    /// When the token is at fault, or its issuer's keys are not known.
    pub(crate) async fn credential(
        &self,
        token: &str,
        now: DateTime<Utc>,
        patient: bool,
    ) -> Result<Arc<Credential>, Rejected> {
        let digest = Verified::digest(token);
        let second = now.timestamp();
        if let Some(known) = self.verified.find(&digest, second)
            && self.list[known.issuer].stamp(now) == Some(known.stamp)
        {
            return Ok(known.credential);
        }
        let sealed = Sealed::read(token, &self.algorithms).map_err(Rejected::Fault)?;
        let claimed = sealed.claimed_issuer().map_err(Rejected::Fault)?;
        let position = *self
            .by_url
            .get(&claimed)
            .ok_or(Rejected::Fault(Fault::Issuer))?;
        let live = &self.list[position];
        let judged = live.judge_patiently(token, now, patient).await?;
        let remembered = Remembered {
            credential: Arc::clone(&judged.credential),
            issuer: position,
            stamp: judged.stamp,
            until: judged.until,
        };
        self.verified.remember(digest, remembered, second);
        Ok(judged.credential)
    }
}
