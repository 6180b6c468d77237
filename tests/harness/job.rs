//! A CI system's jobs: an issuer on loopback whose tokens claim what those of GitHub Actions do.

use serde_json::{Value, json};

use crate::client::Response;
use crate::deployment::{Builder, Deployment};
use crate::issuer::Issuer;
use crate::poll;

/// The audience of the jobs' tokens.
pub const AUDIENCE: &str = "https://loki.example.org";

/// An issuer's table with its rules.
#[must_use]
pub fn table(name: &str, preset: &str, issuer: &Issuer, rules: &str) -> String {
    let preset = if preset.is_empty() {
        String::new()
    } else {
        format!("preset = {preset:?}\n")
    };
    format!(
        "[[oidc.issuers]]\nname = {name:?}\n{preset}url = {:?}\naudiences = [{AUDIENCE:?}]\n\
         allow_loopback_http = true\n{rules}\n",
        issuer.url()
    )
}

/// Rules for the jobs of one repository.
pub const GITHUB: &str = r#"
[[oidc.issuers.rules]]
name = "deploy"
role = "operator"
lifetime_max = "10m"
when.repository_id = "123"
when.ref.prefix = "refs/heads/"
when.environment.not = "dev"

[[oidc.issuers.rules]]
name = "audit"
scopes = ["audit"]
when.repository_id = "123"
when.job_workflow_ref.pattern = "my-org/.*@refs/heads/main"

[[oidc.issuers.rules]]
name = "no-mallory"
deny = true
when.actor = ["mallory", "eve"]
"#;

/// Begins a deployment with these settings and no runtime.
#[must_use]
pub fn builder(settings: &str) -> Builder {
    Deployment::builder()
        .without_runtime()
        .with_gateway_settings(settings)
}

/// Starts a deployment with the rules of [`GITHUB`], once the issuer's keys are known.
#[must_use]
pub fn github(issuer: &Issuer) -> Deployment {
    let deployment = builder(&table("github", "github-actions", issuer, GITHUB)).start();
    wait_for_keys(&deployment, &job(issuer, &json!({})));
    deployment
}

/// Returns a job's token with nothing wrong; `claims` overrides members, null removes one.
///
/// # Panics
/// When the claims are no object.
#[must_use]
pub fn job(issuer: &Issuer, claims: &Value) -> String {
    let mut all = issuer.claims("repo:my-org/my-app:ref:refs/heads/main");
    let usual = json!({
        "aud": AUDIENCE, "repository_id": "123", "repository": "my-org/my-app",
        "repository_owner_id": "7", "ref": "refs/heads/main", "environment": "production",
        "event_name": "push", "actor": "alice", "jti": "j1",
        "job_workflow_ref": "my-org/my-app/.github/workflows/x.yml@refs/heads/dev",
    });
    for (name, value) in usual
        .as_object()
        .expect("an object")
        .iter()
        .chain(claims.as_object().expect("an object"))
    {
        all[name] = value.clone();
    }
    all.as_object_mut()
        .expect("an object")
        .retain(|_, value| !value.is_null());
    issuer.token_of(&all, &json!({"typ": "JWT"}))
}

/// Asks for `target` with a token.
#[must_use]
pub fn get(deployment: &Deployment, target: &str, token: &str) -> Response {
    deployment.client().with_token(token).get(target)
}

/// Waits until a good token is accepted.
pub fn wait_for_keys(deployment: &Deployment, token: &str) {
    poll::until("the issuer's keys are known", || {
        (get(deployment, "/metrics", token).status == 200).then_some(())
    });
}
