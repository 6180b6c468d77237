//! A runtime killed without warning: no orphan, nothing lost, and the gateway goes on.

use rustix::process::Signal;
use serde_json::json;
use tests::agent::Agent;
use tests::deployment::Deployment;
use tests::poll;
use tests::process;

#[test]
fn a_killed_runtime_leaves_no_orphan_and_the_next_one_carries_on() {
    for round in 0..poll::rounds(1, 20) {
        let mut deployment = Deployment::builder()
            .with_provider("claude", Agent::never_ending())
            .with_variable("LOKI_BRANCH_PROTECTION", "true")
            .start();
        let client = deployment.client();
        let project = deployment.project("app");
        let main = project.commit("main");
        let id = deployment.start_session(&client, project.path());
        let _running = deployment.session_in(&client, &id, &["running"]);
        poll::until("the agent works", || {
            (!agents(&deployment).is_empty()).then_some(())
        });
        deployment.kill_runtime();
        poll::until("no agent is left", || {
            agents(&deployment).is_empty().then_some(())
        });
        deployment.start_runtime();
        poll::until("the agent works again", || {
            (!agents(&deployment).is_empty()).then_some(())
        });
        let view = deployment.session_in(&client, &id, &["running"]);
        assert_eq!(view["iteration"], 1, "round {round}: {view:#}");
        let _stopped = deployment.loki(&["stop", &id]).ended_with(0);
        assert_eq!(project.commit("main"), main);
        project.assert_sound();
        let next = deployment.start_session(&client, project.path());
        let _running = deployment.session_in(&client, &next, &["running"]);
    }
}

#[test]
fn without_a_runtime_the_gateway_says_so_and_goes_on() {
    let mut deployment = Deployment::builder().with_tokens().start();
    let admin = deployment.token("admin", &["--role", "admin"]);
    let nobody = deployment.client();
    let client = nobody.with_token(&admin.raw);
    let _served = client.get("/api/status").with_status(200);
    deployment.kill_runtime();
    for (method, target) in [
        ("GET", "/api/status"),
        ("GET", "/api/sessions"),
        ("POST", "/api/control/stop"),
    ] {
        let answer = client.request(method, target).send();
        assert!(
            matches!(answer.status, 502..=504),
            "{method} {target}: {}",
            answer.status
        );
        let problem = answer.problem();
        assert!(problem.fix.is_some(), "{problem:?}");
        assert!(
            answer.field("retry-after").is_some() || answer.status == 502,
            "{method} {target}"
        );
    }
    let later = deployment.token("later", &["--role", "viewer"]);
    let _refused = nobody
        .with_token(&later.raw)
        .get("/api/enterprise/audit")
        .with_status(403);
    let _done = deployment
        .loki(&["enterprise", "token", "revoke", "later"])
        .ended_with(0);
    let _refused = nobody
        .with_token(&later.raw)
        .get("/api/status")
        .with_status(401);
    let audit = client
        .get("/api/enterprise/audit?limit=100")
        .with_status(200);
    assert!(audit.text().contains("token.revoke"), "{}", audit.text());
    let health = nobody.get("/health").with_status(200).json();
    assert_eq!(health["status"], "degraded", "{health}");
    let _live = nobody.get("/health/live").with_status(200);
    let _ready = nobody.get("/health/ready").with_status(200);
    let metrics = client.get("/metrics").with_status(200);
    assert!(
        metrics.text().contains("loki_up{process=\"runtime\"} 0"),
        "{}",
        metrics.text()
    );
    deployment.start_runtime();
    poll::until("the runtime is served again", || {
        (client.get("/api/status").status == 200).then_some(())
    });
    let health = nobody.get("/health").with_status(200).json();
    assert_ne!(health["status"], json!("degraded"), "{health}");
}

#[test]
fn a_stopped_runtime_ends_its_agents_and_the_next_one_carries_on() {
    let mut deployment = Deployment::builder()
        .with_provider("claude", Agent::never_ending())
        .start();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let _running = deployment.session_in(&client, &id, &["running"]);
    assert_eq!(deployment.stop_runtime(), Some(0));
    assert_eq!(agents(&deployment), Vec::<u32>::new());
    deployment.start_runtime();
    let _carried_on = deployment.session_in(&client, &id, &["running"]);
    poll::until("the agent works again", || {
        (!agents(&deployment).is_empty()).then_some(())
    });
}

#[test]
fn a_killed_gateway_takes_no_session_with_it() {
    let mut deployment = Deployment::builder()
        .with_provider("claude", Agent::never_ending())
        .start();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let _running = deployment.session_in(&client, &id, &["running"]);
    process::signal(deployment.gateway_id(), Signal::KILL);
    process::wait_until_gone(deployment.gateway_id());
    let away = deployment.loki(&["status"]);
    assert_eq!(
        away.code, 4,
        "a leftover endpoint file is no gateway: {away}"
    );
    let _collected = deployment.stop_gateway();
    deployment.start_gateway();
    let client = deployment.client();
    let _running = deployment.session_in(&client, &id, &["running"]);
    let records = deployment.audit().of_action("session.start");
    assert_eq!(
        records.len(),
        3,
        "nothing acknowledged is lost: {records:#?}"
    );
}

fn agents(deployment: &Deployment) -> Vec<u32> {
    let script = deployment.agents().display().to_string();
    process::around(deployment.root())
        .into_iter()
        .filter(|(_, line)| line.contains(&script))
        .map(|(id, _)| id)
        .collect()
}
