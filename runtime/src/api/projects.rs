//! Handlers of the project registry.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use config::contract::audit::Note;
use config::contract::caller::Statement;
use config::contract::registry::{
    DISCOVER_DEPTH_MAX, DiscoveredList, HealthList, ProjectHealth, ProjectList, ProjectView,
    RegisterProject, TaskList, TaskStatus,
};
use serde::Deserialize;

use super::Api;
use super::problem::{Refused, internal, invalid};
use super::sessions::{body, empty_body, noted};

/// Which page of projects is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only the project at this path.
    path: Option<String>,
    limit: Option<u32>,
    offset: Option<u64>,
}

/// How deep is searched.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Depth {
    max_depth: Option<u32>,
}

/// Which tasks are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedTasks {
    status: Option<TaskStatus>,
    /// Id, alias or path.
    project: Option<String>,
    /// Several of them, by commas: Loki Mode's parameter.
    project_ids: Option<String>,
    limit: Option<u32>,
    offset: Option<u64>,
}

/// Lists projects by path.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<ProjectList>, Refused> {
    let wanted = asked(wanted, "use ?path=PATH or ?limit=1 to 1000&offset=NUMBER")?;
    if let Some(path) = wanted.path {
        let view = api.registry.find(&path, &statement.caller).await?;
        let projects = vec![view];
        return Ok(Json(ProjectList { projects, total: 1 }));
    }
    let limit = limit(wanted.limit)?;
    let offset = wanted.offset.unwrap_or_default();
    let list = api.registry.list(&statement.caller, limit, offset).await?;
    Ok(Json(list))
}

/// Registers a project; 201 if it is new.
pub(super) async fn register(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    let request: RegisterProject = body("project.register", request).await?;
    let (view, is_new) = api.registry.register(request, &statement.caller).await?;
    let note = about(&view).with("new", is_new);
    let location = format!("/api/registry/projects/{}", view.id);
    let location = HeaderValue::from_str(&location).map_err(|error| internal(&error))?;
    let headers = [(header::LOCATION, location), noted(&note)?];
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, headers, Json(view)).into_response())
}

/// Tells everything about one project.
pub(super) async fn show(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Json<ProjectView>, Refused> {
    Ok(Json(api.registry.find(&id, &statement.caller).await?))
}

/// Takes a project out of the registry.
pub(super) async fn remove(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    empty_body("project.remove", request).await?;
    let view = api.registry.remove(&id, &statement.caller).await?;
    Ok((StatusCode::NO_CONTENT, [noted(&about(&view))?]).into_response())
}

/// Notes that a project was opened.
pub(super) async fn access(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    empty_body("project.access", request).await?;
    let view = api.registry.access(&id, &statement.caller).await?;
    Ok(([noted(&about(&view))?], Json(view)).into_response())
}

/// Checks one project's folder.
pub(super) async fn health(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Json<ProjectHealth>, Refused> {
    Ok(Json(api.registry.health(&id, &statement.caller).await?))
}

/// Checks the folders of all projects.
pub(super) async fn health_all(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
) -> Result<Json<HealthList>, Refused> {
    Ok(Json(api.registry.health_all(&statement.caller).await?))
}

/// Finds folders that could be registered.
pub(super) async fn discover(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    depth: Result<Query<Depth>, QueryRejection>,
) -> Result<Json<DiscoveredList>, Refused> {
    let fix = "use ?max_depth=1 to 10";
    let depth = asked(depth, fix)?.max_depth.unwrap_or(DEPTH_DEFAULT);
    if depth == 0 || depth > DISCOVER_DEPTH_MAX {
        let detail = format!("max_depth is {depth}, not 1 to {DISCOVER_DEPTH_MAX}");
        return Err(invalid(400, detail, fix));
    }
    let found = api.registry.discover(depth, &statement.caller).await?;
    Ok(Json(found))
}

/// Brings the registry up to date with the disk.
pub(super) async fn sync(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    empty_body("project.sync", request).await?;
    let report = api.registry.sync(&statement.caller).await?;
    let note = Note::default()
        .with("added", report.added)
        .with("updated", report.updated)
        .with("missing", report.missing);
    Ok(([noted(&note)?], Json(report)).into_response())
}

/// Lists tasks of all registered projects.
pub(super) async fn tasks(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    wanted: Result<Query<WantedTasks>, QueryRejection>,
) -> Result<Json<TaskList>, Refused> {
    let fix = "use ?status=pending, in_progress, completed or failed, &project=ID \
               or &project_ids=ID,ID, &limit=1 to 1000, &offset=NUMBER";
    let wanted = asked(wanted, fix)?;
    let page = (limit(wanted.limit)?, wanted.offset.unwrap_or_default());
    let several = wanted.project_ids.as_deref().map(|ids| ids.split(','));
    let named: Vec<&str> = wanted
        .project
        .as_deref()
        .into_iter()
        .chain(several.into_iter().flatten())
        .collect();
    if named.len() > NAMED_MAX {
        let detail = format!("{} projects are named, not 1 to {NAMED_MAX}", named.len());
        return Err(invalid(400, detail, fix));
    }
    let tasks = api
        .registry
        .tasks(wanted.status, &named, page, &statement.caller)
        .await?;
    Ok(Json(tasks))
}

/// Returns the question, or what is wrong with it, naming the parameter.
pub(super) fn asked<T>(query: Result<Query<T>, QueryRejection>, fix: &str) -> Result<T, Refused> {
    query
        .map(|Query(asked)| asked)
        .map_err(|error| invalid(400, error.body_text(), fix))
}

/// Returns the length of a page.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Refused> {
    match asked.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        other => {
            let detail = format!("limit is {other}, not 1 to {LIMIT_MAX}");
            Err(invalid(400, detail, "use ?limit=1 to 1000"))
        }
    }
}

fn about(view: &ProjectView) -> Note {
    Note::about("project", view.id.as_str())
        .with("path", view.path.as_str())
        .with("name", view.name.as_str())
}

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
const DEPTH_DEFAULT: u32 = 3;
/// Most projects that a question about tasks names.
const NAMED_MAX: usize = 100;
