//! `loki federate`: what the gateway would make of a token of another issuer.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use gateway::federation::{self, Replay};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::{clock, output};

/// Longest text in which a token is looked for.
const BYTES_MAX: u64 = 64 * 1024;

/// Explains what claim rules make of a token.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replay a token offline: which check failed, which rule fits and why.
    ///
    /// Exit code 0 if the gateway would accept it, 3 if it would refuse it.
    #[command(
        after_help = "Examples:\n  loki federate test --token-file job.jwt\n  loki federate test --token-file job.jwt --at 2026-02-01T12:00:00Z --json"
    )]
    Test(Arguments),
}

/// Which token, and when.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// File that holds the token, - for standard input
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Judge it as of this time [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<DateTime<Utc>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    let Command::Test(arguments) = command;
    let settings = context.gateway_settings(context.sources())?.settings;
    if settings.issuers.is_empty() {
        return Err(Failure::failed("there is no issuer in the settings")
            .fix("add [[oidc.issuers]] to gateway.toml, see docs/ci.md"));
    }
    let token = read(arguments)?;
    let now = arguments.at.unwrap_or_else(clock::now);
    let replay = federation::replay(token.trim(), &settings.issuers, &settings.home, now);
    if arguments.json {
        output::json(&replay)?;
    } else {
        print(&replay)?;
    }
    if replay.granted.is_some() {
        Ok(())
    } else {
        Err(Failure::said(Exit::Refused))
    }
}

fn print(replay: &Replay) -> Result<(), Failure> {
    for check in &replay.checks {
        let state = match check.passed {
            Some(true) => "ok",
            Some(false) => "NO",
            None => "?",
        };
        output::line(&format!(
            "{state:<2} {}: {}",
            check.name,
            output::visible(&check.found)
        ))?;
    }
    for rule in &replay.rules {
        let fits = if rule.fits { "fits" } else { "does not fit" };
        output::line(&format!(
            "rule {} ({}): {fits}",
            output::visible(&rule.name),
            rule.effect
        ))?;
        for test in &rule.tests {
            let state = if test.holds { "ok" } else { "NO" };
            let implied = if test.implied { ", implied" } else { "" };
            output::line(&format!(
                "   {state:<2} {} (found {}{implied})",
                output::visible(&test.test),
                output::visible(&test.found)
            ))?;
        }
    }
    match &replay.granted {
        None => output::line("Refused."),
        Some(granted) => {
            let projects = granted
                .projects
                .as_ref()
                .map_or("all".to_owned(), |list| list.join(", "));
            output::line(&format!(
                "Accepted as {}",
                output::visible(&granted.principal)
            ))?;
            output::line(&format!("Scopes: {}", granted.scopes))?;
            output::line(&format!("Projects: {}", output::visible(&projects)))?;
            output::line(&format!(
                "Exchanged for a token of at most {} s",
                granted.lifetime_max_seconds
            ))
        }
    }
}

fn read(arguments: &Arguments) -> Result<String, Failure> {
    let failure = |error: io::Error| Failure::io("read", &arguments.token_file, &error);
    let source: Box<dyn Read> = if arguments.token_file.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&arguments.token_file).map_err(failure)?)
    };
    let mut text = String::new();
    source
        .take(BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failure)?;
    Ok(text)
}
