//! The command policy: which shell commands an agent may run, must ask for, or may not run.
//!
//! A seat belt, not a wall: it reads a text by the shell's grammar and judges every command in it;
//! what a program then does is the kernel's to bound. Invariant: the strictest finding decides, and
//! what cannot be told in advance is never allowed as such. Pure: no I/O, no clock.

mod danger;
mod embedded;
mod path;
mod pattern;
mod piece;
mod reading;
mod rule;
mod shell;
mod word;
mod wrapper;

use config::contract::policy::{Finding, Judgement, Verdict};
use config::runtime::commands::Commands;

use danger::Danger;
use path::Fit;
use pattern::Pattern;

pub use rule::PolicyMistake;

use rule::Rule;

/// Where a text would run.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The working directory.
    pub directory: &'a str,
    /// The home folder.
    pub home: &'a str,
}

/// The policy of a runtime or of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    dangers: Vec<Danger>,
    blocked: Vec<(String, Pattern)>,
    rules: Vec<Rule>,
}

impl Policy {
    /// Builds the policy of the operator's settings and runs the examples of its rules.
    ///
    /// # Errors
    /// Every entry that is no pattern, and every example that does not do what it promises.
    pub fn new(settings: &Commands) -> Result<Self, Vec<PolicyMistake>> {
        let mut mistakes = Vec::new();
        let mut policy = Self {
            dangers: Danger::EVERY.to_vec(),
            blocked: Vec::new(),
            rules: Vec::new(),
        };
        if settings.without_defaults() {
            policy.dangers.clear();
        }
        for entry in settings.entries() {
            if let Err(mistake) = policy.block(entry) {
                mistakes.push(mistake);
            }
        }
        for settings in &settings.rules {
            match Rule::new(settings) {
                Ok(rule) => {
                    mistakes.extend(rule.failed_examples(settings));
                    policy.rules.push(rule);
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() {
            Ok(policy)
        } else {
            Err(mistakes)
        }
    }

    /// Returns the policy with further blocked commands, as a caller may ask for.
    ///
    /// # Errors
    /// The first entry that is no pattern.
    pub fn tightened(&self, entries: &[String]) -> Result<Self, PolicyMistake> {
        let mut policy = self.clone();
        for entry in entries {
            policy.block(entry)?;
        }
        Ok(policy)
    }

    /// Returns the blocked entries, for people.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        let dangers = self.dangers.iter().map(|danger| danger.entry().to_owned());
        dangers
            .chain(self.blocked.iter().map(|(entry, _)| entry.clone()))
            .collect()
    }

    fn block(&mut self, entry: &str) -> Result<(), PolicyMistake> {
        if let Some(danger) = Danger::of_entry(entry) {
            if !self.dangers.contains(&danger) {
                self.dangers.push(danger);
            }
            return Ok(());
        }
        let pattern = Pattern::read(entry).map_err(|why| PolicyMistake::entry(entry, why))?;
        self.blocked.push((entry.to_owned(), pattern));
        Ok(())
    }

    /// Judges a shell text.
    #[must_use]
    pub fn judge(&self, text: &str, around: Surroundings<'_>) -> Judgement {
        let reading = shell::read(text, around.directory, around.home);
        let mut findings = Vec::new();
        if self.dangers.contains(&Danger::ForkBomb) {
            for bomb in &reading.bombs {
                findings.push(Finding {
                    verdict: Verdict::Deny,
                    rule: Danger::ForkBomb.entry().to_owned(),
                    command: bomb.clone(),
                    reason: Danger::ForkBomb.meaning().to_owned(),
                });
            }
        }
        let mut all_allowed = !reading.pieces.is_empty() && reading.doubts.is_empty();
        for piece in &reading.pieces {
            let found = self.judge_piece(piece, around.home);
            all_allowed &= found
                .iter()
                .any(|finding| finding.verdict == Verdict::Allow);
            findings.extend(found);
        }
        for doubt in reading.doubts {
            findings.push(Finding {
                verdict: Verdict::Unknown,
                rule: "not told in advance".to_owned(),
                command: doubt.what,
                reason: doubt.why.to_owned(),
            });
        }
        let strictest = findings.iter().map(|finding| finding.verdict).max();
        findings.dedup();
        findings.truncate(FINDINGS_MAX);
        Judgement {
            verdict: strictest.unwrap_or(Verdict::Allow),
            reads_only: reading::only(&reading.pieces)
                && findings
                    .iter()
                    .all(|finding| finding.verdict == Verdict::Allow),
            allowed_by_rule: all_allowed,
            findings,
        }
    }

    fn judge_piece(&self, piece: &piece::Piece, home: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |fit: Fit, verdict: Verdict, rule: &str, reason: &str| {
            let (verdict, reason) = match fit {
                Fit::No => return,
                Fit::Maybe if verdict == Verdict::Allow => return,
                Fit::Maybe => (Verdict::Unknown, format!("it may be this: {reason}")),
                Fit::Yes => (verdict, reason.to_owned()),
            };
            findings.push(Finding {
                verdict,
                rule: rule.to_owned(),
                command: piece.shown(),
                reason,
            });
        };
        for danger in &self.dangers {
            find(
                danger.fit(piece, home),
                Verdict::Deny,
                danger.entry(),
                danger.meaning(),
            );
        }
        for (entry, pattern) in &self.blocked {
            find(
                pattern.fit(piece, home),
                Verdict::Deny,
                entry,
                "the operator or the caller blocked it",
            );
        }
        for rule in &self.rules {
            find(
                rule.pattern.fit(piece, home),
                rule.decision,
                &rule.name,
                &rule.reason,
            );
        }
        findings
    }
}

const FINDINGS_MAX: usize = 32;

#[cfg(test)]
mod tests;
