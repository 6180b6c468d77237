//! The operator's list of what may be reached: `host`, `host:port`, `*.domain`, `address:port`.
//!
//! Invariant: an empty list allows nothing; a wildcard covers sub-domains only; an address that no
//! name may lead to is reached only where the list holds that very address and port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::address::{self, Host};

/// What may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    target: Target,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Name(String),
    /// With the dot before it.
    Below(String),
    Address(IpAddr),
}

/// Says why an entry is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} {why}")]
pub struct RuleError {
    /// The entry.
    pub entry: String,
    /// What is wrong.
    pub why: &'static str,
}

/// What the list says of a host before any name is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing allows it.
    Refused,
    /// This rule allows the name; what it leads to is to be looked at.
    Name(Rule),
    /// This rule names the address itself.
    Address(Rule, SocketAddr),
}

impl Rules {
    /// Reads a list.
    ///
    /// # Errors
    /// [`RuleError`] for the first entry that is none.
    pub fn read(entries: &[String]) -> Result<Self, RuleError> {
        entries
            .iter()
            .map(|entry| entry.parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Returns whether nothing is allowed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges a host and port. Nothing is resolved.
    pub(super) fn judge(&self, host: &Host, port: u16) -> Asked {
        for rule in self.0.iter().filter(|rule| rule.port == port) {
            match (host, &rule.target) {
                (Host::Name(name), Target::Name(allowed)) if name == allowed => {
                    return Asked::Name(rule.clone());
                }
                (Host::Name(name), Target::Below(suffix))
                    if name.len() > suffix.len() && name.ends_with(suffix) =>
                {
                    return Asked::Name(rule.clone());
                }
                (Host::Address(address), Target::Address(allowed)) if address == allowed => {
                    return Asked::Address(rule.clone(), SocketAddr::new(*address, port));
                }
                (
                    Host::Name(_) | Host::Address(_),
                    Target::Name(_) | Target::Below(_) | Target::Address(_),
                ) => {}
            }
        }
        Asked::Refused
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(entry: &str) -> Result<Self, RuleError> {
        let wrong = |why| RuleError {
            entry: entry.to_owned(),
            why,
        };
        let text = entry.trim();
        let (host, port) = split_port(text).ok_or_else(|| wrong("has no lawful port"))?;
        let port = port.unwrap_or(PORT_DEFAULT);
        let target = match host.strip_prefix("*.") {
            Some(domain) => match Host::read(domain) {
                Some(Host::Name(name)) if name.contains('.') => Target::Below(format!(".{name}")),
                Some(Host::Name(_)) => return Err(wrong("would cover a whole top-level domain")),
                Some(Host::Address(_)) | None => return Err(wrong("is no domain")),
            },
            None => match Host::read(host) {
                Some(Host::Name(name)) => Target::Name(name),
                Some(Host::Address(address)) => Target::Address(address),
                None => return Err(wrong("is no host")),
            },
        };
        Ok(Self { target, port })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Name(name) => write!(formatter, "{name}:{}", self.port),
            Target::Below(suffix) => write!(formatter, "*{suffix}:{}", self.port),
            Target::Address(address) => SocketAddr::new(*address, self.port).fmt(formatter),
        }
    }
}

/// Splits `host:port`; none if what stands behind the colon is no port.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let after_bracket = text.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = text[after_bracket..].find(':') else {
        return Some((text, None));
    };
    let (host, port) = text.split_at(after_bracket + colon);
    let digits = &port[1..];
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let port: u16 = digits.parse().ok().filter(|port| *port > 0)?;
    Some((host, Some(port)))
}

/// Returns why a resolved address must not be connected to, if it must not.
pub(super) fn leads_astray(address: IpAddr) -> Option<&'static str> {
    address::forbidden(address)
}

const PORT_DEFAULT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(entries: &[&str]) -> Rules {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Rules::read(&entries).unwrap()
    }

    #[track_caller]
    fn check(entries: &[&str], host: &str, port: u16, expected: Option<&str>) {
        let found = match rules(entries).judge(&Host::read(host).unwrap(), port) {
            Asked::Refused => None,
            Asked::Name(rule) | Asked::Address(rule, _) => Some(rule.to_string()),
        };
        assert_eq!(found.as_deref(), expected, "{entries:?} {host}:{port}");
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        check(&[], "example.com", 443, None);
        check(&[], "127.0.0.1", 443, None);
    }

    #[test]
    fn a_name_is_that_name_and_a_wildcard_is_below_it() {
        check(
            &["example.com"],
            "example.com",
            443,
            Some("example.com:443"),
        );
        check(&["example.com"], "example.com", 80, None);
        check(&["example.com"], "a.example.com", 443, None);
        check(&["example.com"], "notexample.com", 443, None);
        check(
            &["*.example.com"],
            "a.b.example.com",
            443,
            Some("*.example.com:443"),
        );
        check(&["*.example.com"], "example.com", 443, None);
        check(&["*.example.com"], "notexample.com", 443, None);
        check(
            &["example.com:8443"],
            "EXAMPLE.com.",
            8443,
            Some("example.com:8443"),
        );
    }

    #[test]
    fn an_address_is_reached_only_where_it_is_listed() {
        check(&["example.com"], "127.0.0.1", 443, None);
        check(&["127.0.0.1:8080"], "0x7f.1", 8080, Some("127.0.0.1:8080"));
        check(&["127.0.0.1:8080"], "127.0.0.1", 8081, None);
        check(&["[::1]:8080"], "[::1]", 8080, Some("[::1]:8080"));
    }

    #[test]
    fn entries_that_say_too_much_are_refused() {
        for entry in [
            "",
            "*",
            "*.com",
            "*.",
            "a b",
            "example.com:",
            "example.com:0",
            "example.com:+1",
            "example.com:65536",
            "a.*.b",
            "https://example.com",
            "*.1.2.3.4",
        ] {
            assert!(entry.parse::<Rule>().is_err(), "{entry:?}");
        }
    }
}
