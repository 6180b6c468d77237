//! What an agent does, and what is decided about it, stands in the agent audit: each kind of action, whole,
//! with its values, in order, and with the request that led to it.

use std::fs;

use serde_json::{Value, json};
use tests::agent::Agent;
use tests::approval::{decide, waiting};
use tests::client::Client;
use tests::deployment::Deployment;
use tests::model_api::ModelApi;
use tests::repository::Repository;

/// What codex says of a tool, a command and a file, and that it is done.
fn said() -> String {
    let events = [
        json!({"type": "item.completed", "item": {"id": "i1", "type": "mcp_tool_call",
            "server": "notes", "tool": "search", "status": "completed"}}),
        json!({"type": "item.completed", "item": {"id": "i2", "type": "command_execution",
            "command": "make all", "aggregated_output": "a secret of the output", "exit_code": 2,
            "status": "failed"}}),
        json!({"type": "item.completed", "item": {"id": "i3", "type": "file_change",
            "changes": [{"path": "made.txt", "kind": "add"}], "status": "completed"}}),
        json!({"type": "turn.completed", "usage": {}}),
    ];
    let lines = events.map(|event| format!("cat <<'EVENT'\n{event}\nEVENT\n"));
    lines.concat()
}

/// Does everything in its first iteration, and one thing more in its second.
fn busy(listed: u16) -> Agent {
    let ask = |port: u16| {
        format!("curl -sS -m 20 --noproxy '' -x http://127.0.0.1:3128 http://127.0.0.1:{port}/x")
    };
    Agent::doing(&format!(
        "if [ -f made.txt ]; then echo two >>made.txt; echo '{last}'; exit 0; fi\n\
         {allowed} >/dev/null\n{refused} >/dev/null\n\
         echo one >made.txt\ngit add made.txt\ngit commit -q -m 'Made by the agent'\n\
         head -c 3000000 /dev/zero >rest.bin\nrm README.md\n{said}",
        last = json!({"type": "turn.completed", "usage": {}}),
        allowed = ask(listed),
        refused = ask(1),
        said = said(),
    ))
}

/// What is in a project's record, each line as it is.
fn records(project: &Repository) -> Vec<Value> {
    let shown = project.path().join(".loki/logs/agent-audit.jsonl");
    let text = fs::read_to_string(shown).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// Three records of an approval, from what the API says of it.
fn approved(approval: &Value, text: &str) -> Vec<(String, String, Value)> {
    let said = [
        ("approval_request", text),
        ("approval_decision", "approved by token:chief"),
        ("approval_consumption", "used up, to do exactly this"),
    ];
    let record = |(action, text): (&str, &str)| {
        let details = json!({
            "approval": approval["id"],
            "gate": approval["gate"],
            "iteration": approval["iteration"],
            "summary": approval["summary"],
            "text": text,
        });
        (action.to_owned(), "loki".to_owned(), details)
    };
    said.map(record).into()
}

/// Waits at a gate, approves, and returns what the record has to say of it.
fn approve(
    deployment: &Deployment,
    (starter, chief): (&Client, &Client),
    id: &str,
    gate: &str,
) -> Vec<(String, String, Value)> {
    let asked = waiting(deployment, starter, id, gate);
    let path = format!("/api/sessions/{id}");
    let view = starter.get(&path).with_status(200).json();
    assert_eq!(decide(chief, &asked, "approve", &json!({})), 200);
    approved(&asked, view["reason"].as_str().unwrap())
}

fn deployment(api: &ModelApi) -> Deployment {
    Deployment::builder()
        .with_tokens()
        .with_dialect("codex", busy(api.port()), "codex")
        .with_verification(&["/bin/sh", "-c", "grep -q two made.txt"])
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .with_variable("LOKI_AUTONOMY_MODE", "checkpoint")
        .with_runtime_settings(&format!(
            "egress.allow = [\"127.0.0.1:{}\"]\nbudget.disk_bytes = 2000000\n",
            api.port()
        ))
        .start()
}

/// Records of the first iteration that the agent's own doing leads to.
fn of_first_iteration(
    api: &ModelApi,
    project: &Repository,
    branch: &str,
) -> Vec<(String, String, Value)> {
    let commit = |name: &str| project.commit(name);
    let details = [
        (
            "egress_request",
            json!({"verdict": "allowed", "method": "GET",
            "target": format!("http://127.0.0.1:{}/x", api.port()),
            "rule": format!("127.0.0.1:{}", api.port())}),
        ),
        (
            "egress_request",
            json!({"verdict": "refused", "method": "GET",
            "target": "http://127.0.0.1:1/x", "reason": "no rule of egress.allow covers it"}),
        ),
        (
            "tool_call",
            json!({"id": "i1", "tool": "mcp_tool_call", "input": {"id": "i1",
            "type": "mcp_tool_call", "server": "notes", "tool": "search", "status": "completed"}}),
        ),
        (
            "command",
            json!({"id": "i2", "command": "make all", "exit_code": 2, "status": "failed"}),
        ),
        (
            "file_change",
            json!({"id": "i3", "status": "completed",
            "changes": [{"path": "made.txt", "kind": "add"}]}),
        ),
        (
            "git_commit",
            json!({"commit": commit(&format!("{branch}~2")),
            "message": "Made by the agent", "files_changed": 1,
            "files": [{"path": "made.txt", "change": "added"}]}),
        ),
        (
            "git_commit",
            json!({"commit": commit(&format!("{branch}~1")),
            "message": "my-app.md: iteration 1", "files_changed": 2,
            "files": [{"path": "README.md", "change": "deleted"},
                {"path": "rest.bin", "change": "added"}]}),
        ),
    ];
    details
        .into_iter()
        .map(|(action, details)| (action.to_owned(), "codex".to_owned(), details))
        .collect()
}

fn by_loki(action: &str, details: Value) -> (String, String, Value) {
    (action.to_owned(), "loki".to_owned(), details)
}

/// What records tell, but for the size of the prompt, which differs with the machine's paths.
fn told(records: &[Value]) -> Vec<(String, String, Value)> {
    let told = records.iter().map(|record| {
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let mut details = record["details"].clone();
        if record["action"] == "provider_invoke" {
            let size = details.as_object_mut().unwrap().remove("prompt_bytes");
            assert!(size.unwrap().as_u64().unwrap() > 0);
        }
        (text("action"), text("agent"), details)
    });
    told.collect()
}

#[test]
fn each_action_is_recorded_whole_and_in_order() {
    let api = ModelApi::running("true");
    let deployment = deployment(&api);
    let starter = deployment.token("starter", &["--role", "operator"]);
    let chief = deployment.token("chief", &["--role", "admin"]);
    let starter = deployment.client().with_token(&starter.raw);
    let chief = deployment.client().with_token(&chief.raw);
    let people = (&starter, &chief);
    let project = deployment.project("app");
    let id = deployment.start_session(&starter, project.path());
    let first_run = approve(&deployment, people, &id, "first_run");
    // It is looked at after each iteration, and else each ten seconds.
    let budget = approve(&deployment, people, &id, "budget");
    let summary = budget[0].2["summary"].as_str().unwrap().to_owned();
    let used_up = summary
        .strip_prefix("grant the budget once more: ")
        .unwrap();
    assert!(used_up.ends_with(" of 2000000 bytes on disk"), "{used_up}");
    let iteration_end = approve(&deployment, people, &id, "iteration_end");
    let hand_over = approve(&deployment, people, &id, "hand_over");
    let view = deployment.session_in(&starter, &id, &["completed"]);
    let branch = view["branch"].as_str().unwrap();

    let invoked = |iteration: u32| {
        let details = json!({"provider": "codex", "program": "/bin/sh", "iteration": iteration});
        ("provider_invoke".to_owned(), "codex".to_owned(), details)
    };
    let mut expected = vec![by_loki(
        "session_start",
        json!({"prd": "my-app.md", "provider": "codex", "project": project.path(),
            "user": "token:starter"}),
    )];
    expected.extend(first_run);
    expected.push(invoked(1));
    expected.extend(of_first_iteration(&api, &project, branch));
    expected.push(by_loki(
        "verification",
        json!({"result": "failed", "exit_code": 1, "iteration": 1}),
    ));
    expected.push(by_loki("budget_exceeded", json!({ "reason": used_up })));
    expected.extend(budget);
    expected.push(by_loki("budget_grant", json!({"times": 1})));
    expected.extend(iteration_end);
    expected.push(invoked(2));
    expected.push((
        "git_commit".to_owned(),
        "codex".to_owned(),
        json!({"commit": project.commit(branch), "message": "my-app.md: iteration 2",
            "files_changed": 1, "files": [{"path": "made.txt", "change": "modified"}]}),
    ));
    expected.push(by_loki(
        "verification",
        json!({"result": "passed", "iteration": 2}),
    ));
    expected.extend(hand_over);
    expected.push(by_loki(
        "hand_over",
        json!({"branch": branch, "place": "project", "commit": project.commit(branch),
            "commits": 3, "files_changed": 3, "is_pushed": false, "pull_request": null}),
    ));
    expected.push(by_loki(
        "session_stop",
        json!({"state": "completed", "reason": null, "user": "loki"}),
    ));

    let records = records(&project);
    assert_eq!(told(&records), expected);
    assert_whole(&deployment, &records, &id);
}

/// Each record has its time, its place in the chain, its session and the request that led to it.
fn assert_whole(deployment: &Deployment, records: &[Value], id: &str) {
    let begun = deployment.audit().of_action("session.start");
    let request_id = begun[0]["request_id"].as_str().unwrap();
    let mut before = String::new();
    for (record, seq) in records.iter().zip(1_u64..) {
        let members: Vec<&str> = record
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            members,
            [
                "action",
                "agent",
                "details",
                "hash",
                "request_id",
                "seq",
                "session",
                "timestamp"
            ]
        );
        assert_eq!(record["seq"], seq, "{record}");
        assert_eq!(record["session"], id, "{record}");
        assert_eq!(record["request_id"], request_id, "{record}");
        let timestamp = record["timestamp"].as_str().unwrap();
        assert!(
            timestamp.len() == 20 && timestamp.ends_with('Z'),
            "{record}"
        );
        assert!(before.as_str() <= timestamp, "{record}");
        timestamp.clone_into(&mut before);
    }
}
