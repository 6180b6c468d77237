//! Values that a setting can have, read from a file or from a text.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::document::Written;
use crate::address::Host;
use crate::contract::session::AutonomyMode;
use crate::gateway::audit::{OnOverflow, SyslogProtocol};
use crate::gateway::oidc::{Preset, TokenKind};
use crate::gateway::tls::{Name as TlsName, TlsVersion};

/// A type that a setting can have.
pub trait Value: Sized {
    /// Reads the value of a variable or a flag.
    ///
    /// # Errors
    /// What is expected instead, in words.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Reads the value of a key in a file; a text is read like a variable unless overridden.
    ///
    /// # Errors
    /// What is expected instead, in words.
    fn from_written(written: &Written) -> Result<Self, String> {
        match written {
            Written::Text(text) => Self::from_text(text),
            Written::Switch(_) | Written::Number(_) | Written::List(_) => {
                Err("expected a text in quotes".to_owned())
            }
        }
    }

    /// Shows the value as a file would have it.
    fn show(&self) -> String;
}

impl Value for bool {
    fn from_text(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(format!(
                "{text:?} is neither true/1/yes/on nor false/0/no/off"
            )),
        }
    }

    fn from_written(written: &Written) -> Result<Self, String> {
        match written {
            Written::Switch(switch) => Ok(*switch),
            Written::Text(_) | Written::Number(_) | Written::List(_) => {
                Err("expected true or false, without quotes".to_owned())
            }
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! number_value {
    ($($kind:ty),+) => {$(
        impl Value for $kind {
            fn from_text(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| {
                    format!("{text:?} is not a whole number from {} to {}", Self::MIN, Self::MAX)
                })
            }

            fn from_written(written: &Written) -> Result<Self, String> {
                match written {
                    Written::Number(text) => Self::from_text(text),
                    Written::Text(_) | Written::Switch(_) | Written::List(_) => {
                        Err("expected a whole number, without quotes".to_owned())
                    }
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

number_value!(u16, u32, u64);

impl Value for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected a path, not an empty text".to_owned());
        }
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        format!("{:?}", self.display().to_string())
    }
}

/// A list: in a variable separated by commas, blanks around entries do not count.
impl Value for Vec<String> {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(str::to_owned)
            .collect())
    }

    fn from_written(written: &Written) -> Result<Self, String> {
        match written {
            Written::List(list) => Ok(list.clone()),
            Written::Text(_) | Written::Switch(_) | Written::Number(_) => {
                Err("expected a list in brackets".to_owned())
            }
        }
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// An address and a port: `127.0.0.1:57375`, `[::]:80`.
impl Value for SocketAddr {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("{text:?} is not an address and a port such as 127.0.0.1:57375 or [::]:80")
        })
    }

    fn show(&self) -> String {
        format!("{:?}", self.to_string())
    }
}

/// A duration with its unit: `250ms`, `30s`, `5m`, `24h`, `30d`.
impl Value for Duration {
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration such as 250ms, 30s, 5m, 24h or 30d");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let factor_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        number
            .checked_mul(factor_ms)
            .map(Self::from_millis)
            .ok_or_else(wrong)
    }

    fn show(&self) -> String {
        let ms = self.as_millis();
        let text = match ms {
            0 => "0s".to_owned(),
            ms if ms % 86_400_000 == 0 => format!("{}d", ms / 86_400_000),
            ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
            ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
            ms => format!("{ms}ms"),
        };
        format!("{text:?}")
    }
}

macro_rules! parsed_value {
    ($($kind:ty),+) => {$(
        impl Value for $kind {
            fn from_text(text: &str) -> Result<Self, String> {
                text.parse()
            }

            fn show(&self) -> String {
                format!("{:?}", self.to_string())
            }
        }
    )+};
}

parsed_value!(
    Host,
    AutonomyMode,
    LogLevel,
    LogFormat,
    OnOverflow,
    Preset,
    SyslogProtocol,
    TlsName,
    TlsVersion,
    TokenKind
);

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures alone.
    Error,
    /// And what an operator should look at.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And what developers want to see.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

macro_rules! named_value {
    ($kind:ident { $($variant:ident = $name:literal),+ } $expected:literal) => {
        impl std::fmt::Display for $kind {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(match self { $(Self::$variant => $name),+ })
            }
        }

        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text.to_ascii_lowercase().as_str() {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!("{text:?} is not one of {}", $expected)),
                }
            }
        }
    };
}

named_value!(LogLevel { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" }
    "error, warn, info, debug, trace");
named_value!(LogFormat { Text = "text", Json = "json" } "text, json");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Value;

    #[test]
    fn switches_accept_eight_words_alone() {
        for text in ["true", "1", "yes", "on", "TRUE", "On"] {
            assert_eq!(bool::from_text(text), Ok(true), "{text}");
        }
        for text in ["false", "0", "no", "off", "False"] {
            assert_eq!(bool::from_text(text), Ok(false), "{text}");
        }
        for text in ["", "2", "enabled", "tru", " true", "y"] {
            assert!(bool::from_text(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 s",
            "1w",
            "99999999999999999d",
        ] {
            assert!(Duration::from_text(text).is_err(), "{text:?}");
        }
        for text in ["250ms", "30s", "5m", "24h", "30d", "0s"] {
            let shown = Duration::from_text(text).map(|value| value.show());
            assert_eq!(
                shown,
                Ok(if text == "24h" {
                    "\"1d\"".to_owned()
                } else {
                    format!("{text:?}")
                })
            );
        }
    }
}
