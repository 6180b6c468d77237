//! Secret bytes that cannot be printed, and the key file that both processes share.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::private;

/// Bytes which neither `Debug` nor `Display` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps bytes.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the bytes; every use is greppable by this name.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// Length of each key in a key file, in bytes.
pub const KEY_BYTES: usize = 32;

/// Most keys that a key file may hold: the one that signs, and the one before it.
pub const KEYS_MAX: usize = 2;

const KEY_FILE_BYTES_MAX: u64 = 512;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or made.
    #[error("cannot use key file {path}: {source}")]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner (or one group, if shared) may read it.
    #[error("key file {path} has mode {mode:o}: run chmod {wanted:o} on it")]
    TooOpen {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The widest permission bits allowed.
        wanted: u32,
    },
    /// A line is not a key.
    #[error("key file {path} line {line} is not a base64 key of {KEY_BYTES} bytes")]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
    },
    /// No key, or more than [`KEYS_MAX`].
    #[error("key file {path} holds {count} keys, expected 1 or {KEYS_MAX}")]
    WrongCount {
        /// The key file.
        path: PathBuf,
        /// Number of keys found.
        count: usize,
    },
    /// The system gave no randomness.
    #[error("cannot make a key: the system gave no randomness")]
    NoRandomness,
}

/// Reads the keys of `path`, one base64 line each, newest first; makes the file with one new key
/// (mode 0600) if there is none. Two processes that start together agree on one file.
///
/// # Errors
/// When the file cannot be read or made, is open to others, or is malformed.
pub fn load_or_create_keys(path: &Path) -> Result<Vec<Secret>, KeyFileError> {
    match load_keys(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create_key(path)?;
            load_keys(path)
        }
        other => other,
    }
}

/// Does what [`load_or_create_keys`] does, and lets the file's group read it (mode 0640): the reader
/// is another user of that group.
///
/// # Errors
/// As there, or when the mode cannot be changed.
pub fn load_or_create_group_keys(path: &Path) -> Result<Vec<Secret>, KeyFileError> {
    let keys = load_or_create_keys(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).map_err(|source| {
        KeyFileError::Io {
            path: path.to_owned(),
            source,
        }
    })?;
    Ok(keys)
}

/// Reads the keys of `path`, one base64 line each, newest first.
///
/// # Errors
/// When the file cannot be read, is open to others, or is malformed.
pub fn load_keys(path: &Path) -> Result<Vec<Secret>, KeyFileError> {
    let io_error = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(private::NO_FOLLOW)
        .open(path)
        .map_err(io_error)?;
    let mode = file.metadata().map_err(io_error)?.mode() & 0o777;
    // Group-readable is allowed for two uids that share the group `loki`.
    if mode & 0o037 != 0 {
        return Err(KeyFileError::TooOpen {
            path: path.to_owned(),
            mode,
            wanted: 0o640,
        });
    }
    let mut text = String::new();
    Read::by_ref(&mut file)
        .take(KEY_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(io_error)?;
    parse_keys(path, &text)
}

fn parse_keys(path: &Path, text: &str) -> Result<Vec<Secret>, KeyFileError> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let bytes = STANDARD_NO_PAD
            .decode(line.trim().trim_end_matches('='))
            .ok()
            .filter(|bytes| bytes.len() == KEY_BYTES)
            .ok_or_else(|| KeyFileError::Malformed {
                path: path.to_owned(),
                line: index + 1,
            })?;
        keys.push(Secret::new(bytes));
    }
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(KeyFileError::WrongCount {
            path: path.to_owned(),
            count: keys.len(),
        });
    }
    Ok(keys)
}

/// Makes the file whole under another name and links it into place, so that a reader never sees
/// half a key and the first of two makers wins.
fn create_key(path: &Path) -> Result<(), KeyFileError> {
    let io_error = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut key = [0_u8; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| KeyFileError::NoRandomness)?;
    if let Some(parent) = path.parent() {
        private::create_directory(parent).map_err(io_error)?;
    }
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file = private::create_file(&draft).map_err(io_error)?;
    writeln!(file, "{}", STANDARD_NO_PAD.encode(key)).map_err(io_error)?;
    file.sync_all().map_err(io_error)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).map_err(io_error)?;
    match linked {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(io_error(source)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{KeyFileError, Secret, load_keys, load_or_create_group_keys, load_or_create_keys};

    #[test]
    fn a_key_open_to_others_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("keys/statement.key");
        load_or_create_keys(&path).expect("new key");
        for mode in [0o644, 0o604, 0o660, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            assert!(matches!(
                load_keys(&path),
                Err(KeyFileError::TooOpen { .. })
            ));
        }
    }

    #[test]
    fn malformed_files_are_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("statement.key");
        for text in ["", "short\n", "AAAA\nAAAA\n"] {
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
            assert!(load_keys(&path).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_made_once_with_mode_0600() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("keys/statement.key");
        let first = load_or_create_keys(&path).expect("new key");
        let second = load_or_create_keys(&path).expect("same key");
        assert!(first == second);
        let mode = fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_shared_key_is_readable_by_its_group_and_nobody_else() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("statement.key");
        let own = load_or_create_keys(&path).expect("new key");
        let shared = load_or_create_group_keys(&path).expect("the same key");
        assert!(own == shared);
        let mode = fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn a_secret_does_not_print() {
        let shown = format!("{:?}", Secret::new(b"hunter2".to_vec()));
        assert_eq!(shown, "[secret]");
    }
}
