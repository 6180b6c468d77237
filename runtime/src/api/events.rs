//! Handler of a session's events: a page after a number, or a stream of them.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use config::contract::caller::Statement;
use serde::Deserialize;

use super::Api;
use super::problem::{Refused, invalid, no_session};
use super::sessions::visible;
use super::stream;

/// Which events are wanted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only events with a higher number.
    #[serde(default)]
    after: u64,
    /// Most events in the answer.
    #[serde(default = "default_limit")]
    limit: u32,
}

const fn default_limit() -> u32 {
    LIMIT_DEFAULT
}

/// Returns the events after a number, oldest first.
pub(super) async fn page(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
    Path(id): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let fix = "use ?after=NUMBER&limit=1 to 1000";
    let Query(wanted) = wanted.map_err(|error| invalid(400, error.body_text(), fix))?;
    if wanted.limit == 0 || wanted.limit > LIMIT_MAX {
        let detail = format!("limit is {}, not 1 to {LIMIT_MAX}", wanted.limit);
        return Err(invalid(400, detail, fix));
    }
    let view = visible(&api, &statement, &id).await?;
    if stream::is_wanted(&headers) {
        let after = stream::start(&headers, wanted.after)?;
        return stream::events(&api, view.id, after).await;
    }
    let page = api
        .store
        .events(&view.id, wanted.after, wanted.limit)
        .await?;
    page.map(|page| Json(page).into_response())
        .ok_or_else(|| no_session(&id))
}

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
