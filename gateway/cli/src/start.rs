//! `loki start`: runs a session on a document, and follows it to its end.

pub(crate) mod follow;
pub(crate) mod request;

use std::path::PathBuf;

use ::config::contract::session::SessionView;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::dashboard;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  loki start ./prd.md
  loki start                            finds PRD.md, prd.md or docs/prd.md
  loki start ./prd.md --provider claude --iterations 5
  LOKI_BRANCH_PROTECTION=true loki start ./prd.md --detach

LOKI_SANDBOX_MODE, LOKI_STAGED_AUTONOMY, LOKI_AUTONOMY_MODE, LOKI_ALLOWED_PATHS,
LOKI_BLOCKED_COMMANDS and LOKI_BRANCH_PROTECTION are sent along; they can only tighten the
runtime's own settings.";

/// Runs a session on a product requirements document.
///
/// Starts gateway and runtime on this machine if none answers and no gateway is named. Exit code 0
/// if the session completed, 1 if it did not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The document [default: PRD.md, prd.md or docs/prd.md]
    #[arg(value_name = "PRD.md")]
    prd: Option<PathBuf>,
    /// Provider, by its name in runtime.toml
    #[arg(long)]
    provider: Option<String>,
    /// Model, if the provider lets one choose
    #[arg(long)]
    model: Option<String>,
    /// US dollars after which the session pauses and asks
    #[arg(long, value_name = "USD")]
    budget: Option<f64>,
    /// Project folder [default: the git repository around this folder]
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Most iterations
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    iterations: Option<u32>,
    /// Demand the sandbox
    #[arg(long)]
    sandbox: bool,
    /// Do not follow the session
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON at the end
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let request = request::build(context, arguments)?;
    if !arguments.reach.names_gateway(context) {
        ensure_deployment(context)?;
    }
    let client = Client::new(context, &arguments.reach)?;
    let session: SessionView = client.post("/api/sessions", Some(&request))?;
    if arguments.detach {
        if arguments.json {
            return output::json(&session);
        }
        return output::line(&format!("Started {}", session.id));
    }
    output::error(&format!(
        "Started {}; Ctrl-C leaves it running, loki stop {} ends it",
        session.id, session.id
    ));
    let session = follow::to_the_end(&client, &session.id)?;
    if arguments.json {
        output::json(&session)?;
    } else {
        follow::print_result(&session)?;
    }
    follow::verdict(&session)
}

pub(crate) fn ensure_deployment(context: &Context) -> Result<(), Failure> {
    let home = context.offline()?.home;
    if let Some(endpoint) = dashboard::deployment::endpoint(&home)? {
        dashboard::deployment::warn_of_other_variables(context, &endpoint);
        if Client::local(&endpoint, None)?.is_ready() {
            return Ok(());
        }
    }
    let endpoint = dashboard::start::ensure(context)?;
    output::error(&format!("Loki is ready at {}", endpoint.url));
    Ok(())
}
