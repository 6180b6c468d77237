//! A running runtime with a project, and a caller with the deployment's own key.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use config::contract::caller::{AuthMethod, Caller, HEADER, Statement, StatementKey, VERSION};
use config::contract::id::{InstanceId, RequestId, SessionId};
use config::contract::scope::Role;
use config::contract::session::{SessionEvents, SessionState, SessionView};
use config::home::Home;
use config::secret;
use runtime::clock;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everything in one temporary folder.
pub(crate) struct Deployment {
    folder: TempDir,
    pub(crate) home: Home,
    runtime: Option<Child>,
    instance: InstanceId,
    counter: Cell<u64>,
}

impl Deployment {
    /// Makes a project with one commit and starts a runtime whose agent is a shell script.
    pub(crate) fn start(agent: &str, settings: &str) -> Self {
        let mut deployment = Self::prepare(agent, settings);
        deployment.start_runtime();
        deployment
    }

    /// Makes everything but does not start the runtime.
    pub(crate) fn prepare(agent: &str, settings: &str) -> Self {
        build_jail();
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path().canonicalize().expect("canonical");
        let home = Home::new(root.join("loki"));
        config::private::create_closed_directory(home.directory()).expect("data directory");
        let deployment = Self {
            folder,
            home,
            runtime: None,
            instance: InstanceId::from_random([3; 12]),
            counter: Cell::new(1),
        };
        let project = deployment.project();
        fs::create_dir_all(&project).expect("project");
        deployment.git(&["init", "--quiet", "--initial-branch=main"]);
        fs::write(project.join("README"), "hello\n").expect("file");
        deployment.git(&["add", "--all"]);
        deployment.git(&["commit", "--quiet", "-m", "first"]);
        // A test must not wait long for the tree of an agent that does not listen.
        let text = format!(
            "provider = \"scripted\"\n{settings}\n[projects]\nroots = [{root:?}]\n\
             [providers.scripted]\ncommand = [\"sh\", \"-ec\", {agent:?}]\n"
        );
        fs::write(deployment.home.runtime_settings(), text).expect("settings");
        deployment
    }

    pub(crate) fn start_runtime(&mut self) {
        let mut runtime = self.command().spawn().expect("runtime");
        let log = runtime.stderr.take().expect("log");
        let mut lines = BufReader::new(log).lines();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| {
            eprintln_line(&line);
            line.contains("runtime ready")
        });
        assert!(is_ready, "the runtime ended early");
        // The log must be read on, else the runtime would wait for us some day.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln_line(&line);
            }
        });
        self.runtime = Some(runtime);
    }

    /// Runs the runtime's program to its end, which must be near.
    pub(crate) fn run_to_end(&self) -> Output {
        self.command().output().expect("runtime")
    }

    fn command(&self) -> Command {
        let mut command = program(env!("CARGO_BIN_EXE_loki-runtime"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("LOKI_DATA_DIR", self.home.directory())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Kills the runtime so that it can do nothing about it.
    pub(crate) fn kill_runtime(&mut self) {
        let mut runtime = self.runtime.take().expect("a runtime");
        runtime.kill().expect("killed");
        runtime.wait().expect("waited");
    }

    /// Asks the runtime to end and returns its exit code.
    pub(crate) fn end_runtime(&mut self) -> Option<i32> {
        let mut runtime = self.runtime.take().expect("a runtime");
        let pid = runtime.id().to_string();
        let status = program("kill").args(["-TERM", &pid]).status();
        assert!(status.expect("kill").success());
        runtime.wait().expect("waited").code()
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.home.directory().with_file_name("my-app")
    }

    /// Starts a session and returns it.
    pub(crate) fn begin(&self) -> SessionView {
        let body = json!({
            "prd": { "name": "my-app.md", "text": "Fix it." },
            "project": self.project(),
        });
        self.call(201, "POST", "/api/sessions", &body.to_string())
    }

    pub(crate) fn stop(&self, id: &SessionId) -> SessionView {
        self.call(200, "POST", &format!("/api/sessions/{id}/stop"), "")
    }

    pub(crate) fn show(&self, id: &SessionId) -> SessionView {
        self.call(200, "GET", &format!("/api/sessions/{id}"), "")
    }

    pub(crate) fn events(&self, id: &SessionId) -> SessionEvents {
        let target = format!("/api/sessions/{id}/events?limit=1000");
        self.call(200, "GET", &target, "")
    }

    /// Waits until the session has ended.
    pub(crate) fn ended(&self, id: &SessionId) -> SessionView {
        until("the session's end", || {
            let view = self.show(id);
            view.state.is_final().then_some(view)
        })
    }

    /// Waits until the agent has written this line.
    pub(crate) fn written(&self, id: &SessionId, line: &str) {
        until(line, || {
            let page = self.events(id);
            assert!(!page.state.is_final(), "ended before {line:?}: {page:?}");
            let is_there = |event: &config::contract::session::SessionEvent| {
                event.kind == "output" && event.data["text"] == line
            };
            page.events.iter().any(is_there).then_some(())
        });
    }

    /// Calls as the gateway would and reads the answer, which must have this status.
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        status: u16,
        method: &str,
        target: &str,
        body: &str,
    ) -> T {
        let counter = self.counter.replace(self.counter.get() + 1);
        let statement = Statement {
            version: VERSION,
            instance: self.instance.clone(),
            counter,
            issued_at_ms: clock::now().timestamp_millis(),
            request_id: RequestId::from_random([5; 20]),
            method: method.to_owned(),
            target: target.to_owned(),
            sole_approver: false,
            caller: Caller {
                user: "token:ci-bot".to_owned(),
                principal: "tok-00000000".to_owned(),
                auth_method: AuthMethod::Token,
                scopes: Role::Operator.scopes(),
                projects: None,
            },
        };
        let keys = secret::load_keys(&self.home.statement_key()).expect("key");
        let signed = StatementKey::new(&keys[0]).sign(&statement);
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: runtime\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{HEADER}: {}\r\n\r\n{body}",
            body.len(),
            signed.expect("signed")
        );
        let mut stream = UnixStream::connect(self.home.runtime_socket()).expect("connected");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{method} {target}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// Returns the actions of the session's agent audit, in order.
    pub(crate) fn audited(&self, id: &SessionId) -> Vec<Value> {
        let path = self.session_folder(id).join("agent-audit.jsonl");
        let text = fs::read_to_string(path).expect("agent audit");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a record"))
            .collect()
    }

    pub(crate) fn session_folder(&self, id: &SessionId) -> PathBuf {
        self.home.runtime().join("sessions").join(id.as_str())
    }

    /// Runs git in the project as its owner; it must succeed.
    #[track_caller]
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = program("git")
            .args([
                "-c",
                "user.name=Owner",
                "-c",
                "user.email=owner@example.invalid",
            ])
            .args(arguments)
            .current_dir(self.project())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .expect("git");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim_end()
            .to_owned()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if let Some(mut runtime) = self.runtime.take() {
            runtime.kill().expect("killed");
            runtime.wait().expect("waited");
        }
    }
}

/// Returns the processes whose environment names the session.
pub(crate) fn processes_of(id: &SessionId) -> Vec<PathBuf> {
    let mark = format!("LOKI_SESSION_ID={id}");
    fs::read_dir("/proc")
        .expect("/proc")
        .map_while(Result::ok)
        .map(|entry| entry.path().join("environ"))
        .filter(|path| {
            let environment = fs::read(path).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        })
        .collect()
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Returns the kinds and states that matter of a session's events, without its output.
pub(crate) fn told(page: &SessionEvents) -> Vec<String> {
    page.events
        .iter()
        .filter(|event| !matches!(event.kind.as_str(), "note" | "output"))
        .map(|event| match event.kind.as_str() {
            "state" => format!("state {}", event.data["to"].as_str().unwrap_or("?")),
            "verification" => {
                format!(
                    "verification {}",
                    event.data["result"].as_str().unwrap_or("?")
                )
            }
            other => other.to_owned(),
        })
        .collect()
}

/// Asserts the end that a session came to and returns its reason.
#[track_caller]
pub(crate) fn reason(view: &SessionView, state: SessionState) -> &str {
    assert_eq!(view.state, state, "{view:?}");
    view.reason.as_deref().unwrap_or("")
}

/// Builds `loki-jail` beside the tests, once: cargo builds the programs of other packages for nobody.
fn build_jail() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_loki-runtime"))
            .parent()
            .expect("a folder");
        if folder.join("loki-jail").exists() {
            return;
        }
        let status = program(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--offline",
                "-p",
                "jail",
                "--target-dir",
            ])
            .arg(folder.parent().expect("target"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo");
        assert!(status.success(), "loki-jail cannot be built");
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the operator, who is not jailed"
)]
fn program(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}

#[expect(clippy::print_stderr, reason = "shown when a test fails")]
fn eprintln_line(line: &str) {
    eprintln!("{line}");
}
