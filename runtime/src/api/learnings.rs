//! Handlers of the memory.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use config::contract::audit::Note;
use config::contract::caller::Statement;
use config::contract::learning::{
    ImportLearnings, LearningKind, LearningList, LearningStats, LearningView, NewLearning, Trust,
};
use serde::Deserialize;

use super::Api;
use super::problem::{Refused, internal};
use super::projects::{asked, limit};
use super::sessions::{body, empty_body, noted};
use crate::memory::Asked;

/// Which learnings are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    query: Option<String>,
    #[serde(rename = "type")]
    kind: Option<LearningKind>,
    trust: Option<Trust>,
    /// Id, alias or path.
    project: Option<String>,
    limit: Option<u32>,
    offset: Option<u64>,
}

/// Lists or searches learnings.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<LearningList>, Refused> {
    let fix = "use ?query=WORDS, &type=pattern, mistake, success, decision or note, \
               &trust=trusted, untrusted or quarantined, &project=ID, &limit=1 to 1000, \
               &offset=NUMBER";
    let wanted = self::asked(wanted, fix)?;
    let page = (limit(wanted.limit)?, wanted.offset.unwrap_or_default());
    let asked = Asked {
        query: wanted.query,
        kind: wanted.kind,
        trust: wanted.trust,
        project: wanted.project,
    };
    let list = api.memory.list(asked, page, &statement.caller).await?;
    Ok(Json(list))
}

/// Remembers a learning; 201 if it is new.
pub(super) async fn add(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    let new: NewLearning = body("learning.add", request).await?;
    let (view, is_new) = api.memory.add(new, &statement.caller).await?;
    let location = format!("/api/registry/learnings/{}", view.id);
    let location = HeaderValue::from_str(&location).map_err(|error| internal(&error))?;
    let headers = [(header::LOCATION, location), noted(&about(&view))?];
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, headers, Json(view)).into_response())
}

/// Remembers learnings of another memory.
pub(super) async fn import(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    let request: ImportLearnings = body("learning.import", request).await?;
    let imported = api
        .memory
        .import(request.learnings, &statement.caller)
        .await?;
    let note = Note::default()
        .with("added", imported.added)
        .with("known", imported.known)
        .with("refused", imported.refused.len());
    Ok(([noted(&note)?], Json(imported)).into_response())
}

/// Tells everything about one learning.
pub(super) async fn show(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Json<LearningView>, Refused> {
    Ok(Json(api.memory.find(&id, &statement.caller).await?))
}

/// Counts learnings.
pub(super) async fn stats(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
) -> Result<Json<LearningStats>, Refused> {
    Ok(Json(api.memory.stats(&statement.caller).await?))
}

/// Trusts a learning.
pub(super) async fn trust(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    empty_body("learning.trust", request).await?;
    let view = api.memory.trust(&id, &statement.caller).await?;
    Ok(([noted(&about(&view))?], Json(view)).into_response())
}

/// Forgets a learning.
pub(super) async fn forget(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    empty_body("learning.forget", request).await?;
    let view = api.memory.forget(&id, &statement.caller).await?;
    Ok((StatusCode::NO_CONTENT, [noted(&about(&view))?]).into_response())
}

fn about(view: &LearningView) -> Note {
    let note = Note::about("learning", view.id.as_str())
        .with("type", view.kind.name())
        .with("trust", view.trust.name());
    match &view.project {
        Some(project) => note.with("project", project.as_str()),
        None => note,
    }
}
