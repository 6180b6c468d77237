//! Records that the settings are not those that were in use last (`config.change`).
//!
//! A change shows at start and at a reload. Names of the keys that changed are recorded, not their
//! values; the values in force are kept beside the tokens.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use config::home::Home;
use config::load::Effective;
use config::private;
use serde_json::{Map, Value};

use crate::audit::Audit;
use crate::audit::record::{Draft, Outcome, Phase, SYSTEM};

/// The audit action.
pub(crate) const CONFIG_CHANGE: &str = "config.change";

type Values = BTreeMap<String, String>;

/// Compares the settings with those in use last, records a difference, and keeps them.
///
/// # Errors
/// When they cannot be kept or the record cannot be made durable: then the next start could not
/// tell either.
pub(crate) async fn record(home: &Home, effective: &[Effective], audit: &Audit) -> io::Result<()> {
    let path = file(home);
    let now = values(effective);
    let before = read(&path)?;
    let changed = match &before {
        Some(before) => changed_keys(before, &now),
        None => Vec::new(),
    };
    if before.is_some() && changed.is_empty() {
        return Ok(());
    }
    let details = match before {
        Some(_) => Map::from_iter([("changed".to_owned(), Value::from(changed.join(", ")))]),
        None => Map::from_iter([("first_start".to_owned(), Value::from(true))]),
    };
    let draft = Draft {
        user: SYSTEM,
        resource: "config:gateway",
        details: Some(&details),
        ..Draft::new(CONFIG_CHANGE, Phase::Event, Outcome::Done)
    };
    audit.durable(draft).await.map_err(io::Error::other)?;
    private::replace_file(&path, &serde_json::to_vec_pretty(&now)?)
}

fn file(home: &Home) -> PathBuf {
    home.dashboard().join("settings.json")
}

fn values(effective: &[Effective]) -> Values {
    effective
        .iter()
        .map(|row| (row.key.clone(), row.value.clone()))
        .collect()
}

/// What cannot be read as settings counts as other settings, not as none.
fn read(path: &std::path::Path) -> io::Result<Option<Values>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or_default())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn changed_keys(before: &Values, now: &Values) -> Vec<String> {
    let keys = before.keys().chain(now.keys());
    let mut changed: Vec<String> = keys
        .filter(|key| before.get(*key) != now.get(*key))
        .cloned()
        .collect();
    changed.sort_unstable();
    changed.dedup();
    changed
}

#[cfg(test)]
mod tests {
    use super::{Values, changed_keys};

    #[test]
    fn every_kind_of_difference_is_named_once() {
        let values = |rows: &[(&str, &str)]| -> Values {
            rows.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let before = values(&[("gone", "1"), ("same", "1"), ("other", "1")]);
        let now = values(&[("new", "1"), ("same", "1"), ("other", "2")]);
        assert_eq!(changed_keys(&before, &now), ["gone", "new", "other"]);
        assert_eq!(changed_keys(&now, &now), [""; 0]);
    }
}
