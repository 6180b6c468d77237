//! The keys of one issuer, read from its JSON Web Key set (RFC 7517).
//!
//! Invariant: a key is used for the family and, where it names one, the algorithm it was made for;
//! what is no public signature key is left out, and certificates inside keys are not looked at.

use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::gateway::oidc::Algorithm;
use serde_json::{Map, Value};

use super::algorithm::{self, Family, Verifies};
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
    /// What each algorithm that it may be used with needs of it: preparing a key takes as long as
    /// checking a signature.
    prepared: Vec<(Algorithm, ParsedPublicKey)>,
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
            .filter(move |key| key.prepared(algorithm).is_some())
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
            ("RSA", _) => (Family::Rsa, Public::rsa(text("n")?, text("e")?)?),
            ("EC", Some("P-256")) => (Family::P256, Public::point(text("x")?, text("y")?, 32)?),
            ("EC", Some("P-384")) => (Family::P384, Public::point(text("x")?, text("y")?, 48)?),
            ("OKP", Some("Ed25519")) => (Family::Ed25519, Public::edwards(text("x")?)?),
            _ => return None,
        };
        let prepared: Vec<_> = Algorithm::EVERY
            .into_iter()
            .filter(|one| algorithm::family(*one) == family)
            .filter(|one| algorithm.is_none_or(|only| only == *one))
            .filter_map(|one| Some((one, public.prepare(one)?)))
            .collect();
        (!prepared.is_empty()).then_some(Self { id, prepared })
    }

    /// Returns whether `signature` over `message` was made with this key.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.prepared(algorithm)
            .is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }

    fn prepared(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        let mut prepared = self.prepared.iter();
        let (_, key) = prepared.find(|(one, _)| *one == algorithm)?;
        Some(key)
    }
}

/// A public key as a key set holds it.
enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point (SEC 1, section 2.3.3), or one on Ed25519 (RFC 8032, section 5.1.5).
    Point(Vec<u8>),
}

impl Public {
    /// RFC 8725, section 3.5: at least 2048 bits; an exponent of 1 would verify anything.
    fn rsa(modulus: &str, exponent: &str) -> Option<Self> {
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
        sound.then_some(Self::Rsa { modulus, exponent })
    }

    fn point(x: &str, y: &str, length: usize) -> Option<Self> {
        let uncompressed = vec![0x04];
        let point = [uncompressed, exactly(x, length)?, exactly(y, length)?].concat();
        Some(Self::Point(point))
    }

    fn edwards(x: &str) -> Option<Self> {
        Some(Self::Point(exactly(x, 32)?))
    }

    /// Makes what an algorithm needs; none if the library does not take the key for one.
    fn prepare(&self, algorithm: Algorithm) -> Option<ParsedPublicKey> {
        match (self, algorithm::library(algorithm)) {
            (Self::Rsa { modulus, exponent }, Verifies::Rsa(library)) => {
                let components = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                components.to_parsed_public_key(library).ok()
            }
            (Self::Point(point), Verifies::Point(library)) => {
                ParsedPublicKey::new(library, point).ok()
            }
            (Self::Rsa { .. }, Verifies::Point(_)) | (Self::Point(_), Verifies::Rsa(_)) => None,
        }
    }
}

/// A number in base64url, without leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes[zeros..].to_vec())
}

fn exactly(text: &str, length: usize) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (bytes.len() == length).then_some(bytes)
}
