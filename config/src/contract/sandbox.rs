//! The shapes of the API of long-lived sandboxes: what a caller sends, and what it sees.

use serde::{Deserialize, Serialize};

use crate::contract::id::SessionId;
use crate::contract::session::{Enforcement, HandOff};

/// Longest name of a sandbox in bytes.
pub const NAME_BYTES_MAX: usize = 40;

/// Longest command of a sandbox in bytes.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;

/// The name that a sandbox has if none is given.
pub const NAME_DEFAULT: &str = "default";

/// The body of `POST /api/sandboxes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSandbox {
    /// Absolute path of the project: a git repository below an allowed root.
    pub project: String,
    /// Its name among the sandboxes of the project: small letters, digits and dashes; none means
    /// [`NAME_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A line for the shell; when it ends, so does the sandbox. None means that it runs until it is
    /// stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The only places of the project that can be written, within the operator's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_paths: Option<Vec<String>>,
}

/// Where a long-lived sandbox stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxState {
    /// Programs can run in it.
    Running,
    /// It is being ended, and its work handed over.
    Ending,
    /// Nothing of it runs any more.
    Ended,
}

/// A long-lived sandbox as callers see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SandboxView {
    /// Its id; the same for each start of this name on this project.
    pub id: SessionId,
    /// Its name among the sandboxes of the project.
    pub name: String,
    /// Absolute path of the project.
    pub project: String,
    /// Where it stands.
    pub state: SandboxState,
    /// Why it ended, if that needs words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The command, if it was given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Who started it, for people to read.
    pub started_by: String,
    /// The branch on which its work is committed when it ends.
    pub branch: String,
    /// Open shells.
    pub shells: u32,
    /// What became of the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_off: Option<HandOff>,
    /// For every promised control the layer that enforces it.
    pub effective_enforcement: Vec<Enforcement>,
    /// When it was started last (RFC 3339, UTC).
    pub started_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// The answer of `GET /api/sandboxes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SandboxList {
    /// Sandboxes, the last started first.
    pub sandboxes: Vec<SandboxView>,
}

/// The answer of `GET /api/sandboxes/{id}/log?after=N`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxLog {
    /// What was written; what is no UTF-8 is replaced.
    pub text: String,
    /// Where to go on: the `after` of the next question.
    pub next: u64,
    /// Where the sandbox stands.
    pub state: SandboxState,
}

/// What is said in a shell's stream besides what is typed and shown, as text messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ShellMessage {
    /// From the caller: its terminal has another size now.
    Resize {
        /// Characters in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
    /// To the caller: the shell has ended; 128 + n after signal n.
    Ended {
        /// The shell's exit code.
        code: u8,
    },
    /// To the caller: the shell could not be opened, or was ended.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Returns whether a text can name a sandbox.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let lawful = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(lawful) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_that_could_be_paths_options_or_endless_are_refused() {
        let long = "a".repeat(41);
        for name in ["", "-a", "a/b", "..", "A", "a b", "ü", "a\n", long.as_str()] {
            assert!(!is_name(name), "{name:?}");
        }
        for name in ["default", "a", "web-2", &long[..40]] {
            assert!(is_name(name), "{name:?}");
        }
    }
}
