//! Which settings a running gateway may take over, and which need a restart.
//!
//! Invariant: a key that is not listed here needs a restart, so that a change is never accepted and
//! then ignored.

use crate::load::Effective;

/// Keys that a running gateway takes over; an entry that ends in a dot stands for all below it.
const AT_RUN_TIME: &[&str] = &[
    "auth.",
    "limits.body_bytes_per_second_min",
    "limits.connections_max",
    "limits.connections_per_address_max",
    "limits.drain_timeout",
    "limits.handshake_timeout",
    "limits.header_bytes_max",
    "limits.header_count_max",
    "limits.header_timeout",
    "limits.http2_control_frames_per_second_max",
    "limits.http2_resets_per_second_max",
    "limits.target_bytes_max",
    "limits.write_timeout",
    "listen.host_names",
    "listen.origins",
    "listen.trusted_proxies",
    "oidc.",
    "rates.",
    "runtime.connect_timeout",
    "runtime.idle_timeout",
    "runtime.read_timeout",
    "streams.",
    "tls.",
];

/// What differs between the settings in use and the new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Every key with another value, sorted.
    pub changed: Vec<String>,
    /// Those of them that need a restart.
    pub restart: Vec<String>,
}

/// Compares the settings in use with the new ones.
#[must_use]
pub fn difference(before: &[Effective], now: &[Effective]) -> Difference {
    let value = |rows: &[Effective], key: &str| {
        let row = rows.iter().find(|row| row.key == key);
        row.map(|row| row.value.clone())
    };
    let mut changed: Vec<String> = before
        .iter()
        .chain(now)
        .map(|row| &row.key)
        .filter(|key| value(before, key) != value(now, key))
        .cloned()
        .collect();
    changed.sort_unstable();
    changed.dedup();
    let restart = changed
        .iter()
        .filter(|key| !is_taken_over(key))
        .cloned()
        .collect();
    Difference { changed, restart }
}

fn is_taken_over(key: &str) -> bool {
    AT_RUN_TIME
        .iter()
        .any(|entry| key == *entry || (entry.ends_with('.') && key.starts_with(entry)))
}

#[cfg(test)]
mod tests {
    use super::{AT_RUN_TIME, Difference, difference};
    use crate::gateway::GatewaySettings;
    use crate::load::{Effective, Origin, Sources};

    fn rows(rows: &[(&str, &str)]) -> Vec<Effective> {
        rows.iter()
            .map(|(key, value)| Effective {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
                origin: Origin::Default,
            })
            .collect()
    }

    #[test]
    fn what_is_not_listed_needs_a_restart() {
        let before = rows(&[
            ("listen.port", "1"),
            ("auth.tokens", "false"),
            ("gone", "1"),
        ]);
        let now = rows(&[
            ("listen.port", "2"),
            ("auth.tokens", "true"),
            ("listen.origins", "[]"),
        ]);
        let keys = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            difference(&before, &now),
            Difference {
                changed: keys(&["auth.tokens", "gone", "listen.origins", "listen.port"]),
                restart: keys(&["gone", "listen.port"]),
            }
        );
        assert_eq!(difference(&now, &now), Difference::default());
    }

    #[test]
    fn every_listed_key_exists() {
        assert!(AT_RUN_TIME.is_sorted());
        let known = GatewaySettings::load(Sources::default())
            .expect("defaults")
            .effective;
        for entry in AT_RUN_TIME {
            let exists = known.iter().any(|row| {
                row.key == *entry || (entry.ends_with('.') && row.key.starts_with(entry))
            });
            assert!(exists, "{entry}");
        }
    }
}
