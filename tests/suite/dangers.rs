//! The dangers that are blocked by default are harmless in the sandbox even where the operator takes the
//! filter away: nothing of the host is there to be deleted, written or exhausted.

use std::fs;

use serde_json::{Value, json};
use tests::agent::{ASKING, Agent};
use tests::deployment::Deployment;

#[test]
fn the_default_dangers_do_no_harm_in_the_sandbox_with_the_filter_off() {
    let builder = Deployment::builder()
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_MAX_ITERATIONS", "1")
        .with_variable("LOKI_BLOCKED_COMMANDS", "!default");
    let canary = builder.root().join("canary");
    fs::write(&canary, "alive\n").unwrap();
    // Nothing of this is tried where the canary can be seen: that would be no sandbox.
    let guard = format!("test \"$(id -u)\" = 1000 && test ! -e {}", canary.display());
    let tried = |line: &str| -> (&'static str, Value) {
        let text = format!("{guard} && {{ {line}; echo tried >>$HOME/tried; }}");
        ("Bash", json!({ "command": text }))
    };
    let uses = [
        tried(
            "dd if=/dev/zero of=/dev/vda bs=1M count=1; dd if=/dev/zero of=/dev/sda bs=1M count=1",
        ),
        tried("mkfs.ext4 -F /dev/vda; mkfs -t ext4 /dev/sda"),
        tried("timeout -s KILL 3 sh -c 'b() { b | b & }; b; sleep 3'"),
        tried("cp $HOME/tried /tmp/tried; rm -rf --no-preserve-root / 2>/dev/null"),
        (
            "Bash",
            json!({"command": "cp /tmp/tried survived.txt || echo emptied >survived.txt"}),
        ),
    ];
    let deployment = builder
        .with_provider_lines("claude", Agent::asking(&uses), ASKING)
        .with_runtime_settings("sandbox.processes_max = 48\nsandbox.cpu_percent_max = 50\n")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let main = project.commit("main");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed", "failed"]);
    let events = client.get(&format!("/api/sessions/{id}/events?limit=1000"));
    assert!(
        !events.text().contains("operation_refused"),
        "the filter is off: {}",
        events.text()
    );
    assert_eq!(fs::read_to_string(&canary).unwrap(), "alive\n");
    assert_eq!(project.commit("main"), main, "{view:#}");
    project.assert_sound();
    for place in ["/bin/sh", "/etc/passwd", "/usr/bin/env"] {
        assert!(fs::metadata(place).is_ok(), "{place} is gone");
    }
    let _served = client.get("/api/status").with_status(200);
    // The next session of the same project finds everything as it was.
    deployment.replace_agent(
        "claude",
        &Agent::asking(&[("Bash", json!({"command": "touch next"}))]),
    );
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    let branch = view["branch"].as_str().unwrap();
    let _there = project.file_at(branch, "next");
}
