//! `loki attach`: follows a session, and tells its agent something.

use ::config::contract::id::SessionId;
use ::config::contract::session::{Input, SessionView};

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::sessions;
use crate::start::follow;

const EXAMPLES: &str = "\
Examples:
  loki attach                   follow the newest session to its end
  loki attach --say \"Keep the public interface as it is.\"";

/// Follows a session; what is said reaches its agent's next prompt.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session [default: the newest]
    id: Option<SessionId>,
    /// Tell the agent this, and do not follow
    #[arg(long, value_name = "TEXT")]
    say: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let id = sessions::named_or_newest(&client, arguments.id.as_ref())?;
    if let Some(text) = &arguments.say {
        let input = Input { text: text.clone() };
        let path = format!("/api/sessions/{id}/input");
        let session: SessionView = client.post(&path, Some(&input))?;
        return output::line(&format!("{}: its next prompt says so", session.id));
    }
    let session = follow::to_the_end(&client, &id)?;
    follow::print_result(&session)?;
    follow::verdict(&session)
}
