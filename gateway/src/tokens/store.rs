//! The token file, read as a whole.
//!
//! Invariant: a file that is damaged, open to others, or somebody else's is an error, and says
//! where.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::contract::id::TokenId;
use config::home::Home;
use config::private;
use serde::Deserialize;

use super::journal::{self, Entry, Target};
use super::record::TokenRecord;
use super::withdrawal::Withdrawal;

/// Version of the file's shape.
pub(crate) const VERSION: u32 = 1;

/// Longest token file in bytes: about 400,000 tokens.
pub(crate) const BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Longest wait for another command that changes tokens.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the token file or the journal of revocations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may use the file.
    #[error("{path} has mode {mode:04o}, others could use it: run chmod 600 {path}")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to somebody else.
    #[error(
        "{path} belongs to user {owner}, not to user {expected}: run as its owner, or chown it"
    )]
    OtherOwner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user that asked.
        expected: u32,
    },
    /// Something else than a plain file has the name.
    #[error("{path} is not a plain file")]
    NotAFile {
        /// Where.
        path: PathBuf,
    },
    /// The content is not what this program writes.
    #[error(
        "{path} line {line} column {column}: {message}; restore it from a backup, it is left as it is"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Written by another version of this program.
    #[error("{path} has version {version}, expected {VERSION}: use the program that wrote it")]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Longer than is read.
    #[error("{path} is longer than {bytes_max} bytes: delete tokens that are no longer used")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Longest accepted length in bytes.
        bytes_max: u64,
    },
    /// Another command holds the lock.
    #[error("cannot change tokens: another command has held {path} for {} s", LOCK_TIMEOUT.as_secs())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// What the token file held when it was read.
#[derive(Debug, Default)]
pub struct Stored {
    /// Rises with each change.
    pub generation: u64,
    /// The tokens, oldest first; revoked ones are marked, from the journal too.
    pub records: Vec<TokenRecord>,
    /// Which credentials of other issuers are refused, whenever they turn up.
    pub withdrawals: Vec<Withdrawal>,
}

/// Reads all tokens and marks those that the journal says are revoked.
///
/// # Errors
/// When the file or the journal is damaged, open to others, somebody else's, or unreadable.
pub fn load(home: &Home) -> Result<Stored, StoreError> {
    // Whoever compacts the journal has replaced the token file before, so this order misses nothing.
    let entries = journal::read(home)?;
    let mut stored = read(home)?;
    mark_revoked(&mut stored, &entries);
    Ok(stored)
}

/// Reads the token file alone; no file means no tokens.
pub(crate) fn read(home: &Home) -> Result<Stored, StoreError> {
    let path = home.tokens();
    match open_private(&path)? {
        Some(mut file) => read_open(&path, &mut file),
        None => Ok(Stored::default()),
    }
}

/// Reads the token file from its open handle.
pub(crate) fn read_open(path: &Path, file: &mut File) -> Result<Stored, StoreError> {
    let mut text = Vec::new();
    file.take(BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|source| StoreError::io("read", path, source))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(StoreError::TooLong {
            path: path.to_owned(),
            bytes_max: BYTES_MAX,
        });
    }
    parse(path, &text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Stored, StoreError> {
    #[derive(Deserialize)]
    struct Header {
        version: u32,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        #[serde(rename = "version")]
        _version: u32,
        #[serde(default)]
        generation: u64,
        tokens: Vec<TokenRecord>,
        #[serde(default)]
        withdrawals: Vec<Withdrawal>,
    }
    let malformed = |error: serde_json::Error| StoreError::Malformed {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        message: format!("not a token file: {error}"),
    };
    let header: Header = serde_json::from_slice(text).map_err(malformed)?;
    if header.version != VERSION {
        return Err(StoreError::OtherVersion {
            path: path.to_owned(),
            version: header.version,
        });
    }
    let whole: Whole = serde_json::from_slice(text).map_err(malformed)?;
    Ok(Stored {
        generation: whole.generation,
        records: whole.tokens,
        withdrawals: whole.withdrawals,
    })
}

/// Marks the records that the journal says are revoked.
pub(crate) fn mark_revoked(stored: &mut Stored, entries: &[Entry]) {
    let mut first: HashMap<&TokenId, &Entry> = HashMap::new();
    let mut many = Vec::new();
    for entry in entries {
        match &entry.target {
            Target::Token(id) => {
                first.entry(id).or_insert(entry);
            }
            Target::Credentials(withdrawal) => many.push((entry, withdrawal)),
        }
    }
    for record in &mut stored.records {
        if record.revoked_at.is_some() {
            continue;
        }
        let covering = || many.iter().find(|(_, all)| all.covers(&record.traits()));
        let entry = first.get(&record.id).copied();
        if let Some(entry) = entry.or_else(|| covering().map(|(entry, _)| *entry)) {
            record.revoked_at = Some(entry.revoked_at);
            record.revoked_by = Some(entry.revoked_by.clone());
        }
    }
    for (_, withdrawal) in many {
        remember(&mut stored.withdrawals, withdrawal);
    }
}

/// Adds a withdrawal, in place of those that it includes.
pub(crate) fn remember(withdrawals: &mut Vec<Withdrawal>, new: &Withdrawal) {
    if withdrawals.iter().any(|old| old.includes(new)) {
        return;
    }
    withdrawals.retain(|old| !new.includes(old));
    withdrawals.push(new.clone());
}

/// Opens a file that nobody but its owner may use; none if there is no such file.
pub(crate) fn open_private(path: &Path) -> Result<Option<File>, StoreError> {
    let io_error = |source| StoreError::io("open", path, source);
    let opened = File::options()
        .read(true)
        .custom_flags(private::NO_FOLLOW)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    check_private(path, &file.metadata().map_err(io_error)?)?;
    Ok(Some(file))
}

fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<(), StoreError> {
    let path = path.to_owned();
    if !metadata.is_file() {
        return Err(StoreError::NotAFile { path });
    }
    let expected = rustix::process::geteuid().as_raw();
    if metadata.uid() != expected {
        return Err(StoreError::OtherOwner {
            path,
            owner: metadata.uid(),
            expected,
        });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreError::TooOpen { path, mode });
    }
    Ok(())
}
