//! The vendors' real programs run a session against a scripted model; what they do, count and cost is
//! what the script says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;
use tests::counterpart;
use tests::deployment::{Builder, Deployment};
use tests::model_api::{INPUT_TOKENS, ModelApi, OUTPUT_TOKENS};

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
    let usage = &view["usage"];
    assert_eq!(
        usage["input_tokens"],
        INPUT_TOKENS.iter().sum::<u64>(),
        "{usage}"
    );
    assert_eq!(
        usage["output_tokens"],
        OUTPUT_TOKENS.iter().sum::<u64>(),
        "{usage}"
    );
    assert_eq!(usage["tool_calls"], 1, "{usage}");
    (view, events)
}

fn of_kind<'events>(events: &'events [Value], kind: &str) -> Vec<&'events Value> {
    let found = events.iter().filter(|event| event["data"]["kind"] == kind);
    found.map(|event| &event["data"]).collect()
}

#[test]
fn claude_does_what_the_script_says_and_is_counted_right() {
    let api = ModelApi::running(COMMAND);
    let package = counterpart::folder("@anthropic-ai/claude-code");
    let builder = Deployment::builder()
        .with_variable("ANTHROPIC_API_KEY", "scripted")
        .with_variable(
            "ANTHROPIC_BASE_URL",
            &format!("http://127.0.0.1:{}", api.port()),
        );
    let deployment = deployment(builder, &package, &api);
    install(&deployment, &package, "claude");
    let (view, events) = run(&deployment, &api);
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

#[test]
fn codex_does_what_the_script_says_and_its_unknown_cost_is_null() {
    let api = ModelApi::running(COMMAND);
    let package = counterpart::folder("@openai/codex");
    let address = format!("http://127.0.0.1:{}/v1", api.port());
    let command = [
        "codex",
        "exec",
        "--json",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "-c",
        "model_provider=\"local\"",
        "-c",
        "model_providers.local.name=\"local\"",
        "-c",
        &format!("model_providers.local.base_url=\"{address}\""),
        "-c",
        "model_providers.local.wire_api=\"responses\"",
        "-c",
        "model_providers.local.env_key=\"OPENAI_API_KEY\"",
        "--model",
        "gpt-5",
        "-",
    ];
    let settings = format!(
        "provider = \"codex\"\nproviders.codex.command = {command:?}\n\
         providers.codex.dialect = \"codex\"\n\
         providers.codex.environment = [\"OPENAI_API_KEY\"]\n"
    );
    let builder = Deployment::builder()
        .with_variable("OPENAI_API_KEY", "scripted")
        .with_runtime_settings(&settings);
    let deployment = deployment(builder, &package, &api);
    install(&deployment, &package, "codex");
    let (view, events) = run(&deployment, &api);
    let commands = of_kind(&events, "command");
    assert_eq!(commands.len(), 1, "{events:#?}");
    assert_eq!(commands[0]["exit_code"], 0, "{:#?}", commands[0]);
    assert_eq!(view["cost_usd"], Value::Null, "{view:#}");
}
