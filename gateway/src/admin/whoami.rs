//! Tells a caller who it is here and what it may do.

use chrono::SecondsFormat;
use serde_json::json;

use super::Request;
use crate::answer::Answer;
use crate::credential::Kind;
use crate::refusal::Refusal;

/// Answers what the caller's own credential stands for.
pub(super) fn answer(request: &Request<'_>) -> Result<Answer, Refusal> {
    let credential = request.credential();
    let caller = &credential.caller;
    let issuer = match &credential.kind {
        Kind::Jwt(issued) => Some(&issued.issuer),
        Kind::Certificate(_) | Kind::Nothing | Kind::Token(_) => None,
    };
    let time = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Answer::json(
        200,
        &json!({
            "user": caller.user,
            "principal": caller.principal,
            "auth_method": caller.auth_method,
            "scopes": caller.scopes,
            "projects": caller.projects,
            "token_id": credential.token_id(),
            "issuer": issuer,
            "expires_at": credential.expires_at.map(time),
            "rate_limit": credential.rate.map(|rate| rate.to_string()),
        }),
    )
}
