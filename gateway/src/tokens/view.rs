//! A token's record as people and programs see it: without the digest.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::record::{Standing, TokenRecord};

/// A token as lists and answers show it.
#[derive(Clone, Debug, Serialize)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub status: Standing,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The role that the scopes were taken from.
    pub role: Option<&'static str>,
    /// When it was made.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// When it ends.
    pub expires_at: Option<String>,
    /// When it was taken back.
    pub revoked_at: Option<String>,
    /// By whom.
    pub revoked_by: Option<String>,
    /// When it was last used, as far as that was written.
    pub last_used_at: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// From where it is accepted; empty means from anywhere.
    pub networks: Vec<String>,
    /// How often it may be used.
    pub rate_limit: Option<String>,
    /// The projects that it is bound to; none means all.
    pub projects: Option<Vec<String>>,
    /// The token that took its place.
    pub superseded_by: Option<String>,
    /// Whose identity it was exchanged for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The subject there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

impl TokenView {
    /// Returns how a record stands at `now`.
    #[must_use]
    pub fn new(
        record: &TokenRecord,
        last_used_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        let bounds = &record.bounds;
        let shown = |path: &super::bounds::ProjectPath| path.to_string();
        Self {
            id: record.id.to_string(),
            name: record.name.to_string(),
            status: record.standing(now),
            scopes: record
                .shown_scopes()
                .split(", ")
                .map(str::to_owned)
                .collect(),
            role: record.role.map(config::contract::scope::Role::name),
            created_at: time(record.created_at),
            created_by: record.created_by.clone(),
            expires_at: record.expires_at.map(time),
            revoked_at: record.revoked_at.map(time),
            revoked_by: record.revoked_by.clone(),
            last_used_at: last_used_at.map(time),
            description: record.description.clone(),
            networks: bounds.networks.iter().map(ToString::to_string).collect(),
            rate_limit: bounds.rate.map(|rate| rate.to_string()),
            projects: bounds
                .projects
                .as_ref()
                .map(|list| list.iter().map(shown).collect()),
            superseded_by: record.superseded_by.as_ref().map(ToString::to_string),
            issuer: record.federated.as_ref().map(|from| from.issuer.clone()),
            subject: record.federated.as_ref().map(|from| from.subject.clone()),
        }
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
