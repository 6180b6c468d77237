//! A provider's program: what is started, with which variables, and how its output is read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use config::runtime::{Asks, Dialect, Price, Provider};

use super::builtin::BuiltIn;

/// A program that does an agent's work. Shows the names of its variables, never their values.
#[derive(Clone, PartialEq)]
pub struct Command {
    name: String,
    program_and_arguments: Vec<String>,
    /// The same for a run in which it asks, if these are others.
    asking: Option<Vec<String>>,
    /// The model, if one was chosen.
    model: Option<String>,
    /// Further arguments where it does not ask before it acts.
    unasked: Vec<String>,
    asks: Option<Asks>,
    variables: BTreeMap<String, String>,
    /// Names of those of them that are the runtime's own.
    given: Vec<String>,
    dialect: Dialect,
    model_arguments: Vec<String>,
    price: Option<Price>,
    needs: Option<Needs>,
}

/// What a vendor's program must be for its events to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The oldest version that will do.
    pub oldest: [u32; 3],
    /// The oldest that asks before it acts, and blocks what it cannot ask for; none does not ask.
    pub oldest_asking: Option<[u32; 3]>,
    /// How to get one.
    pub fix: &'static str,
}

impl Command {
    /// Builds the program from its settings and those of its named variables that are set; what the
    /// settings leave out comes from the built-in provider of the name.
    #[must_use]
    pub(super) fn new(
        settings: &Provider,
        built_in: Option<&BuiltIn>,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        // A command of one's own makes the name one's own too.
        let built_in = built_in.filter(|_| settings.command.is_empty());
        let owned = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };
        let or = |own: &[String], other: fn(&BuiltIn) -> &'static [&'static str]| match built_in {
            Some(built_in) if own.is_empty() => owned(other(built_in)),
            Some(_) | None => own.to_vec(),
        };
        let named: Vec<String> = or(&settings.environment, |built_in| built_in.environment);
        let fixed = built_in.map_or(&[][..], |built_in| built_in.fixed);
        let mut variables: BTreeMap<String, String> = fixed
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let given = named
            .iter()
            .filter(|name| environment.contains_key(*name))
            .cloned()
            .collect();
        variables.extend(
            named
                .iter()
                .filter_map(|name| Some((name.clone(), environment.get(name)?.clone()))),
        );
        Self {
            name: settings.name.clone(),
            program_and_arguments: or(&settings.command, |built_in| built_in.command),
            asking: built_in.and_then(|built_in| Some(owned(built_in.asking?))),
            model: None,
            unasked: built_in.map_or_else(Vec::new, |built_in| owned(built_in.unasked)),
            asks: settings
                .asks
                .or(built_in.and_then(|built_in| Some(built_in.asks?.0))),
            variables,
            given,
            dialect: settings
                .dialect
                .or(built_in.map(|built_in| built_in.dialect))
                .unwrap_or(Dialect::Text),
            model_arguments: or(&settings.model_arguments, |built_in| {
                built_in.model_arguments
            }),
            price: settings.price,
            needs: built_in.map(|built_in| Needs {
                oldest: built_in.oldest,
                oldest_asking: built_in.asks.map(|(_, oldest)| oldest),
                fix: built_in.fix,
            }),
        }
    }

    /// Chooses a model; nothing if the program takes none.
    #[must_use]
    pub fn with_model(mut self, model: &str) -> Option<Self> {
        if self.model_arguments.is_empty() {
            return None;
        }
        let arguments = self.model_arguments.iter();
        let mut chosen: Vec<String> = arguments
            .map(|argument| argument.replace("{model}", model))
            .collect();
        // A lone dash at the end stands for standard input and stays there.
        let at = match self.program_and_arguments.last().map(String::as_str) {
            Some("-") => self.program_and_arguments.len() - 1,
            Some(_) | None => self.program_and_arguments.len(),
        };
        let rest = self.program_and_arguments.split_off(at);
        self.program_and_arguments.append(&mut chosen);
        self.program_and_arguments.extend(rest);
        self.model = Some(model.to_owned());
        Some(self)
    }

    /// Returns the name that callers use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the program as configured, for records.
    #[must_use]
    pub fn program(&self) -> &str {
        self.program_and_arguments
            .first()
            .map_or("", String::as_str)
    }

    /// Returns program and arguments for a run in which it does not ask before it acts.
    #[must_use]
    pub fn program_and_arguments(&self) -> Vec<OsString> {
        let all = self.program_and_arguments.iter().chain(&self.unasked);
        all.map(OsString::from).collect()
    }

    /// Returns program and arguments for a run in which it asks, with those that tell it where.
    #[must_use]
    pub fn asking(&self, where_to: Vec<OsString>) -> Vec<OsString> {
        let own = self.asking.as_ref().unwrap_or(&self.program_and_arguments);
        own.iter().map(OsString::from).chain(where_to).collect()
    }

    /// Returns the model, if one was chosen.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns how it asks before it acts, if it is of a version that does.
    #[must_use]
    pub const fn asks(&self) -> Option<Asks> {
        self.asks
    }

    /// Returns the variables that the program gets besides the jail's own.
    #[must_use]
    pub const fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Returns the names of the runtime's own variables that the program gets.
    #[must_use]
    pub fn given(&self) -> &[String] {
        &self.given
    }

    /// Returns how its output is read.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns what its tokens cost, if the operator said so.
    #[must_use]
    pub const fn price(&self) -> Option<Price> {
        self.price
    }

    /// Returns what the program must be; none for one's own.
    #[must_use]
    pub const fn needs(&self) -> Option<Needs> {
        self.needs
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Command")
            .field("name", &self.name)
            .field("program", &self.program())
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use config::runtime::{Dialect, Provider};

    use super::super::builtin::BUILT_IN;
    use super::Command;

    fn settings(name: &str, command: &[&str], environment: &[&str]) -> Provider {
        let owned = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };
        Provider {
            name: name.to_owned(),
            command: owned(command),
            environment: owned(environment),
            dialect: None,
            asks: None,
            model_arguments: Vec::new(),
            price: None,
        }
    }

    #[test]
    fn a_program_gets_its_named_variables_alone_and_never_shows_them() {
        let settings = settings("scripted", &["sh", "-c", "true"], &["API_KEY", "UNSET"]);
        let environment: BTreeMap<_, _> = [("API_KEY", "hunter2"), ("OTHER", "private")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let command = Command::new(&settings, None, &environment);
        let variables: Vec<_> = command.variables().iter().collect();
        assert_eq!(variables, [(&"API_KEY".to_owned(), &"hunter2".to_owned())]);
        assert_eq!(command.program(), "sh");
        assert_eq!(command.dialect(), Dialect::Text);
        let shown = format!("{command:?}");
        assert!(
            shown.contains("API_KEY") && !shown.contains("hunter2"),
            "{shown}"
        );
        assert_eq!(command.with_model("large"), None, "it takes no model");
    }

    #[test]
    fn a_built_in_name_with_a_command_of_its_own_is_one_s_own() {
        let built_in = &BUILT_IN[0];
        let none = BTreeMap::new();
        let own = Command::new(&settings("claude", &["sh"], &[]), Some(built_in), &none);
        assert_eq!((own.dialect(), own.needs()), (Dialect::Text, None));
        assert_eq!(own.asks(), None, "nobody knows how");
        let vendor = Command::new(&settings("claude", &[], &[]), Some(built_in), &none);
        assert_eq!(vendor.dialect(), Dialect::Claude);
        assert!(vendor.needs().is_some());
    }

    #[test]
    fn a_program_that_asks_is_not_told_to_go_without() {
        let claude = Command::new(
            &settings("claude", &[], &[]),
            Some(&BUILT_IN[0]),
            &BTreeMap::new(),
        );
        let free = claude.program_and_arguments();
        assert_eq!(free.last().unwrap(), "--dangerously-skip-permissions");
        let asking = claude.asking(vec!["--settings".into(), "x".into()]);
        assert!(
            asking
                .iter()
                .all(|part| !part.to_string_lossy().contains("dangerously"))
        );
        assert_eq!(asking[asking.len() - 2..], ["--settings", "x"]);
    }

    #[test]
    fn a_model_is_named_before_the_mark_of_standard_input() {
        let codex = Command::new(
            &settings("codex", &[], &[]),
            Some(&BUILT_IN[1]),
            &BTreeMap::new(),
        );
        let chosen = codex.with_model("large").expect("a model");
        let arguments = chosen.program_and_arguments();
        let end: Vec<_> = arguments.iter().rev().take(3).rev().collect();
        assert_eq!(end, ["--model", "large", "-"]);
    }
}
