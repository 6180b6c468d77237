//! Reads one setting after another, remembers where each came from, and collects every mistake.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use super::document::{self, Leaf, Written};
use super::mistake::{Mistake, Mistakes};
use super::value::Value;
use super::variables::{self, Standing};
use super::{FILE_BYTES_MAX, Sources};

/// Where an effective value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A settings file, at this line.
    File(PathBuf, usize),
    /// A flag.
    Flag(&'static str),
    /// An environment variable.
    Variable(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path, line) => write!(formatter, "{}:{line}", path.display()),
            Self::Flag(name) | Self::Variable(name) => formatter.write_str(name),
        }
    }
}

/// A setting's effective value, ready to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The key in the file.
    pub key: String,
    /// The value as a file would have it.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// The names of one setting.
#[derive(Clone, Debug)]
pub struct Key {
    name: Cow<'static, str>,
    variables: &'static [&'static str],
    flag: Option<&'static str>,
    must_agree: bool,
}

impl Key {
    /// Names a setting by its dotted key in the file.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            variables: &[],
            flag: None,
            must_agree: false,
        }
    }

    /// Adds the variables that set it; the first that is set counts.
    #[must_use]
    pub const fn variables(mut self, variables: &'static [&'static str]) -> Self {
        self.variables = variables;
        self
    }

    /// Adds the flag that sets it.
    #[must_use]
    pub const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// Makes it an error that two of the variables and the flag disagree.
    #[must_use]
    pub const fn must_agree(mut self) -> Self {
        self.must_agree = true;
        self
    }
}

/// Reads settings from their sources.
#[derive(Debug)]
pub struct Reader {
    sources: Sources,
    leaves: BTreeMap<String, Leaf>,
    known: BTreeSet<String>,
    effective: Vec<Effective>,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

impl Reader {
    /// Opens the sources; what is wrong with them comes out of [`Self::finish`].
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        let mut mistakes = Vec::new();
        let leaves = match &sources.file {
            Some((path, text)) if text.len() as u64 > FILE_BYTES_MAX => {
                mistakes.push(Mistake::in_file(path, None, "", "the file is too long"));
                BTreeMap::new()
            }
            Some((path, text)) => document::read(path, text, &mut mistakes),
            None => BTreeMap::new(),
        };
        Self {
            sources,
            leaves,
            known: BTreeSet::new(),
            effective: Vec::new(),
            mistakes,
            warnings: Vec::new(),
        }
    }

    /// Returns the effective value of a setting; after a mistake, the default.
    pub fn value<T: Value>(&mut self, key: &Key, default: T) -> T {
        let (value, origin) = match self.find(key) {
            Some((value, origin)) => (value, origin),
            None => (default, Origin::Default),
        };
        self.remember(key, value.show(), origin);
        value
    }

    /// Returns the effective value of a setting that may be absent.
    pub fn optional<T: Value>(&mut self, key: &Key) -> Option<T> {
        let found = self.find(key);
        match &found {
            Some((value, origin)) => self.remember(key, T::show(value), origin.clone()),
            None => self.remember(key, "(none)".to_owned(), Origin::Default),
        }
        found.map(|(value, _)| value)
    }

    /// Returns the value of a variable that has no key of its own.
    pub fn variable<T: Value>(&mut self, name: &'static str) -> Option<T> {
        let text = self.sources.environment.get(name)?;
        match T::from_text(text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.mistakes.push(Mistake::named(name, "", message));
                None
            }
        }
    }

    /// Returns the names of the tables below `prefix`, such as the providers' names.
    #[must_use]
    pub fn tables_below(&self, prefix: &str) -> Vec<String> {
        let names: BTreeSet<String> = self
            .leaves
            .keys()
            .filter_map(|key| key.strip_prefix(prefix)?.strip_prefix('.'))
            .filter_map(|rest| rest.split_once('.'))
            .map(|(name, _)| name.to_owned())
            .collect();
        names.into_iter().collect()
    }

    /// Returns how many tables an array such as `[[oidc.issuers]]` has.
    #[must_use]
    pub fn array_len(&self, prefix: &str) -> usize {
        let numbers = self
            .tables_below(prefix)
            .into_iter()
            .filter_map(|name| name.parse::<usize>().ok());
        numbers.max().map_or(0, |last| last + 1)
    }

    /// Returns everything below `prefix` as written, by the rest of its key; all of it counts as
    /// known.
    pub fn written_below(&mut self, prefix: &str) -> Vec<(String, Written)> {
        let start = format!("{prefix}.");
        let below: Vec<(String, Leaf)> = self
            .leaves
            .iter()
            .filter(|(key, _)| key.starts_with(&start))
            .map(|(key, leaf)| (key.clone(), leaf.clone()))
            .collect();
        let path = self
            .sources
            .file
            .as_ref()
            .map(|(path, _)| path.clone())
            .unwrap_or_default();
        let mut found = Vec::new();
        for (key, leaf) in below {
            self.known.insert(key.clone());
            self.effective.push(Effective {
                key: key.clone(),
                value: leaf.written.show(),
                origin: Origin::File(path.clone(), leaf.line),
            });
            found.push((key[start.len()..].to_owned(), leaf.written));
        }
        found
    }

    /// Overrides what [`Self::value`] remembered for a key.
    pub fn overridden(&mut self, key: &str, value: String, origin: Origin) {
        self.effective.retain(|effective| effective.key != key);
        self.effective.push(Effective {
            key: key.to_owned(),
            value,
            origin,
        });
    }

    /// Adds a mistake about a key that was read, at the place that set it.
    pub fn mistake(&mut self, key: &str, message: impl Into<String>) {
        let place = self
            .effective
            .iter()
            .find(|effective| effective.key == key)
            .map_or_else(|| "settings".to_owned(), |found| found.origin.to_string());
        self.mistakes.push(Mistake::named(&place, key, message));
    }

    /// Adds something that the operator should look at.
    pub fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Returns the environment, for values that settings are relative to.
    #[must_use]
    pub const fn environment(&self) -> &BTreeMap<String, String> {
        &self.sources.environment
    }

    /// Ends the reading: unknown keys and forbidden variables are mistakes too.
    ///
    /// # Errors
    /// All mistakes, if there is any.
    pub fn finish(mut self) -> Result<(Vec<Effective>, Vec<String>), Mistakes> {
        self.refuse_unknown_keys();
        self.judge_variables();
        if self.mistakes.is_empty() {
            Ok((self.effective, self.warnings))
        } else {
            Err(Mistakes(self.mistakes))
        }
    }

    /// Ends the reading of a few settings: what is wrong with the others is not looked at.
    ///
    /// # Errors
    /// The mistakes in what was read, and in the file's grammar.
    pub fn finish_partly(self) -> Result<(), Mistakes> {
        if self.mistakes.is_empty() {
            Ok(())
        } else {
            Err(Mistakes(self.mistakes))
        }
    }

    fn find<T: Value>(&mut self, key: &Key) -> Option<(T, Origin)> {
        self.known.insert(key.name.to_string());
        let given = self.given(key);
        if key.must_agree
            && let Some((name, other)) = disagreement(&given)
        {
            let message = format!("disagrees with {other}: set one of them, or both alike");
            self.mistakes
                .push(Mistake::named(&name, &key.name, message));
            return None;
        }
        if let Some((text, origin)) = given.into_iter().next() {
            return match T::from_text(&text) {
                Ok(value) => Some((value, origin)),
                Err(message) => {
                    let place = origin.to_string();
                    self.mistakes
                        .push(Mistake::named(&place, &key.name, message));
                    None
                }
            };
        }
        let leaf = self.leaves.get(key.name.as_ref())?;
        let path = self.sources.file.as_ref()?.0.clone();
        match T::from_written(&leaf.written) {
            Ok(value) => Some((value, Origin::File(path, leaf.line))),
            Err(message) => {
                let mistake = Mistake::in_file(&path, Some(leaf.line), &key.name, message);
                self.mistakes.push(mistake);
                None
            }
        }
    }

    /// The texts that set a key outside the file, strongest first.
    fn given(&self, key: &Key) -> Vec<(String, Origin)> {
        let flag = key.flag.and_then(|flag| {
            let text = self.sources.flags.get(flag)?;
            Some((text.clone(), Origin::Flag(flag)))
        });
        let variables = key.variables.iter().filter_map(|name| {
            let text = self.sources.environment.get(*name)?;
            Some((text.clone(), Origin::Variable(name)))
        });
        flag.into_iter().chain(variables).collect()
    }

    fn remember(&mut self, key: &Key, value: String, origin: Origin) {
        self.effective.push(Effective {
            key: key.name.to_string(),
            value,
            origin,
        });
    }

    fn refuse_unknown_keys(&mut self) {
        let Some((path, _)) = &self.sources.file else {
            return;
        };
        for (key, leaf) in &self.leaves {
            if self.known.contains(key) {
                continue;
            }
            let near = variables::nearest(key, self.known.iter().map(String::as_str));
            let message = near.map_or_else(
                || "unknown key".to_owned(),
                |near| format!("unknown key; did you mean {near}?"),
            );
            self.mistakes
                .push(Mistake::in_file(path, Some(leaf.line), key, message));
        }
    }

    fn judge_variables(&mut self) {
        for name in self.sources.environment.keys() {
            if !name.starts_with("LOKI_") {
                continue;
            }
            match variables::standing(name) {
                Some(Standing::Dangerous) => self.mistakes.push(Mistake::named(
                    name,
                    "",
                    "would switch a protection off, which is not supported: unset it",
                )),
                Some(Standing::Daemon | Standing::Session | Standing::CommandLine) => {}
                None => {
                    let known = variables::KNOWN.iter().map(|(known, _)| *known);
                    let near = variables::nearest(name, known)
                        .map_or(String::new(), |near| format!("; did you mean {near}?"));
                    self.warnings
                        .push(format!("unknown variable {name} has no effect{near}"));
                }
            }
        }
    }
}

/// Returns two sources that say different things, if there are any.
fn disagreement(given: &[(String, Origin)]) -> Option<(String, String)> {
    let (first, origin) = given.first()?;
    let (_, other) = given.iter().find(|(text, _)| text != first)?;
    Some((origin.to_string(), other.to_string()))
}
