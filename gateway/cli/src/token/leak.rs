//! `loki enterprise token report-leak`: takes a found token back, knowing nothing but the token.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Longest text in which a token is looked for.
const BYTES_MAX: u64 = 64 * 1024;

/// Tells the gateway of a token that was found where it should not be; no credential is needed.
///
/// The gateway revokes it if it is one of its own, and says nothing about it either way.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loki enterprise token report-leak leaked.txt\n  git show HEAD:.env | sed -n 's/^TOKEN=//p' | loki enterprise token report-leak -"
)]
pub(super) struct Arguments {
    /// File that holds the token, - for standard input
    file: PathBuf,
    #[command(flatten)]
    reach: Reach,
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let text = read(arguments)?;
    let client = Client::new(context, &arguments.reach)?;
    let _nothing: Value = client.post(
        "/api/auth/report-leak",
        Some(&json!({ "token": text.trim() })),
    )?;
    output::line("Reported. If the gateway knew the token, it is revoked now.")
}

fn read(arguments: &Arguments) -> Result<String, Failure> {
    let failure = |error: io::Error| Failure::io("read", &arguments.file, &error);
    let source: Box<dyn Read> = if arguments.file.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&arguments.file).map_err(failure)?)
    };
    let mut text = String::new();
    source
        .take(BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failure)?;
    Ok(text)
}
