//! Handler of `/api/status`: what runs now, for the caller's projects.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use config::contract::caller::Statement;
use config::contract::session::{SessionState, SessionView, Status};

use super::Api;
use crate::metrics;

/// Tells what runs.
pub(super) async fn show(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
) -> Json<Status> {
    let live = api.sessions.visible_live(&statement.caller);
    let views: Vec<_> = live.iter().map(|session| session.view()).collect();
    let at_work = live.iter().filter(|session| session.is_at_work()).count();
    let newest = views.first();
    let pending = views
        .iter()
        .filter(|view| view.state == SessionState::Created)
        .count();
    Json(Status {
        status: word(&views).to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: api.started.elapsed().as_secs_f64(),
        active_sessions: number(views.len()),
        running_agents: number(at_work),
        pending_tasks: number(pending),
        database_connected: api.store.is_answering().await,
        phase: newest.map_or_else(String::new, |view| view.state.name().to_owned()),
        iteration: newest.map_or(0, |view| view.iteration),
        mode: newest
            .map_or_else(|| api.sessions.default_mode(), |view| view.autonomy_mode)
            .name()
            .to_owned(),
        provider: newest.map_or_else(
            || api.sessions.default_provider().to_owned(),
            |view| view.provider.clone(),
        ),
        current_task: newest.map_or_else(String::new, |view| view.prd.clone()),
        sessions: views.iter().map(|view| SessionView::clone(view)).collect(),
    })
}

fn word(views: &[Arc<SessionView>]) -> &'static str {
    match metrics::status_number(views.iter().map(|view| view.state)) {
        1 => "running",
        2 => "paused",
        _ => "stopped",
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
