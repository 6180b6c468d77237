//! The keys of one issuer, read from its JSON Web Key set (RFC 7517).
//!
//! Invariant: a key is used for the family and, where it names one, the algorithm it was made for;
//! what is no public signature key is left out, and certificates inside keys are not looked at.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::gateway::oidc::Algorithm;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::algorithm::{self, Family};
use super::document;

/// Longest key set in bytes.
pub(crate) const SET_BYTES_MAX: usize = 256 * 1024;

/// Most keys in a set.
pub(crate) const KEYS_MAX: usize = 100;

/// Most keys that are tried for one token.
const CANDIDATES_MAX: usize = 4;

/// One public signature key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    id: Option<String>,
    family: Family,
    algorithm: Option<Algorithm>,
    public: DecodingKey,
}

/// Why a key set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeySetError {
    #[error("cannot read the key set: not a JSON object with a list of keys, or a member twice")]
    Malformed,
    #[error("cannot use the key set: it holds no public signature key")]
    NoKeys,
    #[error("cannot use the key set: more than {KEYS_MAX} keys or {SET_BYTES_MAX} bytes")]
    TooLong,
}

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub(crate) struct KeySet(Vec<Key>);

impl KeySet {
    /// Reads a key set; keys of other kinds and private keys are left out.
    ///
    /// # Errors
    /// When it is malformed, too long, or no key of it can be used.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > SET_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let set = document::read(bytes).map_err(|_| KeySetError::Malformed)?;
        let Some(Value::Array(entries)) = set.get("keys") else {
            return Err(KeySetError::Malformed);
        };
        if entries.len() > KEYS_MAX {
            return Err(KeySetError::TooLong);
        }
        let keys: Vec<_> = entries
            .iter()
            .filter_map(Value::as_object)
            // Whoever publishes a private key lets everybody sign with it.
            .filter(|members| !members.contains_key("d"))
            .filter_map(Key::read)
            .collect();
        if keys.is_empty() {
            return Err(KeySetError::NoKeys);
        }
        Ok(Self(keys))
    }

    /// Wraps a single key.
    pub(crate) fn of(key: Key) -> Self {
        Self(vec![key])
    }

    /// Returns the keys that may have made a signature: by id where the token names one, and by
    /// algorithm always. At most four are tried.
    pub(crate) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &Key> {
        self.0
            .iter()
            .filter(move |key| match (id, &key.id) {
                (Some(wanted), Some(id)) => wanted == id,
                (Some(_) | None, None) | (None, Some(_)) => true,
            })
            .filter(move |key| {
                key.family == algorithm::family(algorithm)
                    && key.algorithm.is_none_or(|only| only == algorithm)
            })
            .take(CANDIDATES_MAX)
    }
}

impl Key {
    /// Reads one public signature key; none if it is of another kind or malformed.
    pub(crate) fn read(members: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        if members.get("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if let Some(operations) = members.get("key_ops") {
            let verifies = operations.as_array()?.iter().any(|entry| entry == "verify");
            if !verifies {
                return None;
            }
        }
        let algorithm = match members.get("alg") {
            Some(name) => Some(name.as_str()?.parse::<Algorithm>().ok()?),
            None => None,
        };
        let id = match members.get("kid") {
            Some(id) => Some(id.as_str()?.to_owned()),
            None => None,
        };
        let (family, public) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Family::Rsa, rsa(text("n")?, text("e")?)?),
            ("EC", Some("P-256")) => (Family::P256, point(text("x")?, text("y")?, 32)?),
            ("EC", Some("P-384")) => (Family::P384, point(text("x")?, text("y")?, 48)?),
            ("OKP", Some("Ed25519")) => (Family::Ed25519, edwards(text("x")?)?),
            _ => return None,
        };
        if algorithm.is_some_and(|only| algorithm::family(only) != family) {
            return None;
        }
        Some(Self {
            id,
            family,
            algorithm,
            public,
        })
    }

    /// Returns whether `signature` (base64url) over `message` was made with this key.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        let library = algorithm::library(algorithm);
        jsonwebtoken::crypto::verify(signature, message, &self.public, library).unwrap_or(false)
    }
}

/// RFC 8725, section 3.5: at least 2048 bits; an exponent of 1 would verify anything.
fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let modulus = number(modulus)?;
    let exponent = number(exponent)?;
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    let sound = (256..=1024).contains(&modulus.len())
        && modulus
            .first()
            .is_some_and(|byte| byte & 0x80 != 0 || modulus.len() > 256)
        && exponent.len() <= 4
        && odd
        && exponent != [1];
    sound.then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// A number in base64url, without leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes[zeros..].to_vec())
}

fn point(x: &str, y: &str, length: usize) -> Option<DecodingKey> {
    let whole = |text: &str| {
        URL_SAFE_NO_PAD
            .decode(text)
            .is_ok_and(|b| b.len() == length)
    };
    (whole(x) && whole(y))
        .then(|| DecodingKey::from_ec_components(x, y).ok())
        .flatten()
}

fn edwards(x: &str) -> Option<DecodingKey> {
    let whole = URL_SAFE_NO_PAD.decode(x).is_ok_and(|b| b.len() == 32);
    whole
        .then(|| DecodingKey::from_ed_components(x).ok())
        .flatten()
}
