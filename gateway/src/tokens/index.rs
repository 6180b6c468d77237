//! The snapshot of all tokens that requests are judged by.
//!
//! Invariant: a snapshot never changes; finding a token costs the same however many there are,
//! and the time it takes tells nothing about the digests that are kept.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use config::contract::caller::{AuthMethod, Caller};
use config::contract::id::TokenId;
use config::contract::scope::Scope;
use config::home::Home;

use super::format::RawToken;
use super::journal::{Entry, Tail, Target};
use super::record::{Standing, TokenRecord};
use super::store::{self, StoreError, Stored};
use super::usage::LastUse;
use super::withdrawal::{Traits, Withdrawal};
use crate::authn::oidc;
use crate::credential::{Credential, Kind};
use crate::metrics::TokenCounts;

/// How long before its end a token counts as expiring.
const EXPIRING_WITHIN: TimeDelta = TimeDelta::days(7);

/// Why a well-formed token is not accepted. For the inside; a caller is told none of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No record has its digest.
    #[error("token is unknown")]
    Unknown,
    /// The caller is outside the networks that it is bound to.
    #[error("token {0} is used from a network that it is not bound to")]
    Elsewhere(TokenId),
    /// Its time is over.
    #[error("token {0} ({1}) is expired")]
    Expired(TokenId, String),
    /// Somebody took it back.
    #[error("token {0} ({1}) is revoked")]
    Revoked(TokenId, String),
}

/// All tokens at one moment.
#[derive(Clone, Debug, Default)]
pub struct Index {
    table: Arc<Table>,
    revoked: Arc<Revoked>,
}

#[derive(Debug, Default)]
struct Table {
    generation: u64,
    records: Vec<Known>,
    positions: HashMap<u128, usize>,
    by_id: HashMap<TokenId, usize>,
}

/// A record, and the credential that it makes of whoever holds the token.
#[derive(Debug)]
struct Known {
    record: TokenRecord,
    credential: Arc<Credential>,
    last_use: Arc<LastUse>,
}

impl Known {
    fn new(record: TokenRecord, last_use: Arc<LastUse>) -> Self {
        let (user, principal) = match &record.federated {
            Some(from) => (
                from.user.clone(),
                oidc::principal(&from.issuer, &from.subject),
            ),
            None => (format!("token:{}", record.name), record.id.to_string()),
        };
        let projects = record.bounds.projects.as_ref();
        let caller = Arc::new(Caller {
            user,
            principal,
            auth_method: AuthMethod::Token,
            scopes: record.scopes,
            projects: projects.map(|list| list.iter().map(ToString::to_string).collect()),
        });
        let credential = Arc::new(Credential {
            caller,
            kind: Kind::Token(record.id.clone()),
            expires_at: record.expires_at,
            rate: record.bounds.rate,
        });
        Self {
            record,
            credential,
            last_use,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Revoked {
    generation: u64,
    ids: BTreeSet<TokenId>,
    withdrawals: Vec<Withdrawal>,
}

impl Index {
    /// Reads the token file and the journal once. A running gateway uses
    /// [`super::watch::TokenWatch`] instead, which also follows changes.
    ///
    /// # Errors
    /// When either is damaged, open to others, somebody else's, or unreadable.
    pub fn load(home: &Home) -> Result<Self, StoreError> {
        // In this order nothing is missed, as in `store::load`.
        let news = Tail::new(home).read()?;
        let stored = store::read(home)?;
        match news.damage {
            Some(damage) => Err(damage),
            None => Ok(Self::default()
                .with_stored(stored)
                .with_revoked(&news.entries)),
        }
    }

    /// Returns the record of an accepted token.
    ///
    /// # Errors
    /// When the token is unknown, expired or revoked.
    pub fn find(&self, token: &RawToken<'_>, now: DateTime<Utc>) -> Result<&TokenRecord, Rejected> {
        self.known(token, now).map(|known| &known.record)
    }

    /// Returns the credential that an accepted token is, and notes the use; nothing is allocated.
    ///
    /// # Errors
    /// When the token is unknown, expired, revoked, or not for callers at `address`.
    pub fn credential(
        &self,
        token: &RawToken<'_>,
        address: IpAddr,
        now: DateTime<Utc>,
    ) -> Result<Arc<Credential>, Rejected> {
        let known = self.known(token, now)?;
        if !known.record.bounds.accept(address) {
            return Err(Rejected::Elsewhere(known.record.id.clone()));
        }
        known.last_use.note(now);
        Ok(Arc::clone(&known.credential))
    }

    /// Returns the record of an id, whatever its standing.
    #[must_use]
    pub fn record(&self, id: &TokenId) -> Option<&TokenRecord> {
        let position = self.table.by_id.get(id)?;
        self.table.records.get(*position).map(|known| &known.record)
    }

    /// Returns whether the token of an id is accepted at `now`.
    #[must_use]
    pub fn accepts(&self, id: &TokenId, now: DateTime<Utc>) -> bool {
        self.record(id)
            .is_some_and(|record| self.standing(record, now) == Standing::Active)
    }

    /// Returns whether a token of another principal is accepted at `now` that may approve.
    #[must_use]
    pub fn another_may_approve(&self, principal: &str, now: DateTime<Utc>) -> bool {
        self.table.records.iter().any(|known| {
            known.record.scopes.allow(Scope::Approve)
                && known.credential.caller.principal != principal
                && self.standing(&known.record, now) == Standing::Active
        })
    }

    /// Returns whether credentials with these traits are withdrawn.
    #[must_use]
    pub fn withdraws(&self, traits: &Traits<'_>) -> bool {
        self.revoked
            .withdrawals
            .iter()
            .any(|all| all.covers(traits))
    }

    /// Returns whether there is a record of an id.
    pub(crate) fn has(&self, id: &TokenId) -> bool {
        self.table.by_id.contains_key(id)
    }

    /// Returns when each token was last used here, in seconds; 0 is never.
    pub(crate) fn last_uses(&self) -> impl Iterator<Item = (&TokenId, i64)> {
        self.table
            .records
            .iter()
            .map(|known| (&known.record.id, known.last_use.second()))
    }

    /// Counts the tokens by what becomes of them.
    #[must_use]
    pub fn counts(&self, now: DateTime<Utc>) -> TokenCounts {
        let soon = now + EXPIRING_WITHIN;
        let mut counts = TokenCounts::default();
        for Known { record, .. } in &self.table.records {
            match self.standing(record, now) {
                Standing::Active => {
                    counts.active += 1;
                    let ends = self.standing(record, soon) == Standing::Expired;
                    counts.expiring += u64::from(ends);
                }
                Standing::Expired => counts.expired += 1,
                Standing::Revoked => counts.revoked += 1,
            }
        }
        counts
    }

    fn known(&self, token: &RawToken<'_>, now: DateTime<Utc>) -> Result<&Known, Rejected> {
        let digest = token.digest();
        let position = self.table.positions.get(&digest.first_half());
        let known = position
            .and_then(|position| self.table.records.get(*position))
            .filter(|known| known.record.sha256 == digest)
            .ok_or(Rejected::Unknown)?;
        let record = &known.record;
        let named = || (record.id.clone(), record.name.to_string());
        match self.standing(record, now) {
            Standing::Active => Ok(known),
            Standing::Expired => {
                let (id, name) = named();
                Err(Rejected::Expired(id, name))
            }
            Standing::Revoked => {
                let (id, name) = named();
                Err(Rejected::Revoked(id, name))
            }
        }
    }

    /// Counts the tokens that are accepted at `now`.
    #[must_use]
    pub fn active(&self, now: DateTime<Utc>) -> usize {
        self.table
            .records
            .iter()
            .filter(|known| self.standing(&known.record, now) == Standing::Active)
            .count()
    }

    /// Returns the generation up to which revocations are applied.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.revoked.generation
    }

    /// Returns the generation of the token file that was read.
    #[must_use]
    pub fn file_generation(&self) -> u64 {
        self.table.generation
    }

    /// Returns the snapshot with another state of the token file.
    pub(crate) fn with_stored(&self, stored: Stored) -> Self {
        let rows = || stored.records.iter().enumerate();
        let positions = rows()
            .map(|(row, record)| (record.sha256.first_half(), row))
            .collect();
        let by_id = rows()
            .map(|(row, record)| (record.id.clone(), row))
            .collect();
        let last_use = |record: &TokenRecord| {
            let old = self.table.by_id.get(&record.id);
            old.and_then(|row| self.table.records.get(*row))
                .map_or_else(Arc::default, |known| Arc::clone(&known.last_use))
        };
        let known = |record: TokenRecord| {
            let last_use = last_use(&record);
            Known::new(record, last_use)
        };
        let mut revoked = Revoked::clone(&self.revoked);
        for withdrawal in &stored.withdrawals {
            store::remember(&mut revoked.withdrawals, withdrawal);
        }
        let table = Table {
            generation: stored.generation,
            records: stored.records.into_iter().map(known).collect(),
            positions,
            by_id,
        };
        Self {
            revoked: Arc::new(revoked.covering(&table)),
            table: Arc::new(table),
        }
    }

    /// Returns the snapshot with further revocations. None is ever forgotten, and the generation
    /// never falls, whatever becomes of the journal.
    pub(crate) fn with_revoked(&self, entries: &[Entry]) -> Self {
        let mut revoked = Revoked::clone(&self.revoked);
        for entry in entries {
            revoked.generation = revoked.generation.max(entry.generation);
            match &entry.target {
                Target::Token(id) => {
                    revoked.ids.insert(id.clone());
                }
                Target::Credentials(withdrawal) => {
                    store::remember(&mut revoked.withdrawals, withdrawal);
                }
            }
        }
        let many = entries
            .iter()
            .any(|entry| matches!(entry.target, Target::Credentials(_)));
        let revoked = if many {
            revoked.covering(&self.table)
        } else {
            revoked
        };
        Self {
            table: Arc::clone(&self.table),
            revoked: Arc::new(revoked),
        }
    }

    fn standing(&self, record: &TokenRecord, now: DateTime<Utc>) -> Standing {
        if self.revoked.ids.contains(&record.id) {
            return Standing::Revoked;
        }
        record.standing(now)
    }
}

impl Revoked {
    /// Adds the ids of all tokens that are withdrawn, so that no request compares them again.
    fn covering(mut self, table: &Table) -> Self {
        if self.withdrawals.is_empty() {
            return self;
        }
        for known in &table.records {
            let traits = known.record.traits();
            if self.withdrawals.iter().any(|all| all.covers(&traits)) {
                self.ids.insert(known.record.id.clone());
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;
