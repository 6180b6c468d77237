//! Handler of `/api/status`: what runs now, for the caller's projects.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use config::contract::caller::{Caller, Statement};
use config::contract::registry::TaskStatus;
use config::contract::session::{SessionState, SessionView, Status};

use super::Api;
use super::board::is_visible;
use crate::metrics;
use crate::store::BoardCount;

/// Tells what runs.
pub(super) async fn show(
    State(api): State<Api>,
    Extension(statement): Extension<Arc<Statement>>,
) -> Json<Status> {
    let live = api.sessions.visible_live(&statement.caller);
    let views: Vec<_> = live.iter().map(|session| session.view()).collect();
    let at_work = live.iter().filter(|session| session.is_at_work()).count();
    let newest = views.first();
    let queued = views
        .iter()
        .filter(|view| view.state == SessionState::Created)
        .count();
    let board = if api.store.is_answering().await {
        api.store.board_counts().await.ok()
    } else {
        None
    };
    let on_board = pending(&statement.caller, board.as_deref().unwrap_or_default());
    Json(Status {
        status: word(&views).to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: api.started.elapsed().as_secs_f64(),
        active_sessions: number(views.len()),
        running_agents: number(at_work),
        pending_tasks: number(queued).saturating_add(on_board),
        database_connected: board.is_some(),
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

/// Counts the tasks of the board that are not begun and that the caller may know of.
fn pending(caller: &Caller, board: &[BoardCount]) -> u32 {
    let counts = board.iter().filter(|tasks| {
        tasks.status == TaskStatus::Pending && is_visible(caller, tasks.project.as_deref())
    });
    let count: u64 = counts.map(|tasks| tasks.count).sum();
    u32::try_from(count).unwrap_or(u32::MAX)
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
