//! Operations: what an agent's program asks before it acts, one use of a tool at a time.
//!
//! Programs of vendors run by themselves; those that can ask first are given `loki-hook` and a place
//! to ask at ([`Counter`]). What becomes of an operation is decided by [`ruling`], and by a person where
//! that says so.
//!
//! Invariant: an operation that nobody asked for, or whose answer is lost, is not allowed by anybody
//! here; what the program then does is its own (`gate: request-bound`).

pub mod ruling;

mod arguments;
mod counter;

pub use arguments::{Place, conversation, hook_arguments};
pub use counter::{Asked, Counter, CounterError};

use hook::wire::{Asker, Question};
use serde_json::Value;

/// One use of a tool, before it happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The program's own name of it; empty if it gave none.
    pub call: String,
    /// The tool.
    pub tool: String,
    /// What the tool is given.
    pub input: Value,
    /// The program's working directory; empty if it did not say.
    pub directory: String,
    /// Whether the program asks a second time, because its own rules are silent.
    pub again: bool,
}

impl Operation {
    /// Returns the shell text that would run, if one would.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        self.input["command"].as_str()
    }

    /// Returns one line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let said = |member: &str| self.input[member].as_str();
        let about = said("command")
            .or_else(|| said("file_path"))
            .or_else(|| said("notebook_path"))
            .or_else(|| said("url"))
            .or_else(|| said("title"))
            .unwrap_or_default();
        let short: String = about.chars().take(SUMMARY_CHARACTERS_MAX).collect();
        let cut = if short.len() < about.len() { "…" } else { "" };
        format!("{}: {short}{cut}", self.tool)
    }
}

impl From<Question> for Operation {
    fn from(question: Question) -> Self {
        Self {
            call: question.call,
            tool: question.tool,
            input: question.input,
            directory: question.directory,
            again: match question.asker {
                Asker::ToolUse => false,
                Asker::Permission => true,
            },
        }
    }
}

const SUMMARY_CHARACTERS_MAX: usize = 200;
