//! Accounts of an identity provider call with its tokens, and nobody else does.

use serde_json::{Value, json};
use tests::deployment::{Builder, Deployment};
use tests::issuer::Issuer;
use tests::poll;

const SETTINGS: &str = "[oidc]\nallow_loopback_http = true\n";

fn builder(issuer: &Issuer) -> Builder {
    Deployment::builder()
        .without_runtime()
        .with_variable("LOKI_OIDC_ISSUER", &issuer.url())
        .with_variable("LOKI_OIDC_CLIENT_ID", "client")
        .with_gateway_settings(SETTINGS)
}

/// The status that a token gets from an operation of the gateway's own.
fn status(deployment: &Deployment, target: &str, token: &str) -> u16 {
    deployment.client().with_token(token).get(target).status
}

/// Waits until the issuer's keys were seen.
fn wait_for_keys(deployment: &Deployment, issuer: &Issuer) {
    poll::until("the issuer's keys are known", || {
        (status(deployment, "/metrics", &issuer.token("first")) == 200).then_some(())
    });
}

#[test]
fn without_tokens_of_ours_only_the_issuer_s_are_accepted() {
    let issuer = Issuer::start();
    let other = Issuer::start();
    let deployment = builder(&issuer).start();
    wait_for_keys(&deployment, &issuer);
    let token = deployment.token("bot", &["--scopes", "*"]);
    assert_eq!(status(&deployment, "/metrics", &token.raw), 401);
    assert_eq!(deployment.client().get("/metrics").status, 401);
    assert_eq!(status(&deployment, "/metrics", &other.token("eve")), 401);
    assert_eq!(other.keys_asked(), 0);
}

#[test]
fn both_kinds_of_token_work_side_by_side_with_full_access() {
    let issuer = Issuer::start();
    let deployment = builder(&issuer).with_tokens().start();
    wait_for_keys(&deployment, &issuer);
    let opaque = deployment.token("bot", &["--scopes", "read"]);
    assert_eq!(status(&deployment, "/metrics", &opaque.raw), 200);
    let mut claims = issuer.claims("0a1b2c");
    claims["email"] = "alice@example.org".into();
    claims["email_verified"] = true.into();
    let alice = issuer.token_of(&claims, &json!({}));
    let answer = deployment
        .client()
        .with_token(&alice)
        .get("/api/enterprise/audit");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = poll::until("the query is recorded", || {
        let mut records = deployment.audit().records().into_iter();
        records.find(|record| record["user"] == "oidc:alice@example.org")
    });
    assert_eq!(record["action"], "audit.query", "{record}");
    assert_eq!(record["auth_method"], "oidc", "{record}");
    let info = deployment.client().get("/api/auth/info").with_status(200);
    let expected = json!({
        "token_auth_enabled": true, "oidc_enabled": true,
        "oidc_issuer": issuer.url(), "oidc_client_id": "client",
        "oidc_issuers": [issuer.url()],
    });
    assert_eq!(info.json(), expected);
    let info = deployment
        .client()
        .get("/api/enterprise/status")
        .with_status(200);
    let expected = json!({
        "auth_enabled": true, "oidc_enabled": true,
        "audit_enabled": true, "enterprise_mode": true,
    });
    assert_eq!(info.json(), expected);
}

#[test]
fn roles_and_audience_narrow_what_an_account_gets() {
    let issuer = Issuer::start();
    let deployment = builder(&issuer)
        .with_variable("LOKI_OIDC_ROLES_CLAIM", "realm_access.roles")
        .with_variable("LOKI_OIDC_AUDIENCE", "api://loki")
        .start();
    let token = |roles: Value, audience: &str| {
        let mut claims = issuer.claims("alice");
        claims["aud"] = audience.into();
        claims["realm_access"] = json!({"roles": roles});
        issuer.token_of(&claims, &json!({}))
    };
    let auditor = token(json!(["auditor"]), "api://loki");
    poll::until("the issuer's keys are known", || {
        (status(&deployment, "/metrics", &auditor) == 200).then_some(())
    });
    let audit = "/api/enterprise/audit";
    assert_eq!(status(&deployment, audit, &auditor), 200);
    assert_eq!(
        status(&deployment, audit, &token(json!(["viewer"]), "api://loki")),
        403
    );
    assert_eq!(
        status(
            &deployment,
            "/metrics",
            &token(json!(["Admin"]), "api://loki")
        ),
        403
    );
    assert_eq!(
        status(&deployment, "/metrics", &token(json!([]), "api://loki")),
        403
    );
    assert_eq!(
        status(&deployment, "/metrics", &token(json!(["admin"]), "client")),
        401
    );
}

#[test]
fn a_new_key_is_used_at_once_and_unknown_keys_cause_one_look() {
    let issuer = Issuer::start();
    let deployment = builder(&issuer).start();
    wait_for_keys(&deployment, &issuer);
    let old = issuer.token("old");
    let before = issuer.keys_asked();
    issuer.rotate("second");
    assert_eq!(status(&deployment, "/metrics", &issuer.token("alice")), 200);
    assert_eq!(issuer.keys_asked(), before + 1);
    // The withdrawn key is gone with the same look.
    assert_eq!(status(&deployment, "/metrics", &old), 401);
    for number in 0..50 {
        let header = json!({"kid": format!("nobody-{number}")});
        let token = issuer.token_of(&issuer.claims("eve"), &header);
        assert_eq!(status(&deployment, "/metrics", &token), 401);
    }
    assert_eq!(issuer.keys_asked(), before + 1);
    assert_eq!(status(&deployment, "/metrics", &issuer.token("alice")), 200);
}

#[test]
fn an_issuer_that_is_away_harms_nobody_who_is_known() {
    let issuer = Issuer::start();
    issuer.set_away(true);
    let mut deployment = builder(&issuer).start();
    let token = issuer.token("alice");
    let answer = deployment.client().with_token(&token).get("/metrics");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.text().contains("issuer_unavailable"),
        "{}",
        answer.text()
    );
    issuer.set_away(false);
    wait_for_keys(&deployment, &issuer);
    issuer.set_away(true);
    assert_eq!(status(&deployment, "/metrics", &token), 200);
    // The kept keys carry it over a restart, and forged tokens are still found out.
    let _code = deployment.stop_gateway();
    deployment.start_gateway();
    assert_eq!(status(&deployment, "/metrics", &token), 200);
    let forged = Issuer::start().token_of(&issuer.claims("eve"), &json!({}));
    assert_eq!(status(&deployment, "/metrics", &forged), 401);
}

#[test]
fn keys_that_were_not_seen_for_too_long_are_503() {
    let issuer = Issuer::start();
    let deployment = builder(&issuer)
        .with_gateway_settings("stale_keys_max = \"2s\"\n")
        .start();
    wait_for_keys(&deployment, &issuer);
    issuer.set_away(true);
    let token = issuer.token("alice");
    let answer = poll::until("the keys are stale", || {
        let answer = deployment.client().with_token(&token).get("/metrics");
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        (answer.status == 503).then_some(answer)
    });
    assert!(
        answer.text().contains("issuer_unavailable"),
        "{}",
        answer.text()
    );
    assert!(answer.field("retry-after").is_some(), "{}", answer.text());
    issuer.set_away(false);
    poll::until("the keys are seen again", || {
        (status(&deployment, "/metrics", &token) == 200).then_some(())
    });
}
