//! What every command owes: exit codes, `--json`, `--help` with examples, errors with a fix.

use serde_json::Value;
use tests::command;
use tests::deployment::Deployment;
use tests::installation::Installation;

#[test]
fn exit_codes_are_the_documented_ones() {
    let installation = Installation::new();
    let check = |arguments: &[&str], code: i32| {
        let finished = installation.loki(arguments);
        assert_eq!(finished.code, code, "{finished}");
    };
    check(&["--help"], 0);
    check(&["--version"], 0);
    check(&["no-such-command"], 2);
    check(&["enterprise", "token", "no-such-command"], 2);
    check(&["start"], 2);
    check(&["enterprise", "token", "revoke", "nobody"], 1);
    check(&["status"], 4);
    installation.write_settings("gateway.toml", "unknown = 1\n");
    check(&["config", "check"], 64);
}

#[test]
fn a_refused_call_ends_with_3_and_names_the_missing_scope() {
    let deployment = Deployment::builder().with_tokens().start();
    let viewer = deployment.token("viewer", &["--role", "viewer"]);
    let run = |token: Option<&str>, arguments: &[&str]| {
        let mut command = deployment.command("loki");
        command.args(arguments);
        if let Some(token) = token {
            command.env("LOKI_TOKEN", token);
        }
        command::run(&mut command)
    };
    let finished = run(None, &["status"]).ended_with(3);
    assert!(finished.stderr.contains("LOKI_TOKEN"), "{finished}");
    let finished = run(Some(&viewer.raw), &["stop"]).ended_with(3);
    assert!(finished.stderr.contains("control"), "{finished}");
    let finished = run(Some("loki_wrong"), &["status"]);
    assert!(matches!(finished.code, 2 | 3), "{finished}");
    let _served = run(Some(&viewer.raw), &["status"]).ended_with(0);
}

#[test]
fn the_token_comes_from_a_closed_file_or_the_environment() {
    let deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("viewer", &["--role", "viewer"]);
    let file = deployment.root().join("token");
    std::fs::write(&file, format!("{}\n", token.raw)).unwrap();
    tests::certificate::set_mode(&file, 0o600);
    let by_file = ["status", "--token-file", file.to_str().unwrap()];
    let _served = deployment.loki(&by_file).ended_with(0);
    tests::certificate::set_mode(&file, 0o644);
    let open = deployment.loki(&by_file);
    assert_ne!(
        open.code, 0,
        "a file that others can read is refused: {open}"
    );
    assert!(open.stderr.contains("chmod 600"), "{open}");
    let credentials = deployment.home().credentials();
    std::fs::write(&credentials, &token.raw).unwrap();
    tests::certificate::set_mode(&credentials, 0o600);
    let _served = deployment.loki(&["status"]).ended_with(0);
}

#[test]
fn listings_are_json_when_asked() {
    let deployment = Deployment::builder().start();
    let token = deployment.token("viewer", &["--role", "viewer"]);
    for line in [
        "enterprise token list --json",
        "enterprise audit tail --json",
        "enterprise audit summary --json",
        "status --json",
        "doctor --json",
        "config show --json",
        "config status --json",
    ] {
        let finished = deployment.loki(&line.split(' ').collect::<Vec<_>>());
        assert!(matches!(finished.code, 0 | 1), "{finished}");
        for value in finished.stdout.lines().take(1) {
            assert!(value.starts_with(['{', '[']), "{line}: {finished}");
        }
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&finished.stdout)
            .into_iter()
            .collect();
        assert!(
            values.is_ok_and(|values| !values.is_empty()),
            "{line}: {finished}"
        );
        assert!(!finished.stdout.contains(&token.raw[5..]), "{finished}");
    }
}

#[test]
fn every_command_helps_with_an_example() {
    let installation = Installation::new();
    for line in [
        "",
        "start",
        "status",
        "stop",
        "metrics",
        "doctor",
        "dashboard start",
        "enterprise token generate",
        "enterprise token list",
        "enterprise token revoke",
        "enterprise audit tail",
        "audit log",
        "config show",
    ] {
        let mut arguments: Vec<&str> = line.split(' ').filter(|part| !part.is_empty()).collect();
        arguments.push("--help");
        let help = installation.loki(&arguments).output();
        assert!(help.contains("Usage:"), "{line}: {help}");
        assert!(help.contains("Example"), "{line} has no example: {help}");
    }
}

#[test]
fn session_variables_only_tighten() {
    let deployment = Deployment::builder()
        .with_provider("claude", tests::agent::Agent::repairing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .with_variable("LOKI_STAGED_AUTONOMY", "true")
        .with_variable("LOKI_AUTONOMY_MODE", "checkpoint")
        .start();
    let project = deployment.project("app");
    std::fs::write(deployment.user_home().join("prd.md"), "Repair total.sh.\n").unwrap();
    let start = |name: &str, value: &str| {
        command::run(
            deployment
                .command("loki")
                .args(["start", "../prd.md"])
                .current_dir(project.path())
                .env(name, value),
        )
    };
    for (name, value) in [
        ("LOKI_BRANCH_PROTECTION", "false"),
        ("LOKI_SANDBOX_MODE", "false"),
        ("LOKI_STAGED_AUTONOMY", "false"),
        ("LOKI_AUTONOMY_MODE", "perpetual"),
        ("LOKI_ALLOWED_PATHS", "/app/src"),
        ("LOKI_BLOCKED_COMMANDS", "!default"),
        ("LOKI_AUTONOMY_MODE", "free"),
    ] {
        let finished = start(name, value);
        assert_ne!(finished.code, 0, "{name}={value}: {finished}");
        assert!(
            finished.stderr.contains(name),
            "{name} is named: {finished}"
        );
    }
    let listed = deployment
        .client()
        .get("/api/sessions")
        .with_status(200)
        .json();
    assert_eq!(listed["sessions"], serde_json::json!([]));
}
