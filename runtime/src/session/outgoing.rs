//! What an agent asked the egress proxy for: events of the session and records of the agent audit.
//!
//! Invariant: the proxy connects nothing before the decision is recorded, for it waits until it is
//! taken; where recording fails, nothing more is connected.

use serde_json::json;
use tokio::sync::mpsc;

use super::live::Live;
use super::trail::Trail;
use super::workshop::WorkError;
use crate::egress::Pending;
use crate::store::NewEvent;

/// Records decisions until there is nobody left to make one.
pub(super) async fn record(
    live: &Live,
    trail: &Trail,
    agent: &str,
    mut decisions: mpsc::Receiver<Pending>,
) -> Result<(), WorkError> {
    while let Some(Pending { decision, recorded }) = decisions.recv().await {
        let details = json!(decision);
        trail
            .tell(live, "egress_request", agent, details.clone())
            .await?;
        live.happened(vec![NewEvent::new("egress", details)])
            .await?;
        // Whoever waited may have been ended meanwhile.
        if recorded.send(()).is_err() {
            tracing::debug!(session = %live.id(), "an egress request ended before its record");
        }
    }
    Ok(())
}

/// Decisions that wait to be recorded: none runs ahead of its record by more than this.
pub(super) const WAITING_MAX: usize = 1;
