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

/// Returns the identity of an issuer's subject. No issuer's URL holds the sign between them, so no
/// subject of one issuer has the identity of another's, however their URLs continue one another.
pub(crate) fn principal(issuer: &str, subject: &str) -> String {
    format!("{issuer}#{subject}")
}

/// A bearer credential with dots is a JSON Web Token, or means to be one: opaque tokens have none.
fn token_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && token.contains('.')).then_some(token)
}

#[cfg(test)]
mod attacks;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::principal;

    #[test]
    fn issuers_whose_urls_continue_one_another_share_no_identity() {
        let [short, long] = ["https://a.test", "https://a.test/b"];
        assert_ne!(principal(short, "b/c"), principal(long, "c"));
        assert_ne!(principal(short, "/b#c"), principal(long, "c"));
    }

    proptest! {
        #[test]
        fn an_identity_is_of_one_issuer_and_one_subject(
            issuers in prop::array::uniform2("https://[a-c/]{1,4}"),
            subjects in prop::array::uniform2("[a-c/#]{1,4}"),
        ) {
            let [one, other] = [0, 1].map(|n| principal(&issuers[n], &subjects[n]));
            let same = issuers[0] == issuers[1] && subjects[0] == subjects[1];
            prop_assert_eq!(one == other, same);
        }
    }
}
