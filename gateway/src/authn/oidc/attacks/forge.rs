//! Signs tokens with keys of every kind, and makes keys that may not be used.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::key::KeySet;

/// Who signs, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signer {
    /// The RSA key.
    Rs256,
    /// The RSA key.
    Ps256,
    /// The P-256 key.
    Es,
    /// The Ed25519 key.
    Ed,
}

struct Keys {
    rs: RsaKeyPair,
    es: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let random = SystemRandom::new();
    let es = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("key");
    Keys {
        rs: RsaKeyPair::generate(KeySize::Rsa2048).expect("key"),
        es: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, es.as_ref()).expect("key"),
        ed: Ed25519KeyPair::generate().expect("key"),
    }
});

/// An issuer's keys.
pub(super) struct Forge(&'static Keys);

impl Forge {
    pub(super) fn new() -> Self {
        Self(&KEYS)
    }

    /// Returns a token with this header and payload, byte for byte.
    pub(super) fn token(&self, signer: Signer, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", base64(header), base64(payload));
        let signature = base64(self.sign(signer, message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// Returns the issuer's key set.
    pub(super) fn keys(&self) -> KeySet {
        let keys = ["rs", "es", "ed"].map(|id| self.jwk(id, "")).join(",");
        KeySet::read(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()).expect("key set")
    }

    /// Returns a public key with further members.
    pub(super) fn jwk(&self, id: &str, more: &str) -> String {
        let members = match id {
            "rs" => {
                let public = self.0.rs.public_key();
                let modulus = base64(public.modulus().big_endian_without_leading_zero());
                format!(r#""kty":"RSA","n":"{modulus}","e":"AQAB""#)
            }
            "es" => {
                let point = self.0.es.public_key().as_ref();
                let (x, y) = (base64(&point[1..33]), base64(&point[33..]));
                format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#)
            }
            _ => {
                let x = base64(self.0.ed.public_key());
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{x}""#)
            }
        };
        format!(r#"{{{members},"kid":"{id}"{more}}}"#)
    }

    /// Returns keys that may not be used, each with why.
    pub(super) fn unusable_keys(&self) -> Vec<(&'static str, String)> {
        let modulus = base64(
            self.0
                .rs
                .public_key()
                .modulus()
                .big_endian_without_leading_zero(),
        );
        let short = base64([0xff_u8; 128]);
        let rsa = |n: &str, e: &str| format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#);
        vec![
            ("for encryption", self.jwk("rs", r#","use":"enc""#)),
            (
                "for signing alone",
                self.jwk("ed", r#","key_ops":["sign"]"#),
            ),
            (
                "operations of no shape",
                self.jwk("ed", r#","key_ops":"verify""#),
            ),
            ("a private key is public", self.jwk("ed", r#","d":"AAAA""#)),
            (
                "for an unknown algorithm",
                self.jwk("rs", r#","alg":"RSA-OAEP""#),
            ),
            (
                "algorithm of another family",
                self.jwk("rs", r#","alg":"ES256""#),
            ),
            ("for HMAC", self.jwk("rs", r#","alg":"HS256""#)),
            (
                "an id that is no text",
                self.jwk("zz", "").replace(r#""zz""#, "7"),
            ),
            ("a shared secret", r#"{"kty":"oct","k":"AAAA"}"#.to_owned()),
            ("too short for RSA", rsa(&short, "AQAB")),
            ("an exponent of one", rsa(&modulus, "AQ")),
            ("an even exponent", rsa(&modulus, "BA")),
            ("no exponent", rsa(&modulus, "")),
            ("padding", rsa(&format!("{modulus}=="), "AQAB")),
            (
                "half a point",
                r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#.to_owned(),
            ),
            (
                "an unknown curve",
                self.jwk("es", "").replace("P-256", "secp256k1"),
            ),
            (
                "an unknown kind",
                r#"{"kty":"AKP","alg":"ML-DSA-44"}"#.to_owned(),
            ),
        ]
    }

    fn sign(&self, signer: Signer, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let keys = self.0;
        let rsa = |pair: &RsaKeyPair, padding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, message, &mut signature)
                .expect("signature");
            signature
        };
        match signer {
            Signer::Rs256 => rsa(&keys.rs, &RSA_PKCS1_SHA256),
            Signer::Ps256 => rsa(&keys.rs, &RSA_PSS_SHA256),
            Signer::Es => {
                let signature = keys.es.sign(&random, message).expect("signature");
                signature.as_ref().to_vec()
            }
            Signer::Ed => keys.ed.sign(message).as_ref().to_vec(),
        }
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
