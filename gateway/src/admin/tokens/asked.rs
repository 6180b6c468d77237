//! What a caller asks of the token operations: parsed here, trusted from here on.

use chrono::{DateTime, TimeDelta, Utc};
use config::contract::scope::{Role, Scopes};
use serde::Deserialize;

use crate::audit::parameter::{self, BadParameter};
use crate::credential::Credential;
use crate::refusal::Refusal;
use crate::tokens::bounds::{Bounds, ENTRIES_MAX, Wider};
use crate::tokens::change::Rotation;
use crate::tokens::record::{ExpiryDays, Permission, TEXT_CHARACTERS_MAX, Wanted};
use crate::tokens::withdrawal::Withdrawal;

/// Most tokens on one page.
const PAGE_MAX: u32 = 1_000;

/// The body of `POST /api/enterprise/tokens`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generate {
    name: String,
    scopes: Option<Vec<String>>,
    role: Option<String>,
    expires_days: Option<i64>,
    description: Option<String>,
    #[serde(default)]
    networks: Vec<String>,
    rate_limit: Option<String>,
    projects: Option<Vec<String>>,
}

impl Generate {
    /// Returns the token that is wanted: by default as narrow as its maker's, never wider.
    pub(super) fn wanted(
        self,
        maker: &Credential,
        own: &Bounds,
        now: DateTime<Utc>,
    ) -> Result<Wanted, Refusal> {
        let name = self.name.parse().map_err(|error| bad("name", &error))?;
        let scopes = self.scopes.map(Scopes::try_from).transpose();
        let scopes = scopes.map_err(|error| bad("scopes", &error))?;
        if scopes.is_some_and(Scopes::is_empty) {
            return Err(bad("scopes", &"name at least one, or leave them out"));
        }
        let role = self.role.map(|role| role.parse::<Role>()).transpose();
        let role = role.map_err(|error| bad("role", &error))?;
        let permission = Permission::new(scopes, role).map_err(|error| bad("scopes", &error))?;
        if !permission.scopes.within(maker.caller.scopes) {
            return Err(wider(Wider::Scopes));
        }
        let expiry = self
            .expires_days
            .map(|days| days.to_string().parse::<ExpiryDays>());
        let expiry = expiry
            .transpose()
            .map_err(|error| bad("expires_days", &error))?;
        if let Some(end) = maker.expires_at.filter(|_| maker.token_id().is_some())
            && expiry.is_none_or(|days| days.from(now) > end + TimeDelta::seconds(1))
        {
            return Err(wider(Wider::Life));
        }
        if self.description.as_ref().is_some_and(|text| {
            text.chars().count() > TEXT_CHARACTERS_MAX || text.chars().any(char::is_control)
        }) {
            let expected = format!("one line of at most {TEXT_CHARACTERS_MAX} characters");
            return Err(bad("description", &expected));
        }
        let asked = Bounds {
            networks: list("networks", &self.networks)?,
            rate: self
                .rate_limit
                .map(|rate| rate.parse())
                .transpose()
                .map_err(|error: String| bad("rate_limit", &error))?,
            projects: self
                .projects
                .map(|paths| list("projects", &paths))
                .transpose()?,
        };
        let bounds = asked.or(own);
        bounds.within(own).map_err(wider)?;
        Ok(Wanted {
            name,
            permission,
            expiry,
            description: self.description,
            bounds,
        })
    }
}

/// The body of `POST /api/enterprise/tokens/{id}/rotate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    grace_hours: Option<u32>,
    expires_days: Option<i64>,
}

impl Rotate {
    pub(super) fn rotation(&self) -> Result<Rotation, Refusal> {
        let expiry = self
            .expires_days
            .map(|days| days.to_string().parse::<ExpiryDays>());
        let expiry = expiry
            .transpose()
            .map_err(|error| bad("expires_days", &error))?;
        Rotation::new(self.grace_hours, expiry).map_err(|error| Refusal::BadBody(error.to_string()))
    }
}

/// The body of `POST /api/enterprise/tokens/revoke`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    issuer: Option<String>,
    subject: Option<String>,
    role: Option<String>,
    issued_before: Option<DateTime<Utc>>,
}

impl Revoke {
    pub(super) fn withdrawal(self, now: DateTime<Utc>) -> Result<Withdrawal, Refusal> {
        let role = self.role.map(|role| role.parse::<Role>()).transpose();
        let role = role.map_err(|error| bad("role", &error))?;
        Withdrawal::new(self.issuer, self.subject, role, self.issued_before, now)
            .map_err(|error| Refusal::BadBody(error.to_string()))
    }
}

/// The parameters of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) revoked_too: bool,
    pub(super) limit: usize,
    pub(super) offset: usize,
}

impl Page {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let mut page = Self {
            revoked_too: false,
            limit: PAGE_MAX as usize,
            offset: 0,
        };
        let known = ["include_revoked", "limit", "offset"];
        parameter::each(query, &known, |name, value| {
            match name {
                "include_revoked" => page.revoked_too = switch(name, value)?,
                "limit" => page.limit = parameter::number(name, value, 1, PAGE_MAX)? as usize,
                _ => page.offset = parameter::number(name, value, 0, u32::MAX)? as usize,
            }
            Ok(())
        })
        .map_err(|error| Refusal::BadParameter(error.to_string()))?;
        Ok(page)
    }
}

/// Reads the parameters of a withdrawal.
pub(super) fn permanent(query: Option<&str>) -> Result<bool, Refusal> {
    let mut permanent = false;
    parameter::each(query, &["permanent"], |name, value| {
        permanent = switch(name, value)?;
        Ok(())
    })
    .map_err(|error| Refusal::BadParameter(error.to_string()))?;
    Ok(permanent)
}

fn switch(name: &str, value: &str) -> Result<bool, BadParameter> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(BadParameter::new(name, "give true or false")),
    }
}

fn list<T: std::str::FromStr>(member: &str, texts: &[String]) -> Result<Vec<T>, Refusal>
where
    T::Err: std::fmt::Display,
{
    if texts.len() > ENTRIES_MAX {
        return Err(bad(member, &format!("at most {ENTRIES_MAX} entries")));
    }
    texts
        .iter()
        .map(|text| text.parse().map_err(|error| bad(member, &error)))
        .collect()
}

fn bad(member: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::BadBody(format!("{member}: {error}"))
}

fn wider(wider: Wider) -> Refusal {
    Refusal::Wider(wider)
}
