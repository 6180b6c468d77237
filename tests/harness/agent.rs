//! Scripted agents: small shell programs that do what a test needs an agent to do.

use std::fs;
use std::path::{Path, PathBuf};

use crate::programs;

/// The text of a script; the prompt comes on its standard input.
#[derive(Debug, Clone)]
pub struct Agent(String);

impl Agent {
    /// Does these lines.
    #[must_use]
    pub fn doing(lines: &str) -> Self {
        Self(format!("set -u\ncat >/dev/null\n{lines}\n"))
    }

    /// Repairs the sample project: the very script of the demo.
    ///
    /// # Panics
    /// When the script is not there.
    #[must_use]
    pub fn repairing() -> Self {
        let path = programs::project().join("deploy/demo/agent.sh");
        Self(fs::read_to_string(path).expect("the demo has an agent"))
    }

    /// Says that it began, and then works until it is stopped.
    #[must_use]
    pub fn never_ending() -> Self {
        Self::doing("echo started >started.txt\nwhile :; do sleep 1; done")
    }

    /// Ends with a failure.
    #[must_use]
    pub fn failing() -> Self {
        Self::doing("echo 'cannot go on' >&2\nexit 1")
    }

    /// Writes the script and returns its path.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(format!("{name}.sh"));
        fs::write(&path, &self.0).expect("a script can be written");
        path
    }
}
