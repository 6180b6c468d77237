//! Counts TLS handshakes by what was agreed on.
//!
//! Invariant: what a peer chooses beyond the names listed here is `other`.

use prometheus::{IntCounter, Registry};
use rustls::{NamedGroup, ProtocolVersion};

use super::family;

const VERSIONS: [&str; 3] = ["1.2", "1.3", "other"];

const GROUPS: [&str; 5] = [
    "X25519MLKEM768",
    "X25519",
    "secp256r1",
    "secp384r1",
    "other",
];

/// One counter per version and group.
#[derive(Debug)]
pub(crate) struct Handshakes(Vec<IntCounter>);

impl Handshakes {
    pub(crate) fn new(registry: &Registry) -> Self {
        let family = family::counters(
            registry,
            "loki_gateway_tls_handshakes_total",
            "TLS handshakes that succeeded, by protocol version and key exchange group.",
            &["version", "group"],
        );
        let counters = VERSIONS.iter().flat_map(|version| {
            let family = &family;
            GROUPS
                .iter()
                .map(move |group| family.with_label_values(&[*version, *group]))
        });
        Self(counters.collect())
    }

    pub(crate) fn count(&self, version: Option<ProtocolVersion>, group: Option<NamedGroup>) {
        let version = match version {
            Some(ProtocolVersion::TLSv1_2) => 0,
            Some(ProtocolVersion::TLSv1_3) => 1,
            Some(_) | None => 2,
        };
        let group = match group {
            Some(NamedGroup::X25519MLKEM768) => 0,
            Some(NamedGroup::X25519) => 1,
            Some(NamedGroup::secp256r1) => 2,
            Some(NamedGroup::secp384r1) => 3,
            Some(_) | None => 4,
        };
        if let Some(counter) = self.0.get(version * GROUPS.len() + group) {
            counter.inc();
        }
    }
}
