//! Load test of the gateway's authentication path.
//!
//! Invariant: traffic goes to loopback, unless the operator says that the target is theirs; every
//! run ends by itself.

mod budget;
mod client;
mod credentials;
mod fanout;
mod figure;
mod handshake;
mod head;
mod idle;
mod lab;
mod moment;
mod opaque;
mod origin;
mod pace;
mod progress;
mod report;
mod request;
mod rounds;
mod run;
mod scenario;
mod target;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::credentials::Credentials;
use crate::figure::Figure;
use crate::lab::LabArguments;
use crate::report::Report;
use crate::rounds::Rounds;
use crate::run::Plan;
use crate::scenario::Scenario;
use crate::target::{Protocol, Target};

/// Load test of the gateway's authentication path.
#[derive(Debug, Parser)]
#[command(
    name = "loki-load",
    version,
    after_help = "Examples:
  loki-load run https://127.0.0.1:57374/health/live --ca cert.pem
  loki-load run https://127.0.0.1:57374/api/status --ca cert.pem --token-file token \\
      --scenario opaque --connections 64 --html report.html
  loki-load run https://127.0.0.1:57374/api/status --ca cert.pem --token-file token \\
      --scenario opaque --scenario unknown --rate 5000
  loki-load lab --json now.json --compare before.json

Exit codes: 0 done, 1 a wrong answer, a missed budget or a slower figure, 2 not run."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send load to a running gateway
    Run(RunArguments),
    /// Start gateway, baseline and other proxies here, and compare them
    Lab(LabCommand),
    /// Answer every request shortly on a Unix socket
    #[command(hide = true)]
    Origin {
        /// The socket
        socket: PathBuf,
    },
}

#[derive(Debug, Args)]
struct LabCommand {
    #[command(flatten)]
    lab: LabArguments,
    /// Budgets [default: the project's own]
    #[arg(long, value_name = "FILE")]
    budgets: Option<PathBuf>,
    /// Measure without judging
    #[arg(long, conflicts_with = "budgets")]
    no_budgets: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Output {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page with drawings
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare with an older report in JSON; a figure that is a tenth slower is a failure
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Address to ask, with its path
    url: String,
    /// What to ask; may be repeated
    #[arg(long, value_enum, default_value = "open")]
    scenario: Vec<Scenario>,
    /// File with bearer tokens, one on each line; the first one counts unless all are asked for
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with JSON Web Tokens, one on each line
    #[arg(long, value_name = "FILE")]
    jwt_file: Option<PathBuf>,
    /// File with a bearer token whose time is over
    #[arg(long, value_name = "FILE")]
    expired_token_file: Option<PathBuf>,
    /// File with a bearer token that may only read
    #[arg(long, value_name = "FILE")]
    narrow_token_file: Option<PathBuf>,
    /// Certificate in PEM format that the target must show, or that signed it
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Protocol to speak
    #[arg(long, value_enum, default_value = "http1")]
    protocol: Protocol,
    /// Connections that are kept open
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    connections: u32,
    /// Streams on each HTTP/2 connection
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    streams: u32,
    /// Seconds before it counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up: u64,
    /// Seconds to measure
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    duration: u64,
    /// Requests per second in all; without it, each connection asks as fast as it is answered
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Send load to a target that is not this machine
    #[arg(long)]
    i_own_this_target: bool,
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("loki-load: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Carries a command out; returns whether everything was as it should be.
fn carry_out(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Origin { socket } => {
            executor()?.block_on(origin::serve(&socket))?;
            Ok(true)
        }
        Command::Run(arguments) => {
            let figures = measure(&arguments)?;
            arguments.output.publish(&Rounds(vec![figures]), &[])
        }
        Command::Lab(arguments) => {
            let budgets = if arguments.no_budgets {
                Vec::new()
            } else {
                budget::read(arguments.budgets.as_deref())?
            };
            let rounds = lab::run(&arguments.lab)?;
            arguments.output.publish(&rounds, &budgets)
        }
    }
}

fn measure(arguments: &RunArguments) -> anyhow::Result<Vec<Figure>> {
    let target = Target::parse(
        &arguments.url,
        arguments.ca.as_deref(),
        arguments.protocol,
        arguments.i_own_this_target,
    )?;
    let first = |path: &Option<PathBuf>| {
        Ok::<_, anyhow::Error>(credentials::read(path.as_deref())?.into_iter().next())
    };
    let credentials = Credentials {
        opaque: credentials::read(arguments.token_file.as_deref())?,
        jwts: credentials::read(arguments.jwt_file.as_deref())?,
        expired: first(&arguments.expired_token_file)?,
        narrow: first(&arguments.narrow_token_file)?,
    };
    let plan = Plan {
        connections: arguments.connections,
        streams: match arguments.protocol {
            Protocol::Http1 => 1,
            Protocol::Http2 => arguments.streams,
        },
        warm_up: Duration::from_secs(arguments.warm_up),
        duration: Duration::from_secs(arguments.duration),
        rate: arguments.rate,
    };
    let mut figures = Vec::new();
    for scenario in &arguments.scenario {
        let target = match (scenario, &arguments.ca) {
            (Scenario::Handshakes, Some(ca)) => target
                .clone()
                .with_full_handshakes(ca, target::KeyExchange::Any)?,
            _ => target.clone(),
        };
        let load = scenario::load(*scenario, &target.path, &credentials)?;
        let mut figure = executor()?.block_on(run::run(&target, load, &plan))?;
        figure.subject = "target".to_owned();
        figures.push(figure);
    }
    Ok(figures)
}

fn executor() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

impl Output {
    #[expect(clippy::print_stdout, reason = "the result is the program's output")]
    fn publish(&self, rounds: &Rounds, budgets: &[budget::Budget]) -> anyhow::Result<bool> {
        // Before anything is written: the older report may be the file that is overwritten.
        let older = self.compare.as_deref().map(Report::read).transpose()?;
        let report = Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: moment::now_seconds(),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            judgements: budget::judge(budgets, rounds),
            figures: rounds.medians(),
        };
        println!("{}", report.table());
        let mut good = report.is_good();
        if let Some(older) = older {
            let (table, no_worse) = report.compare(&older);
            println!("\n{table}");
            good &= no_worse;
        }
        if let Some(path) = &self.json {
            write(path, &report.json()?)?;
        }
        if let Some(path) = &self.html {
            write(path, &report.html())?;
        }
        Ok(good)
    }
}

fn write(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Tells the operator how it goes.
#[expect(
    clippy::print_stderr,
    reason = "what is not the result goes to the terminal"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
