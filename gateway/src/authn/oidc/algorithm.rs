//! The signature algorithms that a token may use. `none` and HMAC have no value here, so they
//! cannot be allowed by any setting.

use aws_lc_rs::signature::{self, RsaParameters, VerificationAlgorithm};
use config::gateway::oidc::Algorithm;

/// The kind of key that an algorithm needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// RSA of 2048 to 8192 bits.
    Rsa,
    /// A point on P-256.
    P256,
    /// A point on P-384.
    P384,
    /// A point on Ed25519.
    Ed25519,
}

/// Returns the kind of key that an algorithm needs.
pub(crate) const fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => Family::Rsa,
        Algorithm::Es256 => Family::P256,
        Algorithm::Es384 => Family::P384,
        Algorithm::EdDsa => Family::Ed25519,
    }
}

/// The library's way to verify.
#[derive(Clone, Copy)]
pub(crate) enum Verifies {
    /// With a modulus and an exponent.
    Rsa(&'static RsaParameters),
    /// With a point on a curve.
    Point(&'static dyn VerificationAlgorithm),
}

/// Returns the library's name of an algorithm.
pub(crate) const fn library(algorithm: Algorithm) -> Verifies {
    match algorithm {
        Algorithm::Rs256 => Verifies::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Verifies::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Verifies::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Verifies::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Verifies::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Verifies::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 => Verifies::Point(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::Es384 => Verifies::Point(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDsa => Verifies::Point(&signature::ED25519),
    }
}
