//! `loki`: the command line of operators and developers.
//!
//! Token and audit commands work offline on the data directory; the others are clients of the
//! gateway. Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 not reachable, 64 bad settings.

mod agent_audit;
mod approvals;
mod attach;
mod audit;
mod auth;
mod client;
mod clock;
mod completions;
mod config;
mod context;
mod dashboard;
mod diff;
mod doctor;
mod enterprise;
mod failure;
mod federate;
mod health;
mod init;
mod logs;
mod manual;
mod memory;
mod metrics;
mod migrate;
mod output;
mod pause;
mod policy;
mod private_file;
mod process;
mod projects;
mod resume;
mod sandbox;
mod sessions;
mod start;
mod status;
mod stop;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::context::Context;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  loki dashboard start                  start gateway and runtime on this machine
  loki start ./prd.md                   run a session on a document
  loki status                           see what runs
  loki enterprise token generate ci-bot --scopes \"read,write\" --expires 30
  loki doctor                           check the whole installation

Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 not reachable, 64 bad settings.";

/// Starts, watches and stops agent sessions, and administers the gateway in front of them.
#[derive(Debug, Parser)]
#[command(name = "loki", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Start(start::Arguments),
    Status(status::Arguments),
    Logs(logs::Arguments),
    Attach(attach::Arguments),
    Diff(diff::Arguments),
    #[command(subcommand)]
    Sessions(sessions::Command),
    Pause(pause::Arguments),
    Resume(resume::Arguments),
    Stop(stop::Arguments),
    #[command(subcommand)]
    Approvals(approvals::Command),
    #[command(subcommand)]
    Policy(policy::Command),
    #[command(subcommand)]
    Dashboard(dashboard::Command),
    Enterprise(enterprise::Arguments),
    #[command(subcommand)]
    Audit(agent_audit::Command),
    #[command(subcommand)]
    Auth(auth::Command),
    #[command(subcommand)]
    Federate(federate::Command),
    #[command(subcommand)]
    Memory(memory::Command),
    #[command(subcommand)]
    Projects(projects::Command),
    #[command(subcommand)]
    Sandbox(sandbox::Command),
    Metrics(metrics::Arguments),
    #[command(subcommand)]
    Migrate(migrate::Command),
    Health(health::Arguments),
    Doctor(doctor::Arguments),
    Init(init::Arguments),
    #[command(subcommand)]
    Config(config::Command),
    Completions(completions::Arguments),
    Manual(manual::Arguments),
    #[command(hide = true)]
    RunDetached(dashboard::detach::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let context = Context::from_process()?;
    match command {
        Command::Start(arguments) => start::run(&context, &arguments),
        Command::Status(arguments) => status::run(&context, &arguments),
        Command::Logs(arguments) => logs::run(&context, &arguments),
        Command::Attach(arguments) => attach::run(&context, &arguments),
        Command::Diff(arguments) => diff::run(&context, &arguments),
        Command::Sessions(command) => sessions::run(&context, &command),
        Command::Pause(arguments) => pause::run(&context, &arguments),
        Command::Resume(arguments) => resume::run(&context, &arguments),
        Command::Stop(arguments) => stop::run(&context, &arguments),
        Command::Approvals(command) => approvals::run(&context, command),
        Command::Policy(command) => policy::run(&context, command),
        Command::Dashboard(command) => dashboard::run(&context, &command),
        Command::Enterprise(arguments) => enterprise::run(&context, arguments),
        Command::Audit(command) => agent_audit::run(&context, &command),
        Command::Auth(command) => auth::run(&context, &command),
        Command::Federate(command) => federate::run(&context, &command),
        Command::Memory(command) => memory::run(&context, command),
        Command::Projects(command) => projects::run(&context, command),
        Command::Migrate(command) => migrate::run(&context, &command),
        Command::Sandbox(command) => sandbox::run(&context, &command),
        Command::Metrics(arguments) => metrics::run(&context, &arguments),
        Command::Health(arguments) => health::run(&context, &arguments),
        Command::Doctor(arguments) => doctor::run(&context, &arguments),
        Command::Config(command) => config::run(&context, &command),
        Command::Init(init::Arguments {}) => init::run(&context),
        Command::Manual(arguments) => manual::run(&context, &arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::RunDetached(arguments) => dashboard::detach::run(&arguments),
    }
}
