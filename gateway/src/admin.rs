//! Answers the operations that the gateway owns.

mod audit;
mod configuration;
mod enterprise;
mod exchange;
mod health;
mod request;
mod tokens;
mod whoami;

pub(crate) use request::Request;

use config::contract::openapi;
use http::HeaderValue;
use http::header::ACCEPT;

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
pub(crate) async fn answer(request: &mut Request<'_>) -> Result<Reply, Refusal> {
    if request.admitted.operation().name == "audit.export" {
        return audit::export(request.state, request.query())
            .await
            .map(Reply::Pieces);
    }
    whole(request).await.map(Reply::Whole)
}

async fn whole(request: &mut Request<'_>) -> Result<Answer, Refusal> {
    let state = request.state;
    let name = request.admitted.operation().name;
    if let Some(answer) = of_tokens(name, request).await {
        return answer;
    }
    let query = request.query();
    match name {
        "landing.show" => Ok(landing()),
        "health.show" => health::both(state).await,
        "health.live" => health::live(),
        "health.ready" => health::ready(state).await,
        "auth.whoami" => whoami::answer(request),
        "auth.info" => enterprise::authentication(&request.record.snapshot.settings),
        "enterprise.status" => enterprise::status(&request.record.snapshot.settings),
        "config.status" => configuration::status(state),
        "config.reload" => configuration::reload(state).await,
        "metrics.show" => {
            let accept = request.session.req_header().headers.get(ACCEPT);
            Ok(metrics_text(state, &request.record.snapshot, accept).await)
        }
        "openapi.show" => Answer::json(200, &openapi::document(env!("CARGO_PKG_VERSION"))),
        "audit.query" => audit::query(state, query).await,
        "audit.summary" => audit::summary(state, query).await,
        "audit.verify" => audit::verify(state, query).await,
        _ => Err(Refusal::Internal),
    }
}

/// Returns the answer of an operation on tokens; none if it is another one.
async fn of_tokens(name: &str, request: &mut Request<'_>) -> Option<Result<Answer, Refusal>> {
    Some(match name {
        "token.generate" => tokens::generate(request).await,
        "token.list" => tokens::list(request).await,
        "token.show" => tokens::show(request).await,
        "token.rotate" => tokens::rotate(request).await,
        "token.revoke" => tokens::withdraw(request).await,
        "token.revoke_many" => tokens::withdraw_many(request).await,
        "auth.exchange" => exchange::exchange(request).await,
        "auth.report_leak" => tokens::report_leak(request).await,
        _ => return None,
    })
}

/// Returns the answer of the operations listener: health and metrics; none for anything else.
pub(crate) async fn for_operators(path: &str, state: &State) -> Option<Result<Answer, Refusal>> {
    match path {
        "/health" => Some(health::both(state).await),
        "/health/live" => Some(health::live()),
        "/health/ready" => Some(health::ready(state).await),
        "/metrics" => Some(Ok(metrics_text(state, &state.snapshot(), None).await)),
        _ => None,
    }
}

/// Names of the operations that [`answer`] knows; a test compares them with the table.
#[cfg(test)]
const ANSWERED: [&str; 23] = [
    "landing.show",
    "health.show",
    "health.live",
    "health.ready",
    "auth.info",
    "auth.exchange",
    "auth.report_leak",
    "auth.whoami",
    "enterprise.status",
    "config.status",
    "config.reload",
    "metrics.show",
    "openapi.show",
    "audit.query",
    "audit.summary",
    "audit.export",
    "audit.verify",
    "token.generate",
    "token.list",
    "token.revoke",
    "token.revoke_many",
    "token.rotate",
    "token.show",
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
