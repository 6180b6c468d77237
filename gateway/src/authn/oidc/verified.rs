//! Remembers tokens that were found good, so that a busy caller is not verified each time.
//!
//! Invariant: an entry is of one exact text and of one state of its issuer's keys, and is forgotten
//! when the token ends; memory is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::credential::Credential;

/// Most tokens that are remembered.
const ENTRIES_MAX: usize = 4_096;

/// SHA-256 of a token's text.
pub(crate) type TokenDigest = [u8; 32];

/// Good tokens by digest.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    entries: Mutex<HashMap<TokenDigest, Remembered>>,
}

/// A token that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// What it is.
    pub(crate) credential: Arc<Credential>,
    /// Whose, by position.
    pub(crate) issuer: usize,
    /// The state of the issuer's keys by which it was judged.
    pub(crate) stamp: u64,
    /// The second from which on it is not accepted any more.
    pub(crate) until: i64,
}

impl Verified {
    /// Returns the digest of a token's text.
    pub(crate) fn digest(token: &str) -> TokenDigest {
        Sha256::digest(token.as_bytes()).into()
    }

    /// Returns a token that was found good and has not ended.
    pub(crate) fn find(&self, digest: &TokenDigest, second: i64) -> Option<Remembered> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(digest)
            .filter(|known| second < known.until)
            .cloned()
    }

    /// Remembers a good token; when all places are taken, ended ones go first, then all.
    pub(crate) fn remember(&self, digest: TokenDigest, found: Remembered, second: i64) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, known| second < known.until);
        }
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(digest, found);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::contract::caller::{AuthMethod, Caller};
    use config::contract::scope::Scopes;

    use super::{ENTRIES_MAX, Remembered, Verified};
    use crate::credential::Credential;

    #[test]
    fn tokens_are_forgotten_in_time_and_when_full() {
        let caller = Arc::new(Caller {
            user: "oidc:a".to_owned(),
            principal: "https://issuer.test#a".to_owned(),
            auth_method: AuthMethod::Oidc,
            scopes: Scopes::NONE,
            projects: None,
        });
        let known = Remembered {
            credential: Arc::new(Credential::without(caller)),
            issuer: 0,
            stamp: 1,
            until: 100,
        };
        let verified = Verified::default();
        let digest = Verified::digest("token");
        verified.remember(digest, known.clone(), 0);
        assert_eq!(verified.find(&Verified::digest("tokem"), 99), None);
        assert_eq!(verified.find(&digest, 100), None);
        assert_eq!(verified.find(&digest, 99), Some(known.clone()));
        for number in 0..3 * ENTRIES_MAX {
            verified.remember(Verified::digest(&number.to_string()), known.clone(), 0);
        }
        let entries = verified.entries.lock().expect("entries").len();
        assert!(entries <= ENTRIES_MAX);
    }
}
