//! Changes of the tokens: under a lock, in the journal first, the file replaced as a whole.
//!
//! Invariant: nothing is written before [`Change::commit`], and a file that cannot be read is
//! never overwritten.

mod many;
mod rotate;

pub use rotate::Rotation;

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use config::contract::id::TokenId;
use config::home::Home;
use config::private;

use super::format::{FreshToken, NoRandomness};
use super::journal::{self, Entry, Target};
use super::record::{Standing, TokenRecord, Wanted};
use super::select::{self, NotSelected, Selector};
use super::store::{self, BYTES_MAX, LOCK_TIMEOUT, StoreError, Stored, VERSION};
use super::withdrawal::WITHDRAWALS_MAX;
use crate::credential::{Credential, Kind};

/// Why a change of the tokens was refused.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The file or the journal cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another active token has the name.
    #[error(
        "the name {name:?} belongs to the active token {id}: revoke that one, or take another name"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The token that has it.
        id: TokenId,
    },
    /// Only a token that is in use, and of our own, can be replaced.
    #[error("the token {id} cannot be rotated: it is {why}")]
    NotRotatable {
        /// The token.
        id: TokenId,
        /// How it stands.
        why: String,
    },
    /// One identity exchanges again and again.
    #[error(
        "this identity holds {} live tokens by exchange: use one, or wait until some end",
        rotate::EXCHANGED_MAX
    )]
    TooManyExchanged,
    /// More withdrawals than are kept.
    #[error("cannot withdraw more: {WITHDRAWALS_MAX} withdrawals are kept already")]
    TooMany,
    /// No token was selected, or more than one.
    #[error(transparent)]
    NotSelected(#[from] NotSelected),
    /// The system gave no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// A change of the tokens under way. It holds the lock; nothing is written before
/// [`Self::commit`].
#[derive(Debug)]
pub struct Change {
    home: Home,
    _lock: File,
    stored: Stored,
    journalled: u64,
    entries: Vec<Entry>,
}

impl Change {
    /// Waits for the lock and reads what is there.
    ///
    /// # Errors
    /// When another command holds the lock for too long, or [`store::load`] fails.
    pub fn begin(home: &Home) -> Result<Self, StoreError> {
        let directory = home.dashboard();
        private::create_closed_directory(&directory)
            .map_err(|source| StoreError::io("make", &directory, source))?;
        let lock = lock(&directory.join("tokens.lock"))?;
        let mut stored = store::read(home)?;
        let entries = journal::read(home)?;
        store::mark_revoked(&mut stored, &entries);
        Ok(Self {
            home: home.clone(),
            _lock: lock,
            stored,
            journalled: entries.last().map_or(0, |entry| entry.generation),
            entries: Vec::new(),
        })
    }

    /// Returns whether a credential is still good by what is stored, under the lock: between its
    /// admission and now it may have been taken back.
    #[must_use]
    pub fn holds(&self, credential: &Credential, now: DateTime<Utc>) -> bool {
        if credential.expires_at.is_some_and(|end| end <= now) {
            return false;
        }
        match &credential.kind {
            Kind::Token(id) => {
                let mut records = self.stored.records.iter();
                records.any(|record| record.id == *id && record.standing(now) == Standing::Active)
            }
            Kind::Certificate(_) | Kind::Nothing | Kind::Jwt(_) => {
                let mut withdrawals = self.stored.withdrawals.iter();
                !credential
                    .traits()
                    .is_some_and(|traits| withdrawals.any(|all| all.covers(&traits)))
            }
        }
    }

    /// Adds a token and returns it, the only time that anybody sees it, with its record.
    ///
    /// # Errors
    /// When an active token has the name, or the system gives no randomness.
    pub fn add(
        &mut self,
        wanted: Wanted,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<(FreshToken, TokenRecord), ChangeError> {
        let taken = self.stored.records.iter().find(|record| {
            record.name == wanted.name
                && record.superseded_by.is_none()
                && record.federated.is_none()
                && record.standing(now) == Standing::Active
        });
        if let Some(record) = taken {
            return Err(ChangeError::NameTaken {
                name: record.name.to_string(),
                id: record.id.clone(),
            });
        }
        let fresh = FreshToken::generate()?;
        let record = TokenRecord {
            id: self.unused_id()?,
            name: wanted.name,
            sha256: fresh.raw().digest(),
            scopes: wanted.permission.scopes,
            role: wanted.permission.role,
            created_at: now,
            created_by: by.to_owned(),
            expires_at: wanted.expiry.map(|days| days.from(now)),
            revoked_at: None,
            revoked_by: None,
            description: wanted.description,
            bounds: wanted.bounds,
            superseded_by: None,
            federated: None,
        };
        self.stored.records.push(record.clone());
        Ok((fresh, record))
    }

    /// Returns the record that a selector means, as a revocation would take it.
    ///
    /// # Errors
    /// When the selector fits no token or several.
    pub fn find(
        &self,
        selector: &Selector,
        now: DateTime<Utc>,
    ) -> Result<&TokenRecord, NotSelected> {
        select::for_revocation(&self.stored.records, selector, now)
            .map(|position| &self.stored.records[position])
    }

    /// Revokes a token and returns its record. Revoking again changes nothing of the record, but
    /// tells all gateways again.
    ///
    /// # Errors
    /// When the selector fits no token or several.
    pub fn revoke(
        &mut self,
        selector: &Selector,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<TokenRecord, ChangeError> {
        let position = select::for_revocation(&self.stored.records, selector, now)?;
        let record = self.take_back(position, by, now);
        self.take_back_older(&record.id, by, now);
        Ok(record)
    }

    /// Whoever takes a token back means what it replaced too, although that has some grace left.
    fn take_back_older(&mut self, id: &TokenId, by: &str, now: DateTime<Utc>) {
        let mut newest = id.clone();
        while let Some(older) = self.stored.records.iter().position(|older| {
            older.superseded_by.as_ref() == Some(&newest) && older.standing(now) == Standing::Active
        }) {
            newest = self.take_back(older, by, now).id;
        }
    }

    fn take_back(&mut self, position: usize, by: &str, now: DateTime<Utc>) -> TokenRecord {
        let record = &mut self.stored.records[position];
        if record.revoked_at.is_none() {
            record.revoked_at = Some(now);
            record.revoked_by = Some(by.to_owned());
        }
        let record = record.clone();
        self.journal(Target::Token(record.id.clone()), by, now);
        record
    }

    /// Removes a token's record and returns it; running gateways refuse it as a revoked one.
    ///
    /// # Errors
    /// When the selector fits no token or several.
    pub fn delete(
        &mut self,
        selector: &Selector,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<TokenRecord, ChangeError> {
        let position = select::for_deletion(&self.stored.records, selector, now)?;
        let record = self.stored.records.remove(position);
        self.take_back_older(&record.id, by, now);
        self.journal(Target::Token(record.id.clone()), by, now);
        Ok(record)
    }

    /// Makes the change durable and returns its generation, which running gateways acknowledge.
    ///
    /// # Errors
    /// When the journal or the file cannot be written. The file is then as before; a revocation
    /// that reached the journal holds.
    pub fn commit(self) -> Result<u64, StoreError> {
        let path = self.home.tokens();
        let generation = self.next_generation();
        let text = render(&path, generation, &self.stored)?;
        if !self.entries.is_empty() {
            journal::append(&self.home, &self.entries)?;
        }
        private::replace_file(&path, &text)
            .map_err(|source| StoreError::io("replace", &path, source))?;
        self.compact_journal()?;
        Ok(generation)
    }

    fn next_generation(&self) -> u64 {
        self.stored.generation.max(self.journalled) + 1
    }

    fn journal(&mut self, target: Target, by: &str, now: DateTime<Utc>) {
        self.entries.push(Entry {
            generation: self.next_generation(),
            target,
            revoked_at: now,
            revoked_by: by.to_owned(),
        });
    }

    fn unused_id(&self) -> Result<TokenId, NoRandomness> {
        loop {
            let mut random = [0; TokenId::RANDOM_BYTES];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
            let id = TokenId::from_random(random);
            if self.stored.records.iter().all(|record| record.id != id) {
                return Ok(id);
            }
        }
    }

    /// Keeps of a long journal the newest entry, which carries the generation; all others are in
    /// the token file by now, as marks or as missing records.
    fn compact_journal(&self) -> Result<(), StoreError> {
        if journal::bytes(&self.home.revocations()) < journal::BYTES_COMPACTED {
            return Ok(());
        }
        let entries = journal::read(&self.home)?;
        journal::compact(&self.home, &entries[entries.len().saturating_sub(1)..])
    }
}

/// One record per line, so that an error's line leads to its record.
fn render(path: &Path, generation: u64, stored: &Stored) -> Result<Vec<u8>, StoreError> {
    let write = || -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        write!(
            text,
            "{{\"version\":{VERSION},\"generation\":{generation},\"tokens\":["
        )?;
        for (position, record) in stored.records.iter().enumerate() {
            text.extend_from_slice(if position == 0 { b"\n" } else { b",\n" });
            serde_json::to_writer(&mut text, record)?;
        }
        text.extend_from_slice(b"\n]");
        if !stored.withdrawals.is_empty() {
            text.extend_from_slice(b",\"withdrawals\":");
            serde_json::to_writer(&mut text, &stored.withdrawals)?;
        }
        text.extend_from_slice(b"}\n");
        Ok(text)
    };
    let text = write().map_err(|source| StoreError::io("render", path, source))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(StoreError::TooLong {
            path: path.to_owned(),
            bytes_max: BYTES_MAX,
        });
    }
    Ok(text)
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = private::append_file(path).map_err(|source| StoreError::io("open", path, source))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", path, source)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(StoreError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::WouldBlock) => thread::park_timeout(Duration::from_millis(5)),
        }
    }
}

#[cfg(test)]
mod tests;
