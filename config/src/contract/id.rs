//! Identifiers that travel between processes: each kind has its own type, checked at construction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind} id: expected {prefix} and {length} lower-case letters or digits")]
pub struct InvalidId {
    kind: &'static str,
    prefix: &'static str,
    length: usize,
    text: String,
}

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Number of random bytes that [`Self::from_random`] takes.
            pub const RANDOM_BYTES: usize = $length;

            /// Builds an id from random bytes; each byte gives one character.
            #[must_use]
            pub fn from_random(random: [u8; $length]) -> Self {
                let mut text = String::with_capacity($prefix.len() + $length);
                text.push_str($prefix);
                text.extend(random.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % 36])));
                Self(text)
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid = text.strip_prefix($prefix).is_some_and(|rest| {
                    rest.len() == $length && rest.bytes().all(|byte| ALPHABET.contains(&byte))
                });
                if valid {
                    Ok(Self(text.to_owned()))
                } else {
                    let shown: String = text.chars().take(64).collect();
                    Err(InvalidId { kind: $kind, prefix: $prefix, length: $length, text: shown })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id_type!(
    /// Names one request from the edge to the audit trail of both processes.
    RequestId, "request", "req-", 20
);
id_type!(
    /// Names one agent session.
    SessionId, "session", "sess-", 12
);
id_type!(
    /// Names one bearer token; chosen at random, never derived from the token or its hash.
    TokenId, "token", "tok-", 8
);
id_type!(
    /// Names one run of a gateway process, so that the runtime can tell two gateways apart.
    InstanceId, "instance", "gw-", 12
);
id_type!(
    /// Names one registered project; chosen at random, never derived from its path.
    ProjectId, "project", "proj-", 12
);
id_type!(
    /// Names one task of the board.
    TaskId, "task", "task-", 12
);
id_type!(
    /// Names one approval.
    ApprovalId, "approval", "appr-", 12
);
id_type!(
    /// Names one learning.
    LearningId, "learning", "learn-", 12
);

#[cfg(test)]
mod tests {
    use super::{SessionId, TokenId};

    #[test]
    fn foreign_texts_are_refused() {
        for text in [
            "",
            "tok-",
            "tok-ABCDEFGH",
            "tok-abc",
            "tok-abcdefghi",
            "sess-abcdefgh",
            "tok-abcdefg\n",
            "../abcdef",
        ] {
            assert!(text.parse::<TokenId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn printing_and_parsing_is_identity() {
        let id = SessionId::from_random([7, 200, 35, 36, 0, 255, 1, 2, 3, 4, 5, 6]);
        assert_eq!(id.as_str().parse::<SessionId>(), Ok(id.clone()));
        assert_eq!(id.as_str().len(), "sess-".len() + 12);
    }
}
