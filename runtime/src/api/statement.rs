//! Demands a valid caller statement of every request, and judges its scopes once more.
//!
//! Invariant: whoever lacks a statement learns nothing, not even which paths there are.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use config::contract::caller::{HEADER, Statement, StatementError};
use config::contract::figures;
use config::contract::operation::{self, Access, Found, Owner};
use config::contract::problem::Problem;
use tracing::Instrument;

use super::Api;
use super::problem::{self, Refused};
use crate::clock;

/// The only principal that may ask for the figures.
pub const GATEWAY: &str = "gateway";

/// Passes a request on if its statement is valid and grants what the operation needs.
pub(super) async fn demand(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let statement = match verify(&api, &request) {
        Ok(statement) => Arc::new(statement),
        Err(error) => return refuse(&api, error),
    };
    let request_id = statement.request_id.clone();
    let span = tracing::info_span!("request", request_id = %request_id);
    let response = match authorize(&request, &statement) {
        Ok(()) => {
            request.extensions_mut().insert(statement);
            next.run(request).instrument(span).await
        }
        Err(refused) => refused.into_response(),
    };
    problem::finish(response, Some(&request_id))
}

fn verify(api: &Api, request: &Request) -> Result<Statement, StatementError> {
    let uri = request.uri();
    // A target with a host in it is not what a gateway forwards.
    if uri.authority().is_some() || uri.scheme().is_some() {
        return Err(StatementError::OtherRequest);
    }
    let target = uri
        .path_and_query()
        .ok_or(StatementError::OtherRequest)?
        .as_str();
    let header = only(request.headers())?;
    let now_ms = clock::now().timestamp_millis();
    api.verifier
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .verify(header, request.method().as_str(), target, now_ms)
}

/// Returns the statement's header; two of them are as good as a forged one.
fn only(headers: &HeaderMap) -> Result<Option<&[u8]>, StatementError> {
    let mut values = headers.get_all(HEADER).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(StatementError::Malformed);
    }
    Ok(first.map(axum::http::HeaderValue::as_bytes))
}

fn refuse(api: &Api, error: StatementError) -> Response {
    let refused = api.refused.fetch_add(1, Ordering::Relaxed) + 1;
    tracing::warn!(%error, refused, "request without a valid caller statement refused");
    let problem = Problem::new("forbidden", "Only the gateway may call", 403);
    problem::finish(Refused::from(problem).into_response(), None)
}

/// Judges the scopes again, although the gateway did: two processes, two locks.
fn authorize(request: &Request, statement: &Statement) -> Result<(), Refused> {
    let path = request.uri().path();
    if path == figures::PATH {
        return if statement.caller.principal == GATEWAY {
            Ok(())
        } else {
            Err(Problem::new("not-found", "There is nothing here", 404).into())
        };
    }
    match operation::find(request.method().as_str(), path) {
        Found::Operation(row) if row.owner == Owner::Runtime => match row.access {
            Access::Public => Ok(()),
            Access::Scoped(scope) if statement.caller.scopes.allow(scope) => Ok(()),
            Access::Scoped(scope) => {
                let mut problem =
                    Problem::new("insufficient-scope", "The credential lacks a scope", 403)
                        .detail(format!("{row} needs the scope {scope}"));
                problem.scope = Some(scope.name().to_owned());
                Err(problem.into())
            }
        },
        Found::OtherMethod => {
            Err(
                Problem::new("method-not-allowed", "The path has no such method", 405)
                    .detail(format!(
                        "allowed: {}",
                        operation::methods_of(path).join(", ")
                    ))
                    .into(),
            )
        }
        Found::Operation(_) | Found::Nothing => {
            Err(Problem::new("not-found", "There is nothing here", 404).into())
        }
    }
}
