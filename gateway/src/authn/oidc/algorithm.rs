//! The signature algorithms that a token may use. `none` and HMAC have no value here, so they
//! cannot be allowed by any setting.

use config::gateway::oidc::Algorithm;
use jsonwebtoken::Algorithm as Library;

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

/// Returns the library's name of an algorithm.
pub(crate) const fn library(algorithm: Algorithm) -> Library {
    match algorithm {
        Algorithm::Rs256 => Library::RS256,
        Algorithm::Rs384 => Library::RS384,
        Algorithm::Rs512 => Library::RS512,
        Algorithm::Ps256 => Library::PS256,
        Algorithm::Ps384 => Library::PS384,
        Algorithm::Ps512 => Library::PS512,
        Algorithm::Es256 => Library::ES256,
        Algorithm::Es384 => Library::ES384,
        Algorithm::EdDsa => Library::EdDSA,
    }
}
