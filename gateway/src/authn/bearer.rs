//! The opaque bearer token: `Authorization: Bearer loki_…` (RFC 6750, section 2.1).
//!
//! Credentials are read from this header alone, never from the URL or the body.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use http::header::AUTHORIZATION;
use pingora::http::RequestHeader;

use super::Answer;
use crate::refusal::CredentialFault;
use crate::tokens::format::RawToken;
use crate::tokens::index::{Index, Rejected};

/// Looks for a bearer token and checks it, for a caller at `client`.
pub(crate) fn authenticate(
    header: &RequestHeader,
    tokens: &Index,
    client: IpAddr,
    now: DateTime<Utc>,
) -> Answer {
    let Some(value) = header.headers.get(AUTHORIZATION) else {
        return Answer::NotRequested;
    };
    // Malformed tokens are refused offline: no hashing, no look-up.
    let Some(token) = value.to_str().ok().and_then(token_of) else {
        return Answer::Failed(CredentialFault::Malformed);
    };
    match tokens.credential(&token, client, now) {
        Ok(credential) => Answer::Authenticated(credential),
        Err(Rejected::Elsewhere(id)) => Answer::Failed(CredentialFault::Elsewhere { token_id: id }),
        Err(Rejected::Unknown) => Answer::Failed(CredentialFault::Unknown),
        Err(Rejected::Expired(id, _)) => Answer::Failed(CredentialFault::Expired { token_id: id }),
        Err(Rejected::Revoked(id, _)) => Answer::Failed(CredentialFault::Revoked { token_id: id }),
    }
}

/// Answers where opaque tokens are switched off: whatever is there is not accepted.
pub(crate) fn switched_off(header: &RequestHeader) -> Answer {
    if header.headers.contains_key(AUTHORIZATION) {
        Answer::Failed(CredentialFault::Unknown)
    } else {
        Answer::NotRequested
    }
}

fn token_of(value: &str) -> Option<RawToken<'_>> {
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    RawToken::parse(token).ok()
}
