//! The audit records of token commands: a decision before, an outcome after.

use ::config::contract::caller::AuthMethod;
use ::config::contract::id::{RequestId, TokenId};
use gateway::audit;
use gateway::audit::record::{Draft, Outcome, Phase};
use gateway::tokens::record::TokenRecord;
use gateway::tokens::withdrawal::Withdrawal;
use serde_json::{Map, Value};

use crate::context::Offline;
use crate::failure::Failure;
use gateway::random;

/// One command on tokens, in the audit trail.
#[derive(Debug)]
pub(super) struct Recorded<'a> {
    offline: &'a Offline,
    action: &'static str,
    user: &'a str,
    about: About,
    request_id: RequestId,
}

/// What a command is about.
#[derive(Debug)]
pub(super) struct About {
    resource: String,
    token_id: Option<TokenId>,
    details: Map<String, Value>,
}

impl About {
    /// One token.
    pub(super) fn token(token: &TokenRecord) -> Self {
        Self {
            resource: format!("token:{}", token.id),
            token_id: Some(token.id.clone()),
            details: details(token),
        }
    }

    /// All credentials that fit.
    pub(super) fn credentials(withdrawal: &Withdrawal, tokens: usize) -> Self {
        Self {
            resource: "token:*".to_owned(),
            token_id: None,
            details: Map::from_iter([
                ("withdrawn".to_owned(), Value::from(withdrawal.to_string())),
                ("tokens".to_owned(), Value::from(tokens)),
            ]),
        }
    }

    /// Adds a fact.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

impl<'a> Recorded<'a> {
    /// Writes the decision, durably.
    ///
    /// # Errors
    /// When it cannot be written; the caller then changes nothing.
    pub(super) fn decide(
        offline: &'a Offline,
        action: &'static str,
        user: &'a str,
        about: About,
    ) -> Result<Self, Failure> {
        let recorded = Self {
            offline,
            action,
            user,
            about,
            request_id: RequestId::from_random(random::bytes().map_err(Failure::failed)?),
        };
        recorded
            .write(Phase::Decision, Outcome::Allowed, None)
            .map_err(|why| {
                Failure::failed(format!(
                    "nothing was changed, because the audit trail cannot be written: {why}"
                ))
                .fix("loki doctor shows what is wrong with the data directory")
            })?;
        Ok(recorded)
    }

    /// Writes the outcome, durably, with what else there is to say.
    ///
    /// # Errors
    /// When it cannot be written, in words for the person.
    pub(super) fn end(&self, outcome: Outcome, note: Option<String>) -> Result<(), String> {
        self.write(Phase::Outcome, outcome, note)
    }

    fn write(&self, phase: Phase, outcome: Outcome, note: Option<String>) -> Result<(), String> {
        if !self.offline.audit_enabled {
            return Ok(());
        }
        let mut details = self.about.details.clone();
        if let Some(note) = note {
            details.insert("note".to_owned(), Value::from(note));
        }
        let draft = Draft {
            user: self.user,
            resource: &self.about.resource,
            details: Some(&details),
            request_id: Some(&self.request_id),
            auth_method: Some(AuthMethod::Local),
            token_id: self.about.token_id.as_ref(),
            ..Draft::new(self.action, phase, outcome)
        };
        audit::append(&self.offline.home, &draft).map_err(|error| error.to_string())
    }
}

fn details(token: &TokenRecord) -> Map<String, Value> {
    let mut details = Map::new();
    details.insert("name".to_owned(), Value::from(token.name.as_str()));
    details.insert("scopes".to_owned(), Value::from(token.shown_scopes()));
    if let Some(role) = token.role {
        details.insert("role".to_owned(), Value::from(role.name()));
    }
    if let Some(expiry) = token.expires_at {
        details.insert("expires".to_owned(), Value::from(expiry.to_rfc3339()));
    }
    let bounds = &token.bounds;
    let mut list = |name: &str, entries: Vec<String>| {
        if !entries.is_empty() {
            details.insert(name.to_owned(), Value::from(entries.join(", ")));
        }
    };
    list(
        "networks",
        bounds.networks.iter().map(ToString::to_string).collect(),
    );
    list(
        "rate_limit",
        bounds.rate.iter().map(ToString::to_string).collect(),
    );
    list(
        "projects",
        bounds
            .projects
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect(),
    );
    details
}
