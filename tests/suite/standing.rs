//! Long-lived sandboxes: they outlive whoever starts them, end in order and with the runtime, are kept
//! apart by name and project, and of their work the project gets a branch and nothing else.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::agent::Agent;
use tests::command::{self, Finished};
use tests::deployment::{Builder, Deployment};
use tests::{poll, process};

fn builder() -> Builder {
    Deployment::builder().with_provider("claude", Agent::failing())
}

/// Runs `loki sandbox` in a project.
fn sandbox(deployment: &Deployment, project: &Path, arguments: &[&str]) -> Finished {
    command::run(
        deployment
            .command("loki")
            .arg("sandbox")
            .args(arguments)
            .current_dir(project),
    )
}

/// Types lines at a shell in the default sandbox and leaves it.
fn typed(deployment: &Deployment, project: &Path, lines: &str) -> Finished {
    let mut shell = deployment.command("loki");
    shell.args(["sandbox", "shell"]).current_dir(project);
    command::run_with(&mut shell, lines.as_bytes().to_vec())
}

fn view(deployment: &Deployment, project: &Path, name: &str) -> Value {
    let listed = deployment.client().get("/api/sandboxes").with_status(200);
    let listed = listed.json()["sandboxes"].as_array().unwrap().clone();
    let is_it = |it: &&Value| it["name"] == name && it["project"] == json!(project);
    listed.iter().find(is_it).cloned().unwrap_or_default()
}

/// Waits until a file of a sandbox's clone is there and returns it.
fn file(deployment: &Deployment, view: &Value, name: &str) -> String {
    let folder = deployment.home().runtime().join("sessions");
    let path = folder
        .join(view["id"].as_str().unwrap())
        .join("workspace")
        .join(name);
    poll::until(&format!("{name} is there"), || {
        fs::read_to_string(&path).ok()
    })
}

#[test]
fn what_cannot_be_had_is_refused_and_leaves_nothing() {
    let deployment = builder()
        .with_runtime_settings("sandbox.live_max = 1\n")
        .start();
    let (project, other) = (deployment.project("app"), deployment.project("other"));
    let client = deployment.client();
    for (status, name, value) in [
        (422, "name", json!("../x")),
        (422, "command", json!("rm -rf /")),
        (422, "command", json!("a\0b")),
        (422, "project", json!("/etc")),
        (422, "project", json!("app")),
        (422, "allowed_paths", json!(["../x"])),
        (422, "allowed_paths", json!(["nothing"])),
        (400, "environment", json!({})),
    ] {
        let mut request = json!({ "project": project.path() });
        request[name] = value;
        let answer = client.post("/api/sandboxes", &request);
        let text = answer.text();
        assert!(
            answer.status == status && text.contains(name),
            "{name}: {text}"
        );
    }
    assert_eq!(client.get("/api/sandboxes").json()["sandboxes"], json!([]));

    let _started = sandbox(&deployment, project.path(), &["start"]).ended_with(0);
    let taken = sandbox(&deployment, project.path(), &["start"]).ended_with(3);
    assert!(taken.stderr.contains("is there already"), "{taken}");
    let full = sandbox(&deployment, other.path(), &["start"]).ended_with(1);
    assert!(full.stderr.contains("sandbox.live_max"), "{full}");
    let runs = sandbox(&deployment, project.path(), &["remove"]).ended_with(3);
    assert!(runs.stderr.contains("runs"), "{runs}");
    for arguments in [&["stop", "web"][..], &["logs", "web"], &["shell", "web"]] {
        let unknown = sandbox(&deployment, project.path(), arguments).ended_with(1);
        assert!(unknown.stderr.contains("no sandbox"), "{unknown}");
    }
    let _stopped = sandbox(&deployment, project.path(), &["stop"]).ended_with(0);
    let ended = sandbox(&deployment, project.path(), &["shell"]).ended_with(3);
    assert!(ended.stderr.contains("does not run"), "{ended}");
}

#[test]
fn a_shell_needs_every_scope_and_its_opening_is_recorded() {
    let deployment = builder().with_tokens().start();
    let project = deployment.project("app");
    let other = deployment.project("other");
    let admin = deployment.token("admin", &["--role", "admin"]);
    let operator = deployment.token("operator", &["--role", "operator"]);
    let elsewhere = deployment.token(
        "elsewhere",
        &[
            "--scopes",
            "*",
            "--project",
            &other.path().display().to_string(),
        ],
    );
    let as_admin = deployment.client().with_token(&admin.raw);
    let body = json!({ "project": project.path() });
    let started = as_admin
        .post("/api/sandboxes", &body)
        .with_status(201)
        .json();
    let path = format!("/api/sandboxes/{}/shell", started["id"].as_str().unwrap());
    let open = |raw: &str| {
        let client = deployment.client().with_token(raw);
        let request = client.request("GET", &path);
        let request = request
            .field("Connection", "Upgrade")
            .field("Upgrade", "websocket")
            .field("Sec-WebSocket-Version", "13")
            .field("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
        client.connect().open(&request).status
    };
    assert_eq!(open(&operator.raw), 403);
    assert_eq!(open(&elsewhere.raw), 404);
    let elsewhere = deployment.client().with_token(&elsewhere.raw);
    assert_eq!(
        elsewhere.get("/api/sandboxes").json()["sandboxes"],
        json!([])
    );
    let refused = elsewhere.post("/api/sandboxes", &body);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(open(&admin.raw), 101);
    let recorded = deployment.audit().of_action("sandbox.shell");
    let allowed: Vec<&Value> = recorded
        .iter()
        .filter(|it| it["user"] == "token:admin")
        .collect();
    for phase in ["decision", "outcome"] {
        assert!(
            allowed.iter().any(|it| it["phase"] == phase),
            "{phase}: {recorded:#?}"
        );
    }
    let resource = format!("sandbox:{}", started["id"].as_str().unwrap());
    assert!(
        allowed.iter().any(|it| it["resource"] == resource),
        "{recorded:#?}"
    );
}

#[test]
fn a_sandbox_outlives_its_client_and_its_work_becomes_a_branch() {
    let deployment = builder().start();
    let project = deployment.project("app");
    let (main, secret) = (
        project.commit("main"),
        deployment.user_home().join("secret"),
    );
    fs::write(&secret, "private").unwrap();
    let started = sandbox(&deployment, project.path(), &["start"]).output();
    assert!(started.contains("Started sandbox default"), "{started}");
    assert_eq!(
        view(&deployment, project.path(), "default")["state"],
        "running"
    );

    let lines = format!(
        "id -un >who.txt\ncat '{}' >stolen.txt\ntest -t 0 && tty >tty.txt\nstty size >size.txt\nsleep 1000 &\necho private >/tmp/kept\n",
        secret.display()
    );
    let shell = typed(&deployment, project.path(), &lines);
    assert_eq!(shell.code, 0, "{shell}");
    // What runs and lies in it does so for the next shell, too.
    let lines = "grep -l sleep /proc/[0-9]*/comm >sleeps.txt; cat /tmp/kept >kept.txt; exit 7\n";
    let shell = typed(&deployment, project.path(), lines).ended_with(1);
    assert!(shell.stderr.contains("ended with 7"), "{shell}");

    let trail = fs::read_to_string(project.path().join(".loki/logs/agent-audit.jsonl")).unwrap();
    for action in ["sandbox_start", "shell_open", "shell_input", "shell_close"] {
        assert!(trail.contains(action), "{action}: {trail}");
    }
    assert!(trail.contains("id -un >who.txt"), "{trail}");
    let stopped = sandbox(&deployment, project.path(), &["stop", "--json"]).json();
    assert_eq!(stopped["hand_off"]["place"], "project", "{stopped:#}");
    let branch = stopped["branch"].as_str().unwrap();
    assert_eq!(project.file_at(branch, "who.txt"), "appuser");
    assert_eq!(project.file_at(branch, "stolen.txt"), "");
    assert!(project.file_at(branch, "tty.txt").starts_with("/dev/pts/"));
    assert_eq!(project.file_at(branch, "size.txt"), "24 80");
    assert_ne!(project.file_at(branch, "sleeps.txt"), "");
    assert_eq!(project.file_at(branch, "kept.txt"), "private");
    assert_eq!(project.commit("main"), main);
    let status = sandbox(&deployment, project.path(), &["status"]).output();
    assert!(
        status.contains("default") && status.contains("ended"),
        "{status}"
    );

    let _again = sandbox(&deployment, project.path(), &["start"]).ended_with(0);
    let _shell = typed(
        &deployment,
        project.path(),
        "ls >list.txt; ls /tmp >>list.txt\n",
    );
    let stopped = sandbox(&deployment, project.path(), &["stop", "--json"]).json();
    let branch = stopped["branch"].as_str().unwrap();
    let list = project.file_at(branch, "list.txt");
    assert!(
        !list.contains("who.txt") && !list.contains("kept"),
        "{list}"
    );
    let _removed = sandbox(&deployment, project.path(), &["remove"]).ended_with(0);
    assert_eq!(view(&deployment, project.path(), "default"), Value::Null);
}

#[test]
fn names_are_kept_apart_by_project() {
    let deployment = builder().start();
    let projects = [deployment.project("one"), deployment.project("two")];
    for project in &projects {
        let command = "basename \"$PWD\" >name.txt; exec sleep 1000";
        let arguments = ["start", "web", "--", command];
        let _started = sandbox(&deployment, project.path(), &arguments).ended_with(0);
    }
    for (project, name) in projects.iter().zip(["one", "two"]) {
        let found = view(&deployment, project.path(), "web");
        assert_eq!(file(&deployment, &found, "name.txt").trim(), name);
    }
    let _stopped = sandbox(&deployment, projects[0].path(), &["stop", "web"]).ended_with(0);
    assert_eq!(
        view(&deployment, projects[0].path(), "web")["state"],
        "ended"
    );
    assert_eq!(
        view(&deployment, projects[1].path(), "web")["state"],
        "running"
    );
    assert_eq!(projects[0].branches().len(), 2);
    assert_eq!(projects[1].branches(), ["main"]);
}

#[test]
fn a_stop_gives_grace_and_then_kills() {
    let deployment = builder()
        .with_runtime_settings("sessions.stop_grace = \"2s\"\n")
        .start();
    let project = deployment.project("app");
    let orderly = "trap 'echo bye >bye.txt; exit 0' TERM; (trap 'echo late >late.txt' EXIT; \
                   exec 2>/dev/null; trap 'exit 0' TERM; while :; do sleep 0.05; done) & \
                   touch ready; while :; do sleep 0.05; done";
    let stubborn = "trap '' TERM; touch ready; while :; do sleep 0.05; done";
    for (name, command) in [("orderly", orderly), ("stubborn", stubborn)] {
        let arguments = ["start", name, "--", command];
        let _started = sandbox(&deployment, project.path(), &arguments).ended_with(0);
        let found = view(&deployment, project.path(), name);
        let _ready = file(&deployment, &found, "ready");
        let stopped = sandbox(&deployment, project.path(), &["stop", name, "--json"]).json();
        assert_eq!(stopped["state"], "ended", "{stopped:#}");
        assert!(
            stopped["reason"]
                .as_str()
                .unwrap()
                .starts_with("stopped by")
        );
        let branch = stopped["branch"].as_str().unwrap();
        if name == "orderly" {
            assert_eq!(project.file_at(branch, "bye.txt"), "bye");
            assert_eq!(project.file_at(branch, "late.txt"), "late");
        }
    }
}

#[test]
fn a_sandbox_ends_with_its_command_and_its_log_can_be_followed() {
    let deployment = builder().start();
    let project = deployment.project("app");
    let command = "echo begun; while [ ! -f go ]; do sleep 0.05; done; echo done >&2; exit 3";
    let arguments = ["start", "--", command];
    let _started = sandbox(&deployment, project.path(), &arguments).ended_with(0);
    let begun = || {
        let logs = sandbox(&deployment, project.path(), &["logs"]).output();
        logs.lines().any(|line| line == "begun").then_some(())
    };
    poll::until("the command has begun", begun);
    let follower = std::thread::scope(|scope| {
        let follower = scope.spawn(|| sandbox(&deployment, project.path(), &["logs", "--follow"]));
        let _shell = typed(&deployment, project.path(), "touch go; exit 0\n");
        follower.join().unwrap()
    });
    let said = follower.output();
    for line in ["begun", "done", "loki: ended: its program ended with 3"] {
        assert!(said.lines().any(|it| it == line), "{line}: {said}");
    }
    let ended = view(&deployment, project.path(), "default");
    assert_eq!(ended["state"], "ended");
    assert_eq!(ended["hand_off"]["place"], "project", "{ended:#}");
}

#[test]
fn a_sandbox_ends_with_the_runtime_and_its_work_waits_for_the_next_start() {
    let mut deployment = builder().start();
    let project = deployment.project("app");
    let command = "echo x >>made.txt; echo $$ >pid.txt; exec sleep 1000";
    for orderly in [false, true] {
        let arguments = ["start", "--", command];
        let _started = sandbox(&deployment, project.path(), &arguments).ended_with(0);
        let found = view(&deployment, project.path(), "default");
        let _running = file(&deployment, &found, "pid.txt");
        if orderly {
            assert_eq!(deployment.stop_runtime(), Some(0));
        } else {
            deployment.kill_runtime();
        }
        let marker = format!("LOKI_SESSION_ID={}", found["id"].as_str().unwrap());
        poll::until("nothing of it runs", || {
            process::with_variable(&marker).is_empty().then_some(())
        });
        assert_eq!(project.branches(), ["main"]);
        deployment.start_runtime();
        let ended = view(&deployment, project.path(), "default");
        assert_eq!(ended["state"], "ended", "{ended:#}");
        assert_eq!(ended["hand_off"], Value::Null, "{ended:#}");
    }
    // What both left is handed over without another start.
    let stopped = sandbox(&deployment, project.path(), &["stop", "--json"]).json();
    let branch = stopped["branch"].as_str().unwrap();
    assert_eq!(project.file_at(branch, "made.txt"), "x\nx");
}

#[test]
fn a_killed_keeper_ends_its_sandbox_and_nothing_else() {
    let deployment = builder().start();
    let project = deployment.project("app");
    let _started = sandbox(&deployment, project.path(), &["start"]).ended_with(0);
    let shell = typed(&deployment, project.path(), "kill -9 $PPID\n");
    assert_ne!(shell.code, 0, "{shell}");
    poll::until("the sandbox has ended", || {
        (view(&deployment, project.path(), "default")["state"] == "ended").then_some(())
    });
    let _alive = deployment.client().get("/api/status").with_status(200);
}

#[test]
fn work_that_needs_a_look_or_an_approval_stays_with_the_runtime() {
    let check = |variable: (&str, &str), lines: &str, why: &str| {
        let deployment = builder().with_variable(variable.0, variable.1).start();
        let project = deployment.project("app");
        let _started = sandbox(&deployment, project.path(), &["start"]).ended_with(0);
        let _shell = typed(&deployment, project.path(), lines);
        let stopped = sandbox(&deployment, project.path(), &["stop", "--json"]).json();
        let hand_off = &stopped["hand_off"];
        assert_eq!(hand_off["place"], "runtime", "{stopped:#}");
        assert!(
            hand_off["note"].as_str().unwrap().contains(why),
            "{stopped:#}"
        );
        assert_eq!(project.branches(), ["main"]);
    };
    let workflow = "mkdir -p .github/workflows; echo 'on: push' >.github/workflows/x.yml\n";
    check(("LOKI_LOG", "info"), workflow, ".github/workflows/x.yml");
    check(
        ("LOKI_STAGED_AUTONOMY", "true"),
        "echo x >made.txt\n",
        "staged autonomy",
    );
}
