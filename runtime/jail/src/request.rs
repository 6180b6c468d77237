//! What the runtime can ask of a supervisor: one line each on the supervisor's standard input.
//!
//! Invariant: a request that was written with `Display` is read as itself by `FromStr`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Asks something of the supervisor. Send it as one line, ended by a line feed.
///
/// The end of the input kills the whole tree, and so does a line that is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Ask the whole tree to end (`SIGTERM`), kill what is left after the grace. A frozen tree is
    /// thawed for it.
    Stop {
        /// At most [`GRACE_MAX`], in whole milliseconds.
        grace: Duration,
    },
    /// Kill the whole tree at once.
    Kill,
    /// Halt every process of the tree. See [`tree::is_frozen`](crate::tree::is_frozen).
    Freeze,
    /// Let a frozen tree go on.
    Thaw,
}

/// Says that a line is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot understand request {line:?}")]
pub struct RequestError {
    /// The line.
    pub line: String,
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop { grace } => write!(formatter, "stop {}", grace.as_millis()),
            Self::Kill => formatter.write_str("kill"),
            Self::Freeze => formatter.write_str("freeze"),
            Self::Thaw => formatter.write_str("thaw"),
        }
    }
}

impl FromStr for Request {
    type Err = RequestError;

    fn from_str(line: &str) -> Result<Self, RequestError> {
        match line {
            "kill" => Some(Self::Kill),
            "freeze" => Some(Self::Freeze),
            "thaw" => Some(Self::Thaw),
            stop => stop
                .strip_prefix("stop ")
                .and_then(grace)
                .map(|grace| Self::Stop { grace }),
        }
        .ok_or_else(|| RequestError {
            line: line.to_owned(),
        })
    }
}

/// Reads a number of milliseconds up to [`GRACE_MAX`].
fn grace(digits: &str) -> Option<Duration> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let grace = Duration::from_millis(digits.parse().ok()?);
    (grace <= GRACE_MAX).then_some(grace)
}

/// The longest grace that a stop may have.
pub const GRACE_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<Request>) {
        let expected = expected.ok_or_else(|| RequestError {
            line: line.to_owned(),
        });
        assert_eq!(line.parse(), expected);
        if let Ok(request) = expected {
            assert_eq!(request.to_string(), line);
        }
    }

    #[test]
    fn requests_are_read_as_they_are_written() {
        for wrong in [
            "",
            "stop",
            "stop ",
            "stop -1",
            "stop +1",
            "stop 1 ",
            "stop 3600001",
            "KILL",
            "kill ",
            "thaw\r",
        ] {
            check(wrong, None);
        }
        check(
            "stop 0",
            Some(Request::Stop {
                grace: Duration::ZERO,
            }),
        );
        check(
            "stop 1500",
            Some(Request::Stop {
                grace: Duration::from_millis(1500),
            }),
        );
        check("stop 3600000", Some(Request::Stop { grace: GRACE_MAX }));
        check("kill", Some(Request::Kill));
        check("freeze", Some(Request::Freeze));
        check("thaw", Some(Request::Thaw));
    }
}
