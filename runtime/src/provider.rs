//! Providers: the programs that do an agent's work, named by the operator alone.
//!
//! Invariant: a caller chooses a name; program, arguments and environment come from `runtime.toml`.

mod builtin;
pub mod command;
pub mod dialect;
pub mod dialogue;
pub mod version;

use std::collections::BTreeMap;

use config::runtime::{Provider, RuntimeSettings};

pub use command::Command;

use builtin::BUILT_IN;

/// The configured providers.
#[derive(Clone, Debug)]
pub struct Providers {
    by_name: BTreeMap<String, Command>,
    default: String,
}

/// A name that no provider has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("provider {name:?} is not configured; configured: {}", listed(.configured))]
pub struct UnknownProvider {
    /// The name that was asked for.
    pub name: String,
    /// The names that there are.
    pub configured: Vec<String>,
}

impl UnknownProvider {
    /// Says how to configure it.
    #[must_use]
    pub fn fix(&self) -> String {
        let shown: String = self.name.chars().take(64).collect();
        format!(
            "add to runtime.toml: [providers.{shown}] with command = [\"program\", \"argument\", …]; \
             the prompt comes on standard input; provider = \"NAME\" or LOKI_PROVIDER sets the default"
        )
    }
}

impl Providers {
    /// Takes the providers of the settings; each gets those of its named variables that are set.
    #[must_use]
    pub fn new(settings: &RuntimeSettings, environment: &BTreeMap<String, String>) -> Self {
        let built_in = |name: &str| BUILT_IN.iter().find(|built_in| built_in.name == name);
        let mut by_name: BTreeMap<String, Command> = BUILT_IN
            .iter()
            .map(|known| {
                let untouched = Provider {
                    name: known.name.to_owned(),
                    command: Vec::new(),
                    environment: Vec::new(),
                    dialect: None,
                    asks: None,
                    model_arguments: Vec::new(),
                    price: None,
                };
                let command = Command::new(&untouched, Some(known), environment);
                (known.name.to_owned(), command)
            })
            .collect();
        by_name.extend(settings.providers.iter().map(|provider| {
            let command = Command::new(provider, built_in(&provider.name), environment);
            (provider.name.clone(), command)
        }));
        Self {
            by_name,
            default: settings.provider.clone(),
        }
    }

    /// Returns the name of the provider that a request without one gets.
    #[must_use]
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// Returns the provider of a name; without one, the default.
    ///
    /// # Errors
    /// When no provider has this name.
    pub fn find(&self, name: Option<&str>) -> Result<&Command, UnknownProvider> {
        let name = name.unwrap_or(&self.default);
        self.by_name.get(name).ok_or_else(|| UnknownProvider {
            name: name.to_owned(),
            configured: self.by_name.keys().cloned().collect(),
        })
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
