//! What a gateway tells about its settings in use and about the last attempt to replace them.

use serde::{Deserialize, Serialize};

/// The settings in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsStatus {
    /// Counts the states of this run; 1 is that of the start.
    pub generation: u64,
    /// When they were taken into use (RFC 3339, UTC).
    pub loaded_at: String,
    /// The settings file, whether it exists or not.
    pub file: String,
    /// The last attempt to replace them.
    pub last_attempt: Option<Attempt>,
}

/// One attempt to replace the settings in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When (RFC 3339, UTC).
    pub at: String,
    /// What led to it: `SIGHUP`, `file change` or `command`.
    pub cause: String,
    /// Whether the new state is in use; if not, the old one is.
    pub done: bool,
    /// The keys with another value.
    pub changed: Vec<String>,
    /// Why the new state was rejected.
    pub failures: Vec<String>,
}
