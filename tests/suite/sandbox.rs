//! An agent in the sandbox works on its project under the project's own path, and reaches nothing else.
//!
//! Each attack is a shell line that the agent tries; it reports in its workspace what it reached. What
//! is attacked is shown to be there from outside.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tests::agent::Agent;
use tests::command;
use tests::deployment::{Deployment, session_request};
use tests::poll;
use tests::programs;
use tests::repository::Repository;

/// A deployment whose sessions all run in the sandbox.
fn deployment() -> Deployment {
    Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .start()
}

/// Has an agent try every line on a project, and returns its report and the session.
fn attack(
    deployment: &Deployment,
    project: &Repository,
    lines: &[(&str, String)],
) -> (Vec<String>, Value) {
    let mut script = String::from("set -u\ncat >/dev/null\n");
    for (name, line) in lines {
        script.push_str(&format!(
            "if ( {line} ) >\"$TMPDIR/out\" 2>&1; then echo '{name} reached' >>\"$TMPDIR/report\"; \
             else echo '{name} refused' >>\"$TMPDIR/report\"; fi\n"
        ));
    }
    // Where only some paths may be written, the first of them takes the report.
    script.push_str(
        "cp \"$TMPDIR/report\" report.txt 2>/dev/null || cp \"$TMPDIR/report\" src/report.txt\n",
    );
    fs::write(deployment.agents().join("claude.sh"), script).unwrap();
    let client = deployment.client();
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    let branch = view["branch"].as_str().unwrap();
    let report = project
        .try_file_at(branch, "report.txt")
        .unwrap_or_else(|| project.file_at(branch, "src/report.txt"));
    (report.lines().map(str::to_owned).collect(), view)
}

#[track_caller]
fn check(
    deployment: &Deployment,
    project: &Repository,
    lines: &[(&str, String)],
    expected: &str,
) -> Value {
    let (report, view) = attack(deployment, project, lines);
    let wanted: Vec<String> = lines
        .iter()
        .map(|(name, _)| format!("{name} {expected}"))
        .collect();
    assert_eq!(report, wanted, "{view:#}");
    view
}

#[test]
fn the_machine_cannot_be_reached_from_the_sandbox() {
    let deployment = deployment();
    let project = deployment.project("app");
    let url = deployment.endpoint().unwrap().url;
    let secret = deployment.user_home().join("secret.txt");
    fs::write(&secret, "private").unwrap();
    let data = deployment.home().directory().display().to_string();
    let lines = [
        ("read a secret", format!("cat '{}'", secret.display())),
        ("list the data of loki", format!("ls '{data}'")),
        (
            "see the runtime",
            format!("ls /proc/{}", deployment.runtime_id()),
        ),
        (
            "signal the runtime",
            format!("kill -0 {}", deployment.runtime_id()),
        ),
        ("ask the gateway", format!("curl -sS -m 5 '{url}/health'")),
        ("write the system", "echo x >/usr/bin/planted".to_owned()),
        ("write the root", "mkdir /planted".to_owned()),
        ("read passwords", "cat /etc/shadow".to_owned()),
        ("mount", "mount -t tmpfs none /tmp".to_owned()),
        ("new namespaces", "unshare -U true".to_owned()),
        (
            "be root",
            "test \"$(id -u)\" = 0 || sudo -n true".to_owned(),
        ),
        (
            "see the environment outside",
            "tr '\\0' '\\n' </proc/1/environ | grep -q .".to_owned(),
        ),
        ("reach a name server", "getent hosts example.com".to_owned()),
        ("plant a hook", "echo x >.git/hooks/pre-commit".to_owned()),
        (
            "change the settings of git",
            "git config core.fsmonitor true".to_owned(),
        ),
        ("move the data of git away", "mv .git away".to_owned()),
    ];
    let view = check(&deployment, &project, &lines, "refused");
    assert!(!fs::exists("/usr/bin/planted").unwrap());
    let controls = view["effective_enforcement"].as_array().unwrap();
    for name in [
        "reads outside the workspace",
        "writes outside the workspace",
        "network isolation",
        "seccomp",
        "resource limits",
        "protected git metadata",
        "credentials stay outside",
    ] {
        let control = controls.iter().find(|control| control["control"] == name);
        assert_eq!(control.unwrap()["layer"], "kernel", "{controls:#?}");
    }
}

#[test]
fn honest_work_is_possible_in_the_sandbox() {
    let deployment = deployment();
    let project = deployment.project("app");
    let own = project.path().display().to_string();
    let lines = [
        ("be at the path of the project", format!("test \"$PWD\" = '{own}' && test \"$(pwd -P)\" = '{own}'")),
        ("be appuser", "test \"$(id -un)\" = appuser".to_owned()),
        ("write and commit", "echo x >new && git add new && git -c user.name=a -c user.email=a@b commit -qm x && git log -1".to_owned()),
        ("temporary files", "mktemp && echo x >\"$TMPDIR/x\" && echo x >/dev/shm/x".to_owned()),
        ("home", "echo x >\"$HOME/x\" && test \"$HOME\" = /home/appuser".to_owned()),
        ("pipes", "seq 1000 | sort -r | head -1 | grep -qx 999".to_owned()),
        ("talk to oneself", "exec 3<>/dev/null; ls /proc/self/fd >/dev/null".to_owned()),
    ];
    let _view = check(&deployment, &project, &lines, "reached");
}

#[test]
fn a_caller_asks_for_the_sandbox_and_cannot_decline_it() {
    let open = Deployment::builder()
        .with_provider("claude", Agent::doing("id -un >who.txt"))
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .start();
    let project = open.project("app");
    fs::write(open.user_home().join("prd.md"), "Say who you are.\n").unwrap();
    let finished = tests::command::run(
        open.command("loki")
            .args(["start", "../prd.md", "--sandbox"])
            .current_dir(project.path()),
    );
    assert_eq!(finished.code, 0, "{finished}");
    let listed = open.client().get("/api/sessions").with_status(200).json();
    let branch = listed["sessions"][0]["branch"].as_str().unwrap().to_owned();
    assert_eq!(project.file_at(&branch, "who.txt"), "appuser");

    let closed = deployment();
    let project = closed.project("app");
    let mut request = session_request(project.path());
    request["tighten"] = json!({ "sandbox": false });
    let refused = closed
        .client()
        .post("/api/sessions", &request)
        .with_status(422)
        .json();
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("tighten.sandbox"),
        "{refused}"
    );
}

#[test]
fn a_provider_s_credentials_do_not_come_inside_unasked() {
    let mut builder = Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .with_variable("MODEL_KEY", "outside-secret");
    builder = builder.with_provider_variables(&["MODEL_KEY"]);
    let deployment = builder.start();
    let project = deployment.project("app");
    let answer = deployment
        .client()
        .post("/api/sessions", &session_request(project.path()));
    let refused = answer.with_status(422).json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("MODEL_KEY") && !detail.contains("outside-secret"),
        "{refused}"
    );
}

/// Attacks the same places with and without the sandbox.
#[track_caller]
fn only_allowed_paths(sandbox: &str, more: &[(&str, String)]) {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_SANDBOX_MODE", sandbox)
        .with_variable("LOKI_ALLOWED_PATHS", "src")
        .start();
    let project = deployment.project("app");
    project.write_and_commit("src/main.sh", "echo hello\n");
    let mut lines = vec![
        ("write another file", "echo x >>total.sh".to_owned()),
        ("make a file", "echo x >new".to_owned()),
        ("make a folder", "mkdir new".to_owned()),
        ("remove a file", "rm total.sh".to_owned()),
        ("move a file out", "mv src/main.sh moved".to_owned()),
        (
            "link out and write",
            "ln -s ../total.sh src/link && echo x >>src/link".to_owned(),
        ),
        ("hard link in", "ln total.sh src/hard".to_owned()),
        ("climb", "echo x >src/../new".to_owned()),
        ("the data of git", "echo x >.git/planted".to_owned()),
    ];
    lines.extend(more.iter().cloned());
    let view = check(&deployment, &project, &lines, "refused");
    let controls = view["effective_enforcement"].as_array().unwrap();
    let own = controls
        .iter()
        .find(|control| control["control"] == "writes outside the allowed paths");
    assert_eq!(own.unwrap()["layer"], "kernel");
    let allowed = [(
        "write an allowed file",
        "echo x >>src/main.sh && echo x >src/new && rm src/new".to_owned(),
    )];
    let _view = check(&deployment, &project, &allowed, "reached");
}

#[test]
fn only_allowed_paths_can_be_written_with_and_without_the_sandbox() {
    only_allowed_paths("false", &[]);
    only_allowed_paths(
        "true",
        &[
            ("modes", "chmod 777 total.sh".to_owned()),
            ("times", "touch -d 2001-01-01 total.sh".to_owned()),
        ],
    );
}

#[test]
fn allowed_paths_outside_or_missing_are_refused_before_anything_starts() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_ALLOWED_PATHS", "src")
        .start();
    let project = deployment.project("app");
    let client = deployment.client();
    let ask = |paths: Option<Value>| {
        let mut request = session_request(project.path());
        if let Some(paths) = paths {
            request["tighten"] = json!({ "allowed_paths": paths });
        }
        client
            .post("/api/sessions", &request)
            .with_status(422)
            .json()["detail"]
            .to_string()
    };
    assert!(ask(None).contains("is not in the project"));
    project.write_and_commit("src/main.sh", "echo hello\n");
    for (paths, why) in [
        (json!(["/etc"]), "outside the project"),
        (json!(["src/../../x"]), "outside the project"),
        (json!([".git/hooks"]), "git's own"),
        (json!(["total.sh"]), "not among the paths"),
        (json!(["src/nothing"]), "is not in the project"),
        (json!([]), "no path is allowed"),
    ] {
        let detail = ask(Some(paths.clone()));
        assert!(
            detail.contains(why) && detail.contains("LOKI_ALLOWED_PATHS"),
            "{paths}: {detail}"
        );
    }
}

#[test]
fn the_limits_of_the_whole_tree_hold() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .with_runtime_settings(
            "sandbox.memory_bytes_max = 67108864\nsandbox.processes_max = 60\nsandbox.temporary_bytes_max = 8388608\n",
        )
        .start();
    let project = deployment.project("app");
    let lines = [
        (
            "memory",
            "head -c 300M /dev/zero | tail -c 200M | wc -c | grep -qx 209715200".to_owned(),
        ),
        (
            "processes",
            "for i in $(seq 100); do sleep 5 & done; wait".to_owned(),
        ),
        (
            "temporary files",
            "head -c 20M /dev/zero >/tmp/big".to_owned(),
        ),
    ];
    let view = check(&deployment, &project, &lines, "refused");
    let controls = view["effective_enforcement"].as_array().unwrap();
    let limits = controls
        .iter()
        .find(|control| control["control"] == "resource limits");
    assert_eq!(limits.unwrap()["layer"], "kernel", "{controls:#?}");
}

#[test]
fn the_default_dangers_do_no_harm_in_the_sandbox() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .with_runtime_settings("sandbox.processes_max = 60\nsessions.iterations_max = 1\n")
        .start();
    let project = deployment.project("app");
    let kept = deployment.user_home().join("kept.txt");
    fs::write(&kept, "kept").unwrap();
    let lines = [
        (
            "fork bomb",
            "timeout -s KILL 3 bash -c ':(){ :|:& };:' 2>/dev/null; exit 0".to_owned(),
        ),
        (
            "raw disk",
            "dd if=/dev/zero of=/dev/vda bs=1 count=1 || dd if=/dev/zero of=/dev/sda bs=1 count=1"
                .to_owned(),
        ),
        (
            "file system",
            "mkfs.ext4 -F /dev/vda || mkfs.ext4 -F /dev/sda".to_owned(),
        ),
        ("shutdown", "shutdown now || reboot -f".to_owned()),
        (
            "root delete",
            "timeout -s KILL 8 rm -rf --no-preserve-root / 2>/dev/null".to_owned(),
        ),
    ];
    let mut script = String::from("cat >/dev/null\n");
    for (_, line) in &lines[1..] {
        script.push_str(&format!("( {line} )\n"));
    }
    script.push_str(&format!("{}\n", lines[0].1));
    fs::write(deployment.agents().join("claude.sh"), script).unwrap();
    let client = deployment.client();
    let main = project.commit("main");
    let id = deployment.start_session(&client, project.path());
    let path = format!("/api/sessions/{id}");
    poll::within(4 * poll::PATIENCE, "the session has ended", || {
        let view = client.get(&path).with_status(200).json();
        ["completed", "failed"]
            .contains(&view["state"].as_str().unwrap())
            .then_some(())
    });
    assert_eq!(project.commit("main"), main);
    project.assert_sound();
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    assert!(fs::exists("/usr/bin/env").unwrap() && fs::exists("/etc/passwd").unwrap());
    assert!(deployment.agents().join("claude.sh").is_file());
    let _alive = client.get("/api/status").with_status(200);
}

#[test]
fn every_known_way_out_is_refused_inside_and_works_beside_the_sandbox() {
    let installation = tests::installation::Installation::new();
    // Over two hundred programs are run one after the other, so no bound of a single command fits.
    let output = installation
        .command("loki")
        .args(["sandbox", "test", "--json"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let finished = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{finished}");
    let lines: Vec<Value> = serde_json::from_str(&text).unwrap();
    let of = |outcome: &str| {
        lines
            .iter()
            .filter(|line| line["outcome"] == outcome)
            .count()
    };
    assert!(of("refused") >= 80, "{finished}");
    assert_eq!((of("reached"), of("unproven")), (0, 0), "{finished}");
}

#[test]
fn doctor_and_build_tell_each_layer_of_the_sandbox() {
    let installation = tests::installation::Installation::new();
    let doctor = installation.loki(&["sandbox", "doctor", "--json"]);
    let build = installation.loki(&["sandbox", "build", "--json"]);
    for finished in [&doctor, &build] {
        assert_eq!(finished.code, 0, "{finished}");
        let found: Vec<Value> = serde_json::from_str(&finished.stdout).unwrap();
        for layer in [
            "namespaces",
            "root",
            "network",
            "system_calls",
            "cpu",
            "memory",
            "processes",
        ] {
            let check = format!("sandbox: {layer}");
            assert!(
                found.iter().any(|found| found["check"] == *check),
                "{check}: {finished}"
            );
        }
    }
    let plain = installation.loki(&["sandbox", "doctor"]);
    assert!(plain.stdout.contains("sandbox: namespaces"), "{plain}");
}

#[test]
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
fn a_host_whose_control_groups_cannot_be_written_is_looked_at_all_the_same() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: only root can make the control groups read-only");
        return;
    }
    // As in a container, or in a service with ProtectControlGroups.
    let script = "for place in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do \
                  mount -o remount,bind,ro \"$place\" || exit 99; done; exec \"$0\" probe";
    let mut probe = Command::new("unshare");
    probe
        .args(["--mount", "sh", "-c", script])
        .arg(programs::path("loki-jail"));
    let said = command::run(&mut probe).output();
    let layers: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(layers["file_system"]["state"], "enforced", "{said}");
    assert_eq!(layers["sandbox"]["root"]["state"], "enforced", "{said}");
    let reason = layers["sandbox"]["processes"]["reason"].as_str();
    assert!(reason.unwrap().contains("Read-only file system"), "{said}");
}
