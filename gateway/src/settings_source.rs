//! Where this run's settings come from: the file may change, environment and flags are those of the
//! start.

use std::path::{Path, PathBuf};

use config::gateway::{GatewaySettings, Loaded};
use config::load::{Mistakes, Sources};

/// Reads the settings, again and again.
#[derive(Clone, Debug)]
pub struct SettingsSource {
    sources: Sources,
    file: PathBuf,
    asked_for: bool,
}

impl SettingsSource {
    /// Takes environment and flags, and finds the settings file: the one asked for, else
    /// `gateway.toml` in the data directory.
    #[must_use]
    pub fn new(sources: Sources, asked_for: Option<PathBuf>) -> Self {
        let (file, asked_for) =
            sources.settings_file(asked_for, "LOKI_GATEWAY_CONFIG", "gateway.toml");
        Self {
            sources,
            file,
            asked_for,
        }
    }

    /// Returns the settings file, whether it exists or not.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads and checks the settings.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(&self) -> Result<Loaded<GatewaySettings>, Mistakes> {
        self.sources
            .clone()
            .with_file(&self.file, self.asked_for)
            .and_then(GatewaySettings::load)
    }
}
