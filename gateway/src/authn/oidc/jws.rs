//! Opens a compact JSON Web Signature (RFC 7515): its shape, its header, its signature.
//!
//! Invariant: the payload comes out only if a key of the issuer, of the type that the allowed
//! algorithm needs, signed exactly these bytes.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::gateway::oidc::Algorithm;
use serde_json::{Map, Value};

use super::document::{self, Unreadable};
use super::fault::Fault;
use super::key::KeySet;

/// Longest token in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Longest key id in bytes.
const KEY_ID_BYTES_MAX: usize = 512;

/// The parts of a token whose signature was not checked yet.
#[derive(Debug)]
pub(crate) struct Sealed<'token> {
    media_type: Option<String>,
    algorithm: Algorithm,
    key_id: Option<String>,
    payload: Payload,
    message: &'token str,
    signature: Vec<u8>,
}

/// A token whose signature is good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened<'sealed> {
    /// The media type that the header names, in lower case and without `application/`.
    pub(crate) media_type: Option<&'sealed str>,
    /// What was signed.
    pub(crate) payload: &'sealed Payload,
}

/// The signed bytes, read as JSON once at most.
#[derive(Debug)]
pub(crate) struct Payload {
    bytes: Vec<u8>,
    members: OnceLock<Result<Map<String, Value>, Fault>>,
}

impl Payload {
    /// Wraps bytes.
    pub(crate) const fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            members: OnceLock::new(),
        }
    }

    /// Returns the members of the JSON object that it is.
    ///
    /// # Errors
    /// When it is no object, or a member stands twice.
    pub(crate) fn members(&self) -> Result<&Map<String, Value>, Fault> {
        let read = || object(&self.bytes, Fault::Payload);
        self.members
            .get_or_init(read)
            .as_ref()
            .map_err(|fault| *fault)
    }
}

impl<'token> Sealed<'token> {
    /// Takes a token apart; `jku`, `x5u`, `jwk` and `x5c` in its header are not looked at.
    ///
    /// # Errors
    /// When it is not of the strict compact shape, or its algorithm is not allowed.
    pub(crate) fn read(token: &'token str, allowed: &[Algorithm]) -> Result<Self, Fault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        let parts: Vec<_> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(Fault::Shape);
        };
        let header = object(&decode(header)?, Fault::Header)?;
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= KEY_ID_BYTES_MAX => Ok(Some(text.as_str())),
            Some(_) => Err(Fault::Header),
        };
        let algorithm = text("alg")?
            .ok_or(Fault::Header)?
            .parse()
            .map_err(|_| Fault::Algorithm)?;
        allow(algorithm, allowed)?;
        // We understand no extension: whatever is critical is refused (RFC 7515, section 4.1.11),
        // and so is an unencoded payload, also where it is not marked so (RFC 7797, section 6).
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Fault::Critical);
        }
        // An encrypted token is something else altogether.
        if header.contains_key("enc") || header.contains_key("zip") {
            return Err(Fault::Header);
        }
        let signed = token.len() - signature.len() - 1;
        Ok(Self {
            media_type: text("typ")?.map(plain_media_type),
            key_id: text("kid")?.map(str::to_owned),
            algorithm,
            payload: Payload::new(decode(payload)?),
            message: &token[..signed],
            signature: decode(signature)?,
        })
    }

    /// Returns the issuer that the payload names, to choose whose keys to ask; not believed.
    ///
    /// # Errors
    /// When the payload is not a strict JSON object or names none.
    pub(crate) fn claimed_issuer(&self) -> Result<&str, Fault> {
        match self.payload.members()?.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) | None => Err(Fault::Issuer),
        }
    }

    /// Asks whether the algorithm is among those that one issuer may use.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn keeps_to(&self, allowed: &[Algorithm]) -> Result<(), Fault> {
        allow(self.algorithm, allowed)
    }

    /// Returns what it says without checking the signature: to explain a token, never to admit one.
    pub(crate) fn unverified(&self) -> Opened<'_> {
        Opened {
            media_type: self.media_type.as_deref(),
            payload: &self.payload,
        }
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// When no key fits, or none of those that fit made the signature.
    pub(crate) fn open(&self, keys: &KeySet) -> Result<Opened<'_>, Fault> {
        let mut fault = Fault::UnknownKey;
        for key in keys.candidates(self.key_id.as_deref(), self.algorithm) {
            if key.verifies(self.algorithm, self.message.as_bytes(), &self.signature) {
                return Ok(self.unverified());
            }
            fault = Fault::Signature;
        }
        Err(fault)
    }
}

fn allow(algorithm: Algorithm, allowed: &[Algorithm]) -> Result<(), Fault> {
    if allowed.contains(&algorithm) {
        Ok(())
    } else {
        Err(Fault::Algorithm)
    }
}

/// Reads a JSON object; anything else is `fault`.
///
/// # Errors
/// When it is no object, or a member stands twice.
pub(crate) fn object(bytes: &[u8], fault: Fault) -> Result<Map<String, Value>, Fault> {
    document::read(bytes).map_err(|unreadable| match unreadable {
        Unreadable::Duplicate => Fault::Duplicate,
        Unreadable::NotAnObject => fault,
    })
}

/// Strict: no padding, no other alphabet, no blanks, no bits left over.
fn decode(part: &str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::Base64)
}

fn plain_media_type(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("application/") {
        Some(short) => short.to_owned(),
        None => lower,
    }
}
