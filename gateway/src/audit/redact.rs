//! Finds secrets in free text.
//!
//! Invariant: whatever looks like one of our bearer tokens or like a JSON Web Token is found,
//! wherever in the text it stands; a harmless look-alike may be found too.

use std::ops::Range;

/// What stands in a record where a secret was.
pub(crate) const PLACEHOLDER: &str = "[redacted]";

/// Shortest run after `loki_` that counts as a token; metric names are shorter, or lose nothing.
const TOKEN_RUN_MIN: usize = 16;

/// Shortest first part of a JSON Web Token: `{"alg":"…"}` in base64url.
const JWT_HEADER_MIN: usize = 16;

/// Shortest second part of a JSON Web Token: `{}` in base64url.
const JWT_CLAIMS_MIN: usize = 2;

/// How a JSON object begins in base64: `{"`, `{ `, `{\n`, `{\r`, `{\t`.
const JWT_STARTS: [&[u8]; 5] = [b"eyJ", b"eyA", b"ewo", b"ew0", b"ewk"];

/// Returns where the first secret that begins in `starts` lies, in bytes. The work grows as the
/// text, whatever it holds.
pub(crate) fn find_secret(text: &str, starts: Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut hopeless_until = starts.start;
    for at in starts.start..starts.end.min(bytes.len()) {
        let length = match bytes[at] {
            b'l' => token_at(&bytes[at..]),
            b'e' if at >= hopeless_until && begins_object(&bytes[at..]) => {
                // What follows a run does not depend on where in the run one begins.
                hopeless_until = at + run(&bytes[at..]);
                jwt_at(&bytes[at..])
            }
            _ => None,
        };
        if let Some(length) = length {
            return Some(at..at + length);
        }
    }
    None
}

/// Returns the length of the bearer token that `bytes` starts with.
fn token_at(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(b"loki_")?;
    let length = run(rest);
    (length >= TOKEN_RUN_MIN).then_some(b"loki_".len() + length)
}

fn begins_object(bytes: &[u8]) -> bool {
    JWT_STARTS.iter().any(|start| bytes.starts_with(start))
}

/// Returns the length of the JSON Web Token that `bytes` starts with, its signature included.
fn jwt_at(bytes: &[u8]) -> Option<usize> {
    let header = run(bytes);
    if header < JWT_HEADER_MIN || bytes.get(header) != Some(&b'.') {
        return None;
    }
    let mut end = header;
    let mut parts = 0;
    while bytes.get(end) == Some(&b'.') {
        let part = run(&bytes[end + 1..]);
        if parts == 0 && part < JWT_CLAIMS_MIN {
            return None;
        }
        end += 1 + part;
        parts += 1;
    }
    Some(end)
}

/// Returns how many bytes of the base64url alphabet `bytes` starts with.
fn run(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        .count()
}

#[cfg(test)]
mod tests {
    use super::{PLACEHOLDER, find_secret};

    fn redacted(text: &str) -> String {
        let mut shown = String::new();
        let mut at = 0;
        while let Some(found) = find_secret(text, at..text.len()) {
            shown.push_str(&text[at..found.start]);
            shown.push_str(PLACEHOLDER);
            at = found.end;
        }
        shown.push_str(&text[at..]);
        shown
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(redacted(text), expected, "{text:?}");
    }

    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        let token = format!("loki_{}", "aB3".repeat(15));
        check(&token, "[redacted]");
        check(&format!("curl/8 {token}; x"), "curl/8 [redacted]; x");
        check(&format!("a{token}"), "a[redacted]");
        check(&format!("{token} {JWT}"), "[redacted] [redacted]");
        check(&format!("ключ={JWT}."), "ключ=[redacted]");
        check(
            "Bearer loki_url-safe_base64-of-upstream",
            "Bearer [redacted]",
        );
        check(
            &format!("{}.", JWT.rsplit_once('.').map_or("", |(rest, _)| rest)),
            "[redacted]",
        );
        check("eyJhbGciOiJub25lIn0.e30.", "[redacted]");
        check("ewogImFsZyI6IlJTMjU2Igp9.e30.AAAA", "[redacted]");
    }

    #[test]
    fn a_text_made_to_cost_time_does_not() {
        let text = "eyJ".repeat(1_000_000);
        check(&text, &text);
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in [
            "",
            "loki_cost_usd",
            "loki_",
            "eyJ",
            "session:sess-123",
            "https://eye.example.org/a.b.c",
            "LOKI_ENTERPRISE_AUTH=true",
        ] {
            check(text, text);
        }
    }
}
