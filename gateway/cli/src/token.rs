//! `loki enterprise token`: makes, lists, shows, replaces, revokes and deletes tokens.
//!
//! Invariant: a change has a durable record of its decision before the token file changes, and
//! one of its outcome after; without the first, nothing changes.

mod generate;
mod inspect;
mod leak;
mod list;
mod record;
mod rotate;
mod withdraw;

pub(crate) use generate::{announcement, make};

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  loki enterprise token generate my-token
  loki enterprise token generate ci-bot --scopes \"read,write\" --expires 30
  loki enterprise token list --all
  loki enterprise token inspect ci-bot
  loki enterprise token rotate ci-bot --grace 24
  loki enterprise token revoke ci-bot
  loki enterprise token report-leak leaked.txt";

/// Makes, lists, shows, replaces, revokes and deletes tokens.
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
    #[command(visible_alias = "show")]
    Inspect(inspect::Arguments),
    Rotate(rotate::Arguments),
    Revoke(withdraw::RevokeArguments),
    Delete(withdraw::DeleteArguments),
    ReportLeak(leak::Arguments),
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        None => list::run(context, &list::Arguments::default()),
        Some(Command::Generate(arguments)) => generate::run(context, &arguments),
        Some(Command::List(arguments)) => list::run(context, &arguments),
        Some(Command::Inspect(arguments)) => inspect::run(context, &arguments),
        Some(Command::Rotate(arguments)) => rotate::run(context, &arguments),
        Some(Command::Revoke(arguments)) => withdraw::revoke(context, &arguments),
        Some(Command::Delete(arguments)) => withdraw::delete(context, &arguments),
        Some(Command::ReportLeak(arguments)) => leak::run(context, &arguments),
    }
}
