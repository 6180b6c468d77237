//! The token as its holder has it: `loki_`, 40 random characters, 6 characters of checksum.
//!
//! All 46 characters are base62 (`0-9A-Za-z`). The checksum is the CRC-32 (IEEE 802.3) of the 45
//! characters before it, prefix included, as a base62 number of six digits, most significant
//! first. A mistyped or made-up token is refused without a look at the store.
//!
//! Invariant: neither type here shows a token through `Debug` or `Display`.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// What every token begins with, so that secret scanners know one when they see it.
pub const PREFIX: &str = "loki_";

/// Number of random characters: 238 bits.
pub const RANDOM_CHARACTERS: usize = 40;

/// Length of a whole token in characters, which are bytes too.
pub const LENGTH: usize = CHECKED_LENGTH + CHECKSUM_CHARACTERS;

const CHECKSUM_CHARACTERS: usize = 6;
const CHECKED_LENGTH: usize = PREFIX.len() + RANDOM_CHARACTERS;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The largest multiple of 62 that fits a byte: bytes from here on are drawn again, since they
/// would make some characters likelier than others.
const UNBIASED_BELOW: u8 = 62 * 4;

/// A text that is not a token: wrong prefix, length, alphabet or checksum. Holds none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a loki token: expected loki_ and 46 letters or digits with a valid checksum")]
pub struct Malformed;

/// The system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot make a token: the system gave no randomness")]
pub struct NoRandomness;

/// A well-formed token, borrowed from where it was read.
#[derive(Clone, Copy)]
pub struct RawToken<'text>(&'text str);

impl<'text> RawToken<'text> {
    /// Parses a token, without copying and without knowing whether it exists.
    ///
    /// # Errors
    /// When prefix, length, alphabet or checksum are wrong.
    pub fn parse(text: &'text str) -> Result<Self, Malformed> {
        let bytes = text.as_bytes();
        if bytes.len() != LENGTH || !text.starts_with(PREFIX) {
            return Err(Malformed);
        }
        let (checked, checksum) = bytes.split_at(CHECKED_LENGTH);
        let in_alphabet = checked[PREFIX.len()..]
            .iter()
            .all(u8::is_ascii_alphanumeric);
        if in_alphabet && checksum == checksum_of(checked) {
            Ok(Self(text))
        } else {
            Err(Malformed)
        }
    }

    /// Returns what the store keeps instead of the token.
    #[must_use]
    pub fn digest(self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.0).into())
    }

    /// Returns the token itself; every use is greppable by this name.
    #[must_use]
    pub const fn expose(self) -> &'text str {
        self.0
    }
}

impl fmt::Debug for RawToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[token]")
    }
}

/// A token that was just made, before it is shown to its holder.
pub struct FreshToken(String);

impl FreshToken {
    /// Makes a token from the system's randomness.
    ///
    /// # Errors
    /// When there is none.
    pub fn generate() -> Result<Self, NoRandomness> {
        Self::from_source(|bytes| aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness))
    }

    fn from_source(
        mut fill: impl FnMut(&mut [u8]) -> Result<(), NoRandomness>,
    ) -> Result<Self, NoRandomness> {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        let mut batch = [0_u8; 64];
        while text.len() < CHECKED_LENGTH {
            fill(&mut batch)?;
            let wanted = CHECKED_LENGTH - text.len();
            let fair = batch.iter().filter(|byte| **byte < UNBIASED_BELOW);
            text.extend(fair.take(wanted).map(|byte| digit(u32::from(*byte))));
        }
        let checksum = checksum_of(text.as_bytes());
        text.extend(checksum.map(char::from));
        Ok(Self(text))
    }

    /// Returns the token as a holder would send it.
    #[must_use]
    pub fn raw(&self) -> RawToken<'_> {
        RawToken(&self.0)
    }
}

impl fmt::Debug for FreshToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[token]")
    }
}

/// The SHA-256 of a token: as good as nothing to whoever reads it, since the token is random.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Returns the 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first half, by which a map finds the record before the whole is compared.
    pub(crate) fn first_half(&self) -> u128 {
        let mut half = [0_u8; 16];
        half.copy_from_slice(&self.0[..16]);
        u128::from_be_bytes(half)
    }
}

/// Compares in a time that does not depend on where the two differ.
impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenDigest {}

impl fmt::Display for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> Self {
        digest.to_string()
    }
}

/// A text that is not a SHA-256 in lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 lower-case hex digits")]
pub struct NotHex;

impl TryFrom<String> for TokenDigest {
    type Error = NotHex;

    fn try_from(text: String) -> Result<Self, NotHex> {
        let hex = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            0..=255 => Err(NotHex),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(NotHex);
        }
        let mut bytes = [0_u8; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = hex(*high)? << 4 | hex(*low)?;
        }
        Ok(Self(bytes))
    }
}

fn checksum_of(checked: &[u8]) -> [u8; CHECKSUM_CHARACTERS] {
    let mut rest = crc32fast::hash(checked);
    let mut digits = [b'0'; CHECKSUM_CHARACTERS];
    for place in digits.iter_mut().rev() {
        *place = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

fn digit(number: u32) -> char {
    char::from(ALPHABET[(number % 62) as usize])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{FreshToken, LENGTH, Malformed, NoRandomness, RawToken, TokenDigest};

    /// Made by hand from the rule in the head of this file.
    const KNOWN: &str = "loki_0000000000000000000000000000000000000000";

    fn token(seed: u64) -> FreshToken {
        let mut state = seed;
        FreshToken::from_source(|bytes| {
            for byte in bytes {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = state.to_be_bytes()[0];
            }
            Ok(())
        })
        .expect("deterministic source")
    }

    #[test]
    fn malformed_texts_are_refused() {
        let good = token(1);
        let good = good.raw().expose();
        for text in [
            "",
            "loki_",
            "loki_xxx",
            KNOWN,
            &good[..LENGTH - 1],
            &format!("{good}0"),
            &format!(" {good}"),
            &format!("{good}\n"),
            &good.replacen("loki_", "LOKI_", 1),
            &good.replacen("loki_", "loki-", 1),
            &good.to_ascii_uppercase(),
            &"ö".repeat(LENGTH / 2),
            &"x".repeat(LENGTH),
            &"x".repeat(100_000),
        ] {
            assert_eq!(RawToken::parse(text).err(), Some(Malformed), "{text:.80}");
        }
    }

    #[test]
    fn characters_outside_the_alphabet_are_refused_even_with_a_right_checksum() {
        for strange in ['-', '_', '+', '/', ' ', '\0'] {
            let mut text = KNOWN.to_owned();
            text.pop();
            text.push(strange);
            let checksum = super::checksum_of(text.as_bytes());
            text.extend(checksum.map(char::from));
            assert_eq!(RawToken::parse(&text).err(), Some(Malformed), "{strange:?}");
        }
    }

    #[test]
    fn the_checksum_is_the_documented_one() {
        let crc = crc32fast::hash(KNOWN.as_bytes());
        let mut number = 0_u64;
        for byte in super::checksum_of(KNOWN.as_bytes()) {
            let digit = super::ALPHABET.iter().position(|known| *known == byte);
            number = number * 62 + digit.expect("a digit of base62") as u64;
        }
        assert_eq!(number, u64::from(crc));
    }

    #[test]
    fn biased_bytes_are_drawn_again() {
        let mut draws = 0;
        let made = FreshToken::from_source(|bytes| {
            draws += 1;
            bytes.fill(if draws == 1 { 248 } else { 61 });
            Ok(())
        });
        let made = made.expect("second draw is fair");
        assert_eq!(draws, 2);
        assert!(made.raw().expose()[5..45].bytes().all(|byte| byte == b'z'));
    }

    #[test]
    fn without_randomness_there_is_no_token() {
        let made = FreshToken::from_source(|_| Err(NoRandomness));
        assert_eq!(made.err(), Some(NoRandomness));
    }

    #[test]
    fn a_token_does_not_print() {
        let made = token(7);
        assert_eq!(format!("{made:?} {:?}", made.raw()), "[token] [token]");
    }

    #[test]
    fn two_tokens_differ() {
        let first = FreshToken::generate().expect("randomness");
        let second = FreshToken::generate().expect("randomness");
        assert_ne!(first.raw().expose(), second.raw().expose());
        assert_ne!(first.raw().digest(), second.raw().digest());
    }

    #[test]
    fn a_digest_is_the_sha256_and_reads_back() {
        let digest = token(3).raw().digest();
        let text = digest.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(TokenDigest::try_from(text.clone()).ok(), Some(digest));
        assert!(TokenDigest::try_from(text.to_uppercase()).is_err());
        assert!(TokenDigest::try_from(text[1..].to_owned()).is_err());
    }

    proptest! {
        #[test]
        fn parsing_what_was_printed_is_identity(seed in any::<u64>()) {
            let made = token(seed);
            let text = made.raw().expose();
            prop_assert_eq!(text.len(), LENGTH);
            prop_assert_eq!(RawToken::parse(text).map(RawToken::expose), Ok(text));
        }

        #[test]
        fn one_changed_character_is_refused(
            seed in any::<u64>(),
            place in 0..LENGTH,
            other in proptest::char::range(' ', '~'),
        ) {
            let made = token(seed);
            let mut text: Vec<char> = made.raw().expose().chars().collect();
            prop_assume!(text[place] != other);
            text[place] = other;
            let text: String = text.into_iter().collect();
            prop_assert!(RawToken::parse(&text).is_err());
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in ".{0,80}") {
            prop_assert!(RawToken::parse(&text).is_err());
        }
    }
}
