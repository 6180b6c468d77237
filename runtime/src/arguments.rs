//! What the program is told when it is started: flags, then settings from all their sources.

use std::path::PathBuf;

use clap::Parser;
use config::gateway::Loaded;
use config::load::{Mistakes, Sources};
use config::runtime::RuntimeSettings;

/// Runs agent sessions behind the gateway.
///
/// Settings come from runtime.toml in the data directory, then from LOKI_ variables, then from flags.
/// It listens on a Unix socket and answers the gateway alone.
#[derive(Clone, Debug, Parser)]
#[command(name = "loki-runtime", version)]
pub struct Arguments {
    /// Settings file, instead of runtime.toml in the data directory
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory, instead of ~/.loki
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
}

impl Arguments {
    /// Loads the settings.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn settings(self, sources: Sources) -> Result<Loaded<RuntimeSettings>, Mistakes> {
        let sources = sources
            .with_flag("--data-dir", self.data_dir)
            .with_settings_file(self.config, "LOKI_RUNTIME_CONFIG", "runtime.toml")?;
        RuntimeSettings::load(sources)
    }
}
