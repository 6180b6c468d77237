//! The snapshot of all tokens that requests are judged by.
//!
//! Invariant: a snapshot never changes; finding a token costs the same however many there are,
//! and the time it takes tells nothing about the digests that are kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use config::contract::id::TokenId;
use config::home::Home;

use super::format::RawToken;
use super::journal::{Entry, Tail};
use super::record::{Standing, TokenRecord};
use super::store::{self, StoreError, Stored};

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
    records: Vec<TokenRecord>,
    positions: HashMap<u128, usize>,
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
        let digest = token.digest();
        let position = self.table.positions.get(&digest.first_half());
        let record = position
            .and_then(|position| self.table.records.get(*position))
            .filter(|record| record.sha256 == digest)
            .ok_or(Rejected::Unknown)?;
        match self.standing(record, now) {
            Standing::Active => Ok(record),
            Standing::Expired => Err(Rejected::Expired(
                record.id.clone(),
                record.name.to_string(),
            )),
            Standing::Revoked => Err(Rejected::Revoked(
                record.id.clone(),
                record.name.to_string(),
            )),
        }
    }

    /// Counts the tokens that are accepted at `now`.
    #[must_use]
    pub fn active(&self, now: DateTime<Utc>) -> usize {
        self.table
            .records
            .iter()
            .filter(|record| self.standing(record, now) == Standing::Active)
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
                records: stored.records,
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
