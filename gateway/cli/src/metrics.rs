//! `loki metrics`: the gateway's metrics as Prometheus reads them.

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  loki metrics
  loki metrics | grep loki_cost_usd";

/// Prints the metrics in the Prometheus text format.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reach: Reach,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    output::raw(&client.get_text("/metrics")?)
}
