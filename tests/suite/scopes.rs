//! Roles mean what the table says, seen from outside.

use tests::agent::Agent;
use tests::deployment::{Deployment, session_request};

#[test]
fn a_viewer_sees_and_starts_nothing() {
    let deployment = Deployment::builder().with_tokens().with_tls().start();
    let viewer = deployment.token("ci-bot", &["--role", "viewer"]);
    let client = deployment.client().with_token(&viewer.raw);
    let project = deployment.project("app");
    let refused = client.post("/api/sessions", &session_request(project.path()));
    let problem = refused.with_status(403).problem();
    assert_eq!(problem.scope.as_deref(), Some("control"));
    let _served = client.get("/api/status").with_status(200);
}

#[test]
fn an_operator_reads_no_audit_and_an_auditor_starts_nothing() {
    let deployment = Deployment::builder().with_tokens().start();
    let nobody = deployment.client();
    let operator = nobody.with_token(&deployment.token("operator", &["--role", "operator"]).raw);
    let auditor = nobody.with_token(&deployment.token("auditor", &["--role", "auditor"]).raw);
    let _refused = operator.get("/api/enterprise/audit").with_status(403);
    let _served = operator.get("/api/status").with_status(200);
    let _served = auditor.get("/api/enterprise/audit").with_status(200);
    let _served = auditor
        .get("/api/enterprise/audit/summary")
        .with_status(200);
    let _served = auditor.get("/api/status").with_status(200);
    let _refused = auditor
        .request("POST", "/api/control/stop")
        .send()
        .with_status(403);
}

#[test]
fn four_eyes_refuses_a_session_for_which_nobody_else_could_approve() {
    const FOUR_EYES: &str = "[approvals]\nfour_eyes = true\n";
    let deployment = Deployment::builder()
        .with_runtime_settings(FOUR_EYES)
        .start();
    let body = session_request(deployment.project("app").path());
    let client = deployment.client();
    let problem = client
        .post("/api/sessions", &body)
        .with_status(409)
        .problem();
    assert!(problem.fix.is_some_and(|fix| fix.contains("four_eyes")));

    let deployment = Deployment::builder()
        .with_tokens()
        .with_provider("claude", Agent::doing("true"))
        .with_runtime_settings(FOUR_EYES)
        .start();
    let body = session_request(deployment.project("app").path());
    let starter = deployment.token("starter", &["--role", "operator"]);
    let _viewer = deployment.token("viewer", &["--role", "viewer"]);
    let client = deployment.client().with_token(&starter.raw);
    let _alone = client.post("/api/sessions", &body).with_status(409);
    let other = deployment.token("other", &["--scopes", "approve"]);
    tests::poll::until("the other's token is known", || {
        let other = deployment.client().with_token(&other.raw);
        (other.get("/api/approvals").status == 200).then_some(())
    });
    let _begun = client.post("/api/sessions", &body).with_status(201);
    let _revoked = deployment
        .loki(&["enterprise", "token", "revoke", "other"])
        .ended_with(0);
    tests::poll::until("nobody else is left", || {
        (client.post("/api/sessions", &body).status == 409).then_some(())
    });
}
