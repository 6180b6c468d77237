//! Answers the operations that the gateway owns.

mod audit;
mod configuration;
mod enterprise;
mod health;

use pingora::proxy::Session;

use crate::admission::Admitted;
use crate::answer::Answer;
use crate::metrics;
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;
use crate::state::State;

/// Returns the answer of an admitted operation of the gateway's own.
///
/// # Errors
/// The refusal to answer instead.
pub(crate) async fn answer(
    admitted: &Admitted,
    session: &Session,
    state: &State,
    snapshot: &Snapshot,
) -> Result<Answer, Refusal> {
    let query = session.req_header().uri.query();
    match admitted.operation().name {
        "landing.show" => Ok(landing()),
        "health.show" => health::both(state).await,
        "health.live" => health::live(),
        "health.ready" => health::ready(state).await,
        "auth.info" => enterprise::authentication(&snapshot.settings),
        "enterprise.status" => enterprise::status(&snapshot.settings),
        "config.status" => configuration::status(state),
        "config.reload" => configuration::reload(state).await,
        "metrics.show" => Ok(metrics_text(state).await),
        "audit.query" => audit::query(state, query).await,
        "audit.summary" => audit::summary(state, query).await,
        "audit.verify" => audit::verify(state, query).await,
        _ => Err(Refusal::Internal),
    }
}

/// Names of the operations that [`answer`] knows; a test compares them with the table.
#[cfg(test)]
const ANSWERED: [&str; 12] = [
    "landing.show",
    "health.show",
    "health.live",
    "health.ready",
    "auth.info",
    "enterprise.status",
    "config.status",
    "config.reload",
    "metrics.show",
    "audit.query",
    "audit.summary",
    "audit.verify",
];

fn landing() -> Answer {
    Answer::text(
        "text/plain; charset=utf-8",
        concat!(
            "Loki Gateway ",
            env!("CARGO_PKG_VERSION"),
            "\nThis is an API. See docs/api.md for what can be asked.\n"
        ),
    )
}

async fn metrics_text(state: &State) -> Answer {
    let figures = match state.runtime.figures(&state.statements).await {
        Ok(figures) => Some(figures),
        Err(error) => {
            tracing::warn!(%error, "cannot ask the runtime for figures");
            None
        }
    };
    Answer::text(metrics::MEDIA_TYPE, state.metrics.render(figures.as_ref()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use config::contract::operation::{OPERATIONS, Owner};

    use super::ANSWERED;

    #[test]
    fn every_operation_of_the_gateway_is_answered() {
        let owned: BTreeSet<_> = OPERATIONS
            .iter()
            .filter(|operation| operation.owner == Owner::Gateway)
            .map(|operation| operation.name)
            .collect();
        assert_eq!(owned, BTreeSet::from(ANSWERED));
    }
}
