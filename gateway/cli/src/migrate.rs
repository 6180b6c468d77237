//! `loki migrate tokens`: from the tokens of Loki Mode to tokens of this gateway.
//!
//! Invariant: no old token is ever accepted: its record says too little of what it may do. Each
//! gets a replacement of its own, shown once.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use ::config::contract::scope::{Scope, Scopes};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use gateway::tokens::bounds::Bounds;
use gateway::tokens::record::{EXPIRY_DAYS_MAX, ExpiryDays, Permission, TokenName, Wanted};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::context::{Context, Offline};
use crate::failure::Failure;
use crate::{clock, output, token};

/// Longest file in bytes.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  loki migrate tokens                              what would become of each
  loki migrate tokens --from old/tokens.json --issue";

/// Takes over what Loki Mode kept.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List Loki Mode's tokens, and issue replacements.
    ///
    /// Its token file at ~/.loki/dashboard/tokens.json is moved to tokens.loki-mode.json before the
    /// first replacement is made.
    #[command(after_help = EXAMPLES)]
    Tokens(Arguments),
}

/// What to take over.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Loki Mode's token file [default: dashboard/tokens.json in the data directory]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Make the replacements and print them, this once
    #[arg(long)]
    issue: bool,
}

#[derive(Deserialize)]
struct File {
    version: String,
    tokens: BTreeMap<String, Old>,
}

/// One of its tokens, as far as it matters here.
#[derive(Deserialize)]
struct Old {
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
    #[serde(default)]
    revoked: bool,
}

/// What becomes of one of them.
enum Fate {
    /// It gets a replacement.
    Replaced(Box<Wanted>),
    /// It gets none, and why.
    Left(String),
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    let Command::Tokens(arguments) = command;
    let offline = context.offline()?;
    let own = offline.home.tokens();
    let path = arguments.from.clone().unwrap_or_else(|| own.clone());
    let old = read(&path)?;
    let now = clock::now();
    let fates: Vec<(Old, Fate)> = old
        .tokens
        .into_values()
        .map(|old| {
            let fate = judge(&old, now);
            (old, fate)
        })
        .collect();
    show(&fates)?;
    if !arguments.issue {
        return output::line("Nothing was changed: --issue makes the replacements.");
    }
    if path == own {
        set_aside(&own)?;
    }
    for (_, fate) in fates {
        if let Fate::Replaced(wanted) = fate {
            issue(context, &offline, *wanted)?;
        }
    }
    Ok(())
}

fn issue(context: &Context, offline: &Offline, wanted: Wanted) -> Result<(), Failure> {
    let name = wanted.name.clone();
    match token::make(offline, &context.user(), wanted) {
        Ok((fresh, record)) => output::raw(&token::announcement(
            "generated",
            &record,
            fresh.raw().expose(),
        )),
        Err(failure) => {
            output::warn(&format!("{name}: {}", failure.what()));
            Ok(())
        }
    }
}

fn read(path: &Path) -> Result<File, Failure> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| Failure::io("read", path, &error))?;
    let file: File = serde_json::from_str(&text).map_err(|error| {
        Failure::failed(format!(
            "{} is no token file of Loki Mode: {error}",
            path.display()
        ))
        .fix("name it: loki migrate tokens --from FILE")
    })?;
    if file.version != "1.0" {
        return Err(Failure::failed(format!(
            "{} has version {:?}, expected \"1.0\"",
            path.display(),
            file.version
        )));
    }
    Ok(file)
}

/// Says what becomes of a token: the same name and scopes, and no longer a life than it has left.
fn judge(old: &Old, now: DateTime<Utc>) -> Fate {
    if old.revoked {
        return Fate::Left("it is revoked".to_owned());
    }
    let days = match old.expires_at.map(|end| end - now) {
        Some(left) if left <= chrono::TimeDelta::zero() => {
            return Fate::Left("it has expired".to_owned());
        }
        Some(left) => Some((left.num_days() + 1).min(i64::from(EXPIRY_DAYS_MAX))),
        None => None,
    };
    let name = match old.name.parse::<TokenName>() {
        Ok(name) => name,
        Err(error) => return Fate::Left(error.to_string()),
    };
    let scopes = old.scopes.iter().map(|name| name.parse::<Scope>());
    let scopes: Scopes = match scopes.collect::<Result<_, _>>() {
        Ok(scopes) => scopes,
        Err(error) => return Fate::Left(format!("{error}: decide, and generate one by hand")),
    };
    if scopes.is_empty() {
        return Fate::Left("it may do nothing".to_owned());
    }
    let expiry = days
        .map(|days| days.to_string().parse::<ExpiryDays>())
        .transpose();
    let Ok(expiry) = expiry else {
        return Fate::Left("its expiry makes no sense".to_owned());
    };
    Fate::Replaced(Box::new(Wanted {
        name,
        permission: Permission { scopes, role: None },
        expiry,
        description: Some("replaces a token of Loki Mode".to_owned()),
        bounds: Bounds::default(),
    }))
}

fn show(fates: &[(Old, Fate)]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = fates
        .iter()
        .map(|(old, fate)| {
            let end = old
                .expires_at
                .map_or("never".to_owned(), |end| end.date_naive().to_string());
            let fate = match fate {
                Fate::Replaced(_) => "replacement".to_owned(),
                Fate::Left(why) => format!("none: {why}"),
            };
            vec![
                output::visible(&old.name),
                output::visible(&old.scopes.join(", ")),
                end,
                output::visible(&fate),
            ]
        })
        .collect();
    output::table(&["NAME", "SCOPES", "EXPIRES", "GETS"], &rows)
}

/// Moves the old file out of the way; an earlier one is never overwritten.
fn set_aside(own: &Path) -> Result<(), Failure> {
    let aside = own.with_file_name("tokens.loki-mode.json");
    if aside.exists() {
        return Err(
            Failure::failed(format!("{} exists already", aside.display()))
                .fix("move it away, or use --from"),
        );
    }
    fs::rename(own, &aside).map_err(|error| Failure::io("move", own, &error))?;
    output::line(&format!("Loki Mode's file is now {}.", aside.display()))
}
