//! Gemini and opencode, which are spoken with by the Agent Client Protocol.

use super::*;

fn gemini(builder: Builder, api: &ModelApi) -> Deployment {
    let package = counterpart::folder("@google/gemini-cli");
    let address = format!("http://127.0.0.1:{}", api.port());
    let builder = builder
        .with_variable("GEMINI_API_KEY", "scripted")
        .with_variable("GOOGLE_GEMINI_BASE_URL", &address)
        .with_runtime_settings("provider = \"gemini\"\n");
    let deployment = deployment(builder, &package, api);
    install(&deployment, &package, "gemini");
    deployment
}

#[test]
fn gemini_does_what_the_script_says_and_its_unknown_cost_is_null() {
    let api = ModelApi::running(COMMAND);
    let deployment = gemini(Deployment::builder(), &api);
    let (view, events) = run(&deployment, &api);
    assert_counted(&view);
    let calls = of_kind(&events, "tool_call");
    assert_eq!(calls.len(), 1, "{events:#?}");
    assert_eq!(calls[0]["tool"], "execute");
    assert_eq!(calls[0]["title"], COMMAND);
    assert_eq!(view["cost_usd"], Value::Null, "{view:#}");
    let versions = events.iter().filter(|event| event["type"] == "provider");
    assert_eq!(versions.count(), 1, "{events:#?}");
}

#[test]
fn gemini_acts_only_after_a_person_approved() {
    let api = ModelApi::running(COMMAND);
    let deployment = gemini(supervised(), &api);
    acts_only_when_approved(&deployment);
}

#[test]
fn gemini_does_not_act_when_a_person_says_no() {
    let api = ModelApi::running(COMMAND);
    let deployment = gemini(supervised(), &api);
    does_not_act_when_rejected(&deployment);
}

#[test]
fn gemini_runs_no_blocked_command() {
    let api = ModelApi::running(BLOCKED);
    let deployment = gemini(Deployment::builder(), &api);
    runs_no_blocked_command(&deployment);
}

/// Its settings name the model and where that is; a variable says where they are.
fn opencode(builder: Builder, api: &ModelApi) -> Deployment {
    let package = counterpart::folder("opencode-ai");
    let settings = builder.root().join("agents/opencode.json");
    let address = format!("http://127.0.0.1:{}/v1", api.port());
    let text = json!({
        "model": "anthropic/claude-sonnet-4-5",
        "small_model": "anthropic/claude-haiku-4-5",
        "provider": {"anthropic": {"options": {"baseURL": address, "apiKey": "scripted"}}},
    });
    fs::write(&settings, text.to_string()).unwrap();
    let builder = builder
        .with_variable("OPENCODE_CONFIG", settings.to_str().unwrap())
        .with_runtime_settings(
            "provider = \"opencode\"\nproviders.opencode.environment = [\"OPENCODE_CONFIG\"]\n",
        );
    let deployment = deployment(builder, &package, api);
    install(&deployment, &package, "opencode");
    deployment
}

#[test]
fn opencode_does_what_the_script_says_and_its_cost_is_known() {
    let api = ModelApi::running(COMMAND);
    let deployment = opencode(Deployment::builder(), &api);
    let (view, events) = run(&deployment, &api);
    let calls = of_kind(&events, "tool_call");
    assert_eq!(calls.len(), 1, "{events:#?}");
    assert_eq!(calls[0]["tool"], "execute");
    assert_eq!(calls[0]["input"]["command"], COMMAND);
    // It tells the tokens of its last answer, and the cost of all.
    let last = (INPUT_TOKENS[1], OUTPUT_TOKENS[1]);
    assert_eq!(tokens(&view["usage"]), last, "{view:#}");
    let cost = view["cost_usd"].as_f64().unwrap_or_default();
    assert!(cost > 0.0, "{view:#}");
}

#[test]
fn opencode_acts_only_after_a_person_approved() {
    let api = ModelApi::running(COMMAND);
    let deployment = opencode(supervised(), &api);
    acts_only_when_approved(&deployment);
}

#[test]
fn opencode_does_not_act_when_a_person_says_no() {
    let api = ModelApi::running(COMMAND);
    let deployment = opencode(supervised(), &api);
    does_not_act_when_rejected(&deployment);
}

#[test]
fn opencode_runs_no_blocked_command() {
    let api = ModelApi::running(BLOCKED);
    let deployment = opencode(Deployment::builder(), &api);
    runs_no_blocked_command(&deployment);
}

const BLOCKED: &str = "sudo mkfs.ext4 disk.img; echo made >made.txt";

/// A command that no rule of a program has doubts about.
const PLAIN: &str = "touch made.txt";

/// Plants settings in the home of a session that waits for its first approval, as an agent could do for its
/// next iteration, and asserts that a person is asked all the same.
fn asks_whatever_its_home_says(deployment: &Deployment, files: &[(&str, &str)]) {
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let first = waiting(deployment, &client, &id, "first_run");
    let folder = deployment.home().runtime().join("sessions").join(&id);
    for (file, text) in files {
        let path = folder.join("private/home").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    assert_eq!(decide(&client, &first, "approve", &json!({})), 200);
    let asked = waiting(deployment, &client, &id, "operation");
    assert_eq!(asked["action"]["input"]["command"], PLAIN, "{asked:#}");
    assert_eq!(in_workspace(deployment, &id, MADE), None);
    let no = json!({"reason": "no"});
    assert_eq!(decide(&client, &asked, "reject", &no), 200);
    let log = finished(deployment, &client, &id);
    assert_eq!(in_workspace(deployment, &id, MADE), None, "{log}");
}

#[test]
fn gemini_asks_whatever_its_home_says() {
    let api = ModelApi::running(PLAIN);
    let deployment = gemini(supervised(), &api);
    let allowed = json!({
        "tools": {"allowed": ["run_shell_command"], "autoAccept": true},
        "general": {"defaultApprovalMode": "auto_edit"},
    });
    let policy =
        "[[rule]]\ntoolName = \"run_shell_command\"\ndecision = \"allow\"\npriority = 999\n";
    let files = [
        (".gemini/settings.json", allowed.to_string()),
        (".gemini/policies/allow.toml", policy.to_owned()),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    asks_whatever_its_home_says(&deployment, &files);
}

#[test]
fn opencode_asks_whatever_its_home_says() {
    let api = ModelApi::running(PLAIN);
    let deployment = opencode(supervised(), &api);
    let allow = json!({"bash": "allow", "edit": "allow"});
    let settings = json!({
        "default_agent": "other",
        "permission": allow,
        "agent": {
            "build": {"permission": allow},
            "other": {"mode": "primary", "prompt": "work", "permission": allow},
        },
    });
    let settings = settings.to_string();
    let files = [(".config/opencode/opencode.json", settings.as_str())];
    asks_whatever_its_home_says(&deployment, &files);
}

fn acts_only_when_approved(deployment: &Deployment) {
    let client = deployment.client();
    let id = begin(deployment, &client);
    let asked = waiting(deployment, &client, &id, "operation");
    assert_eq!(asked["action"]["input"]["command"], COMMAND, "{asked:#}");
    assert_eq!(in_workspace(deployment, &id, MADE), None);
    assert_eq!(decide(&client, &asked, "approve", &json!({})), 200);
    let log = finished(deployment, &client, &id);
    assert_eq!(
        in_workspace(deployment, &id, MADE).as_deref(),
        Some("made\n"),
        "{log}"
    );
    assert_eq!(state_of(&client, &asked), "consumed");
}

fn does_not_act_when_rejected(deployment: &Deployment) {
    let client = deployment.client();
    let id = begin(deployment, &client);
    let asked = waiting(deployment, &client, &id, "operation");
    let no = json!({"reason": "not on a Thursday"});
    assert_eq!(decide(&client, &asked, "reject", &no), 200);
    let log = finished(deployment, &client, &id);
    assert_eq!(in_workspace(deployment, &id, MADE), None, "{log}");
}

fn runs_no_blocked_command(deployment: &Deployment) {
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let log = finished(deployment, &client, &id);
    assert_eq!(in_workspace(deployment, &id, MADE), None, "{log}");
    let events = client.get(&format!("/api/sessions/{id}/events?limit=1000"));
    assert!(
        events.text().contains("operation_refused"),
        "{}",
        events.text()
    );
}
