//! An agent without the sandbox still meets the base jail: it cannot read Loki's data, write outside
//! its workspace, reach the gateway, or signal the runtime.
//!
//! Each attack is a shell line that the agent tries; it reports in its workspace what it reached.
//! Every file and port attacked is shown to be there from outside.

use std::fs;

use tests::agent::Agent;
use tests::deployment::Deployment;
use tests::installation::free_port;

/// Runs one session whose agent tries every line, and returns each name with what came of it.
fn attack(deployment: &Deployment, lines: &[(String, String)]) -> Vec<(String, String)> {
    let mut script = String::from("set -u\ncat >/dev/null\n");
    for (name, line) in lines {
        script.push_str(&format!(
            "if ( {line} ) >out.txt 2>&1; then echo '{name} reached' >>report.txt; \
             else echo '{name} refused' >>report.txt; fi\nrm -f out.txt\n"
        ));
    }
    // The provider's script is read anew for each iteration.
    fs::write(deployment.agents().join("claude.sh"), script).unwrap();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    let report = project.file_at(view["branch"].as_str().unwrap(), "report.txt");
    report
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, result)| (name.to_owned(), result.to_owned()))
        .collect()
}

fn deployment() -> Deployment {
    Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .start()
}

fn named(name: &str, line: impl Into<String>) -> (String, String) {
    (name.to_owned(), line.into())
}

fn assert_all(results: &[(String, String)], lines: &[(String, String)], expected: &str) {
    assert_eq!(results.len(), lines.len(), "{results:?}");
    let other: Vec<_> = results
        .iter()
        .filter(|(_, result)| result != expected)
        .collect();
    assert!(other.is_empty(), "not {expected}: {other:?}");
}

#[test]
fn the_data_of_loki_and_of_the_user_cannot_be_read() {
    let deployment = deployment();
    let _token = deployment.token("ci-bot", &[]);
    let home = deployment.home();
    let secret = deployment.user_home().join("secret.txt");
    fs::write(&secret, "private").unwrap();
    let other = deployment.project("other");
    let mut lines = Vec::new();
    for path in [
        home.tokens(),
        home.statement_key(),
        home.endpoint(),
        home.runtime_settings(),
        secret,
        other.path().join("total.sh"),
    ] {
        assert!(path.is_file(), "{}", path.display());
        let shown = path.display();
        lines.push(named(&format!("read {shown}"), format!("cat '{shown}'")));
        lines.push(named(
            &format!("link {shown}"),
            format!("ln '{shown}' linked"),
        ));
        lines.push(named(
            &format!("symlink {shown}"),
            format!("ln -sf '{shown}' symlinked && cat symlinked; result=$?; rm -f symlinked; exit $result"),
        ));
    }
    for folder in [
        home.directory().to_owned(),
        home.dashboard(),
        home.audit(),
        home.runtime(),
    ] {
        assert!(folder.is_dir(), "{}", folder.display());
        let shown = folder.display();
        lines.push(named(&format!("list {shown}"), format!("ls '{shown}'")));
    }
    for process in [deployment.runtime_id(), deployment.gateway_id()] {
        for file in ["environ", "mem", "maps", "fd/0", "root/etc/passwd"] {
            let path = format!("/proc/{process}/{file}");
            lines.push(named(
                &format!("read {path}"),
                format!("head -c 1 '{path}' | grep -q ."),
            ));
        }
    }
    assert_all(&attack(&deployment, &lines), &lines, "refused");
}

#[test]
fn nothing_outside_the_workspace_can_be_written() {
    let deployment = deployment();
    let home = deployment.home();
    let project = deployment.user_home().join("app");
    let mut lines = Vec::new();
    for folder in [
        deployment.user_home(),
        deployment.agents(),
        home.directory().to_owned(),
        home.dashboard(),
        home.audit(),
        home.run(),
        home.runtime(),
        project.clone(),
        project.join(".git"),
        project.join(".git/hooks"),
        "/etc".into(),
        "/usr/local/bin".into(),
        "/var/tmp".into(),
        "/dev/shm".into(),
        "/".into(),
    ] {
        let shown = folder.display();
        lines.push(named(
            &format!("write {shown}"),
            format!("echo x >'{shown}/planted.txt'"),
        ));
        lines.push(named(
            &format!("mkdir {shown}"),
            format!("mkdir '{shown}/planted'"),
        ));
    }
    let agent = deployment.agents().join("claude.sh");
    lines.push(named(
        "replace itself",
        format!("echo x >'{}'", agent.display()),
    ));
    lines.push(named(
        "rename out",
        format!("echo x >r && mv r '{}/moved'", project.display()),
    ));
    assert_all(&attack(&deployment, &lines), &lines, "refused");
    for folder in ["/", "/etc", "/var/tmp", "/dev/shm", "/usr/local/bin"] {
        assert!(
            !fs::exists(format!("{folder}/planted.txt")).unwrap(),
            "{folder}"
        );
    }
}

#[test]
fn the_gateway_and_other_local_services_cannot_be_reached() {
    let deployment = deployment();
    let url = deployment.endpoint().unwrap().url;
    let listener = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let other = listener.local_addr().unwrap();
    let outside = deployment
        .foreign_command("curl")
        .args(["-sSf", &format!("{url}/health")])
        .output();
    assert!(
        outside.unwrap().status.success(),
        "the gateway answers outside the jail"
    );
    let lines = [
        named("curl the gateway", format!("curl -sS -m 5 '{url}/health'")),
        named(
            "curl another service",
            format!("curl -sS -m 5 'http://{other}/' || test $? -ne 7"),
        ),
    ];
    assert_all(&attack(&deployment, &lines), &lines, "refused");
}

#[test]
fn no_other_process_can_be_signalled() {
    let deployment = deployment();
    let mut lines = Vec::new();
    for process in [
        deployment.runtime_id(),
        deployment.gateway_id(),
        std::process::id(),
    ] {
        for signal in ["0", "TERM", "KILL", "STOP"] {
            lines.push(named(
                &format!("kill {signal} {process}"),
                format!("kill -{signal} {process}"),
            ));
        }
    }
    assert_all(&attack(&deployment, &lines), &lines, "refused");
    assert!(tests::process::is_alive(deployment.runtime_id()));
    let _served = deployment.client().get("/api/status").with_status(200);
}

#[test]
fn the_environment_holds_nothing_of_the_runtime() {
    let mut builder = Deployment::builder().with_provider("claude", Agent::failing());
    builder = builder
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("ANTHROPIC_API_KEY", "outside-secret");
    let deployment = builder.start();
    let lines = [
        named(
            "loki variables",
            "env | grep ^LOKI_ | grep -qv ^LOKI_SESSION_ID=",
        ),
        named("keys", "env | grep -q outside-secret"),
        named(
            "keys of the parents",
            "cat /proc/*/environ 2>/dev/null | grep -q outside-secret",
        ),
        named(
            "inherited descriptors",
            "ls -l /proc/self/fd | grep -E 'sock|\\.db|\\.jsonl|\\.key' ",
        ),
        named(
            "terminal",
            "test -t 0 || test -t 1 || test -t 2 || : </dev/tty",
        ),
    ];
    assert_all(&attack(&deployment, &lines), &lines, "refused");
}

#[test]
fn privileges_cannot_be_gained() {
    let deployment = deployment();
    let lines = [
        named("mount", "mount -t tmpfs none /mnt"),
        named("remount", "mount -o remount,rw /"),
        named("unshare and mount", "unshare -m mount -t tmpfs none /mnt"),
        named("chroot", "chroot . /bin/true"),
        named("load a module", "modprobe dummy"),
        named(
            "write kernel settings",
            "echo x >/proc/sys/kernel/core_pattern",
        ),
        named(
            "new privileges",
            "grep NoNewPrivs /proc/self/status | grep -qw 0",
        ),
    ];
    assert_all(&attack(&deployment, &lines), &lines, "refused");
}

#[test]
fn honest_work_is_possible() {
    let deployment = deployment();
    let lines = [
        named("write", "echo x >new.txt && rm new.txt"),
        named(
            "temporary files",
            "test -n \"$TMPDIR\" && echo x >\"$TMPDIR/x\" && cat \"$TMPDIR/x\"",
        ),
        named("mktemp", "mktemp"),
        named("home", "test -n \"$HOME\" && echo x >\"$HOME/x\""),
        named("system", "cat /etc/passwd && ls /usr/bin"),
        named("null", "echo x >/dev/null"),
        named("git", "git log -1 && git status"),
        named("children", "sh -c 'exit 0' & wait"),
        named("signal a child", "sleep 60 & kill $!"),
    ];
    assert_all(&attack(&deployment, &lines), &lines, "reached");
}

#[test]
fn a_session_tells_who_enforces_what() {
    let deployment = deployment();
    let client = deployment.client();
    let _results = attack(&deployment, &[named("nothing", "true")]);
    let listed = client.get("/api/sessions").with_status(200).json();
    let controls = listed["sessions"][0]["effective_enforcement"]
        .as_array()
        .unwrap()
        .clone();
    assert!(!controls.is_empty());
    for control in &controls {
        let layer = control["layer"].as_str().unwrap();
        let known = [
            "kernel",
            "proxy",
            "gate",
            "gate: request-bound",
            "advisory",
            "unavailable",
        ];
        assert!(known.contains(&layer), "{control}");
        assert!(
            layer == "kernel" || control["reason"].is_string(),
            "{control}"
        );
    }
    let by_kernel = controls.iter().any(|control| control["layer"] == "kernel");
    assert!(by_kernel, "this host has Landlock: {controls:#?}");
}
