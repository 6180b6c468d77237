//! A revoked token is refused within 100 ms of the command's return, also on an open connection.

use std::time::{Duration, Instant};

use tests::deployment::Deployment;
use tests::poll;

const BOUND: Duration = Duration::from_millis(100);

#[test]
fn a_revoked_token_is_refused_within_the_bound() {
    let deployment = Deployment::builder().with_tokens().with_tls().start();
    let nobody = deployment.client();
    for round in 0..poll::rounds(10, 200) {
        let name = format!("ci-bot-{round}");
        let token = deployment.token(&name, &["--role", "viewer"]);
        let client = nobody.with_token(&token.raw);
        let mut connection = client.connect();
        let request = client.request("GET", "/api/status");
        let _served = connection.send(&request).with_status(200);
        let _done = deployment
            .loki(&["enterprise", "token", "revoke", &name])
            .ended_with(0);
        let returned = Instant::now();
        // Each answer counts by the moment at which it was asked for.
        loop {
            let asked = returned.elapsed();
            let status = connection.send(&request).status;
            if status == 401 {
                break;
            }
            assert_eq!(status, 200);
            assert!(asked < BOUND, "served {asked:?} after the command returned");
        }
        let _refused = client.get("/api/status").with_status(401);
    }
}

#[test]
fn a_token_revoked_while_the_gateway_was_down_stays_revoked() {
    let mut deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("ci-bot", &["--role", "viewer"]);
    deployment.stop_gateway();
    let _done = deployment
        .loki(&["enterprise", "token", "revoke", "ci-bot"])
        .ended_with(0);
    deployment.start_gateway();
    let client = deployment.client().with_token(&token.raw);
    let _refused = client.get("/api/status").with_status(401);
}

#[test]
fn a_corrupt_token_file_does_not_bring_a_revoked_token_back() {
    let deployment = Deployment::builder().with_tokens().start();
    let kept = deployment.token("kept", &["--role", "viewer"]);
    let gone = deployment.token("gone", &["--role", "viewer"]);
    let nobody = deployment.client();
    let _served = nobody
        .with_token(&gone.raw)
        .get("/api/status")
        .with_status(200);
    let _done = deployment
        .loki(&["enterprise", "token", "revoke", "gone"])
        .ended_with(0);
    std::fs::write(deployment.home().tokens(), "{").unwrap();
    poll::until(
        "the revoked token stays refused and the other one served",
        || {
            let gone = nobody.with_token(&gone.raw).get("/api/status").status;
            let kept = nobody.with_token(&kept.raw).get("/api/status").status;
            ((gone, kept) == (401, 200)).then_some(())
        },
    );
}
