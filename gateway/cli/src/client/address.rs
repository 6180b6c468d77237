//! Where the gateway is.

use ::config::contract::endpoint::Endpoint;
use reqwest::Url;

use crate::context::Context;
use crate::dashboard::deployment;
use crate::failure::{Exit, Failure};

/// A gateway that was named, or the one on this machine.
#[derive(Debug)]
pub(super) enum Address {
    /// By `--url` or `LOKI_URL`.
    Named(Url),
    /// By the endpoint file.
    Local(Endpoint),
}

impl Address {
    /// Returns the named gateway, else the one that runs here.
    pub(super) fn find(context: &Context, flag: Option<&str>) -> Result<Self, Failure> {
        if let Some(text) = flag {
            return parse("--url", text).map(Self::Named);
        }
        if let Some(text) = context.variable("LOKI_URL") {
            return parse("LOKI_URL", text).map(Self::Named);
        }
        let home = context.offline()?.home;
        deployment::endpoint(&home)?
            .map(Self::Local)
            .ok_or_else(|| {
                Failure::new(Exit::Unreachable, "no gateway runs on this machine")
                    .fix("loki dashboard start, or name one with --url or LOKI_URL")
            })
    }
}

fn parse(origin: &str, text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("{origin} {text:?} {why}"))
            .fix("use for example https://loki.example.org or https://127.0.0.1:57374")
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not an address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user name or password"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("holds more than scheme, host and port"));
    }
    Ok(url)
}

/// Returns whether the traffic stays on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || plain
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{is_loopback, parse};

    #[test]
    fn addresses_with_anything_else_are_refused() {
        for text in [
            "",
            "loki.example.org",
            "ftp://loki.example.org",
            "file:///etc/passwd",
            "https://user:secret@loki.example.org",
            "https://loki.example.org/api",
            "https://loki.example.org/?x",
            "https://loki.example.org/#x",
            "https://",
        ] {
            assert!(parse("--url", text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let check = |text: &str, expected: bool| {
            let url = parse("--url", text).expect("an address");
            assert_eq!(is_loopback(&url), expected, "{text}");
        };
        check("http://127.0.0.1:57374", true);
        check("http://localhost:57374", true);
        check("http://[::1]:57374/", true);
        check("http://localhost.example.org", false);
        check("http://127.0.0.1.example.org", false);
        check("http://10.0.0.1", false);
    }
}
