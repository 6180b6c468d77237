//! The keys of the audit trail: one seals each commit, one signs checkpoints.
//!
//! Invariant: the keys lie outside the audit directory, are made once with mode 0600, and are never
//! printed. Whoever can write the audit files but not read the keys can neither seal nor sign.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::home::Home;
use config::{private, secret};

use super::AuditError;
use super::chain::{digest, hex, write_hex};

/// What a signature covers besides the record, so that it is good for nothing else.
pub(crate) const CHECKPOINT_DOMAIN: &[u8] = b"loki audit checkpoint 1\n";

/// `SubjectPublicKeyInfo` of an Ed25519 key up to the key itself (RFC 8410).
const PUBLIC_KEY_PREFIX: [u8; 12] = [48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0];

/// Length of a public key in bytes.
const PUBLIC_KEY_BYTES: usize = 32;

/// The keys of whoever writes.
pub(crate) struct Seals {
    mac: hmac::Key,
    signer: Ed25519KeyPair,
    key_id: String,
    /// Where the newest checkpoint is kept.
    kept: Option<PathBuf>,
}

impl fmt::Debug for Seals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Seals({})", self.key_id)
    }
}

impl Seals {
    /// Reads the keys of `home`; makes what is missing, and writes the public key beside them.
    ///
    /// # Errors
    /// When a key cannot be read or made, is open to others, or is malformed.
    pub(crate) fn open(home: &Home) -> Result<Self, AuditError> {
        let mac = newest(&home.audit_mac_key())?;
        let seed = newest(&home.audit_signing_key())?;
        let mut seals = Self::new(mac.expose(), seed.expose()).ok_or(AuditError::BadKey)?;
        seals.kept = Some(home.audit_checkpoint());
        let path = home.audit_public_key();
        let public = seals.public_key();
        let written = match fs::read_to_string(&path) {
            Ok(text) if text == public.pem() => Ok(()),
            Ok(_) | Err(_) => private::replace_file(&path, public.pem().as_bytes()),
        };
        written.map_err(|source| AuditError::Files { path, source })?;
        Ok(seals)
    }

    /// Builds keys from 32 bytes each; none if they are no keys.
    pub(crate) fn new(mac: &[u8], seed: &[u8]) -> Option<Self> {
        let signer = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let key_id = key_id(signer.public_key().as_ref());
        Some(Self {
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
            signer,
            key_id,
            kept: None,
        })
    }

    /// Returns the public key of the checkpoints.
    pub(crate) fn public_key(&self) -> PublicKey {
        let mut bytes = [0; PUBLIC_KEY_BYTES];
        bytes.copy_from_slice(self.signer.public_key().as_ref());
        PublicKey(bytes)
    }

    /// Returns the key that seals.
    pub(crate) const fn mac(&self) -> &hmac::Key {
        &self.mac
    }

    /// Signs the record that begins at `from` and is not closed yet.
    pub(crate) fn sign(&self, out: &mut Vec<u8>, from: usize) {
        out.extend_from_slice(b",\"key_id\":\"");
        out.extend_from_slice(self.key_id.as_bytes());
        out.push(b'"');
        let signature = self
            .signer
            .sign(&[CHECKPOINT_DOMAIN, &out[from..]].concat());
        write_hex(out, "signature", signature.as_ref());
    }

    /// Seals the record that begins at `from` and is not closed yet.
    pub(crate) fn seal(&self, out: &mut Vec<u8>, from: usize) {
        let tag = hmac::sign(&self.mac, &out[from..]);
        write_hex(out, "mac", tag.as_ref());
    }

    /// Keeps a copy of a checkpoint beside the keys.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn keep(&self, checkpoint: &[u8]) -> io::Result<()> {
        match &self.kept {
            Some(path) => private::replace_file(path, checkpoint),
            None => Ok(()),
        }
    }
}

fn newest(path: &std::path::Path) -> Result<secret::Secret, AuditError> {
    let keys = secret::load_or_create_keys(path)?;
    keys.into_iter().next().ok_or(AuditError::BadKey)
}

/// The public key that checkpoints are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

impl PublicKey {
    /// Reads a public key as PEM, as `audit-signing.pub` holds it; none if it is not one.
    #[must_use]
    pub fn from_pem(text: &str) -> Option<Self> {
        let body = text
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")?
            .strip_suffix("-----END PUBLIC KEY-----")?;
        let der = STANDARD.decode(body.trim()).ok()?;
        let key = der.strip_prefix(&PUBLIC_KEY_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }

    /// Returns the key as PEM (`SubjectPublicKeyInfo`).
    #[must_use]
    pub fn pem(&self) -> String {
        let body = STANDARD.encode([&PUBLIC_KEY_PREFIX[..], &self.0].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    /// Returns the name of the key in checkpoints: the first 16 digits of its SHA-256.
    #[must_use]
    pub fn id(&self) -> String {
        key_id(&self.0)
    }

    /// Returns the key itself.
    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn key_id(public_key: &[u8]) -> String {
    hex(&digest(public_key)[..8])
}

#[cfg(test)]
mod tests {
    use super::{PublicKey, Seals};

    #[test]
    fn what_is_no_public_key_is_refused() {
        for text in [
            "",
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            assert_eq!(PublicKey::from_pem(text), None, "{text}");
        }
    }

    #[test]
    fn a_public_key_is_read_back() {
        let seals = Seals::new(&[1; 32], &[2; 32]).expect("keys");
        let key = seals.public_key();
        assert_eq!(PublicKey::from_pem(&key.pem()), Some(key.clone()));
        assert_eq!(key.id().len(), 16);
        assert!(!format!("{seals:?}").contains("mac"));
    }
}
