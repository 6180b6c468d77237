//! Signs whatever an attacker could ask for: an issuer's keys, an attacker's keys, and no keys.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Length in bytes of each of the two numbers of an ECDSA signature on P-256.
const NUMBER_BYTES: usize = 32;

/// An issuer's keys, and an attacker's.
#[derive(Debug)]
pub struct Forge {
    rs: KeyPair,
    es: KeyPair,
    ed: KeyPair,
    other_rs: KeyPair,
    other_ed: KeyPair,
}

impl Default for Forge {
    fn default() -> Self {
        Self::new()
    }
}

impl Forge {
    /// Makes the keys.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn new() -> Self {
        let key = |algorithm| KeyPair::generate_for(algorithm).expect("a key");
        Self {
            rs: key(&PKCS_RSA_SHA256),
            es: key(&PKCS_ECDSA_P256_SHA256),
            ed: key(&PKCS_ED25519),
            other_rs: key(&PKCS_RSA_SHA256),
            other_ed: key(&PKCS_ED25519),
        }
    }

    /// Returns the issuer's public keys, with the ids `rs`, `es` and `ed`.
    #[must_use]
    pub fn key_set(&self) -> Value {
        let point = self.es.public_key_raw();
        json!({"keys": [
            {"kty": "RSA", "kid": "rs", "e": "AQAB", "n": base64url(self.modulus())},
            {"kty": "EC", "kid": "es", "crv": "P-256",
                "x": base64url(&point[1..=NUMBER_BYTES]), "y": base64url(&point[1 + NUMBER_BYTES..])},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": base64url(self.ed.public_key_raw())},
        ]})
    }

    /// Returns a signature in base64url; who signs is told by the name that the attack list uses.
    ///
    /// # Panics
    /// When nobody has the name.
    #[must_use]
    pub fn sign(&self, signer: &str, message: &str) -> String {
        let message = message.as_bytes();
        base64url(&match signer {
            "nobody" => Vec::new(),
            "rs256" => sign(&self.rs, SignatureScheme::RSA_PKCS1_SHA256, message),
            "rs512" => sign(&self.rs, SignatureScheme::RSA_PKCS1_SHA512, message),
            "ps256" => sign(&self.rs, SignatureScheme::RSA_PSS_SHA256, message),
            "es256" => two_numbers(&self.der(message)),
            "es256-der" => self.der(message),
            "ed" => sign(&self.ed, SignatureScheme::ED25519, message),
            "other-ed" => sign(&self.other_ed, SignatureScheme::ED25519, message),
            "other-rs" => sign(&self.other_rs, SignatureScheme::RSA_PKCS1_SHA256, message),
            "hmac-of-rs" => hmac(self.modulus(), message),
            "hmac-of-ed" => hmac(self.ed.public_key_raw(), message),
            "hmac-of-nothing" => hmac(&[], message),
            zeros => {
                let count = zeros.strip_prefix("zeros-").and_then(|n| n.parse().ok());
                vec![0; count.unwrap_or_else(|| panic!("nobody signs as {zeros}"))]
            }
        })
    }

    fn der(&self, message: &[u8]) -> Vec<u8> {
        sign(&self.es, SignatureScheme::ECDSA_NISTP256_SHA256, message)
    }

    /// The modulus is the first number of the key in DER: two heads of 4 bytes and a zero before it.
    fn modulus(&self) -> &[u8] {
        &self.rs.public_key_raw()[9..9 + 256]
    }
}

/// Writes bytes in base64url without padding.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sign(pair: &KeyPair, scheme: SignatureScheme, message: &[u8]) -> Vec<u8> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let key = any_supported_type(&key).expect("a key that can sign");
    let signer = key
        .choose_scheme(&[scheme])
        .expect("the key knows the scheme");
    signer.sign(message).expect("a signature")
}

/// Takes the two numbers out of DER and makes each 32 bytes long.
fn two_numbers(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let (number, behind) = rest[2..].split_at(length);
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeros..];
        numbers.extend(vec![0; NUMBER_BYTES - number.len()]);
        numbers.extend(number);
        rest = behind;
    }
    numbers
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |byte: u8| block.map(|part| part ^ byte);
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}
