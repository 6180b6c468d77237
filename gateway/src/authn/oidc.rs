//! Tokens of OpenID Connect issuers: JSON Web Tokens as bearer credentials (RFC 8725).
//!
//! Invariant: what a token says is believed only after [`jws::open`] and [`claims::check`], both
//! pure; no URL that a token names is ever asked for anything.

pub(crate) mod algorithm;
pub(crate) mod claims;
pub(crate) mod document;
pub(crate) mod fault;
pub(crate) mod fetch;
pub(crate) mod jws;
pub(crate) mod kept;
pub(crate) mod key;
pub(crate) mod live;
pub(crate) mod verified;

use chrono::{DateTime, Utc};
use http::header::AUTHORIZATION;
use pingora::http::RequestHeader;

use super::Answer;
use crate::refusal::CredentialFault;
use live::{LiveIssuer, Rejected};

/// Looks for a JSON Web Token and checks it. `patient` callers may wait a second for new keys.
pub(crate) async fn authenticate(
    header: &RequestHeader,
    issuer: Option<&LiveIssuer>,
    now: DateTime<Utc>,
    patient: bool,
) -> Answer {
    let value = header.headers.get(AUTHORIZATION);
    let Some(token) = value.and_then(|value| token_of(value.to_str().ok()?)) else {
        return Answer::NotRequested;
    };
    let Some(issuer) = issuer else {
        return Answer::NotRequested;
    };
    match issuer.caller(token, now, patient).await {
        Ok(credential) => Answer::Authenticated(credential),
        Err(Rejected::Fault(fault)) => Answer::Failed(CredentialFault::Jwt(fault.name())),
        Err(Rejected::Unavailable) => Answer::Unavailable,
    }
}

/// A bearer credential with dots is a JSON Web Token, or means to be one: opaque tokens have none.
fn token_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && token.contains('.')).then_some(token)
}

#[cfg(test)]
mod attacks;
