//! A token that was found where it should not be: whoever sends it here takes it back.
//!
//! Invariant: the answer is the same whether the token was one of ours, and only a token in use
//! costs a write.

use config::contract::caller::AuthMethod;
use config::contract::id::TokenId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Request;
use super::{change, turn};
use crate::answer::Answer;
use crate::audit::record::{ANONYMOUS, Draft, Outcome, Phase};
use crate::body;
use crate::clock;
use crate::refusal::Refusal;
use crate::tokens::acknowledge::Awaited;
use crate::tokens::change::{Change, ChangeError};
use crate::tokens::format::RawToken;
use crate::tokens::select::Selector;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    token: String,
}

/// Revokes the token that is reported, if there is one.
pub(in crate::admin) async fn report(request: &mut Request<'_>) -> Result<Answer, Refusal> {
    let now = clock::now();
    let client = request.record.client;
    if let Some(seconds) = request.state.throttle.blocked_seconds(client, now) {
        return Err(Refusal::TooManyFailures { seconds });
    }
    let body = request.body().await?;
    let report: Report = body::json(&body)?;
    let index = request.record.snapshot.tokens.load_full();
    let found = RawToken::parse(report.token.trim())
        .ok()
        .and_then(|token| index.find(&token, now).ok().map(|record| record.id.clone()));
    match found {
        Some(id) => revoke(request, &id).await?,
        // Guessing here is as slow as guessing anywhere.
        None => request.state.throttle.failed(client, now),
    }
    Answer::json(202, &json!({ "status": "received" }))
}

async fn revoke(request: &Request<'_>, id: &TokenId) -> Result<(), Refusal> {
    record(request, id, Phase::Decision, Outcome::Allowed)
        .await
        .map_err(|()| Refusal::AuditUnavailable)?;
    let selector = Selector::Id(id.clone());
    let now = clock::now();
    let turn = turn().await?;
    let done = change(request.state, move |home| {
        let mut change = Change::begin(home).map_err(ChangeError::from)?;
        let record = change.revoke(&selector, "leak report", now)?;
        let generation = change.commit().map_err(ChangeError::from)?;
        Ok((record, vec![Awaited::Revocation(generation)]))
    })
    .await;
    drop(turn);
    let outcome = if done.is_ok() {
        Outcome::Done
    } else {
        Outcome::Failed
    };
    record(request, id, Phase::Outcome, outcome)
        .await
        .map_err(|()| Refusal::AuditUncertain)?;
    done.map(drop)
}

async fn record(
    request: &Request<'_>,
    id: &TokenId,
    phase: Phase,
    outcome: Outcome,
) -> Result<(), ()> {
    let resource = format!("token:{id}");
    let details = Map::from_iter([("cause".to_owned(), Value::from("leak report"))]);
    let draft = Draft {
        user: ANONYMOUS,
        resource: &resource,
        details: Some(&details),
        ip: Some(request.record.client),
        request_id: Some(&request.record.id),
        auth_method: Some(AuthMethod::None),
        token_id: Some(id),
        ..Draft::new("token.revoke", phase, outcome)
    };
    request.state.audit.durable(draft).await.map_err(|_| ())
}
