//! `loki diff`: what a session's agent changed.

use ::config::contract::id::SessionId;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::{logs, sessions};

const EXAMPLES: &str = "\
Examples:
  loki diff                     the newest session, up to its last checkpoint
  loki diff sess-4k9x2m7qab01";

/// Shows what a session's agent changed, up to its last checkpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session [default: the newest]
    id: Option<SessionId>,
    #[command(flatten)]
    reach: Reach,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let id = sessions::named_or_newest(&client, arguments.id.as_ref())?;
    logs::print(&client.get_text(&format!("/api/sessions/{id}/diff"))?)
}
