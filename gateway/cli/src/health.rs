//! `loki health`: whether the gateway is well, for container and service checks.
//!
//! Invariant: the exit code is 0 or 1, as container engines demand.

use serde_json::Value;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::dashboard::deployment;
use crate::failure::{Exit, Failure};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  loki health
  loki health --runtime
  HEALTHCHECK CMD [\"loki\", \"health\"]";

/// Exits with 0 while the gateway accepts requests, else with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Look whether the runtime of this machine accepts connections, not at the gateway
    #[arg(long, conflicts_with_all = ["json", "url"])]
    runtime: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.runtime {
        let home = context.offline()?.home;
        return if deployment::runtime_answers(context, &home) {
            output::line("runtime: ok")
        } else {
            Err(Failure::failed("the runtime does not accept connections"))
        };
    }
    let look = || Client::new(context, &arguments.reach)?.get::<Value>("/health/ready");
    let health = look().map_err(|failure| match failure.exit() {
        Exit::Quiet => failure,
        Exit::Failed | Exit::Usage | Exit::Refused | Exit::Unreachable | Exit::Settings => {
            Failure::failed(failure.what())
        }
    })?;
    if arguments.json {
        return output::json(&health);
    }
    for part in ["gateway", "runtime", "audit"] {
        let state = health.get(part).and_then(Value::as_str).unwrap_or("?");
        output::line(&format!("{part}: {}", output::visible(state)))?;
    }
    Ok(())
}
