//! A running deployment: gateway and runtime, started directly, stopped by id.

mod restart;
mod session;

use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::agent::Agent;
use crate::certificate::Certificate;
use crate::client::Client;
use crate::engine::give;
use crate::installation::Installation;
use crate::poll;
use crate::process;
use crate::programs;
use crate::repository::Repository;
use crate::token::Token;
pub use session::session_request;

/// What a deployment is to be.
#[derive(Debug)]
pub struct Builder {
    installation: Installation,
    tls: bool,
    runtime: bool,
    agents: Vec<(String, Agent, String)>,
    verify: Vec<String>,
    provider_variables: Vec<String>,
    runtime_settings: String,
    jail_settings: String,
    gateway_settings: String,
    user: Option<u32>,
    own_programs: bool,
}

impl Builder {
    /// Runs both daemons as this user, to whom everything is given. Needs root.
    #[must_use]
    pub const fn as_user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Demands bearer tokens.
    #[must_use]
    pub fn with_tokens(self) -> Self {
        self.with_variable("LOKI_ENTERPRISE_AUTH", "true")
    }

    /// Listens with TLS.
    #[must_use]
    pub const fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Sets a variable for both daemons and the command line.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.installation.set(name, value);
        self
    }

    /// Adds a provider; the first one is the default.
    #[must_use]
    pub fn with_provider(mut self, name: &str, agent: Agent) -> Self {
        self.agents.push((name.to_owned(), agent, String::new()));
        self
    }

    /// Adds a provider whose output is read in a dialect; the first one is the default.
    #[must_use]
    pub fn with_dialect(self, name: &str, agent: Agent, dialect: &str) -> Self {
        self.with_provider_lines(name, agent, &format!("dialect = {dialect:?}\n"))
    }

    /// Adds a provider with more lines in its table; the first one is the default.
    #[must_use]
    pub fn with_provider_lines(mut self, name: &str, agent: Agent, lines: &str) -> Self {
        self.agents.push((name.to_owned(), agent, lines.to_owned()));
        self
    }

    /// Returns the folder of everything of this test.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.installation.root()
    }

    /// Gives every provider these of the runtime's variables.
    #[must_use]
    pub fn with_provider_variables(mut self, names: &[&str]) -> Self {
        self.provider_variables = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Has results judged by this command; without it they are unverified.
    #[must_use]
    pub fn with_verification(mut self, command: &[&str]) -> Self {
        self.verify = command.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// Adds lines at the top of `runtime.toml`, before its tables.
    #[must_use]
    pub fn with_runtime_settings(mut self, text: &str) -> Self {
        self.runtime_settings.push_str(text);
        self
    }

    /// Lets agents read these folders besides, and connect to this port alone.
    #[must_use]
    pub fn with_vendor(mut self, folders: &[&Path], port: u16) -> Self {
        let own = self.installation.agents();
        let mut read = vec![own];
        read.extend(folders.iter().map(|folder| (*folder).to_owned()));
        self.jail_settings = format!("read = {read:?}\nconnect_ports = [\"{port}\"]\n");
        self
    }

    /// Adds lines to `gateway.toml`.
    #[must_use]
    pub fn with_gateway_settings(mut self, text: &str) -> Self {
        self.gateway_settings.push_str(text);
        self
    }

    /// Runs the daemons from copies of all programs, which the test may change: [`Deployment::program`].
    #[must_use]
    pub const fn with_own_programs(mut self) -> Self {
        self.own_programs = true;
        self
    }

    /// Leaves the runtime out.
    #[must_use]
    pub const fn without_runtime(mut self) -> Self {
        self.runtime = false;
        self
    }

    /// Starts both daemons and waits until the gateway listens and the runtime answers.
    ///
    /// # Panics
    /// When they do not.
    #[must_use]
    pub fn start(mut self) -> Deployment {
        if self.tls {
            let pair = Certificate::good(self.installation.root(), "server");
            self.installation
                .set("LOKI_TLS_CERT", pair.certificate.display().to_string());
            self.installation
                .set("LOKI_TLS_KEY", pair.key.display().to_string());
        }
        self.installation.set("LOKI_DASHBOARD_PORT", "0");
        let settings = self.runtime_toml();
        self.installation.write_settings("runtime.toml", &settings);
        self.installation
            .write_settings("gateway.toml", &self.gateway_settings);
        let mut deployment = Deployment {
            installation: self.installation,
            own_programs: self.own_programs,
            gateway: None,
            runtime: None,
            user: self.user,
        };
        deployment.give(deployment.root());
        if deployment.own_programs {
            deployment.copy_programs();
        }
        if self.runtime {
            deployment.start_runtime();
        }
        deployment.start_gateway();
        deployment
    }

    fn runtime_toml(&self) -> String {
        let folder = self.installation.agents();
        let mut text = self.runtime_settings.clone();
        if let Some((name, _, _)) = self.agents.first() {
            text.insert_str(0, &format!("provider = {name:?}\n"));
        }
        if self.jail_settings.is_empty() {
            text.push_str(&format!("\n[jail]\nread = [{folder:?}]\n"));
        } else {
            text.push_str(&format!("\n[jail]\n{}", self.jail_settings));
        }
        if !self.verify.is_empty() {
            text.push_str(&format!("\n[verify]\ncommand = {:?}\n", self.verify));
        }
        for (name, agent, more) in &self.agents {
            let script = agent.write(&folder, name);
            text.push_str(&format!(
                "\n[providers.{name}]\ncommand = [\"/bin/sh\", {script:?}]\nenvironment = {:?}\n{more}",
                self.provider_variables
            ));
        }
        text
    }
}

/// Two running daemons in a home of their own.
#[derive(Debug)]
pub struct Deployment {
    installation: Installation,
    own_programs: bool,
    gateway: Option<Child>,
    runtime: Option<Child>,
    user: Option<u32>,
}

impl Deref for Deployment {
    type Target = Installation;

    fn deref(&self) -> &Installation {
        &self.installation
    }
}

impl Deployment {
    /// Begins to describe a deployment: plain HTTP on loopback, no tokens, no provider.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            installation: Installation::new(),
            tls: false,
            runtime: true,
            agents: Vec::new(),
            verify: Vec::new(),
            provider_variables: Vec::new(),
            runtime_settings: String::new(),
            jail_settings: String::new(),
            gateway_settings: String::new(),
            user: None,
            own_programs: false,
        }
    }

    /// Returns the gateway's process id.
    ///
    /// # Panics
    /// When it was stopped.
    #[must_use]
    pub fn gateway_id(&self) -> u32 {
        self.gateway.as_ref().expect("the gateway runs").id()
    }

    /// Returns the runtime's process id.
    ///
    /// # Panics
    /// When it was stopped.
    #[must_use]
    pub fn runtime_id(&self) -> u32 {
        self.runtime.as_ref().expect("the runtime runs").id()
    }

    /// Starts the gateway and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_gateway(&mut self) {
        let child = self.daemon("loki-gateway");
        let id = child.id();
        self.gateway = Some(child);
        poll::until("the gateway listens", || {
            assert!(
                process::is_alive(id),
                "the gateway ended: {}",
                self.log("loki-gateway")
            );
            self.endpoint().filter(|endpoint| endpoint.pid == id)
        });
    }

    /// Starts the runtime and waits until its socket answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_runtime(&mut self) {
        let child = self.daemon("loki-runtime");
        let id = child.id();
        self.runtime = Some(child);
        let socket = Client::unix(self.home().runtime_socket());
        poll::until("the runtime answers", || {
            assert!(
                process::is_alive(id),
                "the runtime ended: {}",
                self.log("loki-runtime")
            );
            socket.is_answered().then_some(())
        });
    }

    /// Ends the gateway as a service manager would and waits for it; returns its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop_gateway(&mut self) -> Option<i32> {
        stop(self.gateway.take())
    }

    /// Ends the runtime as a service manager would and waits for it; returns its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop_runtime(&mut self) -> Option<i32> {
        stop(self.runtime.take())
    }

    /// Kills the gateway without a chance to clean up.
    ///
    /// # Panics
    /// When it was stopped before.
    pub fn kill_gateway(&mut self) {
        let mut child = self.gateway.take().expect("the gateway runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// Kills the runtime without a chance to clean up.
    ///
    /// # Panics
    /// When it was stopped before.
    pub fn kill_runtime(&mut self) {
        let mut child = self.runtime.take().expect("the runtime runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// Returns what a daemon logged.
    #[must_use]
    pub fn log(&self, program: &str) -> String {
        fs::read_to_string(self.log_path(program)).unwrap_or_default()
    }

    /// Makes a project with a failing test below the home.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn project(&self, name: &str) -> Repository {
        Repository::with_failing_test(&self.user_home().join(name))
    }

    /// Makes a token by the command line, with these flags.
    ///
    /// # Panics
    /// When the command fails.
    #[must_use]
    pub fn token(&self, name: &str, flags: &[&str]) -> Token {
        Token::generate(&self.installation, name, flags)
    }

    /// Has a provider's next sessions do something else.
    ///
    /// # Panics
    /// When its script cannot be written.
    pub fn replace_agent(&self, provider: &str, agent: &Agent) {
        let _path = agent.write(&self.agents(), provider);
    }

    /// Returns where a program lies from which the daemons are run, or which they run.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        if self.own_programs {
            self.root().join("programs").join(name)
        } else {
            programs::path(name)
        }
    }

    fn copy_programs(&self) {
        fs::create_dir(self.root().join("programs")).expect("a folder of programs");
        for name in ["loki-gateway", "loki-runtime", "loki-jail", "loki-hook"] {
            fs::copy(programs::path(name), self.program(name)).expect("a copy");
        }
    }

    fn daemon(&self, program: &str) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(program))
            .expect("a log file");
        // An ignored signal stays ignored after exec, so that a file-size limit of 0 is an error of
        // the write, as a full disk is.
        let mut shell = match self.user {
            Some(user) => {
                let mut narrowed = self.foreign_command("setpriv");
                narrowed.args([format!("--reuid={user}"), format!("--regid={user}")]);
                narrowed.args(["--clear-groups", "sh"]);
                narrowed
            }
            None => self.foreign_command("sh"),
        };
        shell
            .args(["-c", "trap '' XFSZ; exec \"$0\""])
            .arg(self.program(program))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts")
    }

    /// Gives a folder and everything in it to the user of the daemons.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn give(&self, path: &Path) {
        if let Some(user) = self.user {
            give(path, &format!("{user}:{user}"));
        }
    }

    fn log_path(&self, program: &str) -> PathBuf {
        self.root().join(format!("{program}.log"))
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The home goes with the test; what the daemons said is worth keeping in its output.
            for program in ["loki-gateway", "loki-runtime"] {
                report(program, &self.log(program));
            }
            // One that does not end is what the test may have found.
            for child in [&mut self.gateway, &mut self.runtime] {
                let _killed = child.take().map(|mut child| (child.kill(), child.wait()));
            }
        }
        let _codes = (self.stop_gateway(), self.stop_runtime());
    }
}

fn stop(child: Option<Child>) -> Option<i32> {
    let mut child = child?;
    process::signal(child.id(), Signal::TERM);
    let status = poll::until("a daemon ends", || {
        child.try_wait().expect("it can be waited for")
    });
    status.code()
}

#[expect(
    clippy::print_stderr,
    reason = "a failed test shows what the daemons said"
)]
fn report(program: &str, log: &str) {
    eprintln!("--- {program}\n{log}");
}
