//! Host names and addresses in every spelling that resolvers understand.
//!
//! Invariant: what two programs could read as different hosts is refused, and an address is judged by
//! what it is, however it was written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host as it was asked for, made unambiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name in lower case, without a dot at its end.
    Name(String),
    /// An address. One that IPv6 wraps around an IPv4 address is that.
    Address(IpAddr),
}

impl Host {
    /// Reads a host; none if it is not one, or could be read in two ways.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(unwrapped(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return None;
        }
        if looks_numeric(&name) {
            return number(&name).map(|address| Self::Address(IpAddr::V4(address)));
        }
        let lawful = |label: &str| {
            let letters = label.bytes();
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && letters
                    .into_iter()
                    .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_'))
        };
        name.split('.').all(lawful).then_some(Self::Name(name))
    }
}

/// Returns whether a resolver would try to read a name as a number: its last part is one.
fn looks_numeric(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    hexadecimal || (!last.is_empty() && last.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Reads an IPv4 address as C libraries do: one to four parts, each decimal, octal or hexadecimal, the
/// last of which fills what is left.
fn number(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 4 {
        return None;
    }
    let values = parts
        .iter()
        .map(|part| part_value(part))
        .collect::<Option<Vec<u64>>>()?;
    let (last, front) = values.split_last()?;
    if front.iter().any(|value| *value > 255) {
        return None;
    }
    let room = 8 * (4 - u32::try_from(front.len()).ok()?);
    if *last >= 1u64 << room {
        return None;
    }
    let mut whole = 0u64;
    for value in front {
        whole = (whole << 8) | value;
    }
    u32::try_from((whole << room) | last)
        .ok()
        .map(Ipv4Addr::from)
}

fn part_value(part: &str) -> Option<u64> {
    if part.len() > 16 {
        return None;
    }
    let (digits, base) = match part.strip_prefix("0x") {
        Some("") => return Some(0),
        Some(digits) => (digits, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    u64::from_str_radix(digits, base).ok()
}

/// Returns the IPv4 address that an IPv6 address stands for, or the IPv6 address itself.
pub(crate) fn unwrapped(address: Ipv6Addr) -> IpAddr {
    let segments = address.segments();
    let low = || {
        let [.., a, b] = segments;
        let [[a, b], [c, d]] = [a.to_be_bytes(), b.to_be_bytes()];
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Mapped, and the translation prefix of RFC 6052.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => low(),
        // Compatible, but not unspecified or loopback.
        [0, 0, 0, 0, 0, 0, high, last] if high != 0 || last > 1 => low(),
        // 6to4.
        [0x2002, a, b, ..] => {
            let [[a, b], [c, d]] = [a.to_be_bytes(), b.to_be_bytes()];
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => IpAddr::V6(address),
    }
}

/// Returns what kind of place no name may lead to, if an address is one.
pub(crate) fn forbidden(address: IpAddr) -> Option<&'static str> {
    let address = match address {
        IpAddr::V6(address) => unwrapped(address),
        IpAddr::V4(_) => address,
    };
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => forbidden_v6(address),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) => Some("this network"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some("a private network"),
        (100, 64..=127, _) => Some("a carrier's private network"),
        (127, ..) => Some("the machine itself"),
        (169, 254, _) => Some("link-local addresses, cloud metadata among them"),
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) => {
            Some("a reserved network")
        }
        (198, 18..=19, _) => Some("a benchmark network"),
        (224..=239, ..) => Some("multicast"),
        (240..=255, ..) => Some("a reserved network"),
        _ => None,
    }
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("this network"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("the machine itself"),
        [0xfc00..=0xfdff, ..] => Some("a private network"),
        [0xfe80..=0xfebf, ..] => Some("link-local addresses"),
        [0xfec0..=0xfeff, ..] => Some("a private network"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0x2001, 0x0db8, ..] | [0x0100, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => {
            Some("a reserved network")
        }
        // Teredo hides an IPv4 address in its bits.
        [0x2001, 0, ..] => Some("a tunnel"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved network"),
    }
}

/// Longest host name (RFC 1035).
const NAME_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_read_in_two_ways_are_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "a\0.example",
            "a\u{430}.example",
            "ex%61mple.com",
            "a/b",
            "user@host",
            "-a.b",
            "a-.b",
            "[::1",
            "::1",
            "[fe80::1%eth0]",
            "1.2.3.4.5",
            "256.1.1.1",
            "0x1ffffffff",
            "1.2.3.08",
            "a\r\nb",
            "a:b",
            "example.com..",
            "\u{ff0e}com",
            "１27.0.0.1",
        ] {
            assert_eq!(Host::read(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_the_same_in_every_spelling() {
        let loopback = Some(Host::Address(IpAddr::from([127, 0, 0, 1])));
        for text in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7F.1",
            "017700000001",
            "0177.0.0.01",
            "127.0.0.1.",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ] {
            assert_eq!(Host::read(text), loopback, "{text}");
        }
        assert_eq!(
            Host::read("EXAMPLE.com."),
            Some(Host::Name("example.com".to_owned()))
        );
    }

    #[test]
    fn places_that_no_name_may_lead_to() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "64:ff9b::a9fe:a9fe",
            "2002:a00:1::1",
            "2001:0:1::1",
            "fd00:ec2::254",
            "4000::1",
            "198.18.0.1",
        ] {
            assert!(forbidden(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
        ] {
            assert_eq!(forbidden(text.parse().unwrap()), None, "{text}");
        }
    }
}
