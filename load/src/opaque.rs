//! Opaque tokens by the thousand: the texts, and the token file that a gateway reads.
//!
//! The format is the documented one: `loki_`, 40 random characters, 6 of checksum.

use std::fmt::Write as _;

use anyhow::Context;
use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const RANDOM_CHARACTERS: usize = 40;

/// A token for the file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The token's text.
    pub(crate) token: String,
    /// The scopes.
    pub(crate) scopes: &'static str,
    /// Its time is over.
    pub(crate) expired: bool,
}

/// Returns a well-formed token.
///
/// # Errors
/// When there is no randomness.
pub(crate) fn generate() -> anyhow::Result<String> {
    let mut bytes = [0; RANDOM_CHARACTERS];
    aws_lc_rs::rand::fill(&mut bytes)
        .ok()
        .context("no randomness")?;
    let mut text = "loki_".to_owned();
    // Some characters are a little likelier than others: these tokens guard nothing.
    text.extend(bytes.map(|byte| digit(u32::from(byte))));
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut checksum = [0; 6];
    for place in checksum.iter_mut().rev() {
        *place = rest % 62;
        rest /= 62;
    }
    text.extend(checksum.map(digit));
    Ok(text)
}

fn digit(number: u32) -> char {
    let place = usize::try_from(number % 62).unwrap_or(0);
    char::from(ALPHABET[place])
}

/// Returns the token file that holds these tokens.
pub(crate) fn file(entries: &[Entry]) -> String {
    let mut text = "{\"version\":1,\"tokens\":[\n".to_owned();
    for (number, entry) in entries.iter().enumerate() {
        let comma = if number == 0 { "" } else { ",\n" };
        let digest: String = Sha256::digest(entry.token.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let expiry = if entry.expired {
            ",\"expires_at\":\"2020-01-02T00:00:00Z\""
        } else {
            ""
        };
        let written = write!(
            text,
            "{comma}{{\"id\":\"tok-{number:08}\",\"name\":\"load-{number}\",\"sha256\":\"{digest}\",\
             \"scopes\":[\"{}\"],\"created_at\":\"2020-01-01T00:00:00Z\",\
             \"created_by\":\"local:load\"{expiry}}}",
            entry.scopes
        );
        // A text takes every character.
        debug_assert!(written.is_ok());
    }
    text.push_str("\n]}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::generate;

    #[test]
    fn tokens_have_the_documented_shape() {
        let token = generate().expect("token");
        let rest = token.strip_prefix("loki_").expect("prefix");
        assert_eq!(rest.len(), 46);
        assert!(rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(generate().expect("token"), token);
    }
}
