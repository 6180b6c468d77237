//! Addresses: where to listen, which of them outsiders can reach, and ranges of callers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

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

/// A range of addresses, or a single one: `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Network(IpNet);

impl Network {
    /// Returns whether an address lies in the range; an IPv4 address inside IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Returns whether every address of this range lies in `other`.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        other.0.contains(&self.0)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let range = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
            .ok_or_else(|| format!("{text:?} is not an address range such as 10.0.0.0/8"))?;
        if let IpAddr::V6(address) = range.addr()
            && address.to_ipv4_mapped().is_some()
        {
            return Err(format!(
                "{text:?} is IPv4 inside IPv6: write it as IPv4, callers are compared so"
            ));
        }
        Ok(Self(range.trunc()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{Host, Network};

    #[test]
    fn a_range_that_could_never_match_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0",
            "::ffff:10.0.0.0/104",
            "any",
            "10.0.0.0/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_range_holds_its_addresses_however_they_are_written() {
        let check = |range: &str, address: &str, expected: bool| {
            let range: Network = range.parse().expect("a range");
            let address = address.parse().expect("an address");
            assert_eq!(range.contains(address), expected, "{range} {address}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.4", false);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("0.0.0.0/0", "::1", false);
        let within = |inner: &str, outer: &str| {
            let range = |text: &str| text.parse::<Network>().expect("a range");
            range(inner).within(&range(outer))
        };
        assert!(within("10.1.0.0/16", "10.0.0.0/8") && within("10.0.0.0/8", "10.0.0.0/8"));
        assert!(!within("10.0.0.0/8", "10.1.0.0/16") && !within("::/0", "0.0.0.0/0"));
    }

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
