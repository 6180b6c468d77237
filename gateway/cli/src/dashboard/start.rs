//! `loki dashboard start`: starts what does not run yet, and waits until it is ready.
//!
//! Invariant: either both processes are ready, or what was started here is ended again and the
//! reason is shown.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use ::config::contract::endpoint::Endpoint;
use ::config::gateway::GatewaySettings;
use ::config::home::Home;
use ::config::load::{Mistakes, Sources};
use ::config::private;

use super::program::Program;
use super::{deployment, foreground, log};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::process::{Process, first_ended};

/// Longest wait until both processes are ready.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// Time between two looks at processes that are starting.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Longest wait for a process that is ended because the start failed.
const END_WITHIN: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  loki dashboard start
  loki dashboard start --tls-cert cert.pem --tls-key key.pem
  LOKI_ENTERPRISE_AUTH=true loki dashboard start --port 8443
  loki dashboard start --foreground";

/// Starts gateway and runtime and waits until they are ready.
///
/// Settings come from gateway.toml and runtime.toml, then LOKI_* variables, then these flags.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Certificate chain in PEM format
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key in PEM format
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, 0 for any free one [default: 57374]
    #[arg(long)]
    port: Option<String>,
    /// Stay, show both logs, and stop both processes with Ctrl-C
    #[arg(long)]
    pub(super) foreground: bool,
    /// Listen where others can connect although TLS or authentication is missing
    #[arg(long)]
    dangerously_allow_insecure_bind: bool,
}

/// What the gateway is told, with certificate paths that hold in any folder.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) home: Home,
    pub(super) drain_timeout: Duration,
    pub(super) gateway_arguments: Vec<OsString>,
}

impl Plan {
    /// Reads both processes' settings, so that all mistakes are told before anything starts.
    fn new(context: &Context, arguments: &Arguments) -> Result<Self, Failure> {
        let flags = flags(context, arguments);
        let mut sources = context.sources();
        for (name, value) in &flags {
            sources = sources.with_flag(name, Some(value.clone()));
        }
        let gateway = gateway_settings(context, sources);
        let runtime = context.runtime_settings();
        let mut mistakes = Vec::new();
        mistakes.extend(gateway.as_ref().err().into_iter().flat_map(|m| m.0.clone()));
        mistakes.extend(runtime.err().into_iter().flat_map(|m| m.0));
        mistakes.dedup();
        let settings = match gateway {
            Ok(settings) if mistakes.is_empty() => settings,
            Ok(_) | Err(_) => return Err(Failure::from(Mistakes(mistakes))),
        };
        Ok(Self {
            home: settings.home,
            drain_timeout: settings.limits.drain_timeout,
            gateway_arguments: as_arguments(&flags),
        })
    }
}

fn gateway_settings(context: &Context, sources: Sources) -> Result<GatewaySettings, Mistakes> {
    Ok(context.gateway_settings(sources)?.settings)
}

/// Returns the flags to pass on. The seed's `LOKI_TLS_CERT=cert.pem` means this folder, not
/// whichever one the daemon has later.
fn flags(context: &Context, arguments: &Arguments) -> Vec<(&'static str, String)> {
    let absolute = |path: &str| context.directory().join(path).display().to_string();
    let file = |flag: Option<&str>, variable: &str| {
        let relative = |path: &&str| !Path::new(path).is_absolute() && !path.is_empty();
        flag.map(absolute)
            .or_else(|| context.variable(variable).filter(relative).map(absolute))
    };
    let insecure = arguments
        .dangerously_allow_insecure_bind
        .then(|| "true".to_owned());
    [
        (
            "--tls-cert",
            file(arguments.tls_cert.as_deref(), "LOKI_TLS_CERT"),
        ),
        (
            "--tls-key",
            file(arguments.tls_key.as_deref(), "LOKI_TLS_KEY"),
        ),
        ("--host", arguments.host.clone()),
        ("--port", arguments.port.clone()),
        ("--dangerously-allow-insecure-bind", insecure),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn as_arguments(flags: &[(&'static str, String)]) -> Vec<OsString> {
    let mut arguments = Vec::new();
    for (name, value) in flags {
        arguments.push(OsString::from(name));
        if *name != "--dangerously-allow-insecure-bind" {
            arguments.push(OsString::from(value));
        }
    }
    arguments
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let plan = Plan::new(context, arguments)?;
    if arguments.foreground {
        return foreground::run(context, &plan);
    }
    let endpoint = start(context, &plan)?;
    output::line(&format!("Loki is ready at {}", endpoint.url))
}

/// Starts the deployment of this machine as the environment says, unless it runs.
pub(crate) fn ensure(context: &Context) -> Result<Endpoint, Failure> {
    let plan = Plan::new(context, &Arguments::default())?;
    start(context, &plan)
}

fn start(context: &Context, plan: &Plan) -> Result<Endpoint, Failure> {
    let home = &plan.home;
    let _lock = lock(home)?;
    let before = deployment::endpoint(home)?.filter(deployment::gateway_answers);
    let runtime_answers = deployment::runtime_answers(context, home);
    if let Some(endpoint) = &before {
        deployment::warn_of_other_variables(context, endpoint);
        if runtime_answers {
            output::error("gateway and runtime run already");
            return Ok(endpoint.clone());
        }
    }
    let mut started = Vec::new();
    if !runtime_answers {
        started.push(Started::begin(Program::Runtime, home, &[])?);
    }
    if before.is_none() {
        match Started::begin(Program::Gateway, home, &plan.gateway_arguments) {
            Ok(gateway) => started.push(gateway),
            Err(failure) => return Err(undo(started, home, failure)),
        }
    }
    match wait_until_ready(context, home, &mut started) {
        Ok(endpoint) => Ok(endpoint),
        Err(failure) => Err(undo(started, home, failure)),
    }
}

/// One command at a time starts something.
pub(super) fn lock(home: &Home) -> Result<File, Failure> {
    let directory = home.run();
    private::create_closed_directory(&directory)
        .map_err(|error| Failure::io("make", &directory, &error))?;
    let path = directory.join("start.lock");
    let file = private::append_file(&path).map_err(|error| Failure::io("open", &path, &error))?;
    file.lock()
        .map_err(|error| Failure::io("lock", &path, &error))?;
    Ok(file)
}

/// A process that was started here.
struct Started {
    program: Program,
    child: Child,
    process: Process,
    log_begin: u64,
}

impl Started {
    fn begin(program: Program, home: &Home, arguments: &[OsString]) -> Result<Self, Failure> {
        let log_begin = log::length(program, home);
        let child = program.detach(home, arguments)?;
        let process = program.remember(home, &child)?;
        Ok(Self {
            program,
            child,
            process,
            log_begin,
        })
    }

    /// Says why the process ended; bad settings keep their exit code.
    fn explain(&mut self, home: &Home) -> Failure {
        let code = self.child.wait().ok().and_then(|status| status.code());
        let lines = log::last_lines(self.program, home, self.log_begin);
        let exit = if code == Some(64) {
            Exit::Settings
        } else {
            Exit::Failed
        };
        let shown = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        Failure::new(
            exit,
            format!("the {} ended with {shown}:\n{lines}", self.program),
        )
    }
}

fn wait_until_ready(
    context: &Context,
    home: &Home,
    started: &mut [Started],
) -> Result<Endpoint, Failure> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let processes: Vec<&Process> = started.iter().map(|started| &started.process).collect();
        if let Some(position) = first_ended(&processes, LOOK_AGAIN) {
            return Err(started[position].explain(home));
        }
        let endpoint = deployment::endpoint(home)?.filter(deployment::gateway_answers);
        if let Some(endpoint) = endpoint
            && deployment::runtime_answers(context, home)
        {
            return Ok(endpoint);
        }
        if Instant::now() >= deadline {
            let logs: Vec<String> = started
                .iter()
                .map(|one| log::last_lines(one.program, home, one.log_begin))
                .collect();
            return Err(Failure::failed(format!(
                "gateway and runtime were not ready within {} s:\n{}",
                READY_WITHIN.as_secs(),
                logs.join("\n")
            )));
        }
    }
}

/// Ends what was started, the last one first, and returns the failure that made it necessary.
fn undo(started: Vec<Started>, home: &Home, failure: Failure) -> Failure {
    for mut one in started.into_iter().rev() {
        let asked = one.process.terminate();
        if !one.process.ends_within(END_WITHIN) {
            output::warn(&format!(
                "process {} ({}) does not end: {asked:?}",
                one.process.pid(),
                one.program
            ));
            continue;
        }
        if let Err(error) = one.child.wait() {
            output::warn(&format!("cannot wait for the {}: {error}", one.program));
        }
        if let Err(error) = one.program.forget(home) {
            output::warn(error.what());
        }
    }
    failure
}
