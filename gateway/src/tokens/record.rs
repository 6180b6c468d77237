//! What is kept of a token: who it stands for, what it may do, and since and until when.
//!
//! Invariant: a record that holds a field of another version is refused, because the field could
//! be a restriction that this version would not enforce.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use config::contract::id::TokenId;
use config::contract::scope::{Role, Scope, Scopes};
use serde::{Deserialize, Serialize};

use super::bounds::Bounds;
use super::format::TokenDigest;

/// Longest name and longest description in characters.
pub const TEXT_CHARACTERS_MAX: usize = 200;

/// Longest life of a token in days.
pub const EXPIRY_DAYS_MAX: u32 = 3_650;

/// One token as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Names the token in records and commands; random, says nothing of the token.
    pub id: TokenId,
    /// The name that people use.
    pub name: TokenName,
    /// What is kept instead of the token.
    pub sha256: TokenDigest,
    /// What the token may do.
    pub scopes: Scopes,
    /// The role that the scopes were taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// From when on it is refused; none means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Who revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What narrows it besides its scopes.
    #[serde(default, skip_serializing_if = "Bounds::is_empty")]
    pub bounds: Bounds,
    /// The token that took its place; it is accepted until its expiry, the end of the grace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<TokenId>,
    /// Whose identity it was exchanged for; none for a token of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federated: Option<Federated>,
}

/// An identity that another issuer vouched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Federated {
    /// The issuer's URL.
    pub issuer: String,
    /// The subject, unique within the issuer.
    pub subject: String,
    /// The identity for people, as in audit records.
    pub user: String,
    /// When the other issuer issued what was exchanged, as far as it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<DateTime<Utc>>,
}

impl TokenRecord {
    /// Returns where the token stands at `now`.
    #[must_use]
    pub fn standing(&self, now: DateTime<Utc>) -> Standing {
        if self.revoked_at.is_some() {
            Standing::Revoked
        } else if self.expires_at.is_some_and(|expiry| expiry <= now) {
            Standing::Expired
        } else {
            Standing::Active
        }
    }

    /// Returns the scopes as shown to people.
    #[must_use]
    pub fn shown_scopes(&self) -> String {
        shown_scopes(self.scopes)
    }
}

/// Returns scopes as shown to people: what adds least first, and what stands apart last.
#[must_use]
pub fn shown_scopes(scopes: Scopes) -> String {
    const ORDER: [Scope; 6] = [
        Scope::Read,
        Scope::Approve,
        Scope::Write,
        Scope::Control,
        Scope::All,
        Scope::Audit,
    ];
    let held: Vec<&str> = ORDER
        .into_iter()
        .filter(|scope| scopes.iter().any(|held| held == *scope))
        .map(Scope::name)
        .collect();
    held.join(", ")
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Accepted.
    Active,
    /// Refused: its time is over.
    Expired,
    /// Refused: somebody took it back.
    Revoked,
}

impl Standing {
    /// Returns the name as shown and as written in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that tokens can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenName(String);

/// Why a text cannot be a token's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing, or blanks alone.
    #[error("a token's name must not be empty")]
    Empty,
    /// More than [`TEXT_CHARACTERS_MAX`].
    #[error("a token's name must not be longer than {TEXT_CHARACTERS_MAX} characters")]
    TooLong,
    /// Would be taken for a flag.
    #[error("a token's name must not start with '-': {0:?} looks like a flag")]
    LooksLikeFlag(String),
    /// Would be taken for an id.
    #[error("a token's name must not look like a token id: {0:?}")]
    LooksLikeId(String),
    /// Control characters, or such as change the direction of the text around them.
    #[error("a token's name must not hold invisible or control characters, found {0:?}")]
    Invisible(char),
    /// Blanks at the start or the end.
    #[error("a token's name must not start or end with a blank: {0:?}")]
    OuterBlank(String),
}

impl TokenName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.trim().is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.chars().count() > TEXT_CHARACTERS_MAX {
            return Err(InvalidName::TooLong);
        }
        if let Some(character) = text.chars().find(|character| is_invisible(*character)) {
            return Err(InvalidName::Invisible(character));
        }
        if text.starts_with('-') {
            return Err(InvalidName::LooksLikeFlag(text.to_owned()));
        }
        if text.parse::<TokenId>().is_ok() {
            return Err(InvalidName::LooksLikeId(text.to_owned()));
        }
        if text.trim() != text {
            return Err(InvalidName::OuterBlank(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TokenName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Controls, line separators, zero-width and direction marks: a name with them would show as
/// another name in lists and records.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A token's life in whole days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryDays(u32);

/// A text that is not a life in days.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a life in days: use a whole number from 1 to {EXPIRY_DAYS_MAX}")]
pub struct InvalidExpiry(String);

impl ExpiryDays {
    /// Returns the end of a life that begins at `now`.
    #[must_use]
    pub fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + TimeDelta::days(i64::from(self.0))
    }
}

impl FromStr for ExpiryDays {
    type Err = InvalidExpiry;

    fn from_str(text: &str) -> Result<Self, InvalidExpiry> {
        text.parse()
            .ok()
            .filter(|days| (1..=EXPIRY_DAYS_MAX).contains(days))
            .map(Self)
            .ok_or_else(|| InvalidExpiry(text.to_owned()))
    }
}

/// What a new token shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: TokenName,
    /// What it may do.
    pub permission: Permission,
    /// Its life; none means without end.
    pub expiry: Option<ExpiryDays>,
    /// What it is for.
    pub description: Option<String>,
    /// What narrows it besides its scopes.
    pub bounds: Bounds,
}

/// What a token may do, by scopes or by a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The scopes.
    pub scopes: Scopes,
    /// The role that they were taken from.
    pub role: Option<Role>,
}

/// Scopes and a role that say different things.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the scopes {given} and the role {role} (scopes {meant}) disagree: give one of them, or both alike"
)]
pub struct Disagreement {
    given: String,
    role: Role,
    meant: String,
}

impl Permission {
    /// Combines what was asked for; asked for nothing, a token may read, and no more.
    ///
    /// # Errors
    /// When scopes and role disagree.
    pub fn new(scopes: Option<Scopes>, role: Option<Role>) -> Result<Self, Disagreement> {
        match (scopes, role) {
            (Some(scopes), Some(role)) if scopes != role.scopes() => Err(Disagreement {
                given: shown_scopes(scopes),
                role,
                meant: shown_scopes(role.scopes()),
            }),
            (_, Some(role)) => Ok(Self {
                scopes: role.scopes(),
                role: Some(role),
            }),
            (Some(scopes), None) => Ok(Self { scopes, role: None }),
            (None, None) => Ok(Self {
                scopes: [Scope::Read].into_iter().collect(),
                role: None,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
