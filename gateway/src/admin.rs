//! Answers the operations that the gateway owns.

mod audit;
mod configuration;
mod enterprise;
mod health;

use http::HeaderValue;
use http::header::ACCEPT;
use pingora::proxy::Session;

use crate::admission::Admitted;
use crate::answer::{Answer, Pieces};
use crate::clock;
use crate::metrics::{self, Scrape, open_metrics};
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;
use crate::state::State;

/// What an operation of the gateway's own is answered with.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A whole answer.
    Whole(Answer),
    /// One that comes piece by piece.
    Pieces(Pieces),
}

/// Returns the answer of an admitted operation of the gateway's own.
///
/// # Errors
/// The refusal to answer instead.
pub(crate) async fn answer(
    admitted: &Admitted,
    session: &Session,
    state: &State,
    snapshot: &Snapshot,
) -> Result<Reply, Refusal> {
    let query = session.req_header().uri.query();
    if admitted.operation().name == "audit.export" {
        return audit::export(state, query).await.map(Reply::Pieces);
    }
    whole(admitted, session, state, snapshot)
        .await
        .map(Reply::Whole)
}

async fn whole(
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
        "metrics.show" => {
            let accept = session.req_header().headers.get(ACCEPT);
            Ok(metrics_text(state, snapshot, accept).await)
        }
        "audit.query" => audit::query(state, query).await,
        "audit.summary" => audit::summary(state, query).await,
        "audit.verify" => audit::verify(state, query).await,
        _ => Err(Refusal::Internal),
    }
}

/// Names of the operations that [`answer`] knows; a test compares them with the table.
#[cfg(test)]
const ANSWERED: [&str; 13] = [
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
    "audit.export",
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

/// Shows the metrics in the format that the scraper prefers.
async fn metrics_text(state: &State, snapshot: &Snapshot, accept: Option<&HeaderValue>) -> Answer {
    let figures = match state.runtime.figures(&state.statements).await {
        Ok(figures) => Some(figures),
        Err(error) => {
            tracing::warn!(%error, "cannot ask the runtime for figures");
            None
        }
    };
    let now = clock::now();
    let scrape = Scrape {
        figures: figures.as_ref(),
        tokens: snapshot.token_counts(now),
        issuer_keys_age: snapshot.issuer_keys_age(now),
    };
    let accept = accept.and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(open_metrics::is_wanted) {
        Answer::text(open_metrics::MEDIA_TYPE, state.metrics.render_open(&scrape))
    } else {
        Answer::text(metrics::MEDIA_TYPE, state.metrics.render(&scrape))
    }
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
