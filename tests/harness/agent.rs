//! Scripted agents: small shell programs that do what a test needs an agent to do.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::programs;

/// Lines of the provider's table for an agent that asks.
pub const ASKING: &str = "dialect = \"claude\"\nasks = \"hook\"\n";

/// The text of a script; the prompt comes on its standard input.
#[derive(Debug, Clone)]
pub struct Agent(String);

impl Agent {
    /// Does these lines.
    #[must_use]
    pub fn doing(lines: &str) -> Self {
        Self(format!("set -u\ncat >/dev/null\n{lines}\n"))
    }

    /// Does these lines without reading its standard input first: that may be a conversation.
    #[must_use]
    pub fn conversing(lines: &str) -> Self {
        Self(format!("set -u\n{lines}\n"))
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

    /// Speaks the Agent Client Protocol, asks for each of these uses of a tool, and does what it may; what
    /// became of each is in `tries.txt`. The provider needs the line `asks = "acp"`.
    ///
    /// # Panics
    /// When the stand-in is not there.
    #[must_use]
    pub fn speaking_acp(uses: &[(&str, Value)]) -> Self {
        let path = programs::project().join("tests/counterparts/acp_agent.py");
        let program = fs::read_to_string(path).expect("there is a stand-in");
        let uses = lines_of(uses);
        // Its standard input is the conversation.
        Self(format!(
            "cat >\"$TMPDIR/agent.py\" <<'AGENT'\n{program}AGENT\n\
             cat >\"$TMPDIR/uses\" <<'USES'\n{uses}USES\n\
             exec python3 \"$TMPDIR/agent.py\" \"$TMPDIR/uses\"\n"
        ))
    }

    /// Asks for each of these uses of a tool, given as name and input, and does what it may; what became
    /// of each is in `tries.txt`. The provider needs the lines [`ASKING`].
    ///
    /// # Panics
    /// When the stand-in is not there.
    #[must_use]
    pub fn asking(uses: &[(&str, Value)]) -> Self {
        let path = programs::project().join("tests/counterparts/asking_agent.py");
        let program = fs::read_to_string(path).expect("there is a stand-in");
        let uses = lines_of(uses);
        Self::doing(&format!(
            "cat >\"$TMPDIR/agent.py\" <<'AGENT'\n{program}AGENT\n\
             python3 \"$TMPDIR/agent.py\" \"$@\" <<'USES'\n{uses}USES"
        ))
    }

    /// Writes the script and returns its path.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(format!("{name}.sh"));
        fs::write(&path, &self.0).expect("a script can be written");
        path
    }
}

fn lines_of(uses: &[(&str, Value)]) -> String {
    uses.iter()
        .map(|(tool, input)| format!("{}\n", json!({ "tool": tool, "input": input })))
        .collect()
}
