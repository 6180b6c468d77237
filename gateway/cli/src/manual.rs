//! `loki manual`: manual pages, one for each command; or all commands on one page.

mod page;

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Writes manual pages, one for each command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loki manual ./man\n  man -l man/loki-projects.1\n  loki manual --markdown"
)]
pub(crate) struct Arguments {
    /// The folder for them
    #[arg(value_name = "DIR", required_unless_present = "markdown")]
    folder: Option<PathBuf>,
    /// Print all commands as one page of Markdown
    #[arg(long, conflicts_with = "folder")]
    markdown: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let Some(folder) = &arguments.folder else {
        return output::raw(&page::markdown(crate::Arguments::command()));
    };
    let folder = context.directory().join(folder);
    fs::create_dir_all(&folder)
        .and_then(|()| clap_mangen::generate_to(crate::Arguments::command(), &folder))
        .map_err(|error| Failure::io("write manual pages to", &folder, &error))?;
    output::line(&format!("Wrote manual pages to {}", folder.display()))
}
