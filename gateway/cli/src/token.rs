//! `loki enterprise token`: makes, lists, revokes and deletes tokens.
//!
//! Invariant: a change has a durable record of its decision before the token file changes, and
//! one of its outcome after; without the first, nothing changes.

mod generate;
mod list;
mod record;
mod withdraw;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  loki enterprise token generate my-token
  loki enterprise token generate ci-bot --scopes \"read,write\" --expires 30
  loki enterprise token list --all
  loki enterprise token revoke ci-bot";

/// Makes, lists, revokes and deletes tokens.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_aliases = ["create", "new"])]
    Generate(generate::Arguments),
    #[command(visible_alias = "ls")]
    List(list::Arguments),
    Revoke(withdraw::RevokeArguments),
    Delete(withdraw::DeleteArguments),
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        None => list::run(context, &list::Arguments::default()),
        Some(Command::Generate(arguments)) => generate::run(context, &arguments),
        Some(Command::List(arguments)) => list::run(context, &arguments),
        Some(Command::Revoke(arguments)) => withdraw::revoke(context, &arguments),
        Some(Command::Delete(arguments)) => withdraw::delete(context, &arguments),
    }
}
