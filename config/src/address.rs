//! Listening addresses, and which of them outsiders can reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// A host to listen on: an address, or `localhost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host(IpAddr);

impl Host {
    /// The default: this machine alone.
    pub const LOOPBACK: Self = Self(IpAddr::V4(Ipv4Addr::LOCALHOST));

    /// Returns whether only this machine can reach it.
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }

    /// Returns the socket address on `port`.
    #[must_use]
    pub const fn with_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.0, port)
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self::LOOPBACK);
        }
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map(Self)
            .map_err(|_| {
                format!("{text:?} is not an address: use for example 127.0.0.1, 0.0.0.0 or ::1")
            })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::Host;

    #[test]
    fn names_and_nonsense_are_refused() {
        for text in [
            "",
            "example.org",
            "127.0.0.1:80",
            "localhost.",
            "256.0.0.1",
            "*",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_loopback_is_loopback() {
        let check = |text: &str, expected: bool| {
            assert_eq!(
                text.parse::<Host>().map(Host::is_loopback),
                Ok(expected),
                "{text}"
            );
        };
        check("127.0.0.1", true);
        check("127.9.9.9", true);
        check("::1", true);
        check("[::1]", true);
        check("localhost", true);
        check("0.0.0.0", false);
        check("::", false);
        check("192.168.1.10", false);
    }
}
