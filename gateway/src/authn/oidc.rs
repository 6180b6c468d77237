//! Tokens of OpenID Connect issuers: JSON Web Tokens as bearer credentials (RFC 8725).
//!
//! Invariant: what a token says is believed only after [`jws::open`] and [`claims::check`], both
//! pure; no URL that a token names is ever asked for anything.

pub(crate) mod algorithm;
pub(crate) mod claims;
pub(crate) mod document;
pub(crate) mod fault;
pub(crate) mod fetch;
pub(crate) mod issuers;
pub(crate) mod jws;
pub(crate) mod kept;
pub(crate) mod key;
pub(crate) mod live;
pub(crate) mod rules;
pub(crate) mod verified;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::header::AUTHORIZATION;
use pingora::http::RequestHeader;

use super::Answer;
use crate::credential::Credential;
use crate::refusal::CredentialFault;
use issuers::Issuers;
use live::Rejected;

/// Looks for a JSON Web Token and checks it. `patient` callers may wait a second for new keys.
pub(crate) async fn authenticate(
    header: &RequestHeader,
    issuers: &Issuers,
    now: DateTime<Utc>,
    patient: bool,
) -> Answer {
    let value = header.headers.get(AUTHORIZATION);
    let Some(token) = value.and_then(|value| token_of(value.to_str().ok()?)) else {
        return Answer::NotRequested;
    };
    if issuers.is_empty() {
        return Answer::NotRequested;
    }
    answer(issuers.credential(token, now, patient).await)
}

/// Returns the answer of a judgement.
pub(crate) fn answer(judged: Result<Arc<Credential>, Rejected>) -> Answer {
    match judged {
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
