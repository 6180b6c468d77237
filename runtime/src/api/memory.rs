//! Handlers that look back on the memory, as Loki Mode's clients ask for it.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use config::contract::caller::Statement;
use config::contract::learning::{LearningList, LearningView};
use config::contract::memory::{EpisodeList, MemorySummary, Timeline};
use config::contract::session::SessionView;
use serde::Deserialize;

use super::Api;
use super::problem::Refused;
use super::projects::{asked, limit};

/// Whose past is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    /// Id, alias or path.
    project: Option<String>,
}

/// Which page of the past is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Id, alias or path.
    project: Option<String>,
    limit: Option<u32>,
    offset: Option<u64>,
}

/// How much of the timeline is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Newest {
    /// Id, alias or path.
    project: Option<String>,
    limit: Option<u32>,
}

/// Counts what there is.
pub(super) async fn summary(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    whose: Result<Query<Whose>, QueryRejection>,
) -> Result<Json<MemorySummary>, Refused> {
    let project = asked(whose, "use ?project=ID")?.project;
    let summary = api.memory.summary(project.as_deref(), &statement.caller);
    Ok(Json(summary.await?))
}

/// Lists sessions that have ended.
pub(super) async fn episodes(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<EpisodeList>, Refused> {
    let wanted = asked(wanted, PAGE)?;
    let page = (limit(wanted.limit)?, wanted.offset.unwrap_or_default());
    let project = wanted.project.as_deref();
    let list = api.memory.episodes(project, page, &statement.caller);
    Ok(Json(list.await?))
}

/// Tells everything about one session that has ended.
pub(super) async fn episode(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Refused> {
    Ok(Json(api.memory.episode(&id, &statement.caller).await?))
}

/// Lists patterns.
pub(super) async fn patterns(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<LearningList>, Refused> {
    let wanted = asked(wanted, PAGE)?;
    let page = (limit(wanted.limit)?, wanted.offset.unwrap_or_default());
    let list = api.memory.patterns(wanted.project, page, &statement.caller);
    Ok(Json(list.await?))
}

/// Tells everything about one pattern.
pub(super) async fn pattern(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Json<LearningView>, Refused> {
    Ok(Json(api.memory.pattern(&id, &statement.caller).await?))
}

/// Tells what happened last.
pub(super) async fn timeline(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    newest: Result<Query<Newest>, QueryRejection>,
) -> Result<Json<Timeline>, Refused> {
    let newest = asked(newest, "use ?project=ID or ?limit=1 to 1000")?;
    let limit = limit(newest.limit)?;
    let project = newest.project.as_deref();
    let timeline = api.memory.timeline(project, limit, &statement.caller);
    Ok(Json(timeline.await?))
}

const PAGE: &str = "use ?project=ID, ?limit=1 to 1000 or &offset=NUMBER";
