//! Names that decide what git and agents run: closed in the sandbox where they exist, and refused when
//! what appeared there later is taken over.

use std::fs;

use serde_json::json;
use tests::agent::Agent;
use tests::deployment::{Deployment, session_request};

fn deployment() -> Deployment {
    Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .start()
}

#[test]
fn the_whole_project_among_the_allowed_paths_leaves_git_and_settings_closed() {
    let deployment = deployment();
    let project = deployment.project("app");
    project.write_and_commit(".claude/settings.json", "{}\n");
    let mut request = session_request(project.path());
    request["tighten"] = json!({ "allowed_paths": ["."] });
    let lines = [
        "echo x >.git/planted",
        "mkdir .git/hooks/x",
        "git config core.fsmonitor true",
        "git update-ref refs/heads/planted HEAD",
        "echo x >.claude/settings.json",
        "echo x >.claude/planted",
        "mv .git away",
    ];
    let mut script = String::from("cat >/dev/null\n");
    for line in lines {
        script.push_str(&format!(
            "if ( {line} ) 2>/dev/null; then echo '{line}' >>reached; fi\n"
        ));
    }
    script.push_str("echo x >made.txt\n");
    fs::write(deployment.agents().join("claude.sh"), script).unwrap();
    let client = deployment.client();
    let id = client.post("/api/sessions", &request).json()["id"].clone();
    let view = deployment.session_in(&client, id.as_str().unwrap(), &["completed"]);
    let branch = view["branch"].as_str().unwrap();
    assert_eq!(project.file_at(branch, "made.txt"), "x");
    assert_eq!(project.try_file_at(branch, "reached"), None);
}

#[test]
fn new_settings_of_agents_are_refused_and_guarded_names_cannot_appear() {
    let deployment = deployment();
    let project = deployment.project("app");
    let script = "cat >/dev/null\nmkdir -p .claude\necho '{}' >.claude/settings.json\n\
                  echo '{}' >.mcp.json\necho x >made.txt\n\
                  for name in hooks info modules; do echo x >.git/$name/planted && echo $name >>reached; done\nexit 0\n";
    fs::write(deployment.agents().join("claude.sh"), script).unwrap();
    let client = deployment.client();
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    let branch = view["branch"].as_str().unwrap();
    assert_eq!(project.file_at(branch, "made.txt"), "x");
    for name in [".claude/settings.json", ".mcp.json", "reached"] {
        assert_eq!(project.try_file_at(branch, name), None, "{name}");
    }
    let trail = fs::read_to_string(project.path().join(".loki/logs/agent-audit.jsonl")).unwrap();
    assert!(
        trail.contains("files_refused") && trail.contains(".claude/settings.json"),
        "{trail}"
    );
}
