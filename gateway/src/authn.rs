//! Finds out who is calling: schemes in order, each with one of three answers.
//!
//! A scheme that was asked and failed ends the search: a bad credential never falls through to a
//! weaker scheme. "Nobody tried" is different from "tried and failed".

pub(crate) mod bearer;
pub(crate) mod client_certificate;
pub(crate) mod oidc;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use client_certificate::PeerCertificate;
use config::gateway::tls::Principal;
use pingora::http::RequestHeader;

use crate::credential::Credential;
use crate::refusal::{CredentialFault, Refusal};
use crate::tokens::index::Index;
use oidc::issuers::Issuers;

/// The answer of one scheme.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The request holds no credential of this kind.
    NotRequested,
    /// The credential is good.
    Authenticated(Arc<Credential>),
    /// There is a credential of this kind, and it is not accepted.
    Failed(CredentialFault),
    /// There is a credential of this kind, and nobody can tell now whether it is good.
    Unavailable,
}

/// What credentials are checked against.
#[derive(Debug)]
pub(crate) struct Schemes<'state> {
    /// The opaque tokens; none if they are switched off.
    pub(crate) tokens: Option<&'state ArcSwap<Index>>,
    /// What was withdrawn, whatever kind it is of.
    pub(crate) withdrawn: &'state ArcSwap<Index>,
    /// The issuers of JSON Web Tokens.
    pub(crate) issuers: &'state Issuers,
    /// The certificate of the connection.
    pub(crate) certificate: Option<&'state PeerCertificate>,
    /// Whom certificates stand for.
    pub(crate) principals: &'state [Principal],
}

/// Returns who is calling from `client`. `patient` callers may wait a second for new keys of the issuer.
///
/// # Errors
/// When no scheme was asked, or one was and failed.
pub(crate) async fn authenticate(
    header: &RequestHeader,
    schemes: &Schemes<'_>,
    client: IpAddr,
    now: DateTime<Utc>,
    patient: bool,
) -> Result<Arc<Credential>, Refusal> {
    if header.headers.get_all("authorization").iter().count() > 1 {
        return Err(Refusal::TwoCredentials);
    }
    let by_certificate =
        client_certificate::authenticate(schemes.certificate, schemes.principals, now);
    if !matches!(by_certificate, Answer::NotRequested) {
        if header.headers.contains_key("authorization") {
            return Err(Refusal::TwoCredentials);
        }
        return judge(unless_withdrawn(by_certificate, schemes, now));
    }
    let by_issuer = oidc::authenticate(header, schemes.issuers, now, patient).await;
    let answer = match by_issuer {
        Answer::NotRequested => match schemes.tokens {
            Some(tokens) => bearer::authenticate(header, &tokens.load(), client, now),
            None => bearer::switched_off(header),
        },
        Answer::Authenticated(_) | Answer::Failed(_) | Answer::Unavailable => {
            unless_withdrawn(by_issuer, schemes, now)
        }
    };
    judge(answer)
}

/// What was verified once is remembered, and a connection lives long, so this is asked each time.
fn unless_withdrawn(answer: Answer, schemes: &Schemes<'_>, now: DateTime<Utc>) -> Answer {
    match answer {
        Answer::Authenticated(ref credential)
            if !credential.holds(&schemes.withdrawn.load(), now) =>
        {
            Answer::Failed(credential.kind.withdrawn())
        }
        Answer::Authenticated(_)
        | Answer::NotRequested
        | Answer::Failed(_)
        | Answer::Unavailable => answer,
    }
}

fn judge(answer: Answer) -> Result<Arc<Credential>, Refusal> {
    match answer {
        Answer::NotRequested => Err(Refusal::NoCredential),
        Answer::Authenticated(credential) => Ok(credential),
        Answer::Failed(fault) => Err(Refusal::BadCredential(fault)),
        Answer::Unavailable => Err(Refusal::IssuerUnavailable),
    }
}
