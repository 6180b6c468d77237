//! Reads the audit trail as an auditor would: the files, line by line.

use std::fs;
use std::path::{Path, PathBuf};

use config::home::Home;
use serde_json::Value;

use crate::poll;

/// Returns the day and the number of a file in its day: `audit-2026-02-02.jsonl` is number 0.
fn age(path: &Path) -> (String, u32) {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (day, number) = name.split_once('.').unwrap_or((&name, "0"));
    (day.to_owned(), number.parse().unwrap_or(u32::MAX))
}

/// The records of one deployment.
#[derive(Debug, Clone)]
pub struct AuditTrail {
    directory: PathBuf,
}

impl AuditTrail {
    /// Looks into the audit folder of a data directory.
    #[must_use]
    pub fn of(home: &Home) -> Self {
        Self {
            directory: home.audit(),
        }
    }

    /// Returns the files, oldest first.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
            .collect();
        files.sort_by_key(|path| age(path));
        files
    }

    /// Returns every whole record, oldest first.
    ///
    /// # Panics
    /// When a whole line is not JSON.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        let mut records = Vec::new();
        for file in self.files() {
            let text = fs::read_to_string(&file).expect("an audit file can be read");
            // The last line may be under way.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            for line in whole.lines() {
                let record = serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{}: {error}: {line}", file.display()));
                records.push(record);
            }
        }
        records
    }

    /// Returns the records of one action.
    ///
    /// # Panics
    /// When a whole line is not JSON.
    #[must_use]
    pub fn of_action(&self, action: &str) -> Vec<Value> {
        let mut records = self.records();
        records.retain(|record| record["action"] == action);
        records
    }

    /// Waits for a record that fits and returns it.
    ///
    /// # Panics
    /// When there is none in time.
    #[must_use]
    pub fn until(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        poll::until(&format!("a record of {what}"), || {
            self.records().into_iter().find(|record| fits(record))
        })
    }
}
