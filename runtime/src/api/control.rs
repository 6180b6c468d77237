//! Handlers of what steers sessions: stop, pause, resume.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use config::contract::approval::Resume;
use config::contract::audit::Note;
use config::contract::caller::Statement;
use config::contract::id::SessionId;
use config::contract::session::SessionView;

use super::Api;
use super::problem::{Refused, no_session};
use super::sessions::{body, empty_body, noted, visible};
use crate::session::retention;

/// Stops one session; answers when nothing of it runs any more and its branch is handed over.
pub(super) async fn stop(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let parsed: SessionId = id.parse().map_err(|_| no_session(&id))?;
    empty_body("session.stop", request).await?;
    controlled(&api.sessions.stop(&parsed, &statement).await?)
}

/// Stops the only live session.
pub(super) async fn stop_only(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    empty_body("control.stop", request).await?;
    controlled(&api.sessions.stop_only(&statement).await?)
}

/// Pauses one session; answers when nothing of it runs any more.
pub(super) async fn pause(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let parsed: SessionId = id.parse().map_err(|_| no_session(&id))?;
    empty_body("session.pause", request).await?;
    controlled(&api.sessions.pause(&parsed, &statement).await?)
}

/// Pauses the only session that works.
pub(super) async fn pause_only(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    empty_body("control.pause", request).await?;
    controlled(&api.sessions.pause_only(&statement).await?)
}

/// Approves what one session waits for, or lets it go on.
pub(super) async fn resume(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let parsed: SessionId = id.parse().map_err(|_| no_session(&id))?;
    let looked_at = looked_at("session.resume", request).await?;
    let resumed = api.sessions.resume(&parsed, looked_at.as_ref(), &statement);
    controlled(&resumed.await?)
}

/// Resumes the only session that is paused or waits for a person.
pub(super) async fn resume_only(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    let looked_at = looked_at("control.resume", request).await?;
    let resumed = api.sessions.resume_only(looked_at.as_ref(), &statement);
    controlled(&resumed.await?)
}

/// Returns what the caller says to have looked at, if anything.
async fn looked_at(operation: &str, request: Request) -> Result<Option<Resume>, Refused> {
    if request.headers().contains_key(header::CONTENT_TYPE) {
        return body(operation, request).await.map(Some);
    }
    empty_body(operation, request).await?;
    Ok(None)
}

/// Removes an ended session; what it handed over stays in the project.
pub(super) async fn remove(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let view = visible(&api, &statement, &id).await?;
    retention::remove(&api.store, api.sessions.home(), &view.id).await?;
    let note = Note::about("session", view.id.as_str()).with("state", view.state.name());
    Ok((StatusCode::NO_CONTENT, [noted(&note)?]).into_response())
}

fn controlled(view: &SessionView) -> Result<Response, Refused> {
    let note = Note::about("session", view.id.as_str()).with("state", view.state.name());
    Ok(([noted(&note)?], Json(view)).into_response())
}
