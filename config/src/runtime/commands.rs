//! Settings of the command policy: blocked commands, and the operator's own rules with examples.

use crate::contract::policy::Verdict;
use crate::load::{Key, Reader};

/// Which commands agents may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// Blocked commands besides the defaults; `!default` takes those away.
    pub blocked: Vec<String>,
    /// The operator's rules, by name.
    pub rules: Vec<CommandRule>,
}

/// One rule of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRule {
    /// Its name.
    pub name: String,
    /// `allow`, `ask` or `deny`.
    pub decision: Verdict,
    /// The command pattern.
    pub pattern: String,
    /// Why, for people.
    pub reason: String,
    /// Commands that it must match; run when the settings are loaded.
    pub matches: Vec<String>,
    /// Commands that it must not match.
    pub not_matches: Vec<String>,
}

impl Commands {
    /// Returns whether the default entries are taken away.
    #[must_use]
    pub fn without_defaults(&self) -> bool {
        self.blocked.iter().any(|entry| entry == NO_DEFAULTS)
    }

    /// Returns the entries without the mark that takes the defaults away.
    pub fn entries(&self) -> impl Iterator<Item = &String> {
        self.blocked.iter().filter(|entry| *entry != NO_DEFAULTS)
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        let key = Key::new("commands.blocked").variables(&["LOKI_BLOCKED_COMMANDS"]);
        let commands = Self {
            blocked: reader.value(&key, Vec::new()),
            rules: rules(reader),
        };
        if commands.without_defaults() {
            reader.warning(
                "commands.blocked: !default takes the default entries away (rm -rf /, dd if=, mkfs, \
                 the fork bomb); agents may run them",
            );
        }
        commands
    }
}

fn rules(reader: &mut Reader) -> Vec<CommandRule> {
    let mut rules = Vec::new();
    for name in reader.tables_below("commands.rules") {
        let key = |part: &str| Key::new(format!("commands.rules.{name}.{part}"));
        let decision = reader.value(&key("decision"), "ask".to_owned());
        let rule = CommandRule {
            decision: decision.parse().unwrap_or(Verdict::Unknown),
            pattern: reader.value(&key("pattern"), String::new()),
            reason: reader.value(&key("reason"), format!("the operator's rule {name}")),
            matches: reader.value(&key("match"), Vec::new()),
            not_matches: reader.value(&key("not_match"), Vec::new()),
            name: name.clone(),
        };
        if rule.decision == Verdict::Unknown {
            let place = format!("commands.rules.{name}.decision");
            reader.mistake(
                &place,
                format!("{decision:?} is no decision: use allow, ask or deny"),
            );
        }
        if rule.matches.is_empty() {
            let place = format!("commands.rules.{name}.match");
            reader.mistake(
                &place,
                "gives no example: list at least one command that it must match",
            );
        }
        rules.push(rule);
    }
    rules
}

/// The entry that takes the default entries away; the operator's alone.
pub const NO_DEFAULTS: &str = "!default";
