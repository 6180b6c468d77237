//! Handler of the figures that the gateway's `/metrics` asks for.

use axum::Json;
use axum::extract::State;
use config::contract::figures::Figures;

use super::Api;
use super::problem::Refused;
use crate::metrics::{self, LiveFigures};

/// Returns the figures over all sessions; only the gateway itself gets here.
pub(super) async fn show(State(api): State<Api>) -> Result<Json<Figures>, Refused> {
    let live: Vec<LiveFigures> = api
        .sessions
        .live()
        .iter()
        .map(|session| {
            let view = session.view();
            LiveFigures {
                state: view.state,
                iteration: view.iteration,
                iterations_max: view.iterations_max,
                at_work: session.is_at_work(),
                uptime_seconds: session.uptime().as_secs_f64(),
            }
        })
        .collect();
    let board = api.store.board_counts().await?;
    let cost_usd = api.store.cost_usd().await?;
    let events_total = api.store.events_total();
    Ok(Json(metrics::figures(
        &live,
        &board,
        cost_usd,
        events_total,
    )))
}
