//! What people and programs see: lines, tables and JSON on standard output, warnings beside it.
//!
//! Invariant: a text from outside is shown with its control characters visible, so it can neither
//! move the cursor nor pass for another text.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;

use crate::failure::{Exit, Failure};

/// Prints a line.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    raw(&format!("{text}\n"))
}

/// Prints a text as it is. A reader that went away ends the command without a complaint.
pub(crate) fn raw(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| {
            if error.kind() == ErrorKind::BrokenPipe {
                Failure::said(Exit::Quiet)
            } else {
                Failure::failed(format!("cannot write to standard output: {error}"))
            }
        })
}

/// Prints a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed(format!("cannot put the answer into JSON: {error}")))?;
    line(&text)
}

/// Prints rows below their headings, each column as wide as its widest cell.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let mut widths: Vec<usize> = headings.iter().map(|text| text.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headings: Vec<String> = headings.iter().map(|text| (*text).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut shown = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let padding = width - cell.chars().count() + 2;
            shown.push_str(cell);
            shown.extend(std::iter::repeat_n(' ', padding));
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    raw(&text)
}

/// Tells something that the person should look at; the command goes on.
pub(crate) fn warn(text: &str) {
    error(&format!("warning: {text}"));
}

/// Writes a line to standard error; there is nobody to tell if that fails.
pub(crate) fn error(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Returns a text from outside with everything invisible made visible.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let hidden = character.is_control()
            || matches!(character,
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if hidden {
            // Writing into a String cannot fail.
            write!(shown, "\\u{{{:x}}}", u32::from(character)).unwrap_or_default();
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Returns a text as one value of a query or one segment of a path.
pub(crate) fn encoded(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            shown.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            write!(shown, "%{byte:02X}").unwrap_or_default();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_could_deceive_a_terminal_is_made_visible() {
        let check = |text: &str, expected: &str| assert_eq!(visible(text), expected);
        check("\u{1b}[2J", "\\u{1b}[2J");
        check("a\rb\nc", "a\\u{d}b\\u{a}c");
        check("\u{9b}31m", "\\u{9b}31m");
        check("ci\u{202e}tob", "ci\\u{202e}tob");
        check("Übung 名 \"x\"", "Übung 名 \"x\"");
    }
}
