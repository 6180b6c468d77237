//! `loki enterprise token list`: what tokens there are.

use chrono::{DateTime, SecondsFormat, Utc};
use gateway::tokens::record::{Standing, TokenRecord};
use gateway::tokens::store;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::{clock, output};

const EXAMPLES: &str = "\
Examples:
  loki enterprise token list            active tokens
  loki enterprise token list --all      expired and revoked ones too
  loki enterprise token list --all --json";

/// Lists active tokens; the tokens themselves are not kept and cannot be shown.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Show expired and revoked tokens too
    #[arg(long, visible_alias = "include-revoked")]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct List<'a> {
    tokens: Vec<Shown<'a>>,
}

/// A record as people and programs see it: without the digest.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    status: Standing,
    scopes: Vec<String>,
    role: Option<&'static str>,
    created_at: String,
    created_by: &'a str,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    revoked_by: Option<&'a str>,
    description: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// Returns how a record stands at `now`.
    pub(super) fn new(record: &'a TokenRecord, now: DateTime<Utc>) -> Self {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self {
            id: record.id.as_str(),
            name: record.name.as_str(),
            status: record.standing(now),
            scopes: record
                .shown_scopes()
                .split(", ")
                .map(str::to_owned)
                .collect(),
            role: record.role.map(|role| role.name()),
            created_at: time(record.created_at),
            created_by: &record.created_by,
            expires_at: record.expires_at.map(time),
            revoked_at: record.revoked_at.map(time),
            revoked_by: record.revoked_by.as_deref(),
            description: record.description.as_deref(),
        }
    }

    fn row(&self) -> Vec<String> {
        let day = |time: &str| time.split('T').next().unwrap_or(time).to_owned();
        vec![
            self.status.to_string(),
            output::visible(self.name),
            self.id.to_owned(),
            self.scopes.join(", "),
            day(&self.created_at),
            self.expires_at
                .as_deref()
                .map_or_else(|| "never".to_owned(), day),
            self.revoked_at.as_deref().map_or_else(String::new, day),
        ]
    }
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let offline = context.offline()?;
    let now = clock::now();
    let stored = store::load(&offline.home)?;
    let tokens: Vec<Shown<'_>> = stored
        .records
        .iter()
        .map(|record| Shown::new(record, now))
        .filter(|shown| arguments.all || shown.status == Standing::Active)
        .collect();
    if arguments.json {
        return output::json(&List { tokens });
    }
    if tokens.is_empty() {
        let none = if arguments.all {
            "There are no tokens."
        } else {
            "There are no active tokens."
        };
        return output::line(none);
    }
    let mut headings = vec!["STATUS", "NAME", "ID", "SCOPES", "CREATED", "EXPIRES"];
    if arguments.all {
        headings.push("REVOKED");
    }
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .map(|shown| {
            let mut row = shown.row();
            row.truncate(headings.len());
            row
        })
        .collect();
    output::table(&headings, &rows)
}
