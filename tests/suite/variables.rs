//! Every documented variable works, and a bad value stops the start and is named.

use std::process::Command;

use tests::command::{self, Finished};
use tests::deployment::Deployment;
use tests::installation::Installation;

/// Starts a daemon that is expected to end at once.
fn refused(program: &str, name: &str, value: &str) -> Finished {
    let mut installation = Installation::new();
    installation.set("LOKI_DASHBOARD_PORT", "0");
    installation.set(name, value);
    let mut command: Command = installation.command(program);
    let finished = command::run(&mut command).ended_with(64);
    assert!(
        finished.stderr.contains(name),
        "{name}={value} is not named: {finished}"
    );
    finished
}

#[test]
fn bad_values_stop_the_start_and_are_named() {
    for (program, name, value) in [
        ("loki-gateway", "LOKI_ENTERPRISE_AUTH", "maybe"),
        ("loki-gateway", "LOKI_ENTERPRISE_AUTH", ""),
        ("loki-gateway", "LOKI_ENTERPRISE_AUDIT", "enabled"),
        ("loki-gateway", "LOKI_AUDIT_DISABLED", "2"),
        ("loki-gateway", "LOKI_TLS_CERT", "/nowhere.pem"),
        ("loki-gateway", "LOKI_TLS_KEY", "/nowhere.pem"),
        ("loki-gateway", "LOKI_API_HOST", "everywhere"),
        ("loki-gateway", "LOKI_DASHBOARD_HOST", "example.org"),
        ("loki-gateway", "LOKI_DASHBOARD_PORT", "70000"),
        ("loki-gateway", "LOKI_DASHBOARD_CORS", "*"),
        ("loki-gateway", "LOKI_TRUSTED_PROXIES", "10.0.0.0/99"),
        ("loki-gateway", "LOKI_OPERATIONS_LISTEN", "everywhere"),
        ("loki-gateway", "LOKI_DATA_DIR", "relative"),
        ("loki-gateway", "LOKI_LOG", "loud"),
        ("loki-gateway", "LOKI_LOG_FORMAT", "xml"),
        (
            "loki-gateway",
            "LOKI_OIDC_ISSUER",
            "https://your-org.okta.com",
        ),
        (
            "loki-gateway",
            "LOKI_OIDC_ISSUER",
            "https://login.microsoftonline.com/{tenant}/v2.0",
        ),
        ("loki-gateway", "LOKI_OIDC_CLIENT_ID", "your-client-id"),
        ("loki-gateway", "LOKI_OIDC_AUDIENCE", "your-audience"),
        ("loki-gateway", "LOKI_OIDC_ROLES_CLAIM", "roles"),
        ("loki-gateway", "LOKI_OIDC_DEFAULT_ROLE", "viewer"),
        ("loki-gateway", "LOKI_OIDC_ALLOWED_DOMAINS", "example.org"),
        (
            "loki-gateway",
            "LOKI_OIDC_DANGEROUSLY_TRUST_ANY_ACCOUNT",
            "true",
        ),
        ("loki-runtime", "LOKI_BRANCH_PROTECTION", "maybe"),
        ("loki-runtime", "LOKI_SANDBOX_MODE", "maybe"),
        ("loki-runtime", "LOKI_STAGED_AUTONOMY", "maybe"),
        ("loki-runtime", "LOKI_AUTONOMY_MODE", "free"),
        ("loki-runtime", "LOKI_MAX_ITERATIONS", "0"),
        ("loki-runtime", "LOKI_MAX_ITERATIONS", "many"),
        ("loki-runtime", "LOKI_WORKSPACE_ROOTS", "relative"),
        ("loki-runtime", "LOKI_DATA_DIR", "relative"),
    ] {
        let _finished = refused(program, name, value);
    }
}

#[test]
fn switches_that_would_weaken_a_protection_stop_the_start() {
    for name in ["LOKI_OIDC_SKIP_SIGNATURE_VERIFY", "LOKI_AUDIT_NO_INTEGRITY"] {
        for program in ["loki-gateway", "loki-runtime"] {
            let _finished = refused(program, name, "false");
        }
    }
}

#[test]
fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
    let deployment = Deployment::builder()
        .with_variable("LOKI_ENTERPISE_AUTH", "true")
        .start();
    for program in ["loki-gateway", "loki-runtime"] {
        let log = deployment.log(program);
        assert!(log.contains("LOKI_ENTERPISE_AUTH"), "{program}: {log}");
        assert!(log.contains("LOKI_ENTERPRISE_AUTH"), "{program}: {log}");
    }
}

#[test]
fn every_spelling_of_a_switch_works() {
    for value in ["true", "1", "yes", "on", "TRUE"] {
        let deployment = Deployment::builder()
            .with_variable("LOKI_ENTERPRISE_AUTH", value)
            .without_runtime()
            .start();
        let _refused = deployment.client().get("/api/status").with_status(401);
    }
    for value in ["false", "0", "no", "off"] {
        let deployment = Deployment::builder()
            .with_variable("LOKI_ENTERPRISE_AUTH", value)
            .start();
        let _served = deployment.client().get("/api/status").with_status(200);
    }
}

#[test]
fn tokens_are_off_by_default() {
    let deployment = Deployment::builder().start();
    let endpoint = deployment.endpoint().unwrap();
    assert!(
        endpoint.url.starts_with("http://127.0.0.1:"),
        "{endpoint:?}"
    );
    assert!(!endpoint.tokens_required);
    let _served = deployment.client().get("/api/status").with_status(200);
}

#[test]
fn audit_is_on_by_default_and_forced_on_wins() {
    let off = Deployment::builder()
        .with_variable("LOKI_AUDIT_DISABLED", "true")
        .start();
    let _refused = off.client().get("/api/enterprise/audit").with_status(403);
    assert!(
        off.log("loki-gateway").contains("audit"),
        "switching it off is told"
    );
    assert_eq!(off.audit().records(), Vec::<serde_json::Value>::new());
    for forced in [false, true] {
        let mut builder = Deployment::builder();
        if forced {
            builder = builder
                .with_variable("LOKI_AUDIT_DISABLED", "true")
                .with_variable("LOKI_ENTERPRISE_AUDIT", "true");
        }
        let deployment = builder.start();
        let _served = deployment.client().get("/api/status").with_status(200);
        let _record = deployment
            .audit()
            .until("a read", |record| record["action"] == "status.show");
    }
}
