//! How the lines of an agent audit are chained: the runtime writes them, the command line checks
//! them.
//!
//! Invariant: a line's `hash`, its last member, is the SHA-256 of the hash before it (64 digits,
//! zeros at first) and of the line without that member, as it stands there.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::contract::id::SessionId;

/// What stands before the first line of a session.
pub const FIRST_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The end of a session's chain so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Number of the last line, 0 if there is none.
    pub seq: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
}

/// The members that chain a line.
#[derive(Debug, Deserialize)]
pub struct Chained {
    /// The session.
    pub session: SessionId,
    /// Number of the line in its session, from 1.
    pub seq: u64,
    /// Chains the line to the one before.
    pub hash: String,
}

/// A line that does not continue the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the line does not continue the chain of its session")]
pub struct Broken;

impl Default for Link {
    fn default() -> Self {
        Self {
            seq: 0,
            hash: FIRST_HASH.to_owned(),
        }
    }
}

impl Link {
    /// Returns the hash of the next line, which is given without its member `hash`.
    #[must_use]
    pub fn hash_of_next(&self, body: &[u8]) -> String {
        let digest = Sha256::new()
            .chain_update(&self.hash)
            .chain_update(body)
            .finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the chain's end behind a whole line (with its line feed), of which `chained` was
    /// read.
    ///
    /// # Errors
    /// When the line does not continue the chain.
    pub fn follow(&self, line: &[u8], chained: &Chained) -> Result<Self, Broken> {
        let body = body(line).ok_or(Broken)?;
        if chained.seq != self.seq + 1 || self.hash_of_next(&body) != chained.hash {
            return Err(Broken);
        }
        Ok(Self {
            seq: chained.seq,
            hash: chained.hash.clone(),
        })
    }
}

/// Returns a line without its line feed and its hash, which is the last member.
fn body(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\"}\n")?;
    let (line, _) = line.split_at_checked(line.len().checked_sub(FIRST_HASH.len())?)?;
    let mut body = line.strip_suffix(b",\"hash\":\"")?.to_vec();
    body.push(b'}');
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::{Broken, Chained, Link};

    fn line(link: &Link, seq: u64) -> String {
        let body = format!("{{\"session\":\"sess-0123456789ab\",\"seq\":{seq}}}");
        let hash = link.hash_of_next(body.as_bytes());
        format!("{},\"hash\":\"{hash}\"}}\n", body.trim_end_matches('}'))
    }

    fn follow(link: &Link, line: &str) -> Result<Link, Broken> {
        let chained: Chained = serde_json::from_str(line).map_err(|_| Broken)?;
        link.follow(line.as_bytes(), &chained)
    }

    #[test]
    fn what_does_not_continue_the_chain_is_broken() {
        let start = Link::default();
        let first = line(&start, 1);
        let behind = follow(&start, &first).expect("it continues");
        let check = |link: &Link, line: &str| assert_eq!(follow(link, line), Err(Broken), "{line}");
        check(&start, &line(&start, 2));
        check(&behind, &first);
        check(&start, &first.replace("sess-0", "sess-1"));
        check(&start, first.trim_end());
        check(&start, &first.replace("\"}", "\" }"));
    }

    #[test]
    fn lines_continue_each_other() {
        let start = Link::default();
        let one = follow(&start, &line(&start, 1)).expect("it continues");
        let two = follow(&one, &line(&one, 2)).expect("it continues");
        assert_eq!((one.seq, two.seq), (1, 2));
    }
}
