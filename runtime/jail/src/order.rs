//! What the runtime and the keeper of a long-lived sandbox say to each other: a line each way.
//!
//! Invariant: what was written with `Display` is read as itself by `FromStr`. The keeper's side is as
//! little trusted as everything inside: what it says names shells and codes, and decides nothing. The
//! runtime gives a descriptor away with an order, and never takes one.

use std::fmt;
use std::str::FromStr;

/// Asks something of the keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Open a shell on a terminal of its own. A stream socket comes along, over which what is typed comes
    /// in and what is shown goes out.
    Open {
        /// Names the shell from then on.
        number: u32,
        /// How large its terminal is.
        size: Size,
        /// What kind of terminal it is, for `TERM`.
        kind: TerminalKind,
    },
    /// A shell's terminal has another size now.
    Resize {
        /// The shell.
        number: u32,
        /// The size.
        size: Size,
    },
}

/// What the keeper has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A shell was opened.
    Opened(u32),
    /// A shell could not be opened.
    Refused(u32, String),
    /// A shell has ended with this code; 128 + n after signal n.
    Closed(u32, u8),
}

/// How much of a terminal can be seen at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A kind of terminal, as `TERM` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalKind(String);

/// Says that a line is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line is not understood")]
pub struct NotUnderstood;

impl TerminalKind {
    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TerminalKind {
    fn default() -> Self {
        Self("xterm-256color".to_owned())
    }
}

impl FromStr for TerminalKind {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let lawful = |letter: u8| letter.is_ascii_alphanumeric() || b"-+._".contains(&letter);
        if (1..=KIND_BYTES_MAX).contains(&text.len()) && text.bytes().all(lawful) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotUnderstood)
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { number, size, kind } => {
                let Size { columns, rows } = size;
                write!(formatter, "open {number} {columns} {rows} {}", kind.0)
            }
            Self::Resize { number, size } => {
                let Size { columns, rows } = size;
                write!(formatter, "resize {number} {columns} {rows}")
            }
        }
    }
}

impl FromStr for Order {
    type Err = NotUnderstood;

    fn from_str(line: &str) -> Result<Self, NotUnderstood> {
        let words: Vec<&str> = line.split(' ').collect();
        let size = |columns: &str, rows: &str| {
            Ok(Size {
                columns: digits(columns)?,
                rows: digits(rows)?,
            })
        };
        match words.as_slice() {
            ["open", number, columns, rows, kind] => Ok(Self::Open {
                number: digits(number)?,
                size: size(columns, rows)?,
                kind: kind.parse()?,
            }),
            ["resize", number, columns, rows] => Ok(Self::Resize {
                number: digits(number)?,
                size: size(columns, rows)?,
            }),
            _ => Err(NotUnderstood),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(number) => write!(formatter, "opened {number}"),
            Self::Refused(number, why) => {
                let why = why.replace(['\n', '\r'], " ");
                write!(formatter, "refused {number} {why}")
            }
            Self::Closed(number, code) => write!(formatter, "closed {number} {code}"),
        }
    }
}

impl FromStr for Answer {
    type Err = NotUnderstood;

    fn from_str(line: &str) -> Result<Self, NotUnderstood> {
        let (word, rest) = line.split_once(' ').ok_or(NotUnderstood)?;
        match (word, rest.split_once(' ')) {
            ("opened", None) => Ok(Self::Opened(digits(rest)?)),
            ("refused", Some((shell, why))) => Ok(Self::Refused(digits(shell)?, why.to_owned())),
            ("closed", Some((shell, code))) => Ok(Self::Closed(digits(shell)?, digits(code)?)),
            _ => Err(NotUnderstood),
        }
    }
}

/// Reads digits alone: no sign, no blank.
fn digits<T: FromStr>(text: &str) -> Result<T, NotUnderstood> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| NotUnderstood)
    } else {
        Err(NotUnderstood)
    }
}

/// The longest line that either side says, in bytes.
pub const LINE_BYTES_MAX: usize = 1024;

const KIND_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::{Answer, NotUnderstood, Order};

    #[test]
    fn what_is_neither_order_nor_answer_is_refused() {
        for line in [
            "",
            "open",
            "open 1 80 24",
            "open 1 80 24 ",
            "open 1 80 24 xterm more",
            "open -1 80 24 xterm",
            "open 1 99999 24 xterm",
            "open 1 80 24 x;rm",
            "open 1 80 24 x\ny",
            "resize 1 80",
            "resize 1 80 +24",
        ] {
            assert_eq!(line.parse::<Order>(), Err(NotUnderstood), "{line:?}");
        }
        for line in [
            "",
            "opened",
            "opened x",
            "opened 1 2",
            "refused 1",
            "closed 1",
            "closed 1 256",
            "ended 1",
        ] {
            assert_eq!(line.parse::<Answer>(), Err(NotUnderstood), "{line:?}");
        }
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        for line in ["open 7 80 24 xterm-256color", "resize 7 132 50"] {
            let order: Order = line.parse().unwrap();
            assert_eq!(order.to_string(), line);
        }
        for answer in [
            Answer::Opened(7),
            Answer::Refused(7, "no terminal is left".to_owned()),
            Answer::Closed(7, 130),
        ] {
            assert_eq!(answer.to_string().parse(), Ok(answer));
        }
        let told = Answer::Refused(1, "a\nopened 2".to_owned()).to_string();
        assert_eq!(told, "refused 1 a opened 2");
    }
}
