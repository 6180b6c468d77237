//! Writes texts into a line of JSON so that they can neither lie nor leak.
//!
//! Invariant: no secret, no control character and no character that reorders or hides text leaves
//! here unescaped, and what is written is never longer than its bound.

use super::redact::{PLACEHOLDER, find_secret};

/// Whether a text was written whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// All of it.
    Whole,
    /// Its beginning only.
    Cut,
}

/// Writes `text` as a JSON string whose inside takes at most `bytes_max` bytes.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str, bytes_max: usize) -> Written {
    out.push(b'"');
    let end = out.len() + bytes_max;
    let written = write_inside(out, text, end);
    out.push(b'"');
    written
}

fn write_inside(out: &mut Vec<u8>, text: &str, end: usize) -> Written {
    let mut at = 0;
    // What begins behind the bound is cut anyway: every byte of the text takes one or more.
    while let Some(found) = find_secret(text, at..at + (end - out.len())) {
        if escape(out, &text[at..found.start], end) == Written::Cut {
            return Written::Cut;
        }
        if out.len() + PLACEHOLDER.len() > end {
            return Written::Cut;
        }
        out.extend_from_slice(PLACEHOLDER.as_bytes());
        at = found.end;
    }
    escape(out, &text[at..], end)
}

fn escape(out: &mut Vec<u8>, text: &str, end: usize) -> Written {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let plain = bytes[at..]
            .iter()
            .take_while(|byte| is_plain(**byte))
            .count();
        let room = end - out.len();
        out.extend_from_slice(&bytes[at..at + plain.min(room)]);
        if plain > room {
            return Written::Cut;
        }
        at += plain;
        let Some(character) = text[at..].chars().next() else {
            break;
        };
        if !escape_character(out, character, end) {
            return Written::Cut;
        }
        at += character.len_utf8();
    }
    Written::Whole
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Writes one character; returns whether there was room for it.
fn escape_character(out: &mut Vec<u8>, character: char, end: usize) -> bool {
    let short = match character {
        '"' => Some(b"\\\""),
        '\\' => Some(b"\\\\"),
        '\n' => Some(b"\\n"),
        '\r' => Some(b"\\r"),
        '\t' => Some(b"\\t"),
        _ => None,
    };
    if let Some(short) = short {
        return put(out, short, end);
    }
    let mut buffer = [0; 4];
    if !deceives(character) {
        return put(out, character.encode_utf8(&mut buffer).as_bytes(), end);
    }
    let mut escaped = [0; 12];
    let mut length = 0;
    for unit in character.encode_utf16(&mut [0; 2]) {
        escaped[length..length + 6].copy_from_slice(&unit_escape(*unit));
        length += 6;
    }
    put(out, &escaped[..length], end)
}

fn put(out: &mut Vec<u8>, bytes: &[u8], end: usize) -> bool {
    let fits = out.len() + bytes.len() <= end;
    if fits {
        out.extend_from_slice(bytes);
    }
    fits
}

fn unit_escape(unit: u16) -> [u8; 6] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u32| DIGITS[usize::from(unit >> shift & 0xf)];
    [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]
}

/// Returns whether a reader's terminal or editor would hide the character, act on it, or show the
/// text around it in another order.
const fn deceives(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::{Written, write_text};

    fn check(text: &str, bytes_max: usize, expected: &str, written: Written) {
        let mut out = Vec::new();
        let got = write_text(&mut out, text, bytes_max);
        assert_eq!(
            (String::from_utf8_lossy(&out).into_owned(), got),
            (expected.to_owned(), written),
            "{text:?}"
        );
        assert!(out.len() <= bytes_max + 2, "{text:?}");
        assert!(serde_json::from_slice::<String>(&out).is_ok(), "{text:?}");
    }

    #[test]
    fn what_could_deceive_a_reader_is_escaped() {
        let whole = |text, expected| check(text, 512, expected, Written::Whole);
        whole("a\"b\\c", r#""a\"b\\c""#);
        whole("a\n{\"forged\":1}\r\t", r#""a\n{\"forged\":1}\r\t""#);
        whole(
            "\0\u{1b}[31m\u{7f}\u{9b}",
            r#""\u0000\u001b[31m\u007f\u009b""#,
        );
        whole("\u{202e}gpj.exe\u{2066}", r#""\u202egpj.exe\u2066""#);
        whole("a\u{2028}b\u{2029}\u{feff}", r#""a\u2028b\u2029\ufeff""#);
        whole("\u{e0041}", r#""\udb40\udc41""#);
    }

    #[test]
    fn a_text_over_its_bound_is_cut_between_characters() {
        check("abcdef", 4, r#""abcd""#, Written::Cut);
        check("abc\n", 4, r#""abc""#, Written::Cut);
        check("abé", 3, r#""ab""#, Written::Cut);
        check("\u{1}\u{1}", 11, r#""\u0001""#, Written::Cut);
        check("abcd", 4, r#""abcd""#, Written::Whole);
    }

    #[test]
    fn a_secret_that_lies_across_the_bound_does_not_leak_its_beginning() {
        let token = format!("ab loki_{}", "x".repeat(600));
        check(&token, 8, r#""ab ""#, Written::Cut);
        check(&token, 13, r#""ab [redacted]""#, Written::Whole);
        let far = format!("{}{token}", "y".repeat(20_000));
        check(&far, 3, r#""yyy""#, Written::Cut);
    }

    #[test]
    fn ordinary_text_is_written_as_it_is() {
        check("token:ci-bot", 512, r#""token:ci-bot""#, Written::Whole);
        check(
            "Привет, 世界 🙂",
            512,
            r#""Привет, 世界 🙂""#,
            Written::Whole,
        );
    }
}
