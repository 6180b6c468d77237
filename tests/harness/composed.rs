//! The compose file in an engine of its own, with images of the programs under test.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::command::{self, Finished};
use crate::engine::{Engine, give};
use crate::poll;
use crate::programs;
use crate::repository::Repository;
use crate::token::Token;

/// What is added to the compose file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Profiles that are switched on.
    pub profiles: &'static [&'static str],
    /// Variables of the operator's shell.
    pub variables: &'static [(&'static str, &'static str)],
    /// Images besides those of gateway and runtime: their Dockerfiles and names.
    pub images: &'static [(&'static str, &'static str)],
    /// Lines of the runtime's settings.
    pub settings: &'static str,
    /// Makes further images.
    pub prepare: Option<fn(&Engine)>,
}

/// The compose file, up.
#[derive(Debug)]
pub struct Composed {
    /// The engine.
    pub engine: Engine,
    /// The project that its runtime sees as `/projects/app`.
    pub repository: Repository,
    /// A token that may do everything.
    pub token: String,
    plan: Plan,
}

impl Composed {
    /// Builds the images and brings them up. None, and why is said, without root.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn start(plan: Plan) -> Option<Self> {
        let engine = Engine::start()?;
        engine.import_programs();
        engine.build("deploy/gateway.Dockerfile", "loki-gateway");
        engine.build("deploy/runtime.Dockerfile", "loki-runtime");
        for (dockerfile, image) in plan.images {
            engine.build(dockerfile, image);
        }
        if let Some(prepare) = plan.prepare {
            prepare(&engine);
        }
        prepare_as_documented(&engine);
        let projects = engine.folder("projects");
        let repository = Repository::with_failing_test(&projects.join("app"));
        let agent = programs::project().join("deploy/demo/agent.sh");
        fs::copy(agent, projects.join("agent.sh")).expect("the demo's agent");
        let settings = format!("{SETTINGS}{}", plan.settings);
        fs::write(engine.folder("runtime.toml"), settings).expect("settings");
        give(&projects, "1000:1999");
        let mut composed = Self {
            engine,
            repository,
            token: String::new(),
            plan,
        };
        let _up = composed.compose(&["up", "-d", "--no-build"]);
        // The very line of the file's own head.
        let line = "run --rm -T gateway loki enterprise token generate admin --role admin";
        let arguments: Vec<&str> = line.split(' ').collect();
        composed.token = Token::read(&composed.compose(&arguments)).raw;
        Some(composed)
    }

    /// Runs `docker-compose`; it has to succeed.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn compose(&self, arguments: &[&str]) -> String {
        let mut compose = self.engine.client("/usr/bin/docker-compose");
        compose
            .env("LOKI_CERTS", self.engine.folder("certs"))
            .env("LOKI_PROJECTS", self.engine.folder("projects"))
            .env("LOKI_RUNTIME_SETTINGS", self.engine.folder("runtime.toml"))
            .env("LOKI_AGENTS_OFFLINE", "true")
            .env("LOKI_RUNTIME_CPUS", "1")
            .env("LOKI_GATEWAY_CPUS", "1")
            .envs(self.plan.variables.iter().copied())
            .args(["--project-name", "loki", "--file", "compose.yaml"])
            .args(self.plan.profiles.iter().flat_map(|it| ["--profile", it]))
            .args(arguments)
            .current_dir(programs::project().join("deploy"));
        command::run(&mut compose).output()
    }

    /// Returns the id of a service's container.
    #[must_use]
    pub fn container(&self, service: &str) -> String {
        self.compose(&["ps", "-q", service]).trim().to_owned()
    }

    /// Runs a program in a service's container.
    #[must_use]
    pub fn exec(&self, service: &str, arguments: &[&str]) -> Finished {
        let container = self.container(service);
        let mut all = vec!["exec", &container];
        all.extend(arguments);
        self.engine.try_docker(&all)
    }

    /// Asks over the published port, as somebody outside does.
    #[must_use]
    pub fn ask(&self, method: &str, target: &str, token: &str, body: Option<&Value>) -> Finished {
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

    /// Returns the status of an answer.
    #[must_use]
    pub fn status(&self, target: &str, token: &str) -> String {
        let answer = self.ask("GET", target, token, None);
        answer.stdout.lines().last().unwrap_or_default().to_owned()
    }

    /// Returns the answer to who may do everything.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self, method: &str, target: &str, body: Option<&Value>) -> Value {
        let answer = self.ask(method, target, &self.token, body).output();
        let (text, status) = answer.rsplit_once('\n').expect("a status");
        assert!(status.starts_with('2'), "{method} {target}: {answer}");
        serde_json::from_str(text).expect("an answer in JSON")
    }

    /// Waits for an answer.
    ///
    /// # Panics
    /// When it does not come.
    pub fn until_status(&self, target: &str, wanted: &str) {
        let what = format!("{target} answers {wanted}");
        poll::within(4 * poll::PATIENCE, &what, || {
            (self.status(target, &self.token) == wanted).then_some(())
        });
    }

    /// Waits until a session has ended, and returns it.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn ended(&self, id: &str) -> Value {
        let target = format!("/api/sessions/{id}");
        poll::within(4 * poll::PATIENCE, "the session ends", || {
            let view = self.json("GET", &target, None);
            let over = view["ended_at"].is_string();
            over.then_some(view)
        })
    }

    /// Returns what the engine knows of a service's container.
    ///
    /// # Panics
    /// When it knows none.
    #[must_use]
    pub fn inspect(&self, service: &str) -> Value {
        let text = self.engine.docker(&["inspect", &self.container(service)]);
        let mut list: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        list.remove(0)
    }

    /// Waits until a service's own check says that it is well.
    ///
    /// # Panics
    /// When it does not become well.
    pub fn until_healthy(&self, service: &str) {
        poll::within(4 * poll::PATIENCE, "it is healthy", || {
            let health = self.inspect(service)["State"]["Health"]["Status"].clone();
            (health == "healthy").then_some(())
        });
    }
}

/// Makes certificates and folders by the very lines of the document, as root needs no `sudo`.
fn prepare_as_documented(engine: &Engine) {
    let document = programs::project().join("docs/deployment.md");
    let document = fs::read_to_string(document).expect("a document");
    let block = document.split_once("```sh\ncd deploy\n");
    let lines = block.and_then(|(_, rest)| rest.split_once("docker compose up"));
    let (lines, _) = lines.expect("a block that brings compose up");
    let script = format!("set -eu\nsudo() {{ \"$@\"; }}\n{lines}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(engine.folder("."));
    let _prepared = command::run(&mut shell).ended_with(0);
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
