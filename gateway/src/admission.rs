//! The one decision: is this request admitted?
//!
//! Invariant: [`Admitted`] is made here and nowhere else, and nothing is forwarded or answered
//! without it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use config::contract::caller::{AuthMethod, Caller};
use config::contract::operation::{Access, Operation};
use config::contract::scope::{Role, Scope, Scopes};
use http::header::CONTENT_LENGTH;
use pingora::http::RequestHeader;

use crate::authn;
use crate::authn::client_certificate::PeerCertificate;
use crate::authz::{self, Judgement};
use crate::credential::Credential;
use crate::limits;
use crate::rates::Standing;
use crate::refusal::Refusal;
use crate::route::Route;
use crate::snapshot::Snapshot;
use crate::state::State;

/// Proof that a request was admitted: for this operation, by this caller, with this scope.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    operation: &'static Operation,
    credential: Arc<Credential>,
    scope: Option<Scope>,
    standing: Standing,
    client: IpAddr,
}

impl Admitted {
    /// Returns what the request asks for.
    pub(crate) const fn operation(&self) -> &'static Operation {
        self.operation
    }

    /// Returns who asks.
    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.credential.caller
    }

    /// Returns what the caller came with.
    pub(crate) const fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// Returns how the caller stands with its rates.
    pub(crate) const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Returns the scope that was used; none for a public operation.
    pub(crate) const fn scope(&self) -> Option<Scope> {
        self.scope
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer<'a> {
    /// The client's address.
    pub(crate) address: IpAddr,
    /// The certificate of its connection.
    pub(crate) certificate: Option<&'a PeerCertificate>,
}

/// A refusal, and what was known by then.
#[derive(Debug)]
pub(crate) struct Turned {
    /// Why.
    pub(crate) refusal: Refusal,
    /// What was asked for, if it exists.
    pub(crate) operation: Option<&'static Operation>,
    /// Who asked, if the credential was good.
    pub(crate) credential: Option<Arc<Credential>>,
}

/// Admits or refuses a request, by the first reason in order: size and shape, site, credential,
/// existence, scope, rate, body.
///
/// # Errors
/// The refusal, with what was known by then.
pub(crate) async fn admit(
    header: &RequestHeader,
    peer: &Peer<'_>,
    state: &State,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Result<Admitted, Turned> {
    let turned = |refusal, operation, credential| Turned {
        refusal,
        operation,
        credential,
    };
    let settings = &snapshot.settings;

    limits::check(header, &settings.limits).map_err(|refusal| turned(refusal, None, None))?;
    let path = header.uri.path();
    let route = Route::find(header.method.as_str(), path);
    let known = match route {
        Route::Operation(operation) => Some(operation),
        Route::OtherMethod | Route::Nothing => None,
    };
    limits::check_site(
        header,
        &settings.listen,
        settings.tokens_required,
        snapshot.scheme(),
    )
    .map_err(|refusal| turned(refusal, known, None))?;

    let credential = match known {
        Some(operation) if operation.access == Access::Public => nobody(),
        Some(_) | None if !settings.tokens_required => local(),
        Some(_) | None => authenticate(header, peer, state, snapshot, now)
            .await
            .map_err(|refusal| turned(refusal, known, None))?,
    };
    let refuse = |refusal| turned(refusal, known, Some(Arc::clone(&credential)));
    // Asking in vain costs as much as asking.
    let deny = |refusal| {
        let taken = state.rates.take_denial(&credential, &settings.rates, now);
        refuse(match taken {
            Ok(()) => refusal,
            Err(exceeded) => Refusal::RateExceeded(exceeded),
        })
    };
    let operation = route.operation(path).map_err(deny)?;
    let scope = match authz::judge(operation, credential.caller.scopes) {
        Judgement::Allowed(scope) => scope,
        Judgement::Missing(needed) => return Err(deny(Refusal::TooLittleScope { needed })),
    };
    let standing = state
        .rates
        .take(operation, &credential, &settings.rates, now)
        .map_err(|exceeded| refuse(Refusal::RateExceeded(exceeded)))?;
    if declared_body(header).is_some_and(|bytes| bytes > operation.body_bytes_max) {
        return Err(refuse(Refusal::BodyTooLong {
            bytes_max: operation.body_bytes_max,
        }));
    }
    Ok(Admitted {
        operation,
        credential,
        scope,
        standing,
        client: peer.address,
    })
}

/// Returns whether whoever was admitted still would be: with this credential, as this principal,
/// for this operation and these projects. Counts nothing, and waits for nothing.
pub(crate) async fn still_admits(
    header: &RequestHeader,
    certificate: Option<&PeerCertificate>,
    admitted: &Admitted,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> bool {
    if admitted.operation.access == Access::Public {
        return true;
    }
    let credential = if snapshot.settings.tokens_required {
        let schemes = snapshot.schemes(certificate, now);
        let found = authn::authenticate(header, &schemes, admitted.client, now, false).await;
        let Ok(credential) = found else {
            return false;
        };
        credential
    } else {
        local()
    };
    let (caller, before) = (&credential.caller, admitted.caller());
    let judgement = authz::judge(admitted.operation, caller.scopes);
    caller.principal == before.principal
        && caller.projects == before.projects
        && matches!(judgement, Judgement::Allowed(_))
}

/// Finds out who is calling. A good credential always passes; one that is not good counts against
/// the caller's network, which gets no more than "too many" once it is blocked.
async fn authenticate(
    header: &RequestHeader,
    peer: &Peer<'_>,
    state: &State,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Result<Arc<Credential>, Refusal> {
    let client = peer.address;
    let blocked = state.throttle.blocked_seconds(client, now);
    let patient = blocked.is_none();
    let begun = Instant::now();
    let schemes = snapshot.schemes(peer.certificate, now);
    let found = authn::authenticate(header, &schemes, client, now, patient).await;
    let method = found
        .as_ref()
        .map_or(AuthMethod::None, |credential| credential.caller.auth_method);
    state.metrics.authenticated(method, begun.elapsed());
    if !matches!(found, Err(Refusal::BadCredential(_))) {
        return found;
    }
    if let Some(seconds) = blocked {
        return Err(Refusal::TooManyFailures { seconds });
    }
    state.throttle.failed(client, now);
    found
}

/// Returns the length that `Content-Length` declares; one that is no number is refused before it matters.
pub(crate) fn declared_body(header: &RequestHeader) -> Option<u64> {
    let length = header.headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Whoever asks for a public operation.
fn nobody() -> Arc<Credential> {
    without("anonymous", AuthMethod::None, Scopes::NONE)
}

/// The operating-system user itself: with authentication off, the listener serves nobody else.
fn local() -> Arc<Credential> {
    without("local", AuthMethod::Local, Role::Admin.scopes())
}

fn without(name: &str, auth_method: AuthMethod, scopes: Scopes) -> Arc<Credential> {
    Arc::new(Credential::without(Arc::new(Caller {
        user: name.to_owned(),
        principal: name.to_owned(),
        auth_method,
        scopes,
        projects: None,
    })))
}
