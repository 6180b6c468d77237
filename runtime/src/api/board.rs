//! Handlers of the task board `/api/tasks`.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use config::contract::audit::Note;
use config::contract::board::{BoardTask, MoveTask, NewTask};
use config::contract::caller::{Caller, Statement};
use config::contract::problem::Problem;
use config::contract::registry::TaskStatus;
use serde::Deserialize;

use super::Api;
use super::problem::{Refused, internal, invalid};
use super::sessions::{body, noted};
use crate::session::may_see;
use crate::{clock, identity};

/// Which tasks are wanted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    status: Option<TaskStatus>,
}

/// Lists the tasks that the caller may see, most pressing first.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Vec<BoardTask>>, Refused> {
    let fix = "use ?status=pending, in_progress, completed or failed";
    let Query(wanted) = wanted.map_err(|error| invalid(400, error.body_text(), fix))?;
    let mut tasks = api.store.board().await?;
    tasks.retain(|task| {
        wanted.status.is_none_or(|status| status == task.status)
            && is_visible(&statement.caller, task.project.as_deref())
    });
    Ok(Json(tasks))
}

/// Puts a task on the board.
pub(super) async fn create(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    let new: NewTask = body("task.create", request).await?;
    check(&new, &statement.caller)?;
    let now = clock::written(clock::now());
    let task = BoardTask {
        id: identity::task_id().map_err(|error| internal(&error))?,
        title: new.title,
        description: new.description,
        project: new.project,
        priority: new.priority,
        status: TaskStatus::Pending,
        created_by: statement.caller.user.clone(),
        created_at: now.clone(),
        updated_at: now,
    };
    kept(&api, &task).await?;
    answer(StatusCode::CREATED, &task)
}

/// Tells everything about one task.
pub(super) async fn show(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Json<BoardTask>, Refused> {
    Ok(Json(visible(&api, &statement, &id).await?))
}

/// Changes what a task says.
pub(super) async fn update(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let old = visible(&api, &statement, &id).await?;
    let new: NewTask = body("task.update", request).await?;
    check(&new, &statement.caller)?;
    let task = BoardTask {
        title: new.title,
        description: new.description,
        project: new.project,
        priority: new.priority,
        updated_at: clock::written(clock::now()),
        ..old
    };
    kept(&api, &task).await?;
    answer(StatusCode::OK, &task)
}

/// Moves a task to another status.
pub(super) async fn shift(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let old = visible(&api, &statement, &id).await?;
    let to: MoveTask = body("task.move", request).await?;
    let task = BoardTask {
        status: to.status,
        updated_at: clock::written(clock::now()),
        ..old
    };
    kept(&api, &task).await?;
    answer(StatusCode::OK, &task)
}

/// Takes a task off the board.
pub(super) async fn remove(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let task = visible(&api, &statement, &id).await?;
    api.store.remove_task(&task.id).await?;
    let note = Note::about("task", task.id.as_str());
    Ok((StatusCode::NO_CONTENT, [noted(&note)?]).into_response())
}

fn answer(status: StatusCode, task: &BoardTask) -> Result<Response, Refused> {
    let note = Note::about("task", task.id.as_str())
        .with("title", task.title.as_str())
        .with("status", task.status.name());
    Ok((status, [noted(&note)?], Json(task)).into_response())
}

async fn kept(api: &Api, task: &BoardTask) -> Result<(), Refused> {
    if api.store.put_task(task).await? {
        return Ok(());
    }
    Err(Problem::new("board-full", "The board is full", 422)
        .fix("take tasks that are done off the board")
        .into())
}

async fn visible(api: &Api, statement: &Statement, id: &str) -> Result<BoardTask, Refused> {
    let task = match id.parse() {
        Ok(parsed) => api.store.task(&parsed).await?,
        Err(_) => None,
    };
    task.filter(|task| is_visible(&statement.caller, task.project.as_deref()))
        .ok_or_else(|| {
            let shown: String = id.chars().take(64).collect();
            Problem::new("not-found", "There is no such task", 404)
                .detail(format!("there is no task {shown:?}"))
                .fix("list the tasks with GET /api/tasks")
                .into()
        })
}

/// Returns whether a caller may know of a task; one bound to projects knows of theirs alone.
pub(super) fn is_visible(caller: &Caller, project: Option<&str>) -> bool {
    match project {
        Some(project) => may_see(caller, project),
        None => caller.projects.is_none(),
    }
}

fn check(task: &NewTask, caller: &Caller) -> Result<(), Refused> {
    let is_plain = !task.title.chars().any(char::is_control);
    if task.title.trim().is_empty() || task.title.len() > TITLE_BYTES_MAX || !is_plain {
        let detail = format!("title is not 1 to {TITLE_BYTES_MAX} bytes of plain text");
        return Err(invalid(
            422,
            detail,
            "send one line that says what is to be done",
        ));
    }
    if task.description.len() > DESCRIPTION_BYTES_MAX {
        let detail = format!("description is longer than {DESCRIPTION_BYTES_MAX} bytes");
        return Err(invalid(422, detail, "shorten it"));
    }
    if !is_visible(caller, task.project.as_deref()) {
        return Err(
            Problem::new("other-project", "The credential is for other projects", 403)
                .fix("name a project to which the credential is bound")
                .into(),
        );
    }
    Ok(())
}

const TITLE_BYTES_MAX: usize = 200;
const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
