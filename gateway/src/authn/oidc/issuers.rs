//! All issuers in use, and the tokens of theirs that were found good.
//!
//! Invariant: whose keys are asked is decided by the token's `iss` alone, and no issuer's key ever
//! vouches for another. What is remembered holds as long as the settings and the issuer's keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

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
    list: Vec<Arc<Followed>>,
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
                let mut list = before.list.iter();
                list.find(|followed| followed.live.settings() == issuer)
            });
            let followed = match known {
                Some(followed) => Arc::clone(followed),
                None => Arc::new(Followed::begin(issuer, home)?),
            };
            let new = issuer
                .algorithms
                .iter()
                .filter(|one| !issuers.algorithms.contains(one));
            issuers.algorithms.extend(new.copied().collect::<Vec<_>>());
            issuers
                .by_url
                .insert(issuer.url.clone(), issuers.list.len());
            issuers.list.push(followed);
        }
        Ok(issuers)
    }

    /// Returns whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns how long ago the keys were seen that were seen the longest ago; none if no issuer's
    /// keys are known.
    pub(crate) fn keys_age_max(&self, now: DateTime<Utc>) -> Option<Duration> {
        let ages = self
            .list
            .iter()
            .filter_map(|issuer| issuer.live.keys_age(now));
        ages.max()
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
            && self.list[known.issuer].live.stamp(now) == Some(known.stamp)
        {
            return Ok(known.credential);
        }
        let sealed = Sealed::read(token, &self.algorithms).map_err(Rejected::Fault)?;
        let claimed = sealed.claimed_issuer().map_err(Rejected::Fault)?;
        let position = *self
            .by_url
            .get(claimed)
            .ok_or(Rejected::Fault(Fault::Issuer))?;
        let live = &self.list[position].live;
        let judged = live.judge_patiently(&sealed, now, patient).await?;
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

/// An issuer whose keys are looked at until the last snapshot that holds it is gone.
#[derive(Debug)]
struct Followed {
    live: Arc<LiveIssuer>,
    looking: AbortHandle,
}

impl Followed {
    fn begin(settings: &Issuer, home: &Home) -> Result<Self, FetchError> {
        let live = Arc::new(LiveIssuer::new(settings.clone(), home)?);
        Ok(Self {
            looking: live.watch(),
            live,
        })
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
