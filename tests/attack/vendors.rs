//! The vendors' real programs run a session against a scripted model; what they do, count and cost is
//! what the script says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::approval::{decide, state_of, waiting};
use tests::client::Client;
use tests::counterpart;
use tests::deployment::{Builder, Deployment};
use tests::model_api::{INPUT_TOKENS, ModelApi, OUTPUT_TOKENS};
use tests::poll;
use tests::process;

mod acp;

const COMMAND: &str = "echo made >made.txt";

fn deployment(builder: Builder, package: &Path, api: &ModelApi) -> Deployment {
    builder
        .with_vendor(&[package], api.port())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_MAX_ITERATIONS", "1")
        .start()
}

/// Puts a package's program where agents look for programs.
fn install(deployment: &Deployment, package: &Path, program: &str) {
    let folder = deployment.agents().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let real = package
        .join("node_modules/.bin")
        .join(program)
        .canonicalize();
    symlink(real.unwrap(), folder.join(program)).unwrap();
}

/// Runs a session and returns it with its events.
fn run(deployment: &Deployment, api: &ModelApi) -> (Value, Vec<Value>) {
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let mut view = Value::Null;
    tests::poll::within(
        std::time::Duration::from_secs(300),
        "the session ends",
        || {
            view = client.get(&format!("/api/sessions/{id}")).json();
            view["ended_at"].is_string().then_some(())
        },
    );
    let page = client.get(&format!("/api/sessions/{id}/events?limit=1000"));
    let events = page.json()["events"].as_array().unwrap().clone();
    assert_eq!(
        view["state"],
        "completed",
        "{view:#}\nasked: {:#?}\n{events:#?}",
        api.asked()
    );
    let branch = view["branch"].as_str().unwrap();
    assert_eq!(project.file_at(branch, "made.txt").trim(), "made");
    assert_eq!(view["usage"]["tool_calls"], 1, "{view:#}");
    (view, events)
}

/// Asserts that the tokens of both answers were counted.
fn assert_counted(view: &Value) {
    let usage = &view["usage"];
    let (input, output) = (INPUT_TOKENS.iter().sum(), OUTPUT_TOKENS.iter().sum());
    assert_eq!(tokens(usage), (input, output), "{usage}");
}

fn tokens(usage: &Value) -> (u64, u64) {
    let count = |name: &str| usage[name].as_u64().unwrap();
    (count("input_tokens"), count("output_tokens"))
}

fn of_kind<'events>(events: &'events [Value], kind: &str) -> Vec<&'events Value> {
    let found = events.iter().filter(|event| event["data"]["kind"] == kind);
    found.map(|event| &event["data"]).collect()
}

fn claude(builder: Builder, api: &ModelApi) -> Deployment {
    let package = counterpart::folder("@anthropic-ai/claude-code");
    let builder = builder
        .with_variable("ANTHROPIC_API_KEY", "scripted")
        .with_variable(
            "ANTHROPIC_BASE_URL",
            &format!("http://127.0.0.1:{}", api.port()),
        );
    let deployment = deployment(builder, &package, api);
    install(&deployment, &package, "claude");
    deployment
}

#[test]
fn claude_does_what_the_script_says_and_is_counted_right() {
    let api = ModelApi::running(COMMAND);
    let deployment = claude(Deployment::builder(), &api);
    let (view, events) = run(&deployment, &api);
    assert_counted(&view);
    let calls = of_kind(&events, "tool_call");
    assert_eq!(calls.len(), 1, "{events:#?}");
    assert_eq!(calls[0]["tool"], "Bash");
    assert_eq!(calls[0]["input"]["command"], COMMAND);
    let told = of_kind(&events, "finished");
    assert_eq!(view["cost_usd"], told[0]["cost_usd"], "{view:#}");
    assert!(
        view["cost_usd"].as_f64().unwrap_or_default() > 0.0,
        "{view:#}"
    );
    let versions = events.iter().filter(|event| event["type"] == "provider");
    assert_eq!(versions.count(), 1, "{events:#?}");
}

/// Starts a deployment whose codex is run by these arguments.
fn codex(builder: Builder, api: &ModelApi, mode: &[&str], lines: &str) -> Deployment {
    let package = counterpart::folder("@openai/codex");
    let address = format!("http://127.0.0.1:{}/v1", api.port());
    let mut command = vec!["codex".to_owned()];
    command.extend(mode.iter().map(|word| (*word).to_owned()));
    for setting in [
        "model=\"gpt-5\"",
        "model_provider=\"local\"",
        "model_providers.local.name=\"local\"",
        &format!("model_providers.local.base_url=\"{address}\""),
        "model_providers.local.wire_api=\"responses\"",
        "model_providers.local.env_key=\"OPENAI_API_KEY\"",
    ] {
        command.extend(["-c".to_owned(), setting.to_owned()]);
    }
    let settings = format!(
        "provider = \"codex\"\nproviders.codex.command = {command:?}\n\
         providers.codex.environment = [\"OPENAI_API_KEY\"]\n{lines}"
    );
    let builder = builder
        .with_variable("OPENAI_API_KEY", "scripted")
        .with_runtime_settings(&settings);
    let deployment = deployment(builder, &package, api);
    install(&deployment, &package, "codex");
    deployment
}

#[test]
fn codex_does_what_the_script_says_and_its_unknown_cost_is_null() {
    let api = ModelApi::running(COMMAND);
    let exec = [
        "exec",
        "--json",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
    ];
    let lines = "providers.codex.dialect = \"codex\"\n";
    let deployment = codex(Deployment::builder(), &api, &exec, lines);
    let (view, events) = run(&deployment, &api);
    assert_counted(&view);
    let commands = of_kind(&events, "command");
    assert_eq!(commands.len(), 1, "{events:#?}");
    assert_eq!(commands[0]["exit_code"], 0, "{:#?}", commands[0]);
    assert_eq!(view["cost_usd"], Value::Null, "{view:#}");
}

const APP_SERVER: &str = "providers.codex.asks = \"app-server\"\n";

#[test]
fn codex_in_a_conversation_does_what_the_script_says() {
    let api = ModelApi::running(COMMAND);
    let deployment = codex(Deployment::builder(), &api, &["app-server"], APP_SERVER);
    let (view, events) = run(&deployment, &api);
    assert_counted(&view);
    let commands = of_kind(&events, "command");
    assert_eq!(commands.len(), 1, "{events:#?}");
    assert_eq!(commands[0]["exit_code"], 0, "{:#?}", commands[0]);
    assert_eq!(view["cost_usd"], Value::Null, "{view:#}");
}

#[test]
fn codex_acts_only_after_a_person_approved() {
    let api = ModelApi::running(COMMAND);
    let deployment = codex(supervised(), &api, &["app-server"], APP_SERVER);
    let client = deployment.client();
    let id = begin(&deployment, &client);
    let asked = waiting(&deployment, &client, &id, "operation");
    let command = asked["action"]["input"]["command"].as_str().unwrap();
    assert!(command.contains(COMMAND), "{asked:#}");
    assert_eq!(in_workspace(&deployment, &id, MADE), None);
    assert_eq!(decide(&client, &asked, "approve", &json!({})), 200);
    let log = finished(&deployment, &client, &id);
    assert_eq!(
        in_workspace(&deployment, &id, MADE).as_deref(),
        Some("made\n"),
        "{log}"
    );
    assert_eq!(state_of(&client, &asked), "consumed");
}

#[test]
fn codex_does_not_act_when_a_person_says_no_or_the_runtime_is_killed() {
    let api = ModelApi::running(COMMAND);
    let mut deployment = codex(supervised(), &api, &["app-server"], APP_SERVER);
    let client = deployment.client();
    let id = begin(&deployment, &client);
    let asked = waiting(&deployment, &client, &id, "operation");
    deployment.kill_runtime();
    deployment.start_runtime();
    assert_eq!(state_of(&client, &asked), "cancelled");
    assert_eq!(in_workspace(&deployment, &id, MADE), None);
    let first = waiting(&deployment, &client, &id, "first_run");
    assert_eq!(decide(&client, &first, "approve", &json!({})), 200);
    let asked = waiting(&deployment, &client, &id, "operation");
    let no = json!({"reason": "not on a Thursday"});
    assert_eq!(decide(&client, &asked, "reject", &no), 200);
    let log = finished(&deployment, &client, &id);
    assert_eq!(in_workspace(&deployment, &id, MADE), None, "{log}");
}

#[test]
fn codex_runs_no_blocked_command() {
    let api = ModelApi::running("sudo mkfs.ext4 disk.img; echo made >made.txt");
    let deployment = codex(Deployment::builder(), &api, &["app-server"], APP_SERVER);
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let log = finished(&deployment, &client, &id);
    assert_eq!(in_workspace(&deployment, &id, MADE), None, "{log}");
    let events = client.get(&format!("/api/sessions/{id}/events?limit=1000"));
    assert!(
        events.text().contains("operation_refused"),
        "{}",
        events.text()
    );
}

const MADE: &str = "made.txt";

fn supervised() -> Builder {
    Deployment::builder().with_variable("LOKI_AUTONOMY_MODE", "supervised")
}

fn in_workspace(deployment: &Deployment, id: &str, file: &str) -> Option<String> {
    let folder = deployment.home().runtime().join("sessions").join(id);
    fs::read_to_string(folder.join("workspace").join(file)).ok()
}

/// Starts a session and approves its first run.
fn begin(deployment: &Deployment, client: &Client) -> String {
    let id = deployment.start_session(client, deployment.project("app").path());
    let first = waiting(deployment, client, &id, "first_run");
    assert_eq!(decide(client, &first, "approve", &json!({})), 200);
    id
}

/// Waits until a session is over, or waits at the gate before its hand-over, and returns its log.
fn finished(deployment: &Deployment, client: &Client, id: &str) -> String {
    poll::within(
        std::time::Duration::from_secs(120),
        "the agent is done",
        || {
            let view = client.get(&format!("/api/sessions/{id}")).json();
            let path = format!("/api/approvals?session={id}");
            let listed = client.get(&path).json();
            let last = listed["approvals"][0]["gate"] == "hand_over";
            (last || view["ended_at"].is_string()).then_some(())
        },
    );
    let folder = deployment.home().runtime().join("sessions").join(id);
    fs::read_to_string(folder.join("output-1.log")).unwrap_or_default()
}

#[test]
fn claude_acts_only_after_a_person_approved() {
    let api = ModelApi::running(COMMAND);
    let deployment = claude(supervised(), &api);
    let client = deployment.client();
    let id = begin(&deployment, &client);
    let asked = waiting(&deployment, &client, &id, "operation");
    assert_eq!(asked["action"]["input"]["command"], COMMAND, "{asked:#}");
    assert_eq!(in_workspace(&deployment, &id, MADE), None);
    assert_eq!(decide(&client, &asked, "approve", &json!({})), 200);
    let log = finished(&deployment, &client, &id);
    assert_eq!(
        in_workspace(&deployment, &id, MADE).as_deref(),
        Some("made\n"),
        "{log}"
    );
    assert_eq!(state_of(&client, &asked), "consumed");
    let view = client.get(&format!("/api/sessions/{id}")).json();
    let rows = view["effective_enforcement"].as_array().unwrap();
    for control in ["blocked commands", "approval of each operation"] {
        let row = rows.iter().find(|row| row["control"] == control).unwrap();
        assert_eq!(row["layer"], "gate: request-bound", "{row}");
    }
}

#[test]
fn claude_does_not_act_when_a_person_says_no_and_is_told_why() {
    let api = ModelApi::running(COMMAND);
    let deployment = claude(supervised(), &api);
    let client = deployment.client();
    let id = begin(&deployment, &client);
    let asked = waiting(&deployment, &client, &id, "operation");
    let no = json!({"reason": "not on a Thursday"});
    assert_eq!(decide(&client, &asked, "reject", &no), 200);
    let log = finished(&deployment, &client, &id);
    assert_eq!(in_workspace(&deployment, &id, MADE), None, "{log}");
    assert!(log.contains("not on a Thursday"), "{log}");
}

#[test]
fn claude_runs_no_blocked_command() {
    let api = ModelApi::running("sudo mkfs.ext4 disk.img; echo made >made.txt");
    let deployment = claude(Deployment::builder(), &api);
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let log = finished(&deployment, &client, &id);
    assert_eq!(in_workspace(&deployment, &id, MADE), None, "{log}");
    assert!(log.contains("it is blocked"), "{log}");
}

#[test]
fn claude_does_not_act_when_its_hook_is_killed() {
    let api = ModelApi::running(COMMAND);
    let deployment = claude(supervised(), &api);
    let client = deployment.client();
    let id = begin(&deployment, &client);
    let asked = waiting(&deployment, &client, &id, "operation");
    let mut killed = 0;
    for (hook, line) in process::around(deployment.root()) {
        if line.contains("loki-hook") && line.contains("tool-use") {
            process::signal(hook, Signal::KILL);
            killed += 1;
        }
    }
    assert!(killed > 0);
    let log = finished(&deployment, &client, &id);
    assert_eq!(in_workspace(&deployment, &id, MADE), None, "{log}");
    assert_ne!(state_of(&client, &asked), "consumed");
}

#[test]
fn claude_does_not_act_when_its_hook_is_missing() {
    let api = ModelApi::running(COMMAND);
    api.hold(true);
    let deployment = claude(Deployment::builder().with_own_programs(), &api);
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    poll::within(PATIENCE, "claude asks its model", || {
        let asked = api.asked();
        asked
            .iter()
            .any(|line| line.contains("/messages"))
            .then_some(())
    });
    fs::remove_file(deployment.program("loki-hook")).unwrap();
    api.hold(false);
    let log = finished(&deployment, &client, &id);
    assert_eq!(in_workspace(&deployment, &id, MADE), None, "{log}");
    assert!(log.contains(COMMAND), "the model asked for it: {log}");
    // Without it no further session runs at all.
    let id = deployment.start_session(&client, deployment.project("other").path());
    let view = deployment.session_in(&client, &id, &["failed"]);
    let why = view["reason"].as_str().unwrap();
    assert!(why.contains("cannot find loki-hook"), "{why}");
}

/// Has claude come to its first tool with another handler, while its permission tool is the real one.
/// Returns the session.
fn with_handler(handler: &str) -> (Deployment, Client, String) {
    let api = ModelApi::running(COMMAND);
    let builder = supervised()
        .with_own_programs()
        .with_runtime_settings("sessions.iteration_timeout = \"20s\"\n");
    let deployment = claude(builder, &api);
    let real = deployment.agents().join("real-hook");
    let path = deployment.program("loki-hook");
    fs::rename(&path, &real).unwrap();
    let real = real.display();
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = permission ] && exec {real} permission \"$2\"\ntouch \"$TMPDIR/ran\"\n{handler}\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let client = deployment.client();
    let id = begin(&deployment, &client);
    let ran = deployment.home().runtime().join("sessions").join(&id);
    poll::within(PATIENCE, "the handler runs", || {
        ran.join("private/tmp/ran").exists().then_some(())
    });
    (deployment, client, id)
}

#[test]
fn claude_does_not_act_when_its_hook_fails() {
    for handler in ["exit 1", "exit 127", "kill -9 $$", "echo '{' >&2; exit 3"] {
        let (deployment, client, id) = with_handler(handler);
        let log = finished(&deployment, &client, &id);
        assert_eq!(
            in_workspace(&deployment, &id, MADE),
            None,
            "{handler}: {log}"
        );
        assert!(
            log.contains(COMMAND),
            "the model asked for it: {handler}: {log}"
        );
    }
}

#[test]
fn claude_does_not_act_when_its_hook_answers_garbage() {
    // It takes some garbage for a failure, and some for no opinion: then it asks by its permission tool.
    let mut asked_again = 0;
    for handler in [
        "echo garbage",
        "echo '{\"hookSpecificOutput\": {}}'",
        "true",
    ] {
        let (deployment, client, id) = with_handler(handler);
        let path = format!("/api/approvals?session={id}");
        let gate = poll::within(PATIENCE, "claude asks or gives up", || {
            let gate = client.get(&path).json()["approvals"][0]["gate"].clone();
            let view = client.get(&format!("/api/sessions/{id}")).json();
            (gate.is_string() || view["ended_at"].is_string()).then_some(gate)
        });
        assert_eq!(in_workspace(&deployment, &id, MADE), None, "{handler}");
        if gate == "operation" {
            asked_again += 1;
            let asked = waiting(&deployment, &client, &id, "operation");
            assert_eq!(asked["action"]["input"]["command"], COMMAND, "{handler}");
            let no = json!({"reason": "no"});
            assert_eq!(decide(&client, &asked, "reject", &no), 200);
        }
        let log = finished(&deployment, &client, &id);
        assert_eq!(
            in_workspace(&deployment, &id, MADE),
            None,
            "{handler}: {log}"
        );
        assert!(
            log.contains(COMMAND),
            "the model asked for it: {handler}: {log}"
        );
    }
    assert!(asked_again > 0, "nobody asked by the permission tool");
}

#[test]
fn claude_does_not_act_while_its_hook_says_nothing() {
    let (deployment, client, id) = with_handler("sleep 1000");
    let log = finished(&deployment, &client, &id);
    assert_eq!(in_workspace(&deployment, &id, MADE), None, "{log}");
    assert!(log.contains(COMMAND), "the model asked for it: {log}");
    let view = client.get(&format!("/api/sessions/{id}")).json();
    assert!(
        view.to_string().contains("longer than 20 s") || view["ended_at"].is_null(),
        "{view:#}"
    );
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
