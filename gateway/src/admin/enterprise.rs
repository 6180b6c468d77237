//! Tells whoever asks how to authenticate and which features are on; nothing here is a secret.

use config::gateway::GatewaySettings;
use serde_json::json;

use crate::answer::Answer;
use crate::refusal::Refusal;

/// Answers how to authenticate.
pub(super) fn authentication(settings: &GatewaySettings) -> Result<Answer, Refusal> {
    let oidc = settings.oidc.as_ref();
    Answer::json(
        200,
        &json!({
            "token_auth_enabled": settings.opaque_tokens,
            "oidc_enabled": oidc.is_some(),
            "oidc_issuer": oidc.map(|issuer| &issuer.url),
            "oidc_client_id": oidc.map(|issuer| &issuer.client_id),
        }),
    )
}

/// Answers which features are on.
pub(super) fn status(settings: &GatewaySettings) -> Result<Answer, Refusal> {
    Answer::json(
        200,
        &json!({
            "auth_enabled": settings.opaque_tokens,
            "oidc_enabled": settings.oidc.is_some(),
            "audit_enabled": settings.audit_enabled,
            "enterprise_mode": settings.tokens_required,
        }),
    )
}
