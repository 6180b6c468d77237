//! A settings file as a flat list of dotted keys, each with its line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::mistake::Mistake;

/// A scalar or a list of scalars, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// `true` or `false`.
    Switch(bool),
    /// A number, as text.
    Number(String),
    /// A text.
    Text(String),
    /// A list of texts or numbers.
    List(Vec<String>),
}

impl Written {
    /// Shows the value as the file has it.
    #[must_use]
    pub fn show(&self) -> String {
        match self {
            Self::Switch(switch) => switch.to_string(),
            Self::Number(text) => text.clone(),
            Self::Text(text) => format!("{text:?}"),
            Self::List(list) => format!("{list:?}"),
        }
    }
}

/// One key's value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The value.
    pub written: Written,
    /// Its line, from 1.
    pub line: usize,
}

/// Reads a TOML text into dotted keys; what cannot be read is pushed to `mistakes`.
pub fn read(path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, Leaf> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = error.span().map(|span| line_of(text, &span));
        mistakes.push(Mistake::in_file(path, line, "", error.message().to_owned()));
    }
    let mut leaves = BTreeMap::new();
    let mut walk = Walk {
        path,
        text,
        mistakes,
        leaves: &mut leaves,
    };
    walk.table("", table.get_ref());
    leaves
}

struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    mistakes: &'a mut Vec<Mistake>,
    leaves: &'a mut BTreeMap<String, Leaf>,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let name = name.get_ref();
            let key = if prefix.is_empty() {
                name.to_string()
            } else {
                format!("{prefix}.{name}")
            };
            let line = line_of(self.text, &value.span());
            if let DeValue::Table(inner) = value.get_ref() {
                self.table(&key, inner);
                continue;
            }
            if let DeValue::Array(items) = value.get_ref()
                && let Some(tables) = tables(items.iter().map(|item| item.get_ref()))
            {
                for (number, inner) in tables.into_iter().enumerate() {
                    self.table(&format!("{key}.{number}"), inner);
                }
                continue;
            }
            match written(value.get_ref()) {
                Some(written) => {
                    self.leaves.insert(key, Leaf { written, line });
                }
                None => self.mistakes.push(Mistake::in_file(
                    self.path,
                    Some(line),
                    &key,
                    "expected a text, a number, true, false, or a list of texts",
                )),
            }
        }
    }
}

/// Returns the tables of an array such as `[[oidc.issuers]]`; none if it holds anything else.
fn tables<'a, 'text: 'a>(
    items: impl Iterator<Item = &'a DeValue<'text>>,
) -> Option<Vec<&'a DeTable<'text>>> {
    let tables = items.map(|item| match item {
        DeValue::Table(inner) => Some(inner),
        DeValue::Boolean(_)
        | DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => None,
    });
    tables
        .collect::<Option<Vec<_>>>()
        .filter(|tables| !tables.is_empty())
}

fn written(value: &DeValue<'_>) -> Option<Written> {
    match value {
        DeValue::Boolean(switch) => Some(Written::Switch(*switch)),
        DeValue::String(text) => Some(Written::Text(text.to_string())),
        DeValue::Integer(number) => Some(Written::Number(number.to_string())),
        DeValue::Float(number) => Some(Written::Number(number.to_string())),
        DeValue::Array(items) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                DeValue::Integer(number) => Some(number.to_string()),
                DeValue::Boolean(_)
                | DeValue::Float(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_)
                | DeValue::Table(_) => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(Written::List),
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    let end = span.start.min(text.len());
    text.as_bytes()[..end]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}
