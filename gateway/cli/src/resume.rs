//! `loki resume`: lets a session go on.

use ::config::contract::id::SessionId;
use ::config::contract::session::SessionView;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  loki resume                   the only one that waits or is paused; with several, exit code 2
  loki resume sess-4k9x2m7qab01";

/// Approves what a session waits for, or lets a paused one go on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session [default: the only one that is paused or waits]
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
        Some(id) => format!("/api/sessions/{id}/resume"),
        None => "/api/control/resume".to_owned(),
    };
    let session: SessionView = client.post(&path, None::<&()>)?;
    if arguments.json {
        return output::json(&session);
    }
    output::line(&format!("{}: {}", session.id, session.state))
}
