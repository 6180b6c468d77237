//! The shapes of the command policy: what is judged, and what the judgement says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest command text that is judged, in bytes.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// What the policy says of a command, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may run.
    Allow,
    /// What it does is known only when it runs.
    Unknown,
    /// A person has to decide.
    Ask,
    /// It may not run.
    Deny,
}

impl Verdict {
    /// Every verdict.
    pub const EVERY: [Self; 4] = [Self::Allow, Self::Unknown, Self::Ask, Self::Deny];

    /// Returns the name as written in answers, settings and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Unknown => "unknown",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::EVERY
            .into_iter()
            .find(|verdict| verdict.name() == text)
            .ok_or_else(|| format!("unknown decision {text:?}: use allow, ask or deny"))
    }
}

/// One reason for a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it leads to.
    pub verdict: Verdict,
    /// The entry or rule that found it.
    pub rule: String,
    /// The command within the text.
    pub command: String,
    /// Why.
    pub reason: String,
}

/// What the policy says of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The strictest of the findings.
    pub verdict: Verdict,
    /// Whether every command in it is known to change nothing.
    pub reads_only: bool,
    /// Whether rules of the operator allow every command in it.
    pub allowed_by_rule: bool,
    /// The reasons.
    pub findings: Vec<Finding>,
}

/// The body of `POST /api/policy/check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckCommand {
    /// The shell text.
    pub command: String,
    /// The working directory it would run in; none means that it is not known to be special.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
}

/// The answer of `POST /api/policy/check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedCommand {
    /// What the policy says.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// What becomes of it in each autonomy mode.
    pub answers: Vec<ModeAnswer>,
    /// What the filter is.
    pub note: String,
}

/// What becomes of a command in one autonomy mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeAnswer {
    /// The mode.
    pub mode: String,
    /// `run`, `run contained`, `ask` or `refuse`.
    pub answer: String,
}
