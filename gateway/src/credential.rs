//! A credential that was found good: whom it stands for, and how to tell later that it no longer
//! counts.
//!
//! Invariant: whoever serves a caller for longer than one answer asks [`Credential::holds`] again,
//! so that revocation and expiry end what they are meant to end.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use config::contract::caller::Caller;
use config::contract::id::TokenId;
use config::contract::scope::Role;
use config::rate::Rate;

use crate::refusal::CredentialFault;
use crate::tokens::index::Index;
use crate::tokens::withdrawal::{CERTIFICATES, Traits};

/// A good credential.
#[derive(Debug, PartialEq, Eq)]
pub struct Credential {
    /// Whom it stands for.
    pub caller: Arc<Caller>,
    /// What it is.
    pub kind: Kind,
    /// From when on it is refused; none means never.
    pub expires_at: Option<DateTime<Utc>>,
    /// How often it may be used, if that is bounded by itself.
    pub rate: Option<Rate>,
}

/// The kinds of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's certificate of the connection.
    Certificate(Shown),
    /// None: a public operation, or the operating system's own word.
    Nothing,
    /// An opaque token of our own.
    Token(TokenId),
    /// A JSON Web Token of another issuer.
    Jwt(Issued),
}

/// What a client's certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The name that a rule matched, as the rule has it.
    pub name: String,
    /// Its SHA-256 (DER).
    pub sha256: [u8; 32],
    /// From when on it is valid, which counts as when it was issued.
    pub valid_from: Option<DateTime<Utc>>,
}

/// What a JSON Web Token says of its own making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The issuer's URL.
    pub issuer: String,
    /// The subject there.
    pub subject: String,
    /// The role that it was given here, if it is one.
    pub role: Option<Role>,
    /// When it was issued, as far as it says so.
    pub issued_at: Option<DateTime<Utc>>,
    /// The end that it names itself, without leeway.
    pub expires_at: Option<DateTime<Utc>>,
    /// Longest life of a token of ours that it is exchanged for.
    pub lifetime_max: Duration,
    /// The claim rules that granted what it may do.
    pub rules: Vec<String>,
}

impl Kind {
    /// Returns what is at fault with a credential of this kind that somebody took back.
    #[must_use]
    pub fn withdrawn(&self) -> CredentialFault {
        match self {
            Self::Certificate(_) => CredentialFault::Certificate("certificate_withdrawn"),
            Self::Token(id) => CredentialFault::Revoked {
                token_id: id.clone(),
            },
            Self::Nothing | Self::Jwt(_) => CredentialFault::Jwt("jwt_withdrawn"),
        }
    }
}

impl Credential {
    /// Wraps a caller who brought no credential.
    #[must_use]
    pub const fn without(caller: Arc<Caller>) -> Self {
        Self {
            caller,
            kind: Kind::Nothing,
            expires_at: None,
            rate: None,
        }
    }

    /// Returns the id of the token, if it is one of ours.
    #[must_use]
    pub const fn token_id(&self) -> Option<&TokenId> {
        match &self.kind {
            Kind::Token(id) => Some(id),
            Kind::Certificate(_) | Kind::Nothing | Kind::Jwt(_) => None,
        }
    }

    /// Returns whether it is still good by the newest snapshot of the tokens.
    #[must_use]
    pub fn holds(&self, index: &Index, now: DateTime<Utc>) -> bool {
        if self.expires_at.is_some_and(|end| end <= now) {
            return false;
        }
        match &self.kind {
            Kind::Token(id) => index.accepts(id, now),
            Kind::Certificate(_) | Kind::Nothing | Kind::Jwt(_) => {
                !self.traits().is_some_and(|traits| index.withdraws(&traits))
            }
        }
    }

    /// Returns what a withdrawal is compared with; none for tokens of our own, whose records are
    /// compared, and where there is no credential.
    #[must_use]
    pub fn traits(&self) -> Option<Traits<'_>> {
        match &self.kind {
            Kind::Nothing | Kind::Token(_) => None,
            Kind::Certificate(shown) => Some(Traits {
                issuer: Some(CERTIFICATES),
                subject: Some(&shown.name),
                role: None,
                scopes: self.caller.scopes,
                sha256: Some(&shown.sha256),
                issued_at: shown.valid_from,
            }),
            Kind::Jwt(issued) => Some(Traits {
                issuer: Some(&issued.issuer),
                subject: Some(&issued.subject),
                role: issued.role,
                scopes: self.caller.scopes,
                sha256: None,
                issued_at: issued.issued_at,
            }),
        }
    }
}
