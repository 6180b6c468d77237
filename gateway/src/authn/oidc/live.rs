//! An issuer in use: its keys as last seen, and the task that looks at them again.
//!
//! Invariant: a request never fetches. It reads the published snapshot; for a key that nobody knows
//! it may ask for one look, shared by all, at most every 30 seconds, and waits a second at most.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use config::contract::caller::{AuthMethod, Caller};
use config::gateway::oidc::Issuer;
use config::home::Home;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::claims::{self, Claims};
use super::fault::Fault;
use super::fetch::{FetchError, Fetcher};
use super::jws::Sealed;
use super::kept;
use super::key::KeySet;
use crate::clock;
use crate::credential::{Credential, Issued, Kind};
use crate::random;

/// Time between two looks at the keys, before jitter.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);

/// Time before the next look after a failed one, doubled up to the second value.
const RETRY_INTERVAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Least time between two looks that callers ask for.
const ASKED_INTERVAL: Duration = Duration::from_secs(30);

/// Longest wait of a request for a look at the keys.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Most requests that wait at once.
const WAITERS_MAX: usize = 256;

/// The keys as last seen.
#[derive(Debug)]
struct Snapshot {
    keys: KeySet,
    bytes: Vec<u8>,
    seen_at: DateTime<Utc>,
    /// Rises when the keys change.
    stamp: u64,
}

/// A token that was judged good.
#[derive(Debug)]
pub(crate) struct Judged {
    /// What it is.
    pub(crate) credential: Arc<Credential>,
    /// The second from which on it is not accepted any more.
    pub(crate) until: i64,
    /// The state of the keys by which it was judged.
    pub(crate) stamp: u64,
}

/// Why a token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// It is at fault.
    Fault(Fault),
    /// The issuer's keys are not known, or were not seen for too long.
    Unavailable,
}

/// An issuer in use.
#[derive(Debug)]
pub(crate) struct LiveIssuer {
    settings: Issuer,
    fetcher: Fetcher,
    file: PathBuf,
    snapshot: ArcSwapOption<Snapshot>,
    wanted: Notify,
    asked_at: Mutex<Option<Instant>>,
    looks: watch::Sender<Looks>,
    waiters: Semaphore,
}

/// How far the looks at the keys have come.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    ended: u64,
    under_way: bool,
}

impl LiveIssuer {
    /// Takes the issuer into use, with the keys that were kept if there are any.
    ///
    /// # Errors
    /// When its certificate authorities cannot be used.
    pub(crate) fn new(settings: Issuer, home: &Home) -> Result<Self, FetchError> {
        let file = kept::path(home, &settings.url);
        let now = clock::now();
        let snapshot = match kept::load(&file, &settings.url, now) {
            Ok(found) => found.and_then(|(bytes, seen_at)| snapshot(bytes, seen_at).ok()),
            Err(error) => {
                tracing::warn!(%error, file = %file.display(), "kept issuer keys are not used");
                None
            }
        };
        Ok(Self {
            fetcher: Fetcher::new(&settings)?,
            settings,
            file,
            snapshot: ArcSwapOption::new(snapshot.map(Arc::new)),
            wanted: Notify::new(),
            asked_at: Mutex::new(None),
            looks: watch::Sender::new(Looks::default()),
            waiters: Semaphore::new(WAITERS_MAX),
        })
    }

    /// Returns how long ago the keys were seen; none if they are not known.
    pub(crate) fn keys_age(&self, now: DateTime<Utc>) -> Option<Duration> {
        let snapshot = self.snapshot.load();
        let seen_at = snapshot.as_ref()?.seen_at;
        Some((now - seen_at).to_std().unwrap_or_default())
    }

    /// Begins looking at the keys in the background, at once for the first time.
    pub(crate) fn watch(self: &Arc<Self>) -> AbortHandle {
        let issuer = Arc::clone(self);
        tokio::spawn(async move { issuer.look_again_and_again().await }).abort_handle()
    }

    /// Returns its settings.
    pub(crate) const fn settings(&self) -> &Issuer {
        &self.settings
    }

    /// Returns the state of the keys; none if they are not known, or were not seen for too long.
    pub(crate) fn stamp(&self, now: DateTime<Utc>) -> Option<u64> {
        let snapshot = self.snapshot.load();
        snapshot
            .as_ref()
            .filter(|snapshot| self.is_fresh(snapshot, now))
            .map(|fresh| fresh.stamp)
    }

    fn is_fresh(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> bool {
        let age = (now - snapshot.seen_at).to_std().unwrap_or_default();
        age <= self.settings.stale_keys_max
    }

    /// Judges a token of this issuer; a `patient` caller may wait a second for new keys.
    ///
    /// # Errors
    /// When the token is at fault, or the issuer's keys are not known.
    pub(crate) async fn judge_patiently(
        &self,
        sealed: &Sealed<'_>,
        now: DateTime<Utc>,
        patient: bool,
    ) -> Result<Judged, Rejected> {
        let before = self.looks.subscribe();
        let first = self.judge(sealed, now);
        let worth_a_look = matches!(
            first,
            Err(Rejected::Unavailable | Rejected::Fault(Fault::UnknownKey))
        );
        if worth_a_look && patient && self.wait_for_look(before).await {
            return self.judge(sealed, now);
        }
        first
    }

    fn judge(&self, sealed: &Sealed<'_>, now: DateTime<Utc>) -> Result<Judged, Rejected> {
        sealed
            .keeps_to(&self.settings.algorithms)
            .map_err(Rejected::Fault)?;
        let snapshot = self.snapshot.load();
        let snapshot = snapshot
            .as_ref()
            .filter(|snapshot| self.is_fresh(snapshot, now))
            .ok_or(Rejected::Unavailable)?;
        let opened = sealed.open(&snapshot.keys).map_err(Rejected::Fault)?;
        let claims = claims::check(opened, &self.settings, now).map_err(Rejected::Fault)?;
        let until = claims.until;
        Ok(Judged {
            credential: Arc::new(self.credential(claims)),
            until,
            stamp: snapshot.stamp,
        })
    }

    fn credential(&self, claims: Claims) -> Credential {
        let name = claims.email.as_ref().unwrap_or(&claims.subject);
        let grants = claims.grants;
        let caller = Arc::new(Caller {
            user: format!("oidc:{name}"),
            principal: super::principal(&self.settings.url, &claims.subject),
            auth_method: AuthMethod::Oidc,
            scopes: grants.scopes,
            projects: grants.projects,
        });
        let longest = self.settings.lifetime_max;
        Credential {
            caller,
            kind: Kind::Jwt(Issued {
                issuer: self.settings.url.clone(),
                subject: claims.subject,
                role: grants.role,
                issued_at: claims.issued_at,
                expires_at: DateTime::from_timestamp(claims.expires, 0),
                lifetime_max: grants
                    .lifetime_max
                    .map_or(longest, |most| most.min(longest)),
                rules: grants.rules,
            }),
            expires_at: DateTime::from_timestamp(claims.until, 0),
            rate: None,
        }
    }

    /// Waits for the end of a look that is under way, or that may be asked for now; returns
    /// whether one ended.
    async fn wait_for_look(&self, mut looks: watch::Receiver<Looks>) -> bool {
        let Ok(_place) = self.waiters.try_acquire() else {
            return false;
        };
        let before = *looks.borrow_and_update();
        if !before.under_way && !self.ask() {
            return false;
        }
        let ended = looks.wait_for(|looks| looks.ended > before.ended);
        matches!(timeout(WAIT_MAX, ended).await, Ok(Ok(_)))
    }

    /// Asks for a look; the attempt counts even if it fails.
    fn ask(&self) -> bool {
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if asked_at.is_some_and(|at| now - at < ASKED_INTERVAL) {
            return false;
        }
        *asked_at = Some(now);
        drop(asked_at);
        self.wanted.notify_one();
        true
    }

    async fn look_again_and_again(&self) {
        let mut failures = 0_u32;
        loop {
            self.looks.send_modify(|looks| looks.under_way = true);
            failures = if self.look().await { 0 } else { failures + 1 };
            self.looks.send_modify(|looks| {
                looks.under_way = false;
                looks.ended += 1;
            });
            let pause = if failures == 0 {
                jittered(REFRESH_INTERVAL)
            } else {
                let (first, longest) = RETRY_INTERVAL;
                jittered(first.saturating_mul(1 << failures.min(6)).min(longest))
            };
            // Either way the next look is due.
            if timeout(pause, self.wanted.notified()).await.is_ok() {
                tracing::debug!("a caller asked for a look at the issuer's keys");
            }
        }
    }

    /// Looks at the keys once and publishes them; returns whether that worked.
    async fn look(&self) -> bool {
        let (keys, bytes) = match self.fetcher.keys().await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot look at the issuer's keys; the last ones stay in use");
                return false;
            }
        };
        let seen_at = clock::now();
        let previous = self.snapshot.load_full();
        let same = previous
            .as_ref()
            .is_some_and(|previous| previous.bytes == bytes);
        if !same {
            tracing::info!(issuer = self.settings.url, "issuer keys changed");
        }
        if let Err(error) = kept::keep(&self.file, &self.settings.url, seen_at, &bytes) {
            tracing::warn!(%error, "cannot keep the issuer's keys for the next start");
        }
        let stamp = previous.map_or(0, |previous| previous.stamp) + u64::from(!same);
        self.snapshot.store(Some(Arc::new(Snapshot {
            keys,
            bytes,
            seen_at,
            stamp,
        })));
        true
    }
}

fn snapshot(bytes: Vec<u8>, seen_at: DateTime<Utc>) -> Result<Snapshot, super::key::KeySetError> {
    Ok(Snapshot {
        keys: KeySet::read(&bytes)?,
        bytes,
        seen_at,
        stamp: 1,
    })
}

/// Between three quarters and all of a time, so that many gateways do not ask at once.
fn jittered(time: Duration) -> Duration {
    let [byte] = random::bytes::<1>().unwrap_or([0]);
    time - (time / 4) * u32::from(byte) / 255
}
