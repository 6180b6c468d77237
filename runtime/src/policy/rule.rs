//! The operator's own rules, and the examples that prove them when they are loaded.
//!
//! Pure: no I/O, no clock.

use config::contract::policy::Verdict;
use config::runtime::commands::CommandRule;

use super::path::Fit;
use super::pattern::{BadPattern, Pattern};
use super::{shell, wrapper};

/// One rule of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) decision: Verdict,
    pub(super) pattern: Pattern,
    pub(super) reason: String,
}

/// What is wrong with the policy in the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}; fix: {fix}")]
pub struct PolicyMistake {
    /// The setting.
    pub key: String,
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub fix: String,
}

impl PolicyMistake {
    pub(super) fn entry(entry: &str, why: BadPattern) -> Self {
        Self {
            key: "commands.blocked".to_owned(),
            why: format!("{entry:?} {why}"),
            fix: "write a program and what it is given, such as mkfs or rm -rf /".to_owned(),
        }
    }
}

impl Rule {
    pub(super) fn new(settings: &CommandRule) -> Result<Self, PolicyMistake> {
        let mistake = |part: &str, why: String, fix: &str| PolicyMistake {
            key: format!("commands.rules.{}.{part}", settings.name),
            why,
            fix: fix.to_owned(),
        };
        let pattern = Pattern::read(&settings.pattern).map_err(|why| {
            mistake(
                "pattern",
                format!("{:?} {why}", settings.pattern),
                "write the words of one simple command",
            )
        })?;
        if settings.decision == Verdict::Allow
            && pattern.is_bare()
            && runs_anything(pattern.program())
        {
            return Err(mistake(
                "pattern",
                format!(
                    "{:?} would allow everything, since it runs other programs",
                    settings.pattern
                ),
                "allow what it is given as well, such as git status",
            ));
        }
        Ok(Self {
            name: settings.name.clone(),
            decision: settings.decision,
            pattern,
            reason: settings.reason.clone(),
        })
    }

    /// Runs the rule's own examples.
    pub(super) fn failed_examples(&self, settings: &CommandRule) -> Vec<PolicyMistake> {
        let wrong = |part: &str, example: &String, does: &str| PolicyMistake {
            key: format!("commands.rules.{}.{part}", self.name),
            why: format!(
                "the pattern {:?} {does} the example {example:?}",
                settings.pattern
            ),
            fix: "correct the pattern or the example".to_owned(),
        };
        let matches = |example: &String| {
            let reading = shell::read(example, "/", "/root");
            reading
                .pieces
                .iter()
                .any(|piece| self.pattern.fit(piece, "/root") == Fit::Yes)
        };
        let missed = settings
            .matches
            .iter()
            .filter(|example| !matches(example))
            .map(|example| wrong("match", example, "does not match"));
        let hit = settings
            .not_matches
            .iter()
            .filter(|example| matches(example))
            .map(|example| wrong("not_match", example, "matches"));
        missed.chain(hit).collect()
    }
}

/// Returns whether a program runs whatever it is given.
fn runs_anything(program: &str) -> bool {
    const OTHERS: &[&str] = &[
        "awk", "busybox", "bun", "deno", "docker", "env", "eval", "exec", "find", "git", "make",
        "node", "npm", "npx", "perl", "php", "python", "python3", "ruby", "sed", "ssh", "su",
        "sudo", "toybox", "xargs", "doas", "command", "timeout", "nice", "nohup", "time",
    ];
    OTHERS.contains(&program) || wrapper::SHELLS.contains(&program)
}
