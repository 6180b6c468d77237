//! The images and the compose file, on a real engine: they build, come up, run a jailed session,
//! keep the runtime out of reach, and recover.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tests::certificate::Certificate;
use tests::command::{self, Finished};
use tests::deployment::session_request;
use tests::engine::{Engine, give};
use tests::poll;
use tests::programs;
use tests::repository::Repository;
use tests::token::Token;

/// The compose file in an engine of its own.
struct Composed {
    engine: Engine,
    repository: Repository,
    token: String,
}

impl Composed {
    fn start() -> Option<Self> {
        let engine = Engine::start()?;
        engine.import_programs();
        engine.build("deploy/gateway.Dockerfile", "loki-gateway");
        engine.build("deploy/runtime.Dockerfile", "loki-runtime");
        let certs = engine.folder("certs");
        fs::create_dir(&certs).unwrap();
        let pair = Certificate::good(&certs, "server");
        fs::rename(&pair.certificate, certs.join("cert.pem")).unwrap();
        fs::rename(&pair.key, certs.join("key.pem")).unwrap();
        fs::write(certs.join("metrics.token"), "").unwrap();
        give(&certs, "1001:1999");
        let projects = engine.folder("projects");
        fs::create_dir(&projects).unwrap();
        let repository = Repository::with_failing_test(&projects.join("app"));
        let agent = programs::project().join("deploy/demo/agent.sh");
        fs::copy(agent, projects.join("agent.sh")).unwrap();
        fs::write(engine.folder("runtime.toml"), SETTINGS).unwrap();
        give(&projects, "1000:1999");
        let mut composed = Self {
            engine,
            repository,
            token: String::new(),
        };
        let _up = composed.compose(&["up", "-d", "--no-build"]);
        // The very line of the file's own head.
        let line = "run --rm -T gateway loki enterprise token generate admin --role admin";
        let arguments: Vec<&str> = line.split(' ').collect();
        composed.token = Token::read(&composed.compose(&arguments)).raw;
        Some(composed)
    }

    fn compose(&self, arguments: &[&str]) -> String {
        let mut compose = self.engine.client("/usr/bin/docker-compose");
        compose
            .env("LOKI_CERTS", self.engine.folder("certs"))
            .env("LOKI_PROJECTS", self.engine.folder("projects"))
            .env("LOKI_RUNTIME_SETTINGS", self.engine.folder("runtime.toml"))
            .env("LOKI_AGENTS_OFFLINE", "true")
            .env("LOKI_RUNTIME_CPUS", "1")
            .env("LOKI_GATEWAY_CPUS", "1")
            .args(["--project-name", "loki", "--file", "compose.yaml"])
            .args(arguments)
            .current_dir(programs::project().join("deploy"));
        command::run(&mut compose).output()
    }

    fn container(&self, service: &str) -> String {
        self.compose(&["ps", "-q", service]).trim().to_owned()
    }

    /// Asks over the published port, as somebody outside does.
    fn ask(&self, method: &str, target: &str, token: &str, body: Option<&Value>) -> Finished {
        let mut curl = self.engine.inside("curl");
        curl.args(["-sS", "-w", "\n%{http_code}", "-X", method, "--cacert"])
            .arg(self.engine.folder("certs/cert.pem"))
            .arg(format!("https://localhost:57374{target}"));
        if !token.is_empty() {
            curl.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        if let Some(body) = body {
            curl.args(["-H", "Content-Type: application/json", "-d"])
                .arg(body.to_string());
        }
        command::run(&mut curl)
    }

    fn status(&self, target: &str, token: &str) -> String {
        let answer = self.ask("GET", target, token, None);
        answer.stdout.lines().last().unwrap_or_default().to_owned()
    }

    fn json(&self, method: &str, target: &str, body: Option<&Value>) -> Value {
        let answer = self.ask(method, target, &self.token, body).output();
        let (text, status) = answer.rsplit_once('\n').unwrap();
        assert!(status.starts_with('2'), "{method} {target}: {answer}");
        serde_json::from_str(text).unwrap()
    }

    fn until_status(&self, target: &str, wanted: &str) {
        let what = format!("{target} answers {wanted}");
        poll::within(4 * poll::PATIENCE, &what, || {
            (self.status(target, &self.token) == wanted).then_some(())
        });
    }

    fn inspect(&self, service: &str) -> Value {
        let text = self.engine.docker(&["inspect", &self.container(service)]);
        let mut list: Vec<Value> = serde_json::from_str(&text).unwrap();
        list.remove(0)
    }
}

#[test]
fn the_compose_file_runs_a_jailed_session_behind_the_gateway_and_recovers() {
    let Some(composed) = Composed::start() else {
        return;
    };
    hardened(&composed);
    unreachable(&composed);
    let session = worked(&composed);
    recovered(&composed, &session);
    let _down = composed.compose(&["down", "-v"]);
}

fn hardened(composed: &Composed) {
    for service in ["gateway", "runtime"] {
        let found = composed.inspect(service);
        let host = &found["HostConfig"];
        assert_eq!(found["Config"]["User"], "appuser", "{service}");
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["Privileged"], false, "{service}");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
        assert!(host["Memory"].as_u64() > Some(0), "{service}");
        assert!(host["PidsLimit"].as_u64() > Some(0), "{service}");
        poll::within(4 * poll::PATIENCE, "it is healthy", || {
            let health = composed.inspect(service)["State"]["Health"]["Status"].clone();
            (health == "healthy").then_some(())
        });
        let outside = composed.engine.try_docker(&[
            "exec",
            &composed.container(service),
            "touch",
            "/usr/local/bin/more",
        ]);
        assert_ne!(outside.code, 0, "{service} can write its root");
    }
}

fn unreachable(composed: &Composed) {
    for token in ["", "loki_0000000000000000000000000000000000000000"] {
        assert_eq!(composed.status("/api/status", token), "401", "{token:?}");
    }
    let runtime = composed.inspect("runtime");
    assert_eq!(runtime["NetworkSettings"]["Ports"], json!({}));
    // Nothing in it listens but the engine's own names server, on its own loopback address.
    let listening = "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" && $2 !~ /^0B00007F/'";
    let container = composed.container("runtime");
    let found = composed
        .engine
        .docker(&["exec", &container, "sh", "-c", listening]);
    assert_eq!(found, "");
    // Its door has the gateway's user and no other.
    let stranger = composed.engine.try_docker(&[
        "exec",
        "--user",
        "1002:1002",
        &composed.container("gateway"),
        "ls",
        "/run/loki",
    ]);
    assert_ne!(stranger.code, 0, "{stranger}");
    // The runtime sees neither tokens nor audit nor the keys that sign it.
    let kept = composed.engine.docker(&[
        "exec",
        &container,
        "sh",
        "-c",
        "ls /home/appuser/.loki /home/appuser/.loki/keys 2>/dev/null; ls /run/secrets 2>/dev/null; true",
    ]);
    for secret in ["dashboard", "audit", "tls_key"] {
        assert!(!kept.contains(secret), "{secret} is there:\n{kept}");
    }
}

fn worked(composed: &Composed) -> String {
    let request = session_request("/projects/app".as_ref());
    let view = composed.json("POST", "/api/sessions", Some(&request));
    let id = view["id"].as_str().unwrap().to_owned();
    let target = format!("/api/sessions/{id}");
    let view = poll::within(4 * poll::PATIENCE, "the session ends", || {
        let view = composed.json("GET", &target, None);
        let over = view["ended_at"].is_string();
        over.then_some(view)
    });
    assert_eq!(view["state"], "completed", "{view:#}");
    assert_eq!(view["verification"]["result"], "passed", "{view:#}");
    let layers = view["effective_enforcement"].as_array().unwrap();
    let by_kernel = layers.iter().filter(|it| it["layer"] == "kernel").count();
    assert!(by_kernel >= 4, "the kernel enforces too little: {view:#}");
    let branch = view["branch"].as_str().unwrap();
    let listed = command::run(
        Command::new("git")
            .args(["-c", "safe.directory=*", "branch", "--list", branch])
            .current_dir(composed.repository.path()),
    );
    assert!(listed.output().contains(branch), "{view:#}");
    id
}

fn recovered(composed: &Composed, session: &str) {
    let target = format!("/api/sessions/{session}");
    // Killed by the engine's user: it stays away until it is asked for again; the gateway says so.
    let _killed = composed
        .engine
        .docker(&["kill", &composed.container("runtime")]);
    composed.until_status(&target, "503");
    assert_eq!(composed.status("/health/live", ""), "200");
    let _up = composed.compose(&["up", "-d", "--no-build"]);
    composed.until_status(&target, "200");
    let _killed = composed
        .engine
        .docker(&["kill", &composed.container("gateway")]);
    let _up = composed.compose(&["up", "-d", "--no-build"]);
    composed.until_status(&target, "200");
    // Killed by accident: the engine starts it again by itself.
    for service in ["runtime", "gateway"] {
        let first = composed.inspect(service)["State"]["Pid"].as_u64().unwrap();
        let _killed = command::run(Command::new("kill").args(["-9", &first.to_string()]));
        poll::within(4 * poll::PATIENCE, service, || {
            let state = composed.inspect(service)["State"].clone();
            (state["Running"] == true && state["Pid"].as_u64() != Some(first)).then_some(())
        });
        composed.until_status(&target, "200");
    }
}

#[test]
fn the_image_of_both_processes_becomes_healthy_and_ends_in_order() {
    let Some(engine) = Engine::start() else {
        return;
    };
    engine.import_programs();
    engine.build("deploy/all-in-one.Dockerfile", "loki");
    let profile = programs::project().join("deploy/runtime-seccomp.json");
    let profile = format!("seccomp={}", profile.canonicalize().unwrap().display());
    let container = engine.docker(&[
        "run",
        "--detach",
        "--read-only",
        "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges:true",
        "--security-opt",
        &profile,
        "--health-interval=1s",
        "loki",
    ]);
    poll::within(4 * poll::PATIENCE, "the container is healthy", || {
        let format = "{{.State.Health.Status}} {{.State.Status}}";
        let state = engine.docker(&["inspect", "--format", format, &container]);
        assert!(state.ends_with("running"), "{state}: {}", engine.log());
        state.starts_with("healthy").then_some(())
    });
    let found = engine.try_docker(&["exec", &container, "loki", "doctor"]);
    assert_eq!(found.code, 0, "{found}");
    let _stopped = engine.docker(&["stop", "--time=20", &container]);
    let format = "{{.State.ExitCode}}";
    let code = engine.docker(&["inspect", "--format", format, &container]);
    assert_eq!(code, "0");
}

const SETTINGS: &str = "\
provider = \"claude\"

[providers.claude]
command = [\"/bin/sh\", \"/projects/agent.sh\"]

[verify]
command = [\"/bin/sh\", \"test.sh\"]

[jail]
read = [\"/projects/agent.sh\"]
";
