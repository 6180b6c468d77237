//! The provider `command`: any program that reads a prompt on standard input and works where it starts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use config::runtime::Provider;

/// A program that does an agent's work. Shows the names of its variables, never their values.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    name: String,
    program_and_arguments: Vec<String>,
    variables: BTreeMap<String, String>,
}

impl Command {
    /// Builds the program from its settings and those of its named variables that are set.
    #[must_use]
    pub fn new(settings: &Provider, environment: &BTreeMap<String, String>) -> Self {
        let variables = settings
            .environment
            .iter()
            .filter_map(|name| Some((name.clone(), environment.get(name)?.clone())))
            .collect();
        Self {
            name: settings.name.clone(),
            program_and_arguments: settings.command.clone(),
            variables,
        }
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

    /// Returns program and arguments.
    #[must_use]
    pub fn program_and_arguments(&self) -> Vec<OsString> {
        self.program_and_arguments
            .iter()
            .map(OsString::from)
            .collect()
    }

    /// Returns the variables that the program gets besides the jail's own.
    #[must_use]
    pub const fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
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

    use config::runtime::Provider;

    use super::Command;

    #[test]
    fn a_program_gets_its_named_variables_alone_and_never_shows_them() {
        let settings = Provider {
            name: "scripted".to_owned(),
            command: vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
            environment: vec!["API_KEY".to_owned(), "UNSET".to_owned()],
        };
        let environment: BTreeMap<_, _> = [("API_KEY", "hunter2"), ("OTHER", "private")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let command = Command::new(&settings, &environment);
        let variables: Vec<_> = command.variables().iter().collect();
        assert_eq!(variables, [(&"API_KEY".to_owned(), &"hunter2".to_owned())]);
        assert_eq!(command.program(), "sh");
        let shown = format!("{command:?}");
        assert!(
            shown.contains("API_KEY") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
