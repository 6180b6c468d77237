//! Handlers of an agent's work as seen from outside: what it is told, what it wrote, what it changed,
//! what it cost.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use config::contract::audit::Note;
use config::contract::caller::Statement;
use config::contract::cost::{Agent, Cost, CostOfSession};
use config::contract::session::{Input, SessionView};
use serde::Deserialize;

use super::Api;
use super::problem::{Refused, internal, invalid};
use super::sessions::{body, noted, visible};
use crate::session::halt::HaltError;
use crate::{clock, folder};

/// Tells a session's agent something; it reaches the next prompt.
pub(super) async fn input(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let view = visible(&api, &statement, &id).await?;
    let input: Input = body("session.input", request).await?;
    let text = input.text.trim();
    if text.is_empty() || text.len() > INPUT_BYTES_MAX || text.contains('\0') {
        let detail = format!("text is empty, longer than {INPUT_BYTES_MAX} bytes, or holds a NUL");
        return Err(invalid(422, detail, "send a short plain text"));
    }
    if view.state.is_final() {
        return Err(HaltError::WrongState {
            id: view.id,
            state: view.state,
            what: "told anything",
        }
        .into());
    }
    let (store, author) = (&api.store, &statement.caller.user);
    store
        .add_input(&view.id, author, text, clock::now())
        .await?;
    let note = Note::about("session", view.id.as_str()).with("state", view.state.name());
    Ok(([noted(&note)?], Json(view)).into_response())
}

/// Returns what the agent changed, up to its last checkpoint, as git shows it.
pub(super) async fn diff(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let view = visible(&api, &statement, &id).await?;
    match api.sessions.diff(&view).await {
        Ok(diff) => {
            Ok(([(header::CONTENT_TYPE, "text/x-diff; charset=utf-8")], diff).into_response())
        }
        Err(error) => Err(internal(&error)),
    }
}

/// Which part of a log is wanted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The iteration; none means the current one.
    #[serde(default)]
    iteration: Option<u32>,
    /// Most lines, from the end.
    #[serde(default = "default_lines")]
    lines: usize,
}

const fn default_lines() -> usize {
    100
}

/// Returns the end of what the agent's program wrote in an iteration.
pub(super) async fn log(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refused> {
    let wanted = checked(wanted)?;
    let view = visible(&api, &statement, &id).await?;
    let text = read_log(&api, &view, wanted).await?;
    Ok(plain(text))
}

/// Returns the log of the most recently started session, as `/api/logs` of Loki Mode does.
pub(super) async fn newest_log(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refused> {
    let wanted = checked(wanted)?;
    let projects = statement.caller.projects.as_deref();
    let newest = api.store.sessions(projects, 1).await?.into_iter().next();
    let text = match newest {
        Some(view) => read_log(&api, &view, wanted).await?,
        None => String::new(),
    };
    Ok(plain(text))
}

/// Lists the agents of live sessions.
pub(super) async fn agents(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
) -> Json<Vec<Agent>> {
    let live = api.sessions.visible_live(&statement.caller);
    let agents = live.iter().map(|live| {
        let view = live.view();
        Agent {
            id: format!("agent-{}", view.id),
            session: view.id.clone(),
            name: view.provider.clone(),
            model: view.model.clone(),
            status: if live.is_at_work() { "running" } else { "idle" }.to_owned(),
            current_task: view.prd.clone(),
        }
    });
    Json(agents.collect())
}

/// Tells what the kept sessions used and cost.
pub(super) async fn cost(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
) -> Result<Json<Cost>, Refused> {
    let projects = statement.caller.projects.as_deref();
    let views = api.store.sessions(projects, SESSIONS_MAX).await?;
    let known: Vec<f64> = views.iter().filter_map(|view| view.cost_usd).collect();
    let total = |count: fn(&SessionView) -> u64| views.iter().map(count).sum();
    Ok(Json(Cost {
        estimated_cost_usd: (!known.is_empty()).then(|| known.iter().sum()),
        cost_is_partial: views
            .iter()
            .any(|view| view.cost_usd.is_none() || view.usage.cost_is_partial),
        total_input_tokens: total(|view| view.usage.input_tokens),
        total_output_tokens: total(|view| view.usage.output_tokens),
        sessions: views
            .iter()
            .map(|view| CostOfSession {
                session: view.id.clone(),
                provider: view.provider.clone(),
                cost_usd: view.cost_usd,
                usage: view.usage,
            })
            .collect(),
    }))
}

fn checked(wanted: Result<Query<Wanted>, QueryRejection>) -> Result<Wanted, Refused> {
    let fix = "use ?lines=1 to 10000 and, for one session, &iteration=NUMBER";
    let Query(wanted) = wanted.map_err(|error| invalid(400, error.body_text(), fix))?;
    if wanted.lines == 0 || wanted.lines > LINES_MAX {
        return Err(invalid(400, format!("lines is {}", wanted.lines), fix));
    }
    Ok(wanted)
}

async fn read_log(api: &Api, view: &SessionView, wanted: Wanted) -> Result<String, Refused> {
    let iteration = wanted.iteration.unwrap_or(view.iteration);
    let path = folder::output_log(api.sessions.home(), &view.id, iteration);
    let read = tokio::task::spawn_blocking(move || folder::end_of_file(&path, LOG_BYTES_MAX));
    let text = read
        .await
        .map_err(|error| internal(&error))?
        .map_err(|error| internal(&error))?;
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(wanted.lines);
    let mut end = lines[first..].join("\n");
    if !end.is_empty() {
        end.push('\n');
    }
    Ok(end)
}

fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

const INPUT_BYTES_MAX: usize = 16 * 1024;
const LINES_MAX: usize = 10_000;
const LOG_BYTES_MAX: u64 = 1024 * 1024;
const SESSIONS_MAX: u32 = 1_000;
