//! `loki pause`: freezes a session.

use ::config::contract::id::SessionId;
use ::config::contract::session::SessionView;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  loki pause                    the only session at work; with several, exit code 2 and their list
  loki pause sess-4k9x2m7qab01";

/// Freezes a session with everything that runs for it; `loki resume` lets it go on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session [default: the only one at work]
    id: Option<SessionId>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let path = match &arguments.id {
        Some(id) => format!("/api/sessions/{id}/pause"),
        None => "/api/control/pause".to_owned(),
    };
    let session: SessionView = client.post(&path, None::<&()>)?;
    if arguments.json {
        return output::json(&session);
    }
    output::line(&format!("{}: {}", session.id, session.state))
}
