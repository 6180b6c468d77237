//! `loki resume`: lets a session go on.
//!
//! Invariant: what is approved is exactly what was shown: the approval and its digest go along.

use ::config::contract::approval::{ApprovalView, Resume};
use ::config::contract::id::SessionId;
use ::config::contract::session::SessionView;

use crate::approvals;
use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  loki resume                   the only one that waits or is paused; with several, exit code 2
  loki resume sess-4k9x2m7qab01
  loki resume --digest 5f1c0e   only if this is what waits, as loki status shows it";

/// Approves what a session waits for, or lets a paused one go on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session [default: the only one that is paused or waits]
    id: Option<SessionId>,
    /// The beginning of the digest that was looked at; if something else waits by now, nothing happens
    #[arg(long)]
    digest: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let waiting = waiting(&client, arguments.id.as_ref())?;
    if let Some(digest) = &arguments.digest {
        check(digest, waiting.as_ref())?;
    }
    let body = waiting.as_ref().map(|approval| Resume {
        approval: approval.id.clone(),
        digest: approval.digest.clone(),
    });
    let path = match &arguments.id {
        Some(id) => format!("/api/sessions/{id}/resume"),
        None => "/api/control/resume".to_owned(),
    };
    let session: SessionView = client.post(&path, body.as_ref())?;
    if arguments.json {
        return output::json(&session);
    }
    if let Some(approval) = &waiting {
        let asks = output::visible(&approval.summary);
        output::line(&format!("{}: approved: {asks}", approval.id))?;
    }
    output::line(&format!("{}: {}", session.id, session.state))
}

/// Returns what the session waits for; of several sessions none, so that the runtime asks which.
fn waiting(client: &Client, id: Option<&SessionId>) -> Result<Option<ApprovalView>, Failure> {
    let mut waiting = approvals::waiting(client)?;
    waiting.retain(|approval| id.is_none_or(|id| approval.session == *id));
    Ok(match waiting.len() {
        1 => waiting.pop(),
        _ => None,
    })
}

fn check(digest: &str, waiting: Option<&ApprovalView>) -> Result<(), Failure> {
    let fits = waiting.is_some_and(|approval| approval.digest.starts_with(digest));
    if fits && digest.len() >= DIGEST_LETTERS_MIN {
        return Ok(());
    }
    let why = if fits {
        format!("the digest {digest:?} is too short to tell what was looked at")
    } else {
        format!("nothing of digest {digest:?} waits")
    };
    Err(Failure::new(Exit::Refused, why).fix("look at what waits with loki status"))
}

/// So many hexadecimal digits are not hit by chance.
const DIGEST_LETTERS_MIN: usize = 6;
