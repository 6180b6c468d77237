//! Connections that are kept open and ask nothing: what they cost is memory.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::Client;
use crate::run::{Plan, Seen, Span};
use crate::target::Target;

/// Opens the connections; each is held until the end.
pub(crate) fn spawn(
    target: &Arc<Target>,
    plan: &Plan,
    span: Span,
) -> JoinSet<anyhow::Result<Seen>> {
    let mut holders = JoinSet::new();
    for _ in 0..plan.connections {
        holders.spawn(hold(Arc::clone(target), span));
    }
    holders
}

async fn hold(target: Arc<Target>, span: Span) -> anyhow::Result<Seen> {
    let mut seen = Seen::new()?;
    let due = Instant::now();
    match Client::connect(&target).await {
        Ok(client) => {
            seen.happened(&span, due);
            sleep_until(span.end).await;
            drop(client);
        }
        Err(_) => seen.failed(),
    }
    Ok(seen)
}
