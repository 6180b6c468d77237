//! Exchanges a token of another issuer for a short-lived one of ours (RFC 8693).
//!
//! Invariant: the new token lives no longer than the old one says, may do no more than the claim
//! rules grant, and stands for the same identity.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use config::contract::audit::Note;
use config::contract::scope::{Scope, Scopes};
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::Request;
use super::tokens::{begin, change, turn};
use crate::answer::Answer;
use crate::audit::parameter;
use crate::audit::record::{Draft, Outcome, Phase};
use crate::authn::oidc;
use crate::clock;
use crate::credential::{Credential, Issued, Kind};
use crate::refusal::{CredentialFault, Refusal};
use crate::tokens::acknowledge::Awaited;
use crate::tokens::bounds::{Bounds, Wider};
use crate::tokens::change::ChangeError;
use crate::tokens::format::FreshToken;
use crate::tokens::record::{Federated, Permission, TokenRecord};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SUBJECT_TYPES: [&str; 3] = [
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
    ACCESS_TOKEN,
];

/// The name of all exchanged tokens; it selects none of them.
const NAME: &str = "exchanged";

/// Exchanges the token in the body.
pub(super) async fn exchange(request: &mut Request<'_>) -> Result<Answer, Refusal> {
    let body = request.body().await?;
    let form = request.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        kind.to_str()
            .is_ok_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
    });
    if !form {
        let expected = "expected Content-Type: application/x-www-form-urlencoded (RFC 8693)";
        return Err(Refusal::BadBody(expected.to_owned()));
    }
    let asked = Asked::parse(&body)?;
    let now = clock::now();
    let subject = judge(request, &asked.token, now).await?;
    request.record.credential = Some(Arc::clone(&subject));
    let rates = &request.record.snapshot.settings.rates;
    request
        .state
        .rates
        .take(request.admitted.operation(), &subject, rates, now)
        .map_err(Refusal::RateExceeded)?;
    let Kind::Jwt(issued) = &subject.kind else {
        return Err(Refusal::Internal);
    };
    let permission = asked.permission(&subject, issued)?;
    let expires_at = lifetime(issued, now)?;
    record(request, &subject, issued, Phase::Decision, Outcome::Allowed)
        .await
        .map_err(|()| Refusal::AuditUnavailable)?;
    let made = make(request, &subject, issued, permission, expires_at).await;
    let outcome = if made.is_ok() {
        Outcome::Done
    } else {
        Outcome::Failed
    };
    if let Ok((_, token)) = &made {
        request.note(Note::about("token", token.id.as_str()));
    }
    record(request, &subject, issued, Phase::Outcome, outcome)
        .await
        .map_err(|()| Refusal::AuditUncertain)?;
    let (fresh, token) = made?;
    let scope: Vec<&str> = token.scopes.iter().map(Scope::name).collect();
    Answer::json(
        200,
        &json!({
            "access_token": fresh.raw().expose(),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": (expires_at - now).num_seconds(),
            "scope": scope.join(" "),
        }),
    )
}

/// What is asked for.
struct Asked {
    token: String,
    scopes: Option<Scopes>,
}

impl Asked {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let bad = |text: &str| Refusal::BadBody(text.to_owned());
        let text = std::str::from_utf8(body).map_err(|_| bad("the form is not UTF-8"))?;
        let known = [
            "grant_type",
            "subject_token",
            "subject_token_type",
            "requested_token_type",
            "scope",
        ];
        let mut values: [Option<String>; 5] = Default::default();
        parameter::each(Some(text.trim_end()), &known, |name, value| {
            let position = known.iter().position(|known| *known == name).unwrap_or(0);
            values[position] = Some(value.to_owned());
            Ok(())
        })
        .map_err(|error| Refusal::BadBody(error.to_string()))?;
        let [grant, token, kind, requested, scope] = values;
        if grant.as_deref() != Some(GRANT_TYPE) {
            return Err(Refusal::BadBody(format!(
                "grant_type: expected {GRANT_TYPE}"
            )));
        }
        if !kind.is_some_and(|kind| SUBJECT_TYPES.contains(&kind.as_str())) {
            let expected = SUBJECT_TYPES.join(", ");
            return Err(Refusal::BadBody(format!(
                "subject_token_type: expected one of {expected}"
            )));
        }
        if requested.is_some_and(|requested| requested != ACCESS_TOKEN) {
            return Err(Refusal::BadBody(format!(
                "requested_token_type: expected {ACCESS_TOKEN}"
            )));
        }
        let scopes = scope.map(|scope| {
            let names = scope.split(' ').filter(|name| !name.is_empty());
            names
                .map(str::parse::<Scope>)
                .collect::<Result<Scopes, _>>()
        });
        let scopes = scopes
            .transpose()
            .map_err(|error| Refusal::BadBody(format!("scope: {error}")))?;
        let token = token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| bad("subject_token is missing"))?;
        Ok(Self {
            token,
            scopes: scopes.filter(|scopes| !scopes.is_empty()),
        })
    }

    fn permission(&self, subject: &Credential, issued: &Issued) -> Result<Permission, Refusal> {
        let held = subject.caller.scopes;
        if held.is_empty() {
            return Err(Refusal::TooLittleScope {
                needed: Scope::Read,
            });
        }
        match self.scopes {
            Some(scopes) if !scopes.within(held) => Err(Refusal::Wider(Wider::Scopes)),
            Some(scopes) => Ok(Permission { scopes, role: None }),
            None => Ok(Permission {
                scopes: held,
                role: issued.role,
            }),
        }
    }
}

/// Judges the token as if it had come as a bearer credential, failures and penalties included.
async fn judge(
    request: &Request<'_>,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Arc<Credential>, Refusal> {
    let (state, client) = (request.state, request.record.client);
    let blocked = state.throttle.blocked_seconds(client, now);
    let snapshot = &request.record.snapshot;
    let judged = snapshot
        .issuers
        .credential(token, now, blocked.is_none())
        .await;
    let fault = match oidc::answer(judged) {
        crate::authn::Answer::Authenticated(found) if found.holds(&snapshot.tokens.load(), now) => {
            return Ok(found);
        }
        crate::authn::Answer::Authenticated(_) => CredentialFault::Jwt("jwt_withdrawn"),
        crate::authn::Answer::Failed(fault) => fault,
        crate::authn::Answer::Unavailable => return Err(Refusal::IssuerUnavailable),
        crate::authn::Answer::NotRequested => CredentialFault::Malformed,
    };
    if let Some(seconds) = blocked {
        return Err(Refusal::TooManyFailures { seconds });
    }
    state.throttle.failed(client, now);
    Err(Refusal::BadCredential(fault))
}

/// No later than the old token says itself, without the leeway that its clock is allowed.
fn lifetime(issued: &Issued, now: DateTime<Utc>) -> Result<DateTime<Utc>, Refusal> {
    let longest = TimeDelta::from_std(issued.lifetime_max).map_err(|_| Refusal::Internal)?;
    let end = issued.expires_at.map_or(now, |end| end.min(now + longest));
    if end <= now {
        return Err(Refusal::BadCredential(CredentialFault::Jwt("jwt_expired")));
    }
    Ok(end)
}

async fn make(
    request: &Request<'_>,
    subject: &Arc<Credential>,
    issued: &Issued,
    permission: Permission,
    expires_at: DateTime<Utc>,
) -> Result<(FreshToken, TokenRecord), Refusal> {
    let federated = Federated {
        issuer: issued.issuer.clone(),
        subject: issued.subject.clone(),
        user: subject.caller.user.clone(),
        issued_at: issued.issued_at,
    };
    let projects = subject.caller.projects.as_ref();
    let bounds = Bounds {
        projects: projects.map(|paths| paths.iter().filter_map(|path| path.parse().ok()).collect()),
        ..Bounds::default()
    };
    let name = NAME.parse().map_err(|_| Refusal::Internal)?;
    let now = clock::now();
    let _turn = turn().await?;
    let subject = Arc::clone(subject);
    change(request.state, move |home| {
        let mut change = begin(home, &subject)?;
        let made = change.exchange(federated, name, (permission, bounds), expires_at, now)?;
        let generation = change.commit().map_err(ChangeError::from)?;
        Ok((made, vec![Awaited::Addition(generation)]))
    })
    .await
}

async fn record(
    request: &Request<'_>,
    subject: &Credential,
    issued: &Issued,
    phase: Phase,
    outcome: Outcome,
) -> Result<(), ()> {
    let details = Map::from_iter([
        ("issuer".to_owned(), Value::from(issued.issuer.as_str())),
        ("subject".to_owned(), Value::from(issued.subject.as_str())),
        ("rules".to_owned(), Value::from(issued.rules.join(", "))),
    ]);
    let draft = Draft {
        user: &subject.caller.user,
        resource: request.record.resource(),
        details: Some(&details),
        ip: Some(request.record.client),
        request_id: Some(&request.record.id),
        auth_method: Some(subject.caller.auth_method),
        ..Draft::new("token.exchange", phase, outcome)
    };
    request.state.audit.durable(draft).await.map_err(|_| ())
}
