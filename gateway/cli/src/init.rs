//! `loki init`: commented settings and the key, with the right modes, where nothing stands yet.
//!
//! Invariant: nothing that exists is changed.

use std::io::{ErrorKind, Write};
use std::path::Path;

use ::config::{private, secret};

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// The commented samples: every value in them is the default.
const GATEWAY: &str = include_str!("../../../config/gateway.toml");
const RUNTIME: &str = include_str!("../../../config/runtime.toml");

/// Writes commented settings and the shared key with the right modes; what exists is left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki init")]
pub(crate) struct Arguments {}

/// Runs the command.
pub(crate) fn run(context: &Context) -> Result<(), Failure> {
    let home = context.offline()?.home;
    for folder in [
        home.directory().to_owned(),
        home.dashboard(),
        home.run(),
        home.runtime(),
        home.logs(),
    ] {
        private::create_directory(&folder).map_err(|error| Failure::io("make", &folder, &error))?;
    }
    settings(&home.gateway_settings(), GATEWAY)?;
    settings(&home.runtime_settings(), RUNTIME)?;
    let key = home.statement_key();
    let is_there = key.exists();
    secret::load_or_create_keys(&key).map_err(Failure::failed)?;
    told(is_there, &key)?;
    output::line(
        "Next: name a provider in runtime.toml, then loki doctor, then loki dashboard start",
    )
}

fn settings(path: &Path, text: &str) -> Result<(), Failure> {
    let written = private::create_file(path).and_then(|mut file| {
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
    });
    match written {
        Ok(()) => told(false, path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => told(true, path),
        Err(error) => Err(Failure::io("write", path, &error)),
    }
}

fn told(is_there: bool, path: &Path) -> Result<(), Failure> {
    let what = if is_there { "kept " } else { "wrote" };
    output::line(&format!("{what} {}", path.display()))
}
