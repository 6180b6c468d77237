//! Load test of the gateway's authentication path.
//!
//! Invariant: traffic goes to loopback, unless the operator says that the target is theirs; every
//! run ends by itself.

mod client;
mod pace;
mod report;
mod run;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::report::Report;
use crate::run::Plan;
use crate::target::Target;

/// Load test of the gateway's authentication path.
#[derive(Debug, Parser)]
#[command(
    name = "loki-load",
    version,
    after_help = "Examples:
  loki-load https://127.0.0.1:57374/health/live --ca cert.pem --duration 10
  loki-load https://127.0.0.1:57374/api/status --ca cert.pem --token-file token --connections 64
  loki-load https://127.0.0.1:57374/api/status --ca cert.pem --token-file token --rate 5000"
)]
struct Arguments {
    /// Address to ask, with its path
    url: String,
    /// File with the bearer token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate in PEM format that the target must show, or that signed it
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Connections that are kept open
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Seconds to measure
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    duration: u64,
    /// Requests per second in all; without it, each connection asks as fast as it is answered
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Status that every answer must have
    #[arg(long, default_value_t = 200)]
    expect: u16,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Send load to a target that is not this machine
    #[arg(long)]
    i_own_this_target: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result is the program's output"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments) {
        Ok(report) => {
            let text = if arguments.json {
                report.json()
            } else {
                report.table()
            };
            println!("{text}");
            if report.is_clean() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("loki-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    let target = Target::parse(
        &arguments.url,
        arguments.token_file.as_deref(),
        arguments.ca.as_deref(),
        arguments.i_own_this_target,
    )?;
    let plan = Plan {
        connections: arguments.connections,
        duration: Duration::from_secs(arguments.duration),
        rate: arguments.rate,
        status: arguments.expect,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run::run(&target, &plan))
}
