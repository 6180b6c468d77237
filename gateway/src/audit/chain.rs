//! How each line is tied to the one before.
//!
//! Invariant: a line holds the SHA-256 of the exact bytes of the line before it (without the line
//! feed), whatever that line is, so that nothing between two records is outside the chain.

use aws_lc_rs::digest;

/// SHA-256 of a line.
pub(crate) type Digest = [u8; 32];

/// What stands before the first line of all.
pub(crate) const NOTHING: Digest = [0; 32];

/// Stands for a line that is longer than any record: it is never taken for one of ours.
pub(crate) const OVERSIZED: Digest = [0xff; 32];

/// The end of the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The number of the last record; 0 if there is none.
    pub(crate) seq: u64,
    /// SHA-256 of the last line.
    pub(crate) digest: Digest,
}

impl Head {
    /// What a new trail begins behind.
    pub(crate) const NOTHING: Self = Self {
        seq: 0,
        digest: NOTHING,
    };
}

/// Returns the SHA-256 of a line without its line feed.
pub(crate) fn digest(line: &[u8]) -> Digest {
    let mut digest = NOTHING;
    digest.copy_from_slice(digest::digest(&digest::SHA256, line).as_ref());
    digest
}

/// Writes a member whose value is bytes in hexadecimal digits.
pub(crate) fn write_hex(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'"');
}

/// Returns bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads hexadecimal digits as we write them.
pub(crate) fn from_hex<const LENGTH: usize>(text: &[u8]) -> Option<[u8; LENGTH]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; LENGTH];
    if text.len() != LENGTH * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Cuts a member with bytes in hexadecimal digits off the end of an object; returns what stands
/// before it, without the closing brace, and the bytes.
pub(crate) fn cut_hex<'a, const LENGTH: usize>(
    open_object: &'a [u8],
    name: &str,
) -> Option<(&'a [u8], [u8; LENGTH])> {
    let rest = open_object.strip_suffix(b"\"")?;
    let (rest, text) = rest.split_at_checked(rest.len().checked_sub(LENGTH * 2)?)?;
    let rest = rest
        .strip_suffix(b"\":\"")?
        .strip_suffix(name.as_bytes())?
        .strip_suffix(b",\"")?;
    Some((rest, from_hex(text)?))
}

#[cfg(test)]
mod tests {
    use super::{cut_hex, write_hex};

    #[test]
    fn what_is_not_the_last_member_is_not_cut() {
        for text in [
            "",
            "\"",
            "00\"",
            ",\"mac\":\"0\"",
            ",\"mac\":\"0G\"",
            ",\"mac\":\"AB\"",
            ",\"max\":\"00\"",
            ",\"mac\":\"00\",\"x\":1",
        ] {
            assert_eq!(cut_hex::<1>(text.as_bytes(), "mac"), None, "{text}");
        }
    }

    #[test]
    fn a_written_member_is_cut_again() {
        let mut out = b"{\"a\":1".to_vec();
        write_hex(&mut out, "mac", &[0, 0xaf]);
        assert_eq!(out, b"{\"a\":1,\"mac\":\"00af\"");
        assert_eq!(
            cut_hex::<2>(&out, "mac"),
            Some((&b"{\"a\":1"[..], [0, 0xaf]))
        );
    }
}
