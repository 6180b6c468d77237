//! TLS by the documented variables and flags; a pair that cannot protect anybody stops the start.

use std::path::Path;

use rustix::process::Signal;
use tests::certificate::{Certificate, set_mode};
use tests::client::Client;
use tests::command::{self, Finished};
use tests::deployment::Deployment;
use tests::installation::Installation;
use tests::poll;
use tests::process;

fn start(installation: &Installation, pair: &Certificate) -> Finished {
    command::run(
        installation
            .command("loki-gateway")
            .args(["--port", "0", "--tls-cert"])
            .arg(&pair.certificate)
            .arg("--tls-key")
            .arg(&pair.key),
    )
}

#[test]
fn a_bad_pair_stops_the_start_and_is_named() {
    let installation = Installation::new();
    let folder = installation.root();
    let good = Certificate::good(folder, "good");
    let other = Certificate::good(folder, "other");
    let open = Certificate::good(folder, "open");
    set_mode(&open.key, 0o644);
    let text = folder.join("text.pem");
    std::fs::write(&text, "not a certificate").unwrap();
    set_mode(&text, 0o600);
    let pair = |certificate: &Certificate, key: &Certificate| Certificate {
        certificate: certificate.certificate.clone(),
        key: key.key.clone(),
    };
    let check = |pair: &Certificate, expected: &str| {
        let finished = start(&installation, pair).ended_with(64);
        assert!(finished.text().contains(expected), "{expected}: {finished}");
        assert_eq!(installation.endpoint(), None);
    };
    check(&pair(&good, &other), "good-cert.pem");
    check(&Certificate::expired(folder, "old"), "expired");
    check(&Certificate::premature(folder, "early"), "valid only from");
    check(&open, "chmod 600");
    check(
        &Certificate {
            certificate: folder.join("none.pem"),
            key: good.key.clone(),
        },
        "none.pem",
    );
    check(
        &Certificate {
            certificate: good.certificate.clone(),
            key: folder.join("none.pem"),
        },
        "none.pem",
    );
    check(
        &Certificate {
            certificate: text.clone(),
            key: good.key.clone(),
        },
        "text.pem",
    );
    check(
        &Certificate {
            certificate: good.certificate,
            key: text,
        },
        "text.pem",
    );
}

#[test]
fn one_file_without_the_other_names_the_missing_one() {
    for (given, missing) in [
        ("LOKI_TLS_CERT", "LOKI_TLS_KEY"),
        ("LOKI_TLS_KEY", "LOKI_TLS_CERT"),
    ] {
        let mut installation = Installation::new();
        installation.set(given, "/nowhere.pem");
        let finished = command::run(&mut installation.command("loki-gateway")).ended_with(64);
        assert!(finished.stderr.contains(missing), "{finished}");
    }
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart_and_a_bad_one_is_not() {
    let deployment = Deployment::builder().with_tls().with_tokens().start();
    let folder = deployment.root();
    let url = deployment.endpoint().unwrap().url;
    let address = url.strip_prefix("https://").unwrap().parse().unwrap();
    let first = Certificate::good(folder, "first");
    let in_use = [
        folder.join("server-cert.pem"),
        folder.join("server-key.pem"),
    ];
    let put = |pair: &Certificate| {
        std::fs::rename(&pair.key, &in_use[1]).unwrap();
        std::fs::rename(&pair.certificate, &in_use[0]).unwrap();
        process::signal(deployment.gateway_id(), Signal::HUP);
    };
    let fingerprint = first.fingerprint();
    put(&first);
    let renewed = Client::pinned(address, fingerprint);
    poll::until("the renewed certificate is shown", || {
        let answer = renewed.request("GET", "/health").try_send()?;
        (answer.status == 200).then_some(())
    });
    put(&Certificate::expired(folder, "old"));
    let _told = deployment.audit().until("the refused renewal", |record| {
        record["action"] == "certificate.reload"
            && record["outcome"] == "failed"
            && record.to_string().contains("expired")
    });
    let _still_served = renewed.get("/health").with_status(200);
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let mut command = deployment.command("loki");
    let finished = command::run(command.arg("status").env("LOKI_TOKEN", &token.raw));
    assert_eq!(finished.code, 0, "the command line follows: {finished}");
}

/// Runs curl against a name of the gateway, trusting one certificate.
fn curl(deployment: &Deployment, name: &str, trusted: &Path, more: &[&str]) -> Finished {
    let url = deployment.endpoint().unwrap().url;
    let port = url.rsplit(':').next().unwrap();
    let mut curl = deployment.foreign_command("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
        .arg(trusted)
        .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
        .args(more)
        .arg(format!("https://{name}:{port}/health"));
    command::run(&mut curl)
}

#[test]
fn each_name_gets_its_certificate_and_a_stranger_the_main_one() {
    let folder = tempfile::tempdir().unwrap();
    let api = Certificate::for_host(folder.path(), "api", "api.example.org");
    let agents = Certificate::for_host(folder.path(), "agents", "*.agents.example.org");
    let settings = format!(
        "[tls.pairs.api]\ncertificate = {:?}\nkey = {:?}\n[tls.pairs.agents]\ncertificate = {:?}\nkey = {:?}\n",
        api.certificate, api.key, agents.certificate, agents.key
    );
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .with_gateway_settings(&settings)
        .start();
    let main = deployment.root().join("server-cert.pem");
    let status = |name: &str, trusted: &Path| curl(&deployment, name, trusted, &[]);
    assert_ne!(status("api.example.org", &main).code, 0);
    assert_ne!(status("localhost", &api.certificate).code, 0);
    assert_eq!(status("api.example.org", &api.certificate).output(), "200");
    assert_eq!(
        status("one.agents.example.org", &agents.certificate).output(),
        "200"
    );
    assert_eq!(status("localhost", &main).output(), "200");
    let stranger = curl(&deployment, "other.example.org", &main, &["-k"]);
    assert_eq!(stranger.output(), "200");
}

#[test]
fn an_older_version_than_allowed_is_refused() {
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .with_gateway_settings("[tls]\nversion_min = \"1.3\"\n")
        .start();
    let main = deployment.root().join("server-cert.pem");
    let old = curl(&deployment, "localhost", &main, &["--tls-max", "1.2"]);
    assert_ne!(old.code, 0, "{old}");
    assert_eq!(curl(&deployment, "localhost", &main, &[]).output(), "200");
    let default = Deployment::builder().with_tls().with_tokens().start();
    let main = default.root().join("server-cert.pem");
    let old = curl(&default, "localhost", &main, &["--tls-max", "1.2"]);
    assert_eq!(old.output(), "200");
    let older = curl(
        &default,
        "localhost",
        &main,
        &["--tls-max", "1.1", "--tlsv1.0"],
    );
    assert_ne!(older.code, 0, "{older}");
}

#[test]
fn with_tls_nothing_is_answered_in_the_clear() {
    let deployment = Deployment::builder().with_tls().with_tokens().start();
    let url = deployment.endpoint().unwrap().url;
    let address = url.strip_prefix("https://").unwrap().parse().unwrap();
    let answer = Client::plain(address).raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = String::from_utf8_lossy(&answer);
    assert!(!text.contains("200 OK"), "{text}");
    let _served = deployment.client().get("/health").with_status(200);
}

#[test]
fn the_documented_openssl_line_and_the_command_line_fit_together() {
    let mut installation = Installation::new();
    let pair = Certificate::by_openssl(installation.root());
    installation.set("LOKI_TLS_CERT", pair.certificate.display().to_string());
    installation.set("LOKI_TLS_KEY", pair.key.display().to_string());
    installation.set("LOKI_ENTERPRISE_AUTH", "true");
    installation.set("LOKI_DASHBOARD_PORT", "0");
    let token = tests::token::Token::generate(&installation, "ci-bot", &["--role", "viewer"]);
    let _started = installation.loki(&["dashboard", "start"]).ended_with(0);
    let endpoint = installation.endpoint().unwrap();
    assert!(endpoint.url.starts_with("https://"), "{endpoint:?}");
    let _refused = installation.loki(&["status"]).ended_with(3);
    installation.set("LOKI_TOKEN", token.raw);
    let _served = installation.loki(&["status"]).ended_with(0);
    let _stopped = installation.loki(&["dashboard", "stop"]).ended_with(0);
    installation.assert_nothing_runs();
}

#[test]
fn the_command_line_refuses_another_certificate_at_the_same_address() {
    let deployment = Deployment::builder().with_tls().with_tokens().start();
    let token = deployment.token("ci-bot", &["--role", "viewer"]);
    let mut endpoint = deployment.endpoint().unwrap();
    let other = Certificate::good(deployment.root(), "other");
    let hex: String = other
        .fingerprint()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    endpoint.certificate_sha256 = Some(hex);
    let text = serde_json::to_vec(&endpoint).unwrap();
    std::fs::write(deployment.home().endpoint(), text).unwrap();
    let finished = command::run(
        deployment
            .command("loki")
            .arg("status")
            .env("LOKI_TOKEN", &token.raw),
    );
    assert_eq!(finished.code, 4, "{finished}");
}
