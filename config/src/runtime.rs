//! The runtime's settings: read, checked, and defaulted.

pub mod autonomy;
pub mod commands;
pub mod providers;
pub mod publish;
pub mod webhook;

mod egress;
mod sandbox;

use std::path::PathBuf;
use std::time::Duration;

use crate::gateway::{self, Loaded, Log};
use crate::home::Home;
use crate::load::{Key, Mistakes, Reader, Sources};
pub use providers::{Asks, Budget, Dialect, Price, Provider};
pub use publish::PullRequest;

use autonomy::{Approvals, Autonomy};
use commands::Commands;
pub use egress::{Egress, EgressRoute, KeySource};
pub use sandbox::{Backend, Sandbox};
pub use webhook::Webhook;

/// Everything that the runtime is told.
#[derive(Clone, Debug)]
pub struct RuntimeSettings {
    /// The data directory.
    pub home: Home,
    /// The Unix socket on which the gateway calls.
    pub socket: PathBuf,
    /// The key of the caller statement, shared with the gateway.
    pub statement_key: PathBuf,
    /// Name or number of the user that the gateway runs as, if it is another one than ours.
    pub gateway_user: Option<String>,
    /// Bounds of sessions.
    pub sessions: Sessions,
    /// Folders below which projects may lie.
    pub project_roots: Vec<PathBuf>,
    /// Name of the provider that a request without one gets.
    pub provider: String,
    /// The providers, by name.
    pub providers: Vec<Provider>,
    /// How much a session may use before it pauses and asks.
    pub budget: Budget,
    /// The operator's verify command; none means that results are unverified.
    pub verify: Vec<String>,
    /// Whether work stays on the session's branch.
    pub branch_protection: bool,
    /// Whether and with what branches are published.
    pub pull_request: PullRequest,
    /// How much agents may do without being asked.
    pub autonomy: Autonomy,
    /// How approvals are given.
    pub approvals: Approvals,
    /// Which commands agents may run.
    pub commands: Commands,
    /// What the kernel is asked to enforce.
    pub jail: Jail,
    /// The sandbox of agents.
    pub sandbox: Sandbox,
    /// What agents in the sandbox may reach.
    pub egress: Egress,
    /// The only places that agents may write; none is the whole project.
    pub allowed_paths: Option<Vec<String>>,
    /// What is logged.
    pub log: Log,
}

/// Bounds of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Most live sessions.
    pub live_max: u32,
    /// Most sessions that wait for a place.
    pub queue_max: u32,
    /// Most iterations of a session.
    pub iterations_max: u32,
    /// Longest iteration.
    pub iteration_timeout: Duration,
    /// Longest run of the verify command.
    pub verify_timeout: Duration,
    /// Time before a failure that passes is tried again; it doubles each time.
    pub retry_pause: Duration,
    /// Time between asking an agent to end and ending it.
    pub stop_grace: Duration,
    /// Days for which ended sessions are kept; none means for ever.
    pub keep_days: Option<u32>,
    /// Most bytes of output kept of one iteration; more ends the iteration.
    pub output_bytes_max: u64,
}

/// What the kernel is asked to enforce on every agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jail {
    /// Files and folders that agents may read besides the system's own, if present.
    pub read: Vec<PathBuf>,
    /// TCP ports that agents may connect to.
    pub connect_ports: Vec<u16>,
    /// Whether a session may start although the kernel enforces nothing.
    pub allow_advisory: bool,
    /// Whether a session must not start unless every layer is there.
    pub require_enforcement: bool,
    /// Most memory that a git of the runtime uses, in bytes.
    pub git_memory_bytes_max: u64,
}

impl RuntimeSettings {
    /// Reads and checks the runtime's settings.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(sources: Sources) -> Result<Loaded<Self>, Mistakes> {
        let mut reader = Reader::new(sources);
        let home = gateway::home(&mut reader);
        let providers = providers::providers(&mut reader);
        let settings = Self {
            socket: reader.value(
                &Key::new("socket").variables(&["LOKI_RUNTIME_SOCKET"]),
                home.runtime_socket(),
            ),
            statement_key: reader.value(
                &Key::new("statement_key").variables(&["LOKI_STATEMENT_KEY"]),
                home.statement_key(),
            ),
            gateway_user: reader
                .optional(&Key::new("gateway_user").variables(&["LOKI_GATEWAY_USER"])),
            sessions: sessions(&mut reader),
            project_roots: project_roots(&mut reader),
            provider: reader.value(
                &Key::new("provider").variables(&["LOKI_PROVIDER"]),
                "claude".to_owned(),
            ),
            providers,
            budget: providers::budget(&mut reader),
            verify: reader.value(&Key::new("verify.command"), Vec::new()),
            branch_protection: reader.value(
                &Key::new("branch.protection").variables(&["LOKI_BRANCH_PROTECTION"]),
                false,
            ),
            pull_request: publish::pull_request(&mut reader),
            autonomy: Autonomy::read(&mut reader),
            approvals: Approvals::read(&mut reader),
            commands: Commands::read(&mut reader),
            jail: jail(&mut reader),
            sandbox: sandbox::read(&mut reader),
            egress: egress::read(&mut reader),
            allowed_paths: sandbox::allowed_paths(&mut reader),
            log: gateway::log(&mut reader),
            home,
        };
        let (effective, warnings) = reader.finish()?;
        Ok(Loaded {
            settings,
            effective,
            warnings,
        })
    }
}

fn sessions(reader: &mut Reader) -> Sessions {
    let sessions = Sessions {
        live_max: reader.value(&Key::new("sessions.live_max"), 4),
        queue_max: reader.value(&Key::new("sessions.queue_max"), 16),
        iterations_max: reader.value(
            &Key::new("sessions.iterations_max").variables(&["LOKI_MAX_ITERATIONS"]),
            50,
        ),
        iteration_timeout: reader.value(
            &Key::new("sessions.iteration_timeout"),
            Duration::from_secs(3_600),
        ),
        verify_timeout: reader.value(
            &Key::new("sessions.verify_timeout"),
            Duration::from_secs(900),
        ),
        retry_pause: reader.value(&Key::new("sessions.retry_pause"), Duration::from_secs(5)),
        stop_grace: reader.value(&Key::new("sessions.stop_grace"), Duration::from_secs(5)),
        keep_days: Some(reader.value(&Key::new("sessions.keep_days"), 90)).filter(|days| *days > 0),
        output_bytes_max: reader.value(&Key::new("sessions.output_bytes_max"), 64 * 1024 * 1024),
    };
    for (key, value) in [
        ("sessions.live_max", sessions.live_max),
        ("sessions.iterations_max", sessions.iterations_max),
    ] {
        if value == 0 {
            reader.mistake(key, "must be at least 1");
        }
    }
    sessions
}

fn project_roots(reader: &mut Reader) -> Vec<PathBuf> {
    let default: Vec<String> = reader
        .environment()
        .get("HOME")
        .cloned()
        .into_iter()
        .collect();
    let key = Key::new("projects.roots").variables(&["LOKI_WORKSPACE_ROOTS"]);
    let roots = reader.value(&key, default);
    for root in &roots {
        if !root.starts_with('/') {
            reader.mistake(
                "projects.roots",
                format!("{root:?} is not an absolute path"),
            );
        }
    }
    roots.into_iter().map(PathBuf::from).collect()
}

fn jail(reader: &mut Reader) -> Jail {
    let ports = reader.value(&Key::new("jail.connect_ports"), vec!["443".to_owned()]);
    let mut connect_ports = Vec::new();
    for text in ports {
        match text.parse::<u16>() {
            Ok(port) if port > 0 => connect_ports.push(port),
            Ok(_) | Err(_) => {
                reader.mistake("jail.connect_ports", format!("{text:?} is not a port"));
            }
        }
    }
    Jail {
        read: reader
            .value(&Key::new("jail.read"), Vec::<String>::new())
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        connect_ports,
        allow_advisory: reader.value(&Key::new("jail.allow_advisory"), false),
        require_enforcement: reader.value(&Key::new("jail.require_enforcement"), false),
        git_memory_bytes_max: reader.value(
            &Key::new("jail.git_memory_bytes_max"),
            4 * 1024 * 1024 * 1024,
        ),
    }
}

#[cfg(test)]
mod tests;
