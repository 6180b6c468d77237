//! A real OpenID Provider's tokens are accepted while its keys rotate and while it is away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tests::deployment::Deployment;
use tests::poll;
use tests::provider::{AUDIENCE, Provider};

fn deployment(provider: &Provider) -> Deployment {
    let settings = format!(
        "[[oidc.issuers]]\nname = \"provider\"\nurl = {:?}\naudiences = [{AUDIENCE:?}]\n\
         token_kind = \"access\"\nallow_loopback_http = true\n\
         [[oidc.issuers.rules]]\nname = \"service\"\nrole = \"operator\"\nwhen.client_id = \"svc\"\n\
         [[oidc.issuers.rules]]\nname = \"people\"\nrole = \"viewer\"\nwhen.sub = [\"alice\"]\n",
        provider.url()
    );
    Deployment::builder()
        .without_runtime()
        .with_gateway_settings(&settings)
        .start()
}

fn status(deployment: &Deployment, token: &str) -> u16 {
    deployment
        .client()
        .with_token(token)
        .get("/api/auth/whoami")
        .status
}

fn wait_for_keys(deployment: &Deployment, provider: &Provider) {
    let token = provider.service_token();
    poll::until("the provider's keys are known", || {
        (status(deployment, &token) == 200).then_some(())
    });
}

#[test]
fn services_and_people_of_a_real_provider_are_known() {
    let root = tempfile::tempdir().unwrap();
    let provider = Provider::start(root.path());
    let deployment = deployment(&provider);
    wait_for_keys(&deployment, &provider);
    for (token, subject, scopes) in [
        (
            provider.service_token(),
            "svc",
            serde_json::json!(["control", "write", "read"]),
        ),
        (provider.user_token(), "alice", serde_json::json!(["read"])),
    ] {
        let client = deployment.client().with_token(&token);
        let told = client.get("/api/auth/whoami").with_status(200).json();
        assert_eq!(
            told["principal"],
            format!("{}#{subject}", provider.url()),
            "{told}"
        );
        assert_eq!(told["scopes"], scopes, "{told}");
        // One changed letter of its payload, and it is nobody's.
        let mut parts: Vec<&str> = token.split('.').collect();
        let forged = parts[1].replacen('e', "f", 1);
        parts[1] = &forged;
        assert_eq!(status(&deployment, &parts.join(".")), 401);
    }
}

#[test]
fn keys_rotate_while_requests_flow_and_none_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let provider = Provider::start(root.path());
    let deployment = deployment(&provider);
    wait_for_keys(&deployment, &provider);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flows: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut statuses = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        statuses.push(status(&deployment, &provider.service_token()));
                    }
                    statuses
                })
            })
            .collect();
        let old = provider.service_token();
        provider.rotate();
        // The first token by the new key causes one look at the keys, and waits for it.
        assert_eq!(status(&deployment, &provider.service_token()), 200);
        assert_eq!(
            status(&deployment, &old),
            200,
            "the old key is still published"
        );
        over.store(true, Ordering::Relaxed);
        for flow in flows {
            let statuses = flow.join().unwrap();
            assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        }
    });
}

#[test]
fn a_provider_that_stops_and_starts_harms_nobody() {
    let root = tempfile::tempdir().unwrap();
    let mut provider = Provider::start(root.path());
    let mut deployment = deployment(&provider);
    wait_for_keys(&deployment, &provider);
    let (used, fresh) = (provider.service_token(), provider.user_token());
    assert_eq!(status(&deployment, &used), 200);
    provider.stop();
    assert_eq!(
        (status(&deployment, &used), status(&deployment, &fresh)),
        (200, 200)
    );
    // Not even over a restart of the gateway.
    let _code = deployment.stop_gateway();
    deployment.start_gateway();
    assert_eq!(
        (status(&deployment, &used), status(&deployment, &fresh)),
        (200, 200)
    );
    // It comes back with other keys: its new tokens are good, the ones by its old keys are not.
    provider.begin();
    let new = provider.service_token();
    poll::until("the new keys are known", || {
        (status(&deployment, &new) == 200).then_some(())
    });
    assert_eq!(
        (status(&deployment, &used), status(&deployment, &fresh)),
        (401, 401)
    );
}
