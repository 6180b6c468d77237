//! Replacing tokens: a new one with the same name and bounds, the old one accepted for some grace;
//! and a token for an identity that another issuer vouched for.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Change, ChangeError};
use crate::tokens::bounds::Bounds;
use crate::tokens::format::FreshToken;
use crate::tokens::journal::Target;
use crate::tokens::record::{ExpiryDays, Federated, Permission, Standing, TokenName, TokenRecord};
use crate::tokens::select::{self, Selector};

/// How a token is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    grace: TimeDelta,
    expiry: Option<ExpiryDays>,
}

/// Longest grace in hours: 30 days.
const GRACE_HOURS_MAX: u32 = 720;

/// Most live tokens that one identity holds by exchange.
pub(super) const EXCHANGED_MAX: usize = 100;

/// The grace when none is asked for, in hours.
const GRACE_HOURS: u32 = 24;

/// A grace that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "grace: expected whole hours from 0 to {GRACE_HOURS_MAX}, 0 takes the old token back at once"
)]
pub struct TooLong;

impl Rotation {
    /// Checks how long the old token shall go on; `expiry` is the new one's life, by default as
    /// long as the old one's.
    ///
    /// # Errors
    /// When the grace is too long.
    pub fn new(grace_hours: Option<u32>, expiry: Option<ExpiryDays>) -> Result<Self, TooLong> {
        let hours = grace_hours.unwrap_or(GRACE_HOURS);
        if hours > GRACE_HOURS_MAX {
            return Err(TooLong);
        }
        Ok(Self {
            grace: TimeDelta::hours(hours.into()),
            expiry,
        })
    }
}

impl Change {
    /// Makes a token in the place of another; returns it, its record, and the old one's.
    ///
    /// # Errors
    /// When the selector fits no token or several, or the token cannot be replaced.
    pub fn rotate(
        &mut self,
        selector: &Selector,
        rotation: Rotation,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<(FreshToken, TokenRecord, TokenRecord), ChangeError> {
        let position = select::for_revocation(&self.stored.records, selector, now)?;
        let old = &self.stored.records[position];
        rotatable(old, now)?;
        let fresh = FreshToken::generate()?;
        let same_life = old.expires_at.map(|end| now + (end - old.created_at));
        let new = TokenRecord {
            id: self.unused_id()?,
            sha256: fresh.raw().digest(),
            created_at: now,
            created_by: by.to_owned(),
            expires_at: rotation.expiry.map(|days| days.from(now)).or(same_life),
            ..old.clone()
        };
        let ends = now + rotation.grace;
        let old = &mut self.stored.records[position];
        old.superseded_by = Some(new.id.clone());
        if rotation.grace.is_zero() {
            old.revoked_at = Some(now);
            old.revoked_by = Some(by.to_owned());
        } else {
            old.expires_at = Some(old.expires_at.map_or(ends, |end| end.min(ends)));
        }
        let old = old.clone();
        if rotation.grace.is_zero() {
            self.journal(Target::Token(old.id.clone()), by, now);
        }
        self.stored.records.push(new.clone());
        Ok((fresh, new, old))
    }

    /// Makes a token for an identity that another issuer vouched for, until `expires_at`.
    ///
    /// # Errors
    /// When the identity holds too many already, or the system gives no randomness.
    pub fn exchange(
        &mut self,
        federated: Federated,
        name: TokenName,
        (permission, bounds): (Permission, Bounds),
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(FreshToken, TokenRecord), ChangeError> {
        self.forget_old_exchanges(now);
        let live = self.stored.records.iter().filter(|record| {
            let same = |from: &Federated| {
                (&from.issuer, &from.subject) == (&federated.issuer, &federated.subject)
            };
            record.federated.as_ref().is_some_and(same) && record.standing(now) == Standing::Active
        });
        if live.count() >= EXCHANGED_MAX {
            return Err(ChangeError::TooManyExchanged);
        }
        let fresh = FreshToken::generate()?;
        let record = TokenRecord {
            id: self.unused_id()?,
            name,
            sha256: fresh.raw().digest(),
            scopes: permission.scopes,
            role: permission.role,
            created_at: now,
            created_by: federated.user.clone(),
            expires_at: Some(expires_at),
            revoked_at: None,
            revoked_by: None,
            description: None,
            bounds,
            superseded_by: None,
            federated: Some(federated),
        };
        self.stored.records.push(record.clone());
        Ok((fresh, record))
    }
}

fn rotatable(old: &TokenRecord, now: DateTime<Utc>) -> Result<(), ChangeError> {
    let why = match (old.standing(now), &old.superseded_by, &old.federated) {
        (standing @ (Standing::Expired | Standing::Revoked), _, _) => standing.to_string(),
        (Standing::Active, Some(newer), _) => format!("replaced by {newer} already"),
        (Standing::Active, None, Some(_)) => "exchanged for another issuer's".to_owned(),
        (Standing::Active, None, None) => return Ok(()),
    };
    Err(ChangeError::NotRotatable {
        id: old.id.clone(),
        why,
    })
}
