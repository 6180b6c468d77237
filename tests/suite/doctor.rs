//! `loki doctor` finds what is wrong, or soon will be, and prints the fix.

use std::fs;
use std::net::TcpListener;

use serde_json::Value;
use tests::certificate::{Authority, Certificate, set_mode};
use tests::command;
use tests::deployment::Deployment;
use tests::installation::{Installation, free_port};
use tests::issuer::Issuer;
use tests::poll;
use tests::programs;

/// What the doctor found of these settings: state, detail and fix of the checks with a name.
fn found(installation: &Installation, check: &str) -> Vec<(String, String, String)> {
    let finished = installation.loki(&["doctor", "--json"]);
    let findings: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("not JSON: {error}: {finished}"));
    let list = findings.as_array().expect("a list");
    let failed = list.iter().any(|one| one["state"] == "failed");
    assert_eq!(finished.code == 1, failed, "{finished}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.iter()
        .filter(|one| one["check"] == check)
        .map(|one| (text(&one["state"]), text(&one["detail"]), text(&one["fix"])))
        .collect()
}

/// The one finding with a name.
fn only(installation: &Installation, check: &str) -> (String, String, String) {
    let found = found(installation, check);
    let [one] = found.as_slice() else {
        panic!("{check}: {found:?}");
    };
    one.clone()
}

#[test]
fn what_is_wrong_with_the_files_is_found_with_its_fix() {
    let deployment = Deployment::builder().start();
    let healthy = deployment.loki(&["doctor"]);
    assert_eq!(healthy.code, 0, "{healthy}");
    let _token = deployment.token("viewer", &[]);
    set_mode(&deployment.home().tokens(), 0o644);
    let sick = deployment.loki(&["doctor"]).ended_with(1);
    assert!(sick.text().contains("chmod 600"), "{sick}");
    set_mode(&deployment.home().tokens(), 0o600);
    set_mode(&deployment.home().dashboard(), 0o755);
    let (state, detail, fix) = only(&deployment, "tokens and audit");
    assert_eq!(state, "failed");
    assert!(detail.contains("mode 0755"), "{detail}");
    assert!(fix.contains("chmod 700"), "{fix}");
    set_mode(&deployment.home().dashboard(), 0o700);
}

#[test]
fn certificates_that_are_over_or_end_soon_are_found() {
    let mut installation = Installation::new();
    let folder = installation.root().to_owned();
    for (days, expected) in [(3, "warning"), (60, "ok")] {
        let pair = Certificate::ending(&folder, &format!("in-{days}"), days);
        installation.set("LOKI_TLS_CERT", pair.certificate.display().to_string());
        installation.set("LOKI_TLS_KEY", pair.key.display().to_string());
        let (state, detail, fix) = only(&installation, "certificate");
        assert_eq!(state, expected, "{detail}");
        assert_eq!(fix.contains("renew"), expected == "warning", "{fix}");
    }
    for (authority, expected) in [
        (Authority::expired(&folder, "old"), "failed"),
        (Authority::ending(&folder, "soon", 3), "warning"),
        (Authority::new(&folder, "good"), "ok"),
    ] {
        let settings = format!("[tls.client]\nca = {:?}\n", authority.file());
        installation.write_settings("gateway.toml", &settings);
        let (state, detail, _) = only(&installation, "authorities of clients");
        assert_eq!(state, expected, "{detail}");
        let named = format!("CN={authority:?}");
        assert_eq!(detail.contains(&named), expected != "ok", "{detail}");
    }
    let settings = format!("[tls.client]\nca = {:?}\n", folder.join("none.pem"));
    installation.write_settings("gateway.toml", &settings);
    let (state, detail, _) = only(&installation, "authorities of clients");
    assert_eq!(state, "failed", "{detail}");
    assert!(detail.contains("none.pem"), "{detail}");
}

#[test]
fn a_clock_that_differs_from_the_issuer_s_is_found() {
    let issuer = Issuer::start();
    let mut installation = Installation::new();
    installation.set("LOKI_OIDC_ISSUER", issuer.url());
    installation.set("LOKI_OIDC_CLIENT_ID", "client");
    installation.write_settings("gateway.toml", "[oidc]\nallow_loopback_http = true\n");
    let check = "clock of issuer default";
    for (ahead, expected, side) in [
        (3_600, "failed", "before ours"),
        (-3_600, "failed", "behind ours"),
        (25, "warning", "before ours"),
        (0, "ok", ""),
    ] {
        issuer.set_clock(ahead);
        let (state, detail, fix) = only(&installation, check);
        assert_eq!(state, expected, "{ahead}: {detail}");
        assert!(detail.contains(side), "{ahead}: {detail}");
        assert_eq!(fix.contains("clock"), expected != "ok", "{ahead}: {fix}");
    }
    issuer.set_away(true);
    let (state, _, fix) = only(&installation, check);
    assert_eq!(state, "warning");
    assert!(fix.contains("must be reachable"), "{fix}");
}

#[test]
fn issuer_keys_that_are_about_to_expire_are_found() {
    let issuer = Issuer::start();
    let mut deployment = Deployment::builder()
        .without_runtime()
        .with_variable("LOKI_OIDC_ISSUER", &issuer.url())
        .with_variable("LOKI_OIDC_CLIENT_ID", "client")
        .with_gateway_settings("[oidc]\nallow_loopback_http = true\nstale_keys_max = \"10s\"\n")
        .start();
    let client = deployment.client().with_token(&issuer.token("alice"));
    poll::until("the issuer's keys are known", || {
        (client.get("/metrics").status == 200).then_some(())
    });
    // Nobody looks at them any more, so they grow old.
    assert_eq!(deployment.stop_gateway(), Some(0));
    let check = "issuer default";
    for expected in ["warning", "failed"] {
        let (detail, fix) = poll::until(&format!("the keys are a {expected}"), || {
            let (state, detail, fix) = only(&deployment, check);
            (state == expected).then_some((detail, fix))
        });
        assert!(detail.contains("its keys were seen"), "{detail}");
        assert!(fix.contains("must be reachable"), "{fix}");
    }
    let (_, detail, _) = only(&deployment, check);
    assert!(detail.contains("503"), "{detail}");
}

#[test]
fn a_syslog_receiver_that_cannot_be_reached_is_found() {
    let mut installation = Installation::new();
    let port = free_port();
    installation.set("LOKI_AUDIT_SYSLOG_HOST", "127.0.0.1");
    installation.set("LOKI_AUDIT_SYSLOG_PORT", port.to_string());
    installation.set("LOKI_AUDIT_SYSLOG_PROTO", "tcp");
    let (state, detail, fix) = only(&installation, "syslog receiver");
    assert_eq!(state, "failed", "{detail}");
    assert!(
        detail.contains(&format!("tcp://127.0.0.1:{port}")),
        "{detail}"
    );
    assert!(fix.contains("LOKI_AUDIT_SYSLOG_HOST"), "{fix}");
    let listener = poll::until("the port is free", || {
        TcpListener::bind(("127.0.0.1", port)).ok()
    });
    let (state, detail, _) = only(&installation, "syslog receiver");
    assert_eq!(state, "ok", "{detail}");
    installation.set("LOKI_AUDIT_SYSLOG_PROTO", "udp");
    let (state, detail, _) = only(&installation, "syslog receiver");
    assert_eq!(state, "ok", "{detail}");
    // One that speaks no TLS is not who it should be.
    let authority = Authority::new(installation.root(), "receiver");
    installation.set("LOKI_AUDIT_SYSLOG_PROTO", "tls");
    installation.set(
        "LOKI_AUDIT_SYSLOG_CA",
        authority.file().display().to_string(),
    );
    let deaf = std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            drop(stream);
        }
    });
    let (state, detail, _) = only(&installation, "syslog receiver");
    assert_eq!(state, "failed", "{detail}");
    assert!(!deaf.is_finished(), "somebody listened all the time");
}

#[test]
fn an_audit_disk_whose_rest_belongs_to_changes_is_found() {
    let installation = Installation::new();
    let (state, detail, _) = only(&installation, "audit disk");
    assert_eq!(state, "ok", "{detail}");
    // More than any disk has.
    let settings = "[audit]\ndisk_reserve_bytes = 4611686018427387904\n";
    installation.write_settings("gateway.toml", settings);
    let (state, detail, fix) = only(&installation, "audit disk");
    assert_eq!(state, "failed", "{detail}");
    assert!(detail.contains("not recorded any more"), "{detail}");
    assert!(fix.contains("audit.retention"), "{fix}");
}

/// The checks that a doctor makes who lies beside these programs, as names and states, and its exit code.
fn beside(programs: &[&str]) -> (Vec<String>, i32) {
    let installation = Installation::new();
    let folder = installation.root().join("programs");
    fs::create_dir(&folder).unwrap();
    for name in ["loki"].iter().chain(programs) {
        fs::copy(programs::path(name), folder.join(name)).unwrap();
    }
    let mut doctor = installation.foreign_command(folder.join("loki").to_str().unwrap());
    // No git, no gh, no agent: where none runs, none is missed.
    doctor.args(["doctor", "--json"]).env("PATH", "/nowhere");
    let finished = command::run(&mut doctor);
    let findings: Value = serde_json::from_str(&finished.stdout).unwrap();
    let names = findings.as_array().unwrap().iter().map(|one| {
        let text = |member: &str| one[member].as_str().unwrap().to_owned();
        format!("{}: {}", text("check"), text("state"))
    });
    (names.collect(), finished.code)
}

#[test]
fn what_no_process_of_this_place_needs_is_not_missed() {
    let has = |found: &[String], start: &str| found.iter().any(|line| line.starts_with(start));
    let (found, code) = beside(&["loki-gateway"]);
    assert_eq!(code, 0, "{found:?}");
    for agents in [
        "git",
        "kernel",
        "sandbox",
        "runtime settings",
        "provider",
        "pull requests",
    ] {
        assert!(!has(&found, agents), "{agents}: {found:?}");
    }
    for own in [
        "gateway settings: ok",
        "tokens: ok",
        "audit disk: ok",
        "gateway: warning",
        "runtime: warning",
    ] {
        assert!(has(&found, own), "{own}: {found:?}");
    }
    let (found, code) = beside(&["loki-runtime", "loki-jail"]);
    assert_eq!(code, 1, "there is no git: {found:?}");
    for edge in [
        "gateway",
        "tokens",
        "audit disk",
        "certificate",
        "revocations",
    ] {
        assert!(!has(&found, edge), "{edge}: {found:?}");
    }
    for own in [
        "git: failed",
        "kernel: ",
        "sandbox: ",
        "runtime settings: ok",
        "runtime: warning",
    ] {
        assert!(has(&found, own), "{own}: {found:?}");
    }
    // Agents are meant to run here, and nothing would narrow them.
    let (found, code) = beside(&["loki-runtime"]);
    assert_eq!(code, 1, "{found:?}");
    assert!(has(&found, "kernel layers: failed"), "{found:?}");
    let (found, code) = beside(&[]);
    assert_eq!(code, 0, "{found:?}");
    assert!(has(&found, "programs: warning"), "{found:?}");
}

#[test]
fn what_sessions_lack_is_found() {
    let installation = Installation::new();
    let root = installation.root().join("projects");
    let settings = |program: &str| {
        format!(
            "provider = \"mine\"\n[projects]\nroots = [{root:?}]\n[providers.mine]\ncommand = [{program:?}]\n"
        )
    };
    installation.write_settings("runtime.toml", &settings("/nowhere/agent"));
    let (state, detail, fix) = only(&installation, "provider mine");
    assert_eq!(state, "warning", "{detail}");
    assert!(detail.contains("/nowhere/agent"), "{detail}");
    assert!(fix.contains("providers.mine.command"), "{fix}");
    let check = format!("projects: {}", root.display());
    let (state, _, fix) = only(&installation, &check);
    assert_eq!(state, "warning");
    assert!(fix.contains("projects.roots"), "{fix}");
    fs::create_dir(&root).unwrap();
    installation.write_settings("runtime.toml", &settings("sh"));
    let (state, detail, _) = only(&installation, "provider mine");
    assert_eq!(state, "ok", "{detail}");
    let (state, detail, _) = only(&installation, &check);
    assert_eq!(state, "ok", "{detail}");
}
