//! Handlers of approvals and of the command policy.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use config::contract::approval::{ApprovalList, ApprovalView, Approve, REASON_BYTES_MAX, Reject};
use config::contract::audit::Note;
use config::contract::caller::Statement;
use config::contract::id::{ApprovalId, SessionId};
use serde::Deserialize;

use super::Api;
use super::problem::{Refused, invalid, no_session};
use super::projects::asked;
use super::sessions::{body, empty_body, noted};
use crate::approval::DecideError;
use crate::approval::desk::Word;

/// Which approvals are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    state: Option<WantedState>,
    session: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WantedState {
    Waiting,
    All,
}

/// Lists approvals, newest first.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<ApprovalList>, Refused> {
    let wanted = asked(wanted, "use ?state=waiting or all, &session=ID")?;
    let session = wanted
        .session
        .map(|id| id.parse::<SessionId>().map_err(|_| no_session(&id)))
        .transpose()?;
    let only_waiting = wanted.state != Some(WantedState::All);
    let approvals = api
        .desk
        .list(session.as_ref(), only_waiting, &statement)
        .await?;
    Ok(Json(ApprovalList { approvals }))
}

/// Tells everything about one approval; the audit keeps who looked.
pub(super) async fn show(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let view = api.desk.show(&parsed(&id)?, &statement).await?;
    let note = told(&view);
    Ok(([noted(&note)?], Json(view)).into_response())
}

/// Approves exactly what was asked for.
pub(super) async fn approve(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let id = parsed(&id)?;
    let has_body = request.headers().contains_key(header::CONTENT_TYPE);
    let said = if has_body {
        body("approval.approve", request).await?
    } else {
        empty_body("approval.approve", request).await?;
        Approve::default()
    };
    let reason = said.reason.map(checked).transpose()?;
    let digest = said.digest.as_deref();
    let view = api
        .desk
        .decide(&id, Word::Approve, digest, reason, &statement)
        .await?;
    decided(&view)
}

/// Rejects; the reason reaches the agent.
pub(super) async fn reject(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let id = parsed(&id)?;
    let said: Reject = body("approval.reject", request).await?;
    let reason = checked(said.reason)?;
    if reason.trim().is_empty() {
        return Err(invalid(
            422,
            "reason is empty",
            "say why; the agent is told",
        ));
    }
    let view = api
        .desk
        .decide(&id, Word::Reject, None, Some(reason), &statement)
        .await?;
    decided(&view)
}

fn decided(view: &ApprovalView) -> Result<Response, Refused> {
    Ok(([noted(&told(view))?], Json(view)).into_response())
}

fn told(view: &ApprovalView) -> Note {
    Note::about("approval", view.id.as_str())
        .with("session", view.session.as_str())
        .with("gate", view.gate.as_str())
        .with("state", view.state.name())
        .with("digest", view.digest.as_str())
        .with("self_decided", view.self_decided)
}

fn parsed(id: &str) -> Result<ApprovalId, Refused> {
    id.parse()
        .map_err(|_| DecideError::Unknown(id.to_owned()).into())
}

fn checked(reason: String) -> Result<String, Refused> {
    if reason.len() > REASON_BYTES_MAX {
        let why = format!("reason is longer than {REASON_BYTES_MAX} bytes");
        return Err(invalid(422, why, "shorten it"));
    }
    Ok(reason)
}
