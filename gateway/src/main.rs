//! The gateway program: settings, bind, announce, serve, drain.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use config::load::Sources;
use gateway::settings_source::SettingsSource;
use gateway::{jws_verify, logging, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Security gateway in front of the agent runtime.
///
/// Settings come from gateway.toml, then LOKI_* variables, then these flags.
#[derive(Debug, Parser)]
#[command(
    name = "loki-gateway",
    version,
    after_help = "Example:\n  loki-gateway --tls-cert cert.pem --tls-key key.pem"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Settings file [default: gateway.toml in the data directory]
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Data directory [default: ~/.loki]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, 0 for any free one [default: 57374]
    #[arg(long)]
    port: Option<String>,
    /// Certificate chain in PEM format
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key in PEM format
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Listen where others can connect although TLS or authentication is missing
    #[arg(long)]
    dangerously_allow_insecure_bind: bool,
}

/// What else the program does.
#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Judge signatures: reads lines {"jwk":…,"jws":…}, prints accept or reject for each.
    JwsVerify,
}

impl Arguments {
    fn sources(self) -> Sources {
        let insecure = self
            .dangerously_allow_insecure_bind
            .then(|| "true".to_owned());
        Sources::from_process()
            .with_flag("--data-dir", self.data_dir)
            .with_flag("--host", self.host)
            .with_flag("--port", self.port)
            .with_flag("--tls-cert", self.tls_cert)
            .with_flag("--tls-key", self.tls_key)
            .with_flag("--dangerously-allow-insecure-bind", insecure)
    }
}

#[expect(
    clippy::print_stderr,
    reason = "before logging exists, mistakes go to the terminal"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::JwsVerify) = arguments.command {
        return match jws_verify::run(io::stdin().lock(), io::stdout().lock()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("loki-gateway: cannot go on: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let file = arguments.config.clone();
    let source = SettingsSource::new(arguments.sources(), file);
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            eprintln!("loki-gateway: cannot start, the settings have mistakes:\n{mistakes}");
            return ExitCode::from(64);
        }
    };
    logging::begin(loaded.settings.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match serve::run(loaded, source) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("cannot go on: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
