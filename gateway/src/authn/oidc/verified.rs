//! Remembers tokens that were found good, so that a busy caller is not verified each time.
//!
//! Invariant: an entry is of one exact text and of one key set, and is forgotten when the token
//! ends or the keys change; memory is bounded.

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
    entries: Mutex<HashMap<TokenDigest, (Arc<Credential>, i64)>>,
}

impl Verified {
    /// Returns the digest of a token's text.
    pub(crate) fn digest(token: &str) -> TokenDigest {
        Sha256::digest(token.as_bytes()).into()
    }

    /// Returns the credential of a token that was found good and has not ended.
    pub(crate) fn find(&self, digest: &TokenDigest, second: i64) -> Option<Arc<Credential>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (credential, until) = entries.get(digest)?;
        (second < *until).then(|| Arc::clone(credential))
    }

    /// Remembers a good token; when all places are taken, ended ones go first, then all.
    pub(crate) fn remember(
        &self,
        digest: TokenDigest,
        credential: &Arc<Credential>,
        until: i64,
        second: i64,
    ) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, (_, until)| second < *until);
        }
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(digest, (Arc::clone(credential), until));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::contract::caller::{AuthMethod, Caller};
    use config::contract::scope::Scopes;

    use super::{ENTRIES_MAX, Verified};
    use crate::credential::Credential;

    #[test]
    fn tokens_are_forgotten_in_time_and_when_full() {
        let caller = Arc::new(Credential::without(Arc::new(Caller {
            user: "oidc:a".to_owned(),
            principal: "https://issuer.test/a".to_owned(),
            auth_method: AuthMethod::Oidc,
            scopes: Scopes::NONE,
            projects: None,
        })));
        let verified = Verified::default();
        let digest = Verified::digest("token");
        verified.remember(digest, &caller, 100, 0);
        assert_eq!(verified.find(&Verified::digest("tokem"), 99), None);
        assert_eq!(verified.find(&digest, 100), None);
        assert_eq!(verified.find(&digest, 99), Some(Arc::clone(&caller)));
        for number in 0..3 * ENTRIES_MAX {
            verified.remember(Verified::digest(&number.to_string()), &caller, 100, 0);
        }
        let entries = verified.entries.lock().expect("entries").len();
        assert!(entries <= ENTRIES_MAX);
    }
}
