//! `loki completions`: what a shell needs to complete commands.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  source <(loki completions bash)
  loki completions zsh > ~/.zfunc/_loki
  loki completions fish > ~/.config/fish/completions/loki.fish";

/// Prints completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::Arguments::command(),
        "loki",
        &mut script,
    );
    output::raw(&String::from_utf8_lossy(&script))
}
