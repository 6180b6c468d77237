//! The sandbox made of containers, on a real engine: it holds the same escapes as the native one, and
//! sessions in it work, pause and end as ever.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use tests::agent::Agent;
use tests::deployment::Deployment;
use tests::engine::Engine;
use tests::poll;
use tests::programs;
use tests::repository::Repository;

/// An engine with the image, and a deployment that makes its sandboxes with it.
struct Contained {
    // The deployment ends before its engine.
    deployment: Deployment,
    engine: Engine,
}

impl Contained {
    fn start() -> Option<Self> {
        let engine = Engine::start()?;
        engine.import_programs();
        engine.build("deploy/sandbox.Dockerfile", "loki-sandbox");
        let settings = format!(
            "sandbox.backend = \"docker\"\nsandbox.engine = \"{}\"\nsandbox.processes_max = 100\n\
             sandbox.memory_bytes_max = 134217728\nsandbox.temporary_bytes_max = 16777216\n",
            engine.open()
        );
        let deployment = Deployment::builder()
            .as_user(1000)
            .with_provider("claude", Agent::failing())
            .with_variable("LOKI_BRANCH_PROTECTION", "true")
            .with_variable("LOKI_SANDBOX_MODE", "true")
            .with_runtime_settings(&settings)
            .start();
        Some(Self { deployment, engine })
    }

    fn project(&self) -> Repository {
        let project = self.deployment.project("app");
        self.deployment.give(project.path());
        project
    }

    /// Has the agent carry a script out; returns the ended session.
    fn work(&self, project: &Repository, script: &str) -> Value {
        let agents = self.deployment.agents();
        fs::write(
            agents.join("claude.sh"),
            format!("cat >/dev/null\n{script}"),
        )
        .unwrap();
        let client = self.deployment.client();
        let id = self.deployment.start_session(&client, project.path());
        let path = format!("/api/sessions/{id}");
        poll::within(40 * poll::PATIENCE, "the session ends", || {
            let view = client.get(&path).with_status(200).json();
            view["ended_at"].is_string().then_some(view)
        })
    }

    fn containers(&self) -> String {
        self.engine.docker(&["ps", "--all", "--quiet"])
    }
}

/// One way out, as the native sandbox's scorecard has it.
#[derive(Deserialize)]
struct Escape {
    name: String,
    r#try: String,
}

#[derive(Deserialize)]
struct Escapes {
    escape: Vec<Escape>,
}

/// What the escapes are after.
struct Bait {
    program: Child,
    outside: PathBuf,
    variables: String,
}

impl Bait {
    fn start(folder: &Path) -> Self {
        let outside = folder.join("outside");
        fs::create_dir_all(outside.join("folder")).unwrap();
        fs::write(outside.join("secret"), "private\n").unwrap();
        fs::write(outside.join("victim"), "untouched\n").unwrap();
        let mut program = Command::new("sh")
            .args(["-c", "exec 8<secret; exec \"$0\" bait \"$PWD/socket\""])
            .arg(programs::path("loki-jail"))
            .current_dir(&outside)
            .env("CANARY", "private")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let stdout = program.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        let found: Value = serde_json::from_str(&said).unwrap();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let variables = format!(
            "export OUT='{}' PID={} TCP={} UDP={} ABSTRACT={} HOST='{}' HAS_PROCESSES=1 HAS_MEMORY=1\n",
            outside.display(),
            found["pid"],
            found["tcp"],
            found["udp"],
            found["name"].as_str().unwrap(),
            host.trim()
        );
        Self {
            program,
            outside,
            variables,
        }
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        self.program.wait().unwrap();
    }
}

/// Each line is shown to have its effect outside by `sandbox::every_known_way_out_…` of the suite.
#[test]
fn the_sandbox_of_containers_holds_every_known_way_out() {
    let Some(contained) = Contained::start() else {
        return;
    };
    let project = contained.project();
    let bait = Bait::start(&contained.deployment.user_home());
    let file = programs::project().join("tests/attacks/escapes.toml");
    let escapes: Escapes = toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert!(escapes.escape.len() >= 80);
    for (number, escape) in escapes.escape.iter().enumerate() {
        let path = project.path().join(format!("ways/{number}.sh"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &escape.r#try).unwrap();
    }
    fs::write(
        project.path().join("ways/own.sh"),
        "echo x >own && grep -q x own",
    )
    .unwrap();
    let _added = project.git(&["add", "."]);
    let _made = project.git(&["commit", "--quiet", "-m", "ways"]);
    contained.deployment.give(project.path());
    let script = format!(
        "{}here=$PWD\nfor way in ways/*.sh; do\n  rm -rf scratch; mkdir scratch\n  \
         ( cd scratch; timeout -k 1 60 bash \"$here/$way\" ) >/dev/null 2>&1 </dev/null && \
         basename \"$way\" .sh >>reached.txt\ndone\nrm -rf scratch\nexit 0\n",
        bait.variables
    );
    let view = contained.work(&project, &script);
    assert_eq!(view["state"], "completed", "{view:#}");
    let reached = project.file_at(view["branch"].as_str().unwrap(), "reached.txt");
    let reached: Vec<&str> = reached
        .lines()
        .map(|way| match way.parse::<usize>() {
            Ok(number) => escapes.escape[number].name.as_str(),
            Err(_) => way,
        })
        .collect();
    assert_eq!(reached, ["own"]);
    let victim = fs::read_to_string(bait.outside.join("victim")).unwrap();
    assert_eq!(victim, "untouched\n");
    assert_eq!(contained.containers(), "");
}

#[test]
fn sessions_in_containers_work_pause_and_end() {
    let Some(mut contained) = Contained::start() else {
        return;
    };
    let project = contained.project();
    let own = project.path().display().to_string();
    let script = format!(
        "test \"$PWD\" = '{own}' && test \"$HOME\" = /home/appuser && test \"$(id -u)\" = 1000 || exit 9\n\
         echo x >made.txt && git add made.txt && git -c user.name=a -c user.email=a@b commit -qm x || exit 8\n\
         git config core.fsmonitor true && exit 7\nseq 9 | tail -1 >last.txt\nexit 0\n"
    );
    let view = contained.work(&project, &script);
    assert_eq!(view["state"], "completed", "{view:#}");
    assert_eq!(view["hand_off"]["place"], "project", "{view:#}");
    let branch = view["branch"].as_str().unwrap();
    assert_eq!(project.file_at(branch, "last.txt"), "9");
    let controls = view["effective_enforcement"].as_array().unwrap();
    for name in ["network isolation", "seccomp", "resource limits"] {
        let control = controls.iter().find(|it| it["control"] == name).unwrap();
        assert_eq!(control["layer"], "kernel", "{controls:#?}");
    }

    // Paused, nothing moves; stopped while it is paused, it goes.
    let script = "cat >/dev/null\nwhile :; do echo x >>count.txt; sleep 0.02; done\n";
    fs::write(contained.deployment.agents().join("claude.sh"), script).unwrap();
    let client = contained.deployment.client();
    let id = contained.deployment.start_session(&client, project.path());
    let folder = contained
        .deployment
        .home()
        .runtime()
        .join("sessions")
        .join(&id);
    let count = || fs::metadata(folder.join("workspace/count.txt")).map_or(0, |it| it.len());
    poll::until("it works", || (count() > 0).then_some(()));
    let paused = client.post(&format!("/api/sessions/{id}/pause"), &json!({}));
    assert_eq!(paused.status, 200, "{}", paused.text());
    let still = count();
    let _status = client.get("/api/status").with_status(200);
    assert_eq!(count(), still);
    let resume = format!("/api/sessions/{id}/resume");
    let resumed = client.request("POST", &resume).send();
    assert_eq!(resumed.status, 200, "{}", resumed.text());
    poll::until("it goes on", || (count() > still).then_some(()));
    let _paused = client.post(&format!("/api/sessions/{id}/pause"), &json!({}));
    let _stopped = client.post(&format!("/api/sessions/{id}/stop"), &json!({}));
    let _view = contained.deployment.session_in(&client, &id, &["stopped"]);
    assert_eq!(contained.containers(), "");

    // Nothing outlives a runtime that was killed.
    let _id = contained.deployment.start_session(&client, project.path());
    poll::until("a container runs", || {
        (!contained.containers().is_empty()).then_some(())
    });
    contained.deployment.kill_runtime();
    poll::within(4 * poll::PATIENCE, "no container is left", || {
        contained.containers().is_empty().then_some(())
    });
}
