//! Tells whoever asks how to authenticate and which features are on; nothing here is a secret.

use config::gateway::GatewaySettings;
use serde_json::json;

use crate::answer::Answer;
use crate::refusal::Refusal;

/// Answers how to authenticate.
pub(super) fn authentication(settings: &GatewaySettings) -> Result<Answer, Refusal> {
    let issuers = &settings.issuers;
    let first = issuers.first();
    Answer::json(
        200,
        &json!({
            "token_auth_enabled": settings.opaque_tokens,
            "oidc_enabled": first.is_some(),
            "oidc_issuer": first.map(|issuer| &issuer.url),
            "oidc_client_id": first.and_then(|issuer| issuer.client_id.as_ref()),
            "oidc_issuers": issuers.iter().map(|issuer| &issuer.url).collect::<Vec<_>>(),
        }),
    )
}

/// Answers which features are on.
pub(super) fn status(settings: &GatewaySettings) -> Result<Answer, Refusal> {
    Answer::json(
        200,
        &json!({
            "auth_enabled": settings.opaque_tokens,
            "oidc_enabled": !settings.issuers.is_empty(),
            "audit_enabled": settings.audit.enabled,
            "enterprise_mode": settings.tokens_required,
        }),
    )
}
