//! `loki enterprise token list`: what tokens there are.

use std::collections::BTreeMap;

use ::config::contract::id::TokenId;
use chrono::{DateTime, Utc};
use gateway::tokens::record::Standing;
use gateway::tokens::view::TokenView;
use gateway::tokens::{store, usage};
use serde::Serialize;

use crate::context::{Context, Offline};
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
struct List {
    tokens: Vec<TokenView>,
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let offline = context.offline()?;
    let now = clock::now();
    let stored = store::load(&offline.home)?;
    let last_used = last_used(&offline);
    let tokens: Vec<TokenView> = stored
        .records
        .iter()
        .filter(|record| arguments.all || record.standing(now) == Standing::Active)
        .map(|record| TokenView::new(record, last_used.get(&record.id).copied(), now))
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
    let mut headings = vec![
        "STATUS",
        "NAME",
        "ID",
        "SCOPES",
        "CREATED",
        "EXPIRES",
        "LAST USED",
    ];
    if arguments.all {
        headings.push("REVOKED");
    }
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .map(|shown| {
            let mut row = row(shown);
            row.truncate(headings.len());
            row
        })
        .collect();
    output::table(&headings, &rows)
}

/// Returns when tokens were last used; that it cannot be told is no reason to show nothing.
pub(super) fn last_used(offline: &Offline) -> BTreeMap<TokenId, DateTime<Utc>> {
    usage::load(&offline.home).unwrap_or_else(|error| {
        output::warn(&format!("when tokens were last used is not known: {error}"));
        BTreeMap::new()
    })
}

fn row(shown: &TokenView) -> Vec<String> {
    let day = |time: &str| time.split('T').next().unwrap_or(time).to_owned();
    let day_or =
        |time: &Option<String>, none: &str| time.as_deref().map_or_else(|| none.to_owned(), day);
    vec![
        shown.status.to_string(),
        output::visible(&shown.name),
        shown.id.clone(),
        shown.scopes.join(", "),
        day(&shown.created_at),
        day_or(&shown.expires_at, "never"),
        day_or(&shown.last_used_at, "never"),
        day_or(&shown.revoked_at, ""),
    ]
}
