//! What a check relies on: the keys of this host, or a public key and nothing else.

use std::fmt;

use aws_lc_rs::hmac;
use config::home::Home;
use config::secret;
use serde::Deserialize;

use crate::audit::AuditError;
use crate::audit::chain::{Digest, digest};
use crate::audit::seals::{PublicKey, Seals};

/// What a check relies on.
pub struct Trust {
    /// Checks the seals of commits; none for who has only the public key.
    pub(crate) mac: Option<hmac::Key>,
    /// Checks the signatures of checkpoints.
    pub(crate) public_key: PublicKey,
    /// Where the newest checkpoint is kept beside the keys.
    pub(crate) kept_at: Option<std::path::PathBuf>,
    /// A checkpoint that was kept elsewhere.
    pub(crate) kept: Option<Kept>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Trust({})", self.public_key.id())
    }
}

/// A checkpoint outside the audit files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its number.
    pub(crate) seq: u64,
    /// SHA-256 of its line.
    pub(crate) digest: Digest,
}

impl Kept {
    /// Reads a checkpoint's line; none if it is not one.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Numbered {
            seq: u64,
        }
        let line = line.trim_ascii();
        let numbered: Numbered = serde_json::from_slice(line).ok()?;
        Some(Self {
            seq: numbered.seq,
            digest: digest(line),
        })
    }
}

impl Trust {
    /// Relies on the keys of `home` and on the checkpoint kept beside them.
    ///
    /// # Errors
    /// When a key cannot be read or is no key; none is made.
    pub fn in_keys_of(home: &Home) -> Result<Self, AuditError> {
        let newest = |path: std::path::PathBuf| {
            let keys = secret::load_keys(&path)?;
            keys.into_iter().next().ok_or(AuditError::BadKey)
        };
        let mac = newest(home.audit_mac_key())?;
        let seed = newest(home.audit_signing_key())?;
        let seals = Seals::new(mac.expose(), seed.expose()).ok_or(AuditError::BadKey)?;
        Ok(Self {
            kept_at: Some(home.audit_checkpoint()),
            ..Self::in_seals(&seals)
        })
    }

    /// Relies on the keys of whoever writes.
    pub(crate) fn in_seals(seals: &Seals) -> Self {
        Self {
            mac: Some(seals.mac().clone()),
            public_key: seals.public_key(),
            kept_at: None,
            kept: None,
        }
    }

    /// Relies on a public key alone: what an auditor has.
    #[must_use]
    pub const fn in_public_key(public_key: PublicKey) -> Self {
        Self {
            mac: None,
            public_key,
            kept_at: None,
            kept: None,
        }
    }

    /// Relies also on a checkpoint's line that was kept elsewhere; returns none if it is not one.
    #[must_use]
    pub fn with_kept(self, line: &[u8]) -> Option<Self> {
        Some(Self {
            kept: Some(Kept::parse(line)?),
            ..self
        })
    }
}
