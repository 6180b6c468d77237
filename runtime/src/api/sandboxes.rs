//! Handlers of long-lived sandboxes.

mod terminal;

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use config::contract::audit::Note;
use config::contract::caller::Statement;
use config::contract::problem::Problem;
use config::contract::sandbox::{SandboxList, SandboxLog, SandboxView, StartSandbox};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jail::order::{Size, TerminalKind};
use serde::Deserialize;

use super::Api;
use super::problem::{Refused, internal, invalid};
use super::sessions::{body, empty_body, noted};
use super::websocket;
use crate::session::standing::{ShellError, StandingError};

/// Lists the sandboxes that the caller may see.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
) -> Result<Json<SandboxList>, Refused> {
    let sandboxes = api.standing.list(&statement.caller).await?;
    Ok(Json(SandboxList { sandboxes }))
}

/// Starts a sandbox; answers when it is there.
pub(super) async fn start(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    let request: StartSandbox = body("sandbox.start", request).await?;
    let view = api.standing.start(request, &statement).await?;
    let location = format!("/api/sandboxes/{}", view.id);
    let location = HeaderValue::from_str(&location).map_err(|error| internal(&error))?;
    let headers = [(header::LOCATION, location), noted(&note(&view))?];
    Ok((StatusCode::CREATED, headers, Json(view)).into_response())
}

/// Tells everything about one sandbox.
pub(super) async fn show(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Json<SandboxView>, Refused> {
    Ok(Json(api.standing.show(&id, &statement.caller).await?))
}

/// Which part of a log is wanted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    after: Option<u64>,
}

/// Shows what was written in a sandbox.
pub(super) async fn log(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<SandboxLog>, Refused> {
    let fix = "use ?after=NUMBER, the `next` of the last answer";
    let Query(wanted) = wanted.map_err(|error| invalid(400, error.body_text(), fix))?;
    let log = api.standing.log(&id, wanted.after, &statement.caller);
    Ok(Json(log.await?))
}

/// Ends a sandbox; answers when it is gone and its work handed over.
pub(super) async fn stop(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    empty_body("sandbox.stop", request).await?;
    let view = api.standing.stop(&id, &statement).await?;
    Ok(([noted(&note(&view))?], Json(view)).into_response())
}

/// Removes an ended sandbox.
pub(super) async fn remove(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let view = api.standing.remove(&id, &statement.caller).await?;
    Ok((StatusCode::NO_CONTENT, [noted(&note(&view))?]).into_response())
}

/// What a caller's terminal is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terminal {
    #[serde(default = "columns_default")]
    columns: u16,
    #[serde(default = "rows_default")]
    rows: u16,
    #[serde(default)]
    terminal: Option<String>,
}

/// Opens a shell and turns the connection into a WebSocket to it.
pub(super) async fn shell(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    terminal: Result<Query<Terminal>, QueryRejection>,
    mut request: Request,
) -> Result<Response, Refused> {
    let fix = "use ?columns=NUMBER&rows=NUMBER&terminal=NAME";
    let Query(terminal) = terminal.map_err(|error| invalid(400, error.body_text(), fix))?;
    let kind: Option<TerminalKind> = terminal
        .terminal
        .map(|kind| kind.parse())
        .transpose()
        .map_err(|_| invalid(400, "terminal is not the name of a terminal", fix))?;
    let size = Size {
        columns: terminal.columns,
        rows: terminal.rows,
    };
    let view = api.standing.show(&id, &statement.caller).await?;
    let accept = websocket::accept(request.headers())?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(websocket::not_asked)?;
    // Before the answer, so that a shell that cannot be had is refused like anything else.
    let kind = kind.unwrap_or_default();
    let shell = api.standing.shell(&view, size, kind, &statement).await?;
    let (note, standing) = (note(&view), api.standing.clone());
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let ending = standing.ending(&view.id);
                terminal::converse(shell, TokioIo::new(upgraded), ending).await;
            }
            Err(error) => tracing::debug!(%error, "connection not upgraded"),
        }
    });
    let headers = [
        (header::UPGRADE, "websocket".to_owned()),
        (header::CONNECTION, "upgrade".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers, [noted(&note)?]).into_response())
}

fn note(view: &SandboxView) -> Note {
    Note::about("sandbox", view.id.as_str())
        .with("name", view.name.as_str())
        .with("project", view.project.as_str())
}

impl From<StandingError> for Refused {
    fn from(error: StandingError) -> Self {
        let detail = error.to_string();
        let problem = match error {
            StandingError::Start(error) => return error.into(),
            StandingError::Invalid { .. } | StandingError::Paths(_) => {
                Problem::new("invalid-request", "The request cannot be carried out", 422)
                    .fix("correct the member; docs/sandbox.md lists what there is")
            }
            StandingError::Unknown(_) => Problem::new("not-found", "There is no such sandbox", 404)
                .fix("list them with GET /api/sandboxes or loki sandbox status"),
            StandingError::Taken { .. } => {
                Problem::new("name-taken", "A sandbox of this name is there", 409)
                    .fix("choose another name, or stop it first: loki sandbox stop NAME")
            }
            StandingError::TooMany(_) => Problem::new("too-many", "No place is free", 503)
                .fix("stop or remove one, or let the operator raise sandbox.live_max"),
            StandingError::Runs(_) => Problem::new("wrong-state", "The sandbox runs", 409)
                .fix("stop it first: loki sandbox stop NAME"),
            StandingError::StillEnding(_) => {
                Problem::new("still-ending", "It is still ending", 503)
                    .fix("ask again: stopping is under way")
            }
            StandingError::Shell(ShellError::NotRunning) => {
                Problem::new("wrong-state", "The sandbox does not run", 409)
                    .fix("start it: loki sandbox start NAME")
            }
            StandingError::Shell(ShellError::TooMany) => {
                Problem::new("too-many", "No shell is free", 503).fix("leave another shell first")
            }
            StandingError::Shell(ShellError::Inside(_)) => {
                Problem::new("no-shell", "The sandbox opens no shell", 503)
                    .fix("stop the sandbox and start it anew")
            }
            StandingError::Closed => {
                Problem::new("shutting-down", "The runtime is shutting down", 503)
                    .fix("try again when it is back")
            }
            StandingError::Work(_) | StandingError::Store(_) | StandingError::Lost => {
                return internal(&error);
            }
        };
        problem.detail(detail).into()
    }
}

const fn columns_default() -> u16 {
    80
}

const fn rows_default() -> u16 {
    24
}
