//! When each token was last used: counted in memory, written together every few seconds.
//!
//! Invariant: the token file is never written for this, and nothing is decided by it. What another
//! gateway wrote is kept: the later time of the two counts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use config::contract::id::TokenId;
use config::home::Home;
use config::private;
use serde::{Deserialize, Serialize};

use super::index::Index;
use super::store::{StoreError, open_private};

/// Longest file in bytes that is read.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

const VERSION: u32 = 1;

/// When one token was last used; shared by all snapshots that hold it.
#[derive(Debug, Default)]
pub struct LastUse(AtomicI64);

impl LastUse {
    /// Notes a use; one per second is written, the others only read.
    pub(crate) fn note(&self, now: DateTime<Utc>) {
        let second = now.timestamp();
        if self.0.load(Ordering::Relaxed) < second {
            self.0.store(second, Ordering::Relaxed);
        }
    }

    pub(crate) fn second(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    last_used_at: BTreeMap<TokenId, DateTime<Utc>>,
}

/// Returns when tokens were last used, as far as that was written.
///
/// # Errors
/// When the file is open to others, somebody else's, damaged or unreadable.
pub fn load(home: &Home) -> Result<BTreeMap<TokenId, DateTime<Utc>>, StoreError> {
    let path = home.token_usage();
    let Some(file) = open_private(&path)? else {
        return Ok(BTreeMap::new());
    };
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, BYTES_MAX), &mut text)
        .map_err(|source| StoreError::io("read", &path, source))?;
    let file: File = serde_json::from_slice(&text).map_err(|error| StoreError::Malformed {
        path: path.clone(),
        line: error.line(),
        column: error.column(),
        message: format!("not a usage file: {error}"),
    })?;
    Ok(file.last_used_at)
}

/// Writes what was used since it last wrote.
#[derive(Debug)]
pub(crate) struct Recorder {
    home: Home,
    written: i64,
}

impl Recorder {
    pub(crate) const fn new(home: Home) -> Self {
        Self { home, written: 0 }
    }

    /// Adds the uses of a snapshot's tokens to the file, if there are new ones.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&mut self, index: &Index) -> Result<(), StoreError> {
        let used: Vec<(&TokenId, i64)> = index
            .last_uses()
            .filter(|(_, second)| *second >= self.written.max(1))
            .collect();
        let Some(newest) = used.iter().map(|(_, second)| *second).max() else {
            return Ok(());
        };
        let path = self.home.token_usage();
        let lock = private::append_file(&path.with_extension("lock"))
            .map_err(|source| StoreError::io("open", &path, source))?;
        lock.lock()
            .map_err(|source| StoreError::io("lock", &path, source))?;
        let mut times = known(&self.home, &path)?;
        times.retain(|id, _| index.has(id));
        for (id, second) in used {
            if let Some(time) = DateTime::from_timestamp(second, 0) {
                let kept = times.entry(id.clone()).or_insert(time);
                *kept = (*kept).max(time);
            }
        }
        let file = File {
            version: VERSION,
            last_used_at: times,
        };
        serde_json::to_vec(&file)
            .map_err(io::Error::other)
            .and_then(|text| private::replace_file(&path, &text))
            .map_err(|source| StoreError::io("replace", &path, source))?;
        // Uses within this very second are written again next time.
        self.written = newest;
        Ok(())
    }
}

/// A damaged file is moved aside: only the times in it are lost.
fn known(home: &Home, path: &Path) -> Result<BTreeMap<TokenId, DateTime<Utc>>, StoreError> {
    match load(home) {
        Err(StoreError::Malformed { .. }) => {
            fs::rename(path, path.with_extension("damaged"))
                .map_err(|source| StoreError::io("move aside", path, source))?;
            Ok(BTreeMap::new())
        }
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::Ipv4Addr;

    use chrono::{DateTime, TimeDelta, Utc};
    use config::home::Home;

    use super::{Recorder, load};
    use crate::tokens::bounds::Bounds;
    use crate::tokens::change::Change;
    use crate::tokens::index::Index;
    use crate::tokens::record::{Permission, Wanted};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("time")
    }

    #[test]
    fn uses_are_written_once_and_the_later_time_counts() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let home = Home::new(directory.path().join(".loki"));
        let mut change = Change::begin(&home).expect("lock");
        let wanted = Wanted {
            name: "bot".parse().expect("a name"),
            permission: Permission::new(None, None).expect("agreement"),
            expiry: None,
            description: None,
            bounds: Bounds::default(),
        };
        let (fresh, record) = change.add(wanted, "local:test", now()).expect("a token");
        change.commit().expect("commit");
        let here = Ipv4Addr::LOCALHOST.into();
        let index = Index::load(&home).expect("loaded");
        let mut recorder = Recorder::new(home.clone());
        recorder.write(&index).expect("nothing to write");
        assert!(!home.token_usage().exists());
        let later = now() + TimeDelta::seconds(9);
        index
            .credential(&fresh.raw(), here, later)
            .expect("accepted");
        index
            .credential(&fresh.raw(), here, now())
            .expect("accepted");
        recorder.write(&index).expect("written");
        assert_eq!(load(&home).expect("times").get(&record.id), Some(&later));
        // Another gateway knows of an earlier use only.
        let other = Index::load(&home).expect("loaded");
        other
            .credential(&fresh.raw(), here, now())
            .expect("accepted");
        Recorder::new(home.clone()).write(&other).expect("written");
        assert_eq!(load(&home).expect("times").get(&record.id), Some(&later));
        fs::write(home.token_usage(), "{").expect("damaged");
        assert!(load(&home).is_err());
        recorder.write(&index).expect("written");
        assert_eq!(load(&home).expect("times").get(&record.id), Some(&later));
    }
}
