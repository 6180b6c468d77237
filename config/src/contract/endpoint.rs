//! The endpoint file: how the command line reaches the gateway that runs on this machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a listening gateway writes (mode 0600) and removes when it stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Scheme, address and port.
    pub url: String,
    /// The gateway's process.
    pub pid: u32,
    /// SHA-256 of the leaf certificate (DER), as hex; none without TLS.
    pub certificate_sha256: Option<String>,
    /// Whether a token is needed.
    pub tokens_required: bool,
    /// When it began to listen (RFC 3339, UTC).
    pub started_at: String,
    /// The daemon variables that it was started with.
    pub variables: BTreeMap<String, String>,
}
