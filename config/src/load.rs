//! Loads settings: defaults, then the file, then the environment, then flags.
//!
//! Invariant: every mistake is reported at once, with where it stands; an unknown key is an error;
//! nothing outside the operator's files, environment and flags is ever read.

pub mod document;
pub mod mistake;
pub mod reader;
pub mod value;
pub mod variables;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use mistake::{Mistake, Mistakes};
pub use reader::{Effective, Key, Origin, Reader};
pub use value::Value;

/// Longest settings file in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file: its path and text, if there is one.
    pub file: Option<(PathBuf, String)>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Flags as typed, with their values.
    pub flags: BTreeMap<&'static str, String>,
}

impl Sources {
    /// Takes this process's environment; values that are not UTF-8 are left out.
    #[must_use]
    pub fn from_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            environment,
            ..Self::default()
        }
    }

    /// Adds a settings file; one that does not exist is no settings, unless it was asked for.
    ///
    /// # Errors
    /// When it exists and cannot be read, is too long, or was asked for and does not exist.
    pub fn with_file(mut self, path: &Path, asked_for: bool) -> Result<Self, Mistakes> {
        match read_file(path) {
            Ok(text) => self.file = Some((path.to_owned(), text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !asked_for => {}
            Err(error) => {
                let mistake = Mistake::in_file(path, None, "", format!("cannot read it: {error}"));
                return Err(Mistakes::from(mistake));
            }
        }
        Ok(self)
    }

    /// Adds a program's settings file: the one asked for by flag or by `variable`, else `name` in
    /// the data directory.
    ///
    /// # Errors
    /// See [`Self::with_file`].
    pub fn with_settings_file(
        self,
        asked_for: Option<PathBuf>,
        variable: &str,
        name: &str,
    ) -> Result<Self, Mistakes> {
        let (path, asked_for) = self.settings_file(asked_for, variable, name);
        self.with_file(&path, asked_for)
    }

    /// Returns the path of a program's settings file, and whether somebody asked for that one.
    #[must_use]
    pub fn settings_file(
        &self,
        asked_for: Option<PathBuf>,
        variable: &str,
        name: &str,
    ) -> (PathBuf, bool) {
        let named = self.environment.get(variable).map(PathBuf::from);
        if let Some(path) = asked_for.or(named) {
            return (path, true);
        }
        let directory = self
            .flags
            .get("--data-dir")
            .or_else(|| self.environment.get("LOKI_DATA_DIR"))
            .map_or_else(|| default_data_directory(&self.environment), PathBuf::from);
        (directory.join(name), false)
    }

    /// Adds a flag if it was given.
    #[must_use]
    pub fn with_flag(mut self, flag: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.flags.insert(flag, value);
        }
        self
    }
}

/// Returns the data directory that nobody set: `~/.loki`, or without a home `/var/lib/loki`.
pub(crate) fn default_data_directory(environment: &BTreeMap<String, String>) -> PathBuf {
    environment.get("HOME").map_or_else(
        || PathBuf::from("/var/lib/loki"),
        |home| Path::new(home).join(".loki"),
    )
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok(text)
}
