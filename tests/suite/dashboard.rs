//! `loki dashboard start|status|stop` runs the local deployment.

use std::process::Stdio;

use rustix::process::Signal;
use tests::installation::Installation;
use tests::poll;
use tests::process;
use tests::repository::Repository;

fn installation() -> Installation {
    let mut installation = Installation::new();
    installation.set("LOKI_DASHBOARD_PORT", "0");
    installation
}

#[test]
fn stop_and_status_without_a_deployment_say_so() {
    let installation = installation();
    let status = installation.loki(&["dashboard", "status"]);
    assert_eq!(status.code, 4, "{status}");
    let _missing = installation.loki(&["status"]).ended_with(4);
    let _missing = installation.loki(&["metrics"]).ended_with(4);
    let stop = installation.loki(&["dashboard", "stop"]);
    assert!(matches!(stop.code, 0 | 4), "{stop}");
}

#[test]
fn bad_settings_end_the_start_with_64_and_nothing_runs() {
    let mut installation = installation();
    installation.set("LOKI_ENTERPRISE_AUTH", "maybe");
    let finished = installation.loki(&["dashboard", "start"]).ended_with(64);
    assert!(
        finished.stderr.contains("LOKI_ENTERPRISE_AUTH"),
        "{finished}"
    );
    installation.assert_nothing_runs();
}

#[test]
fn an_open_door_ends_the_start_with_64() {
    let installation = installation();
    let finished = installation
        .loki(&["dashboard", "start", "--host", "0.0.0.0"])
        .ended_with(64);
    assert!(
        finished.stderr.contains("LOKI_ENTERPRISE_AUTH"),
        "{finished}"
    );
    installation.assert_nothing_runs();
}

#[test]
fn start_status_stop() {
    let installation = installation();
    let _started = installation.loki(&["dashboard", "start"]).ended_with(0);
    let client = installation.client();
    let _served = client.get("/api/status").with_status(200);
    let status = installation.loki(&["dashboard", "status"]).output();
    let url = installation.endpoint().unwrap().url;
    assert!(status.contains(&url), "{status}");
    let listed = installation.loki(&["dashboard", "status", "--json"]).json();
    assert!(listed.to_string().contains(&url), "{listed}");
    let twice = installation.loki(&["dashboard", "start"]);
    assert!(
        twice.text().contains(&url),
        "a second start names the first: {twice}"
    );
    assert_eq!(
        installation.endpoint().unwrap().url,
        url,
        "and starts nothing"
    );
    let _stopped = installation.loki(&["dashboard", "stop"]).ended_with(0);
    installation.assert_nothing_runs();
    assert_eq!(installation.endpoint(), None);
    assert!(!client.is_answered());
}

#[test]
fn tls_flags_work_as_documented() {
    let installation = installation();
    let pair = tests::certificate::Certificate::good(installation.root(), "server");
    let certificate = pair.certificate.display().to_string();
    let key = pair.key.display().to_string();
    let line = [
        "dashboard",
        "start",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let _started = installation.loki(&line).ended_with(0);
    assert!(installation.endpoint().unwrap().url.starts_with("https://"));
    let _served = installation.client().get("/health").with_status(200);
    let _stopped = installation.loki(&["dashboard", "stop"]).ended_with(0);
    installation.assert_nothing_runs();
}

#[test]
fn in_the_foreground_the_signal_stops_everything() {
    for signal in [Signal::INT, Signal::TERM] {
        let installation = installation();
        let mut child = installation
            .command("loki")
            .args(["dashboard", "start", "--foreground"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _served = installation.client().get("/health").with_status(200);
        process::signal(child.id(), signal);
        let status = poll::until("the foreground ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{signal:?}");
        installation.assert_nothing_runs();
        assert_eq!(installation.endpoint(), None);
    }
}

#[test]
fn daemon_variables_that_differ_from_the_running_process_are_named() {
    let mut installation = installation();
    let _started = installation.loki(&["dashboard", "start"]).ended_with(0);
    installation.set("LOKI_AUDIT_DISABLED", "true");
    let finished = installation.loki(&["dashboard", "start"]).ended_with(0);
    assert!(
        finished.stderr.contains("LOKI_AUDIT_DISABLED"),
        "{finished}"
    );
    let _stopped = installation.loki(&["dashboard", "stop"]).ended_with(0);
    installation.assert_nothing_runs();
}

#[test]
fn loki_start_starts_what_does_not_run() {
    let installation = installation();
    let project = Repository::with_failing_test(&installation.user_home().join("app"));
    let agent = installation.agents().join("agent.sh");
    std::fs::write(&agent, "cat >/dev/null\necho done >done.txt\n").unwrap();
    let folder = installation.agents();
    installation.write_settings(
        "runtime.toml",
        &format!(
            "provider = \"claude\"\n[providers.claude]\ncommand = [\"/bin/sh\", {agent:?}]\n\
             [jail]\nread = [{folder:?}]\n"
        ),
    );
    let mut command = installation.command("loki");
    command
        .args(["start", "README.md"])
        .current_dir(project.path());
    let finished = tests::command::run(&mut command).ended_with(0);
    assert!(finished.text().contains("sess-"), "{finished}");
    assert!(installation.endpoint().is_some(), "the deployment stays");
    let _stopped = installation.loki(&["dashboard", "stop"]).ended_with(0);
    installation.assert_nothing_runs();
}
