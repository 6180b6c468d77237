//! Finds out who is calling: schemes in order, each with one of three answers.
//!
//! A scheme that was asked and failed ends the search: a bad credential never falls through to a
//! weaker scheme. "Nobody tried" is different from "tried and failed".

pub(crate) mod bearer;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use config::contract::caller::Caller;
use pingora::http::RequestHeader;

use crate::refusal::{CredentialFault, Refusal};
use crate::tokens::index::Index;

/// The answer of one scheme.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The request holds no credential of this kind.
    NotRequested,
    /// The credential is good.
    Authenticated(Arc<Caller>),
    /// There is a credential of this kind, and it is not accepted.
    Failed(CredentialFault),
}

/// Returns who is calling.
///
/// # Errors
/// When no scheme was asked, or one was and failed.
pub(crate) fn authenticate(
    header: &RequestHeader,
    tokens: &Index,
    now: DateTime<Utc>,
) -> Result<Arc<Caller>, Refusal> {
    if header.headers.get_all("authorization").iter().count() > 1 {
        return Err(Refusal::TwoCredentials);
    }
    match bearer::authenticate(header, tokens, now) {
        Answer::NotRequested => Err(Refusal::NoCredential),
        Answer::Authenticated(caller) => Ok(caller),
        Answer::Failed(fault) => Err(Refusal::BadCredential(fault)),
    }
}
