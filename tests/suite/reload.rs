//! Settings and certificate are taken into use while the gateway runs: whole, or not at all.

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::certificate::{Certificate, set_mode};
use tests::client::Client;
use tests::deployment::Deployment;
use tests::poll;
use tests::process;

fn status(admin: &Client) -> Value {
    admin.get("/api/config/status").with_status(200).json()
}

fn is_served(admin: &Client, origin: &str) -> bool {
    let request = admin.request("GET", "/health").field("Origin", origin);
    request.send().status == 200
}

/// A deployment with tokens, and an administrator's client.
fn deployment() -> (Deployment, Client) {
    let deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("admin", &["--role", "admin"]);
    let admin = deployment.client().with_token(&token.raw);
    (deployment, admin)
}

const ORIGIN: &str = "https://console.example.org";

const WITH_ORIGIN: &str = "[listen]\norigins = [\"https://console.example.org\"]\n";

#[test]
fn a_state_with_mistakes_keeps_the_old_one_as_a_whole_and_says_why() {
    let (deployment, admin) = deployment();
    let text = format!("{WITH_ORIGIN}origns = []\n[limits]\nheader_count_max = \"many\"\n");
    deployment.write_settings("gateway.toml", &text);
    let rejected = admin
        .request("POST", "/api/config/reload")
        .send()
        .with_status(409);
    let told = rejected.text();
    assert!(told.contains("settings_rejected"), "{told}");
    assert!(told.contains("gateway.toml:3: listen.origns"), "{told}");
    assert!(told.contains("limits.header_count_max"), "{told}");
    assert!(!is_served(&admin, ORIGIN), "no part of it is in use");
    let found = status(&admin);
    assert_eq!(found["generation"], 1);
    assert_eq!(found["last_attempt"]["done"], false);
    assert_eq!(found["last_attempt"]["cause"], "command");
    let _recorded = deployment.audit().until("the rejected reload", |record| {
        record["action"] == "config.reload"
            && record["outcome"] == "failed"
            && record.to_string().contains("origns")
    });
    let metrics = admin.get("/metrics").with_status(200).text().to_owned();
    assert!(
        metrics.contains("loki_gateway_reloads_total{result=\"failed\"} 1"),
        "{metrics}"
    );
    let log = deployment.log("loki-gateway");
    assert!(log.contains("the old ones stay in use"), "{log}");
}

#[test]
fn what_cannot_change_while_running_is_refused_by_name() {
    let (deployment, admin) = deployment();
    for (text, named) in [
        ("[listen]\nhost = \"::1\"\n", "listen.host"),
        ("[log]\nlevel = \"error\"\n", "log.level"),
        (
            "[runtime]\nsocket = \"/tmp/other.sock\"\n",
            "runtime.socket",
        ),
    ] {
        deployment.write_settings(
            "gateway.toml",
            &format!("{WITH_ORIGIN}{text}").replace("\n[listen]\nhost", "\nhost"),
        );
        let finished = deployment.loki(&["config", "reload"]);
        assert_eq!(
            finished.code, 3,
            "nobody reloads without a token: {finished}"
        );
        let answer = admin.request("POST", "/api/config/reload").send();
        let told = answer.with_status(409).text().to_owned();
        assert!(told.contains(&format!("{named} cannot change")), "{told}");
        assert!(!is_served(&admin, ORIGIN), "no part of it is in use");
    }
}

#[test]
fn authentication_is_not_switched_off_while_running() {
    let deployment = Deployment::builder()
        .with_gateway_settings("[auth]\ntokens = true\n")
        .start();
    let token = deployment.token("admin", &["--role", "admin"]);
    let admin = deployment.client().with_token(&token.raw);
    deployment.write_settings("gateway.toml", "[auth]\ntokens = false\n");
    let answer = admin.request("POST", "/api/config/reload").send();
    let told = answer.with_status(409).text().to_owned();
    assert!(
        told.contains("authentication cannot be switched off"),
        "{told}"
    );
    let _refused = deployment.client().get("/api/status").with_status(401);
}

#[test]
fn only_who_controls_may_reload() {
    let (deployment, _admin) = deployment();
    for (role, scope) in [("viewer", "control"), ("auditor", "control")] {
        let token = deployment.token(role, &["--role", role]);
        let client = deployment.client().with_token(&token.raw);
        for (method, path) in [
            ("POST", "/api/config/reload"),
            ("GET", "/api/config/status"),
        ] {
            let told = client
                .request(method, path)
                .send()
                .with_status(403)
                .text()
                .to_owned();
            assert!(told.contains(scope), "{role} {path}: {told}");
        }
    }
}

#[test]
fn settings_are_reloaded_by_command_signal_and_watch() {
    let (deployment, admin) = deployment();
    let token = deployment.token("operator", &["--role", "operator"]);
    let reload = |arguments: &[&str]| {
        let mut command = deployment.command("loki");
        command.args(arguments).env("LOKI_TOKEN", &token.raw);
        tests::command::run(&mut command)
    };
    assert!(!is_served(&admin, ORIGIN));
    deployment.write_settings("gateway.toml", WITH_ORIGIN);
    let finished = reload(&["config", "reload", "--json"]).ended_with(0);
    let told: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(told["last_attempt"]["done"], true, "{told}");
    assert!(is_served(&admin, ORIGIN));
    let changed = |origin: &str| format!("[listen]\norigins = [{origin:?}]\n");
    deployment.write_settings("gateway.toml", &changed("https://two.example.org"));
    process::signal(deployment.gateway_id(), Signal::HUP);
    poll::until("the signal is followed", || {
        is_served(&admin, "https://two.example.org").then_some(())
    });
    assert!(!is_served(&admin, ORIGIN));
    deployment.write_settings("gateway.toml", &changed("https://three.example.org"));
    poll::until("the file is followed", || {
        is_served(&admin, "https://three.example.org").then_some(())
    });
    let finished = reload(&["config", "status"]).ended_with(0);
    assert!(finished.stdout.contains("file change"), "{finished}");
    assert!(finished.stdout.contains("listen.origins"), "{finished}");
    let changes = deployment.audit().of_action("config.change");
    let named = |record: &Value| record["details"] == json!({"changed": "listen.origins"});
    assert!(
        changes.iter().filter(|record| named(record)).count() >= 3,
        "{changes:?}"
    );
}

#[test]
fn tokens_can_be_demanded_without_a_restart() {
    let deployment = Deployment::builder().start();
    let client = deployment.client();
    let _open = client.get("/api/status").with_status(200);
    deployment.write_settings("gateway.toml", "[auth]\ntokens = true\n");
    let _told = deployment.loki(&["config", "reload"]).ended_with(0);
    let _refused = client.get("/api/status").with_status(401);
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let _served = client
        .with_token(&token.raw)
        .get("/api/status")
        .with_status(200);
    let endpoint = deployment.endpoint().expect("an endpoint");
    assert!(endpoint.tokens_required, "{endpoint:?}");
}

#[test]
fn a_bad_certificate_rejects_the_whole_state() {
    let deployment = Deployment::builder().with_tls().with_tokens().start();
    let token = deployment.token("admin", &["--role", "admin"]);
    let admin = deployment.client().with_token(&token.raw);
    let folder = deployment.root();
    let other = Certificate::good(folder, "other");
    std::fs::copy(&other.key, folder.join("server-key.pem")).expect("a key");
    set_mode(&folder.join("server-key.pem"), 0o600);
    deployment.write_settings("gateway.toml", WITH_ORIGIN);
    let answer = admin.request("POST", "/api/config/reload").send();
    let told = answer.with_status(409).text().to_owned();
    assert!(told.contains("do not belong together"), "{told}");
    assert!(!is_served(&admin, ORIGIN), "no part of it is in use");
    std::fs::copy(&other.certificate, folder.join("server-cert.pem")).expect("a certificate");
    let _done = admin
        .request("POST", "/api/config/reload")
        .send()
        .with_status(200);
    // The client is told the other certificate by the endpoint file, and accepts no other.
    assert!(is_served(
        &deployment.client().with_token(&token.raw),
        ORIGIN
    ));
}

#[test]
fn reloads_under_load_fail_no_request_and_no_handshake() {
    const RATES: &str = "[rates]\nread = \"off\"\n";
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .with_gateway_settings(RATES)
        .start();
    let token = deployment.token("admin", &["--role", "admin"]);
    let admin = deployment.client().with_token(&token.raw);
    let ended = std::sync::atomic::AtomicBool::new(false);
    let rounds = poll::rounds(10, 100);
    let asked = std::thread::scope(|scope| {
        let (admin, ended) = (&admin, &ended);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                scope.spawn(move || {
                    let mut connection = admin.connect();
                    let mut asked = 0;
                    while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                        // Every second caller shakes hands for each of its requests.
                        if caller % 2 == 0 {
                            connection = admin.connect();
                        }
                        let answer = connection.send(&admin.request("GET", "/api/status"));
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for round in 0..rounds {
            let text = format!("{RATES}[listen]\norigins = [\"https://c{round}.example.org\"]\n");
            deployment.write_settings("gateway.toml", &text);
            let answer = admin.request("POST", "/api/config/reload").send();
            let _done = answer.with_status(200);
            let _fresh = admin.get("/api/status").with_status(200);
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        callers
            .into_iter()
            .map(|caller| caller.join().expect("no request failed"))
            .sum::<usize>()
    });
    assert!(asked >= rounds, "{asked} requests during {rounds} reloads");
    assert!(status(&admin)["generation"].as_u64() > Some(rounds as u64));
}
