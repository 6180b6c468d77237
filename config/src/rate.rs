//! How often something may happen: `100/s`, `600/m`, `10000/h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::load::Value;

/// Highest count of a rate.
pub const COUNT_MAX: u32 = 10_000_000;

/// A count in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Rate {
    count: u32,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Window {
    Second,
    Minute,
    Hour,
}

impl Window {
    const EVERY: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    const fn letter(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }

    const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

impl Rate {
    /// Returns a rate per minute; a count outside the bounds is drawn to the nearest one.
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        let count = if count > COUNT_MAX { COUNT_MAX } else { count };
        Self {
            count,
            window: Window::Minute,
        }
    }

    /// Returns how often within the window; at least once.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Returns the window in seconds.
    #[must_use]
    pub const fn window_seconds(self) -> u32 {
        self.window.seconds()
    }

    /// Returns the window.
    #[must_use]
    pub fn window(self) -> Duration {
        Duration::from_secs(self.window.seconds().into())
    }

    /// Returns whether this rate never allows more than `other`, neither at once nor for long.
    #[must_use]
    pub fn within(self, other: Self) -> bool {
        let hourly = |rate: Self| u64::from(rate.count) * u64::from(3_600 / rate.window.seconds());
        self.count <= other.count && hourly(self) <= hourly(other)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.trim().split_once('/').and_then(|(count, letter)| {
            let window = Window::EVERY
                .into_iter()
                .find(|window| window.letter() == letter)?;
            let count = count.parse().ok().filter(|_| !count.starts_with('+'))?;
            (1..=COUNT_MAX)
                .contains(&count)
                .then_some(Self { count, window })
        });
        parsed.ok_or_else(|| {
            format!("{text:?} is not a rate such as 10/s, 600/m or 10000/h, from 1 to {COUNT_MAX}")
        })
    }
}

/// A rate, or `off`.
impl Value for Option<Rate> {
    fn from_text(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|error: String| format!("{error}, and not off"))
    }

    fn show(&self) -> String {
        let text = self.map_or_else(|| "off".to_owned(), |rate| rate.to_string());
        format!("{text:?}")
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.count, self.window.letter())
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "10",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/m",
            "10/d",
            "10/",
            "/s",
            "10000001/h",
            "1/s/s",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_rate_prints_as_it_was_written() {
        for text in ["1/s", "600/m", "10000000/h"] {
            assert_eq!(
                text.parse::<Rate>().map(|rate| rate.to_string()).as_deref(),
                Ok(text)
            );
        }
    }

    #[test]
    fn a_rate_is_within_another_if_it_is_never_more() {
        let check = |inner: &str, outer: &str, expected: bool| {
            let rate = |text: &str| text.parse::<Rate>().expect("a rate");
            assert_eq!(rate(inner).within(rate(outer)), expected, "{inner} {outer}");
        };
        check("10/s", "10/s", true);
        check("10/m", "10/s", true);
        check("10/s", "10/m", false);
        check("60/m", "1/s", false);
        check("1/s", "60/m", true);
    }
}
