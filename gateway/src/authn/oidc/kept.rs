//! Keeps the last good key set on disk, so that a cold start during an outage still works.
//!
//! Invariant: what is read back is whole, of this very issuer, and as old as it says; its age goes
//! on counting.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use config::home::Home;
use config::private;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::key::SET_BYTES_MAX;

/// The shape's version.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u8,
    issuer: String,
    fetched_at: DateTime<Utc>,
    keys: String,
    sha256: String,
}

/// Returns where an issuer's keys are kept.
pub(crate) fn path(home: &Home, issuer: &str) -> PathBuf {
    let digest = hex(&Sha256::digest(issuer.as_bytes()));
    home.issuers().join(format!("{}.json", &digest[..32]))
}

/// Keeps a key set (mode 0600).
///
/// # Errors
/// When it cannot be written.
pub(crate) fn keep(
    path: &Path,
    issuer: &str,
    fetched_at: DateTime<Utc>,
    keys: &[u8],
) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        private::create_closed_directory(parent)?;
    }
    let keys = String::from_utf8(keys.to_vec()).map_err(io::Error::other)?;
    let file = File {
        version: VERSION,
        sha256: checksum(issuer, fetched_at, &keys),
        issuer: issuer.to_owned(),
        fetched_at,
        keys,
    };
    private::replace_file(path, &serde_json::to_vec(&file)?)
}

/// Returns the kept key set and when it was fetched; none if there is none.
///
/// # Errors
/// When there is one that may not be used.
pub(crate) fn load(
    path: &Path,
    issuer: &str,
    now: DateTime<Utc>,
) -> io::Result<Option<(Vec<u8>, DateTime<Utc>)>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(private::NO_FOLLOW)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.mode() & 0o077 != 0 {
        return Err(io::Error::other("others may use it: run chmod 600 on it"));
    }
    let mut bytes = Vec::new();
    // Escapes make the text longer than what it holds.
    Read::by_ref(&mut file)
        .take(4 * SET_BYTES_MAX as u64)
        .read_to_end(&mut bytes)?;
    let file: File = serde_json::from_slice(&bytes)?;
    if file.version != VERSION || file.issuer != issuer {
        return Err(io::Error::other("it is of another version or issuer"));
    }
    if file.sha256 != checksum(issuer, file.fetched_at, &file.keys) {
        return Err(io::Error::other("its checksum is wrong"));
    }
    if file.fetched_at > now {
        return Err(io::Error::other("it is from the future"));
    }
    Ok(Some((file.keys.into_bytes(), file.fetched_at)))
}

fn checksum(issuer: &str, fetched_at: DateTime<Utc>, keys: &str) -> String {
    let text = format!("{VERSION}\n{issuer}\n{}\n{keys}", fetched_at.to_rfc3339());
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use chrono::{DateTime, TimeDelta, Utc};

    use super::{keep, load};

    const ISSUER: &str = "https://issuer.test";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("time")
    }

    #[test]
    fn a_kept_set_that_may_not_be_used_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("issuers/a.json");
        keep(&path, ISSUER, now(), b"{\"keys\":[]}").expect("kept");
        assert!(load(&path, "https://other.test", now()).is_err());
        assert!(load(&path, ISSUER, now() - TimeDelta::seconds(1)).is_err());
        let text = fs::read_to_string(&path).expect("text");
        for damaged in [
            text.replace("keys\\\"", "kays\\\""),
            text.replace("2027", "2028"),
            text[..text.len() - 1].to_owned(),
            String::new(),
        ] {
            fs::write(&path, damaged).expect("written");
            assert!(load(&path, ISSUER, now() + TimeDelta::days(900)).is_err());
        }
        fs::write(&path, &text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
        assert!(load(&path, ISSUER, now()).is_err());
    }

    #[test]
    fn a_kept_set_is_read_back_with_its_age() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("issuers/a.json");
        assert_eq!(load(&path, ISSUER, now()).expect("nothing"), None);
        keep(&path, ISSUER, now(), b"{\"keys\":[]}").expect("kept");
        let mode = fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let later = now() + TimeDelta::hours(3);
        let expected = Some((b"{\"keys\":[]}".to_vec(), now()));
        assert_eq!(load(&path, ISSUER, later).expect("kept"), expected);
    }
}
