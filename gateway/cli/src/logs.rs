//! `loki logs`: what a session's agent wrote.

use ::config::contract::id::SessionId;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::sessions;
use crate::start::follow;

const EXAMPLES: &str = "\
Examples:
  loki logs                     the newest session
  loki logs sess-4k9x2m7qab01 --lines 500
  loki logs -f                  go on until the session ends";

/// Shows what a session's agent wrote.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session [default: the newest]
    id: Option<SessionId>,
    /// Most lines, from the end
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lines: u32,
    /// The iteration [default: the current one]
    #[arg(long)]
    iteration: Option<u32>,
    /// Go on with what happens until the session ends
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let id = sessions::named_or_newest(&client, arguments.id.as_ref())?;
    if arguments.follow {
        let session = follow::to_the_end(&client, &id)?;
        return follow::print_result(&session);
    }
    let mut path = format!("/api/sessions/{id}/log?lines={}", arguments.lines);
    if let Some(iteration) = arguments.iteration {
        path.push_str(&format!("&iteration={iteration}"));
    }
    print(&client.get_text(&path)?)
}

/// Prints a text line by line, so that nothing in it can control the terminal.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    for line in text.lines() {
        output::line(&output::visible(line))?;
    }
    Ok(())
}
