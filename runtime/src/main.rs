//! The runtime's program: settings, log, store, sweep, serve, and an orderly end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use config::contract::caller::{StatementKey, Verifier};
use config::load::{Mistakes, Sources};
use config::runtime::RuntimeSettings;
use config::secret;
use runtime::api::listen::{Door, Lock};
use runtime::api::serve::Server;
use runtime::api::{self, Api};
use runtime::provider::Providers;
use runtime::sandbox::Sandbox;
use runtime::session::run::Agency;
use runtime::session::{Sessions, recovery};
use runtime::shutdown::{ANSWERS_WITHIN, SESSIONS_WITHIN, Signals};
use runtime::store::Store;
use runtime::{clock, logging};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs agent sessions behind the gateway.
#[derive(Debug, Parser)]
#[command(name = "loki-runtime", version)]
struct Arguments {
    /// Settings file, instead of runtime.toml in the data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory, instead of ~/.loki
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
}

fn main() -> ExitCode {
    let sources = Sources::from_process();
    let environment = sources.environment.clone();
    let settings = match settings(Arguments::parse(), sources) {
        Ok(settings) => settings,
        Err(mistakes) => return refuse(&format!("bad settings:\n{mistakes}"), 64),
    };
    if let Err(error) = logging::install(&settings.log) {
        return refuse(&error.to_string(), 1);
    }
    match tokio::runtime::Runtime::new() {
        Ok(executor) => match executor.block_on(run(settings, &environment)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&format!("{error:#}"), 1),
        },
        Err(error) => refuse(&format!("cannot start the runtime's threads: {error}"), 1),
    }
}

fn settings(arguments: Arguments, sources: Sources) -> Result<RuntimeSettings, Mistakes> {
    let sources = sources
        .with_flag("--data-dir", arguments.data_dir)
        .with_settings_file(arguments.config, "LOKI_RUNTIME_CONFIG", "runtime.toml")?;
    let loaded = RuntimeSettings::load(sources)?;
    Ok(loaded.settings)
}
