//! Handlers of the session operations.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use config::contract::audit::{HEADER as NOTE_HEADER, Note};
use config::contract::caller::Statement;
use config::contract::id::SessionId;
use config::contract::operation;
use config::contract::problem::Problem;
use config::contract::session::{SessionList, SessionView, StartSession};
use serde::de::DeserializeOwned;

use super::Api;
use super::problem::{Refused, internal, invalid, no_session};
use crate::session::may_see;

/// Lists the newest sessions that the caller may see.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
) -> Result<Json<SessionList>, Refused> {
    let projects = statement.caller.projects.as_deref();
    let sessions = api.store.sessions(projects, LISTED_MAX).await?;
    Ok(Json(SessionList { sessions }))
}

/// Starts a session; answers when it is stored.
pub(super) async fn start(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    request: Request,
) -> Result<Response, Refused> {
    let key = idempotency_key(request.headers())?;
    let request: StartSession = body("session.start", request).await?;
    let view = api.sessions.start(request, &statement, key).await?;
    let note = Note::about("session", view.id.as_str())
        .with("prd", view.prd.as_str())
        .with("provider", view.provider.as_str());
    let location = format!("/api/sessions/{}", view.id);
    let location = HeaderValue::from_str(&location).map_err(|error| internal(&error))?;
    let headers = [(header::LOCATION, location), noted(&note)?];
    Ok((StatusCode::CREATED, headers, Json(view)).into_response())
}

/// Returns the key under which a start may be asked for again, if one was sent.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let lawful = |text: &&str| {
        let length = text.len();
        (1..=KEY_BYTES_MAX).contains(&length) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key.to_str().ok().filter(lawful) {
        Some(key) if keys.next().is_none() => Ok(Some(key.to_owned())),
        Some(_) | None => Err(invalid(
            400,
            format!(
                "Idempotency-Key is not 1 to {KEY_BYTES_MAX} visible ASCII characters, or doubled"
            ),
            "send one key, for example a random UUID",
        )),
    }
}

/// Tells everything about one session.
pub(super) async fn show(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Refused> {
    let view = visible(&api, &statement, &id).await?;
    Ok(Json(view))
}

/// Returns a session that the caller may see.
pub(super) async fn visible(
    api: &Api,
    statement: &Statement,
    id: &str,
) -> Result<SessionView, Refused> {
    let parsed: SessionId = id.parse().map_err(|_| no_session(id))?;
    api.store
        .session(&parsed)
        .await?
        .filter(|view| may_see(&statement.caller, &view.project))
        .ok_or_else(|| no_session(id))
}

pub(super) fn noted(note: &Note) -> Result<(HeaderName, HeaderValue), Refused> {
    let text = note.encode().map_err(|error| internal(&error))?;
    let value = HeaderValue::from_str(&text).map_err(|error| internal(&error))?;
    Ok((HeaderName::from_static(NOTE_HEADER), value))
}

/// Reads a JSON body within the operation's bound; unknown members are refused.
pub(super) async fn body<T: DeserializeOwned>(
    operation: &str,
    request: Request,
) -> Result<T, Refused> {
    let media_type = request.headers().get(header::CONTENT_TYPE);
    let is_json = media_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        let fix = "send the header content-type: application/json";
        return Err(invalid(415, "the body is not declared as JSON", fix));
    }
    let bytes = bytes(operation, request).await?;
    // Serde reads a struct from a list as well; the body is an object.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        let fix = "send an object; docs/api.md lists its members";
        return Err(invalid(400, "the body is not a JSON object", fix));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let fix = "correct the member; docs/api.md lists what there is";
        invalid(400, format!("the body is not as expected: {error}"), fix)
    })
}

/// Reads the body of an operation that takes none; an empty object is as good as nothing.
pub(super) async fn empty_body(operation: &str, request: Request) -> Result<(), Refused> {
    let bytes = bytes(operation, request).await?;
    match bytes.trim_ascii() {
        b"" | b"{}" => Ok(()),
        _ => Err(invalid(400, "the operation takes no body", "send none")),
    }
}

async fn bytes(operation: &str, request: Request) -> Result<axum::body::Bytes, Refused> {
    let most = operation::named(operation).map_or(0, |row| row.body_bytes_max);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let read = to_bytes(request.into_body(), most);
    match tokio::time::timeout(BODY_WITHIN, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Problem::new("body-too-long", "The body is too long", 413)
            .detail(format!(
                "the body is longer than {most} bytes, or broke off"
            ))
            .into()),
        Err(_) => Err(Problem::new("body-too-slow", "The body came too slowly", 408).into()),
    }
}

const KEY_BYTES_MAX: usize = 200;

/// Most sessions in one answer; older ones are reached by their ids.
const LISTED_MAX: u32 = 200;

const BODY_WITHIN: Duration = Duration::from_secs(30);
