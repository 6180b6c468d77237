//! `loki enterprise token inspect`: everything that is kept of one token.

use gateway::tokens::change::ChangeError;
use gateway::tokens::select::{self, Selector};
use gateway::tokens::store;
use gateway::tokens::view::TokenView;

use super::list;
use crate::context::Context;
use crate::failure::Failure;
use crate::{clock, output};

/// Shows everything that is kept of a token; the token itself is not.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loki enterprise token inspect ci-bot\n  loki enterprise token inspect tok-4k9x2m7q --json"
)]
pub(super) struct Arguments {
    /// Its id or its name
    #[arg(value_name = "ID-OR-NAME")]
    token: Selector,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let offline = context.offline()?;
    let now = clock::now();
    let stored = store::load(&offline.home)?;
    let position = select::for_revocation(&stored.records, &arguments.token, now)
        .map_err(|error| Failure::from(ChangeError::from(error)))?;
    let record = &stored.records[position];
    let last_used = list::last_used(&offline).get(&record.id).copied();
    let shown = TokenView::new(record, last_used, now);
    if arguments.json {
        return output::json(&shown);
    }
    print(&shown)
}

fn print(shown: &TokenView) -> Result<(), Failure> {
    let or = |value: &Option<String>, none: &str| value.clone().unwrap_or_else(|| none.to_owned());
    let list = |entries: &[String], none: &str| {
        if entries.is_empty() {
            none.to_owned()
        } else {
            entries.join(", ")
        }
    };
    let revoked = shown.revoked_at.as_ref().map(|at| match &shown.revoked_by {
        Some(by) => format!("{at} by {by}"),
        None => at.clone(),
    });
    let projects = shown
        .projects
        .as_ref()
        .map_or_else(|| "all".to_owned(), |paths| list(paths, "none"));
    let identity = shown.issuer.as_ref().zip(shown.subject.as_ref());
    let rows = [
        ("Name", Some(shown.name.clone())),
        ("ID", Some(shown.id.clone())),
        ("Status", Some(shown.status.to_string())),
        ("Scopes", Some(shown.scopes.join(", "))),
        ("Role", shown.role.map(str::to_owned)),
        (
            "Created",
            Some(format!("{} by {}", shown.created_at, shown.created_by)),
        ),
        ("Expires", Some(or(&shown.expires_at, "never"))),
        ("Last used", Some(or(&shown.last_used_at, "never"))),
        ("Revoked", revoked),
        ("Replaced by", shown.superseded_by.clone()),
        (
            "Identity",
            identity.map(|(issuer, subject)| format!("{issuer} {subject}")),
        ),
        ("Accepted from", Some(list(&shown.networks, "anywhere"))),
        ("Rate limit", Some(or(&shown.rate_limit, "as everybody"))),
        ("Projects", Some(projects)),
        ("Description", shown.description.clone()),
    ];
    for (label, value) in rows {
        if let Some(value) = value {
            output::line(&format!("{label}: {}", output::visible(&value)))?;
        }
    }
    Ok(())
}
