//! The one decision: is this request admitted?
//!
//! Invariant: [`Admitted`] is made here and nowhere else, and nothing is forwarded or answered
//! without it.

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use config::contract::caller::{AuthMethod, Caller};
use config::contract::operation::{Access, Operation};
use config::contract::scope::{Role, Scope, Scopes};
use http::header::CONTENT_LENGTH;
use pingora::http::RequestHeader;

use crate::authn;
use crate::authz::{self, Judgement};
use crate::limits;
use crate::refusal::Refusal;
use crate::route::Route;
use crate::snapshot::Snapshot;
use crate::state::State;

/// Proof that a request was admitted: for this operation, by this caller, with this scope.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    operation: &'static Operation,
    caller: Arc<Caller>,
    scope: Option<Scope>,
}

impl Admitted {
    /// Returns what the request asks for.
    pub(crate) const fn operation(&self) -> &'static Operation {
        self.operation
    }

    /// Returns who asks.
    pub(crate) const fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Returns the scope that was used; none for a public operation.
    pub(crate) const fn scope(&self) -> Option<Scope> {
        self.scope
    }
}

/// A refusal, and what was known by then.
#[derive(Debug)]
pub(crate) struct Turned {
    /// Why.
    pub(crate) refusal: Refusal,
    /// What was asked for, if it exists.
    pub(crate) operation: Option<&'static Operation>,
    /// Who asked, if the credential was good.
    pub(crate) caller: Option<Arc<Caller>>,
}

/// Admits or refuses a request, by the first reason in order: size and shape, site, credential,
/// existence, scope, body.
///
/// # Errors
/// The refusal, with what was known by then.
pub(crate) async fn admit(
    header: &RequestHeader,
    client: IpAddr,
    state: &State,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Result<Admitted, Turned> {
    let turned = |refusal, operation, caller| Turned {
        refusal,
        operation,
        caller,
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

    let caller = match known {
        Some(operation) if operation.access == Access::Public => nobody(),
        Some(_) | None if !settings.tokens_required => local(),
        Some(_) | None => authenticate(header, client, state, snapshot, now)
            .await
            .map_err(|refusal| turned(refusal, known, None))?,
    };
    let refuse = |refusal| turned(refusal, known, Some(Arc::clone(&caller)));
    let operation = route.operation(path).map_err(refuse)?;
    let scope = match authz::judge(operation, caller.scopes) {
        Judgement::Allowed(scope) => scope,
        Judgement::Missing(needed) => return Err(refuse(Refusal::TooLittleScope { needed })),
    };
    if declared_body(header) > operation.body_bytes_max {
        return Err(refuse(Refusal::BodyTooLong {
            bytes_max: operation.body_bytes_max,
        }));
    }
    Ok(Admitted {
        operation,
        caller,
        scope,
    })
}

/// Returns whether whoever was admitted still would be: with this credential, as this principal,
/// for this operation and these projects. Counts nothing, and waits for nothing.
pub(crate) async fn still_admits(
    header: &RequestHeader,
    admitted: &Admitted,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> bool {
    if admitted.operation.access == Access::Public {
        return true;
    }
    let caller = if snapshot.settings.tokens_required {
        let found = authn::authenticate(header, &snapshot.schemes(), now, false).await;
        let Ok(caller) = found else {
            return false;
        };
        caller
    } else {
        local()
    };
    let judgement = authz::judge(admitted.operation, caller.scopes);
    caller.principal == admitted.caller.principal
        && caller.projects == admitted.caller.projects
        && matches!(judgement, Judgement::Allowed(_))
}

/// Finds out who is calling. A good credential always passes; one that is not good counts against
/// the caller's network, which gets no more than "too many" once it is blocked.
async fn authenticate(
    header: &RequestHeader,
    client: IpAddr,
    state: &State,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Result<Arc<Caller>, Refusal> {
    let blocked = state.throttle.blocked_seconds(client, now);
    let patient = blocked.is_none();
    let found = authn::authenticate(header, &snapshot.schemes(), now, patient).await;
    if !matches!(found, Err(Refusal::BadCredential(_))) {
        return found;
    }
    if let Some(seconds) = blocked {
        return Err(Refusal::TooManyFailures { seconds });
    }
    state.throttle.failed(client, now);
    found
}

/// The length that `Content-Length` declares; its shape is checked by then.
fn declared_body(header: &RequestHeader) -> u64 {
    header
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

/// Whoever asks for a public operation.
fn nobody() -> Arc<Caller> {
    Arc::new(Caller {
        user: "anonymous".to_owned(),
        principal: "anonymous".to_owned(),
        auth_method: AuthMethod::None,
        scopes: Scopes::NONE,
        projects: None,
    })
}

/// The operating-system user itself: with authentication off, the listener serves nobody else.
fn local() -> Arc<Caller> {
    Arc::new(Caller {
        user: "local".to_owned(),
        principal: "local".to_owned(),
        auth_method: AuthMethod::Local,
        scopes: Role::Admin.scopes(),
        projects: None,
    })
}
