//! The operator's providers, and what an agent's work may cost.

use std::fmt;

use crate::load::{Key, Reader};

/// A provider: a program that does an agent's work.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// The name that callers use.
    pub name: String,
    /// Program and arguments; the prompt comes on standard input. Empty: those of the built-in
    /// provider of this name.
    pub command: Vec<String>,
    /// Names of the runtime's variables that the program gets.
    pub environment: Vec<String>,
    /// How its output is read; none means as that of the built-in provider of this name, else text.
    pub dialect: Option<Dialect>,
    /// How it asks before it acts; none means as the built-in provider of this name, else not at all.
    pub asks: Option<Asks>,
    /// Arguments that name a model, each with `{model}` for its name; empty: no model can be chosen.
    pub model_arguments: Vec<String>,
    /// What its tokens cost, if the program itself does not say.
    pub price: Option<Price>,
}

/// How the output of a provider's program is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Lines for people; the exit code tells the rest.
    Text,
    /// The events of `claude --output-format stream-json`.
    Claude,
    /// The events of `codex exec --json`.
    Codex,
}

/// How a provider's program asks before it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// By a handler and a permission tool, which it is given as `claude` takes them.
    Hook,
    /// By its own streams, in the language of `codex app-server`.
    AppServer,
    /// By its own streams, in the Agent Client Protocol.
    Acp,
}

/// What tokens cost, in US dollars for a million of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Input tokens that were not cached.
    pub input: f64,
    /// Input tokens that were cached.
    pub cached_input: f64,
    /// Output tokens.
    pub output: f64,
}

/// How much a session may use before it pauses and asks; none means no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// US dollars.
    pub usd: Option<f64>,
    /// Input and output tokens together.
    pub tokens: Option<u64>,
    /// Seconds during which its agent worked.
    pub work_seconds: Option<u64>,
    /// Bytes of its folder on disk.
    pub disk_bytes: Option<u64>,
}

impl Dialect {
    /// Returns the name as set.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Claude => "claude",
            Self::Codex => "codex",
        }
    }
}

impl Asks {
    /// Returns the name as set.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::AppServer => "app-server",
            Self::Acp => "acp",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

pub(super) fn providers(reader: &mut Reader) -> Vec<Provider> {
    let names = reader.tables_below("providers");
    names
        .into_iter()
        .map(|name| provider(reader, name))
        .collect()
}

fn provider(reader: &mut Reader, name: String) -> Provider {
    let key = |member: &str| Key::new(format!("providers.{name}.{member}"));
    let command = reader.value(&key("command"), Vec::<String>::new());
    let environment = reader.value(&key("environment"), Vec::new());
    let model_arguments = reader.value(&key("model_arguments"), Vec::new());
    let is_built_in = BUILT_IN.contains(&name.as_str());
    if command.first().map_or(!is_built_in, String::is_empty) {
        reader.mistake(
            &format!("providers.{name}.command"),
            "names no program: set a list of program and arguments",
        );
    }
    let dialect = dialect(reader, &name);
    let asks = asks(reader, &name);
    let price = price(reader, &name);
    Provider {
        name,
        command,
        environment,
        dialect,
        asks,
        model_arguments,
        price,
    }
}

fn dialect(reader: &mut Reader, name: &str) -> Option<Dialect> {
    let key = format!("providers.{name}.dialect");
    let text = reader.value(&Key::new(key.clone()), String::new());
    let found = [Dialect::Text, Dialect::Claude, Dialect::Codex]
        .into_iter()
        .find(|dialect| dialect.name() == text);
    if found.is_none() && !text.is_empty() {
        reader.mistake(&key, format!("{text:?} is not text, claude or codex"));
    }
    found
}

fn asks(reader: &mut Reader, name: &str) -> Option<Asks> {
    let key = format!("providers.{name}.asks");
    let text = reader.value(&Key::new(key.clone()), String::new());
    let found = [Asks::Hook, Asks::AppServer, Asks::Acp]
        .into_iter()
        .find(|asks| asks.name() == text);
    if found.is_none() && !text.is_empty() {
        reader.mistake(&key, format!("{text:?} is not hook, app-server or acp"));
    }
    found
}

fn price(reader: &mut Reader, name: &str) -> Option<Price> {
    let mut read = |member: &str| dollars(reader, &format!("providers.{name}.{member}"), &[]);
    let input = read("usd_per_million_input");
    let cached_input = read("usd_per_million_cached_input");
    let output = read("usd_per_million_output");
    let input = input?;
    Some(Price {
        input,
        cached_input: cached_input.unwrap_or(input),
        output: output?,
    })
}

pub(super) fn budget(reader: &mut Reader) -> Budget {
    let usd = dollars(reader, "budget.usd", &["LOKI_BUDGET_LIMIT"]);
    let mut count = |key: &'static str, default: u64| {
        let number = reader.value(&Key::new(key), default);
        (number > 0).then_some(number)
    };
    Budget {
        usd,
        tokens: count("budget.tokens", 0),
        work_seconds: count("budget.work_seconds", 0),
        disk_bytes: count("budget.disk_bytes", DISK_BYTES_DEFAULT),
    }
}

/// Reads an amount of US dollars; empty is none.
fn dollars(reader: &mut Reader, key: &str, variables: &'static [&'static str]) -> Option<f64> {
    let read = Key::new(key.to_owned()).variables(variables);
    let text = reader.value(&read, String::new());
    if text.is_empty() {
        return None;
    }
    match text.parse::<f64>() {
        Ok(amount) if amount.is_finite() && amount >= 0.0 => Some(amount),
        Ok(_) | Err(_) => {
            reader.mistake(
                key,
                format!("{text:?} is not an amount of US dollars, such as \"2.50\""),
            );
            None
        }
    }
}

/// Names of the providers that need no command.
pub const BUILT_IN: [&str; 4] = ["claude", "codex", "gemini", "opencode"];

const DISK_BYTES_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;
