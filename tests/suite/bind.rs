//! An open door is never accidental: outsiders reach the gateway only with tokens and TLS.

use tests::certificate::Certificate;
use tests::command::{self, Finished};
use tests::installation::Installation;

fn start(installation: &Installation, flags: &[&str]) -> Finished {
    command::run(
        installation
            .command("loki-gateway")
            .args(["--port", "0"])
            .args(flags),
    )
}

#[test]
fn an_outside_address_needs_tokens_and_tls() {
    let check = |prepare: fn(&mut Installation), fixes: &[&str]| {
        let mut installation = Installation::new();
        prepare(&mut installation);
        let finished = start(&installation, &["--host", "0.0.0.0"]).ended_with(64);
        for fix in fixes {
            assert!(finished.stderr.contains(fix), "{fix}: {finished}");
        }
        assert_eq!(installation.endpoint(), None);
    };
    check(
        |_| {},
        &["LOKI_ENTERPRISE_AUTH", "LOKI_TLS_CERT", "LOKI_TLS_KEY"],
    );
    check(
        |installation| installation.set("LOKI_ENTERPRISE_AUTH", "true"),
        &["LOKI_TLS_CERT", "LOKI_TLS_KEY"],
    );
    check(
        |installation| {
            let pair = Certificate::good(installation.root(), "server");
            installation.set("LOKI_TLS_CERT", pair.certificate.display().to_string());
            installation.set("LOKI_TLS_KEY", pair.key.display().to_string());
        },
        &["LOKI_ENTERPRISE_AUTH"],
    );
}

#[test]
fn both_variables_and_the_flag_mean_the_same_address() {
    for name in ["LOKI_API_HOST", "LOKI_DASHBOARD_HOST"] {
        let mut installation = Installation::new();
        installation.set(name, "0.0.0.0");
        let finished = start(&installation, &[]).ended_with(64);
        assert!(
            finished.stderr.contains("LOKI_ENTERPRISE_AUTH"),
            "{finished}"
        );
        let finished = start(&installation, &["--host", "127.0.0.1"]).ended_with(64);
        assert!(finished.stderr.contains(name), "they disagree: {finished}");
    }
}

#[test]
fn the_dangerous_flag_needs_a_proxy_in_front() {
    let flags = ["--host", "0.0.0.0", "--dangerously-allow-insecure-bind"];
    let finished = start(&Installation::new(), &flags).ended_with(64);
    assert!(finished.stderr.contains("trusted_proxies"), "{finished}");
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let installation = Installation::new();
    let finished =
        command::run(installation.command("loki-gateway").args(["--port", &port])).ended_with(1);
    assert!(finished.text().contains(&port), "{finished}");
    assert_eq!(installation.endpoint(), None);
}
