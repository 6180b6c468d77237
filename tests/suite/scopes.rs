//! Roles mean what the table says, seen from outside.

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
