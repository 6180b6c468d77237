//! The snapshot of all tokens that requests are judged by.
//!
//! Invariant: a snapshot never changes; finding a token costs the same however many there are,
//! and the time it takes tells nothing about the digests that are kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use config::contract::caller::{AuthMethod, Caller};
use config::contract::id::TokenId;
use config::home::Home;

use super::format::RawToken;
use super::journal::{Entry, Tail};
use super::record::{Standing, TokenRecord};
use super::store::{self, StoreError, Stored};
use crate::metrics::TokenCounts;

/// How long before its end a token counts as expiring.
const EXPIRING_WITHIN: TimeDelta = TimeDelta::days(7);

/// Why a well-formed token is not accepted. For the inside; a caller is told none of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No record has its digest.
    #[error("token is unknown")]
    Unknown,
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
}

/// A record, and the caller that it makes of whoever holds the token.
#[derive(Debug)]
struct Known {
    record: TokenRecord,
    caller: Arc<Caller>,
}

impl From<TokenRecord> for Known {
    fn from(record: TokenRecord) -> Self {
        let caller = Arc::new(Caller {
            user: format!("token:{}", record.name),
            principal: record.id.to_string(),
            auth_method: AuthMethod::Token,
            scopes: record.scopes,
            projects: None,
        });
        Self { record, caller }
    }
}

#[derive(Clone, Debug, Default)]
struct Revoked {
    generation: u64,
    ids: BTreeSet<TokenId>,
}

impl Index {
    /// Reads the token file and the journal once. A running gateway uses
    /// [`super::watch::TokenWatch`] instead, which also follows changes.
    ///
    /// # Errors
    /// When either is damaged, open to others, somebody else's, or unreadable.
    pub fn load(home: &Home) -> Result<Self, StoreError> {
        let stored = store::read(home)?;
        let news = Tail::new(home).read()?;
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

    /// Returns the caller whom an accepted token stands for; nothing is allocated.
    ///
    /// # Errors
    /// When the token is unknown, expired or revoked.
    pub fn caller(
        &self,
        token: &RawToken<'_>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Caller>, Rejected> {
        self.known(token, now)
            .map(|known| Arc::clone(&known.caller))
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
        let positions = stored
            .records
            .iter()
            .enumerate()
            .map(|(position, record)| (record.sha256.first_half(), position))
            .collect();
        Self {
            table: Arc::new(Table {
                generation: stored.generation,
                records: stored.records.into_iter().map(Known::from).collect(),
                positions,
            }),
            revoked: Arc::clone(&self.revoked),
        }
    }

    /// Returns the snapshot with further revocations. None is ever forgotten, and the generation
    /// never falls, whatever becomes of the journal.
    pub(crate) fn with_revoked(&self, entries: &[Entry]) -> Self {
        let mut revoked = Revoked::clone(&self.revoked);
        for entry in entries {
            revoked.generation = revoked.generation.max(entry.generation);
            revoked.ids.insert(entry.id.clone());
        }
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

#[cfg(test)]
mod tests;
