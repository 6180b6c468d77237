//! The issuers of tokens whose accounts and jobs may call: one by variables, any number by tables.
//!
//! Invariant: an issuer where anybody can have an account never grants full access unless the
//! operator spelled out that it shall.

mod issuers;
mod kind;
mod preset;
pub mod rule;
mod shared;
mod workforce;

use std::path::PathBuf;
use std::time::Duration;

pub use kind::{Algorithm, TokenKind};
pub use preset::Preset;

use crate::contract::scope::Role;
use crate::load::{Key, Reader};
use rule::Rule;

/// Google's issuer, which says in `hd` to which organisation an account belongs.
pub const GOOGLE: &str = "https://accounts.google.com";

/// Longest accepted clock difference to an issuer.
pub const LEEWAY_MAX: Duration = Duration::from_secs(60);

/// Longest time that keys are believed without being seen again.
pub const STALE_KEYS_MAX: Duration = Duration::from_secs(7 * 86_400);

/// An issuer and what its tokens are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its name in records, metrics and commands.
    pub name: String,
    /// The issuer's URL, byte for byte as in its tokens' `iss`.
    pub url: String,
    /// Our id at the issuer, if it knows us.
    pub client_id: Option<String>,
    /// The audiences of which tokens must name one; the client id by default.
    pub audiences: Vec<String>,
    /// The kind of token that callers bring.
    pub token_kind: TokenKind,
    /// The signature algorithms that tokens may use.
    pub algorithms: Vec<Algorithm>,
    /// Domains whose accounts are accepted; empty means all.
    pub allowed_domains: Vec<String>,
    /// What a good token grants.
    pub grant: Grant,
    /// Accepted difference between the clocks.
    pub leeway: Duration,
    /// Longest time that keys are believed without being seen again.
    pub stale_keys_max: Duration,
    /// Longest time since a token was issued, whatever its own expiry; none means as long as that.
    pub max_age: Option<Duration>,
    /// Longest life of a token of ours that one of its tokens is exchanged for.
    pub lifetime_max: Duration,
    /// Further certificate authorities (PEM) that vouch for the issuer's server.
    pub ca: Option<PathBuf>,
    /// Whether an issuer on loopback may be asked over plain HTTP.
    pub allow_loopback_http: bool,
    /// Whether the issuer may lie at a private address.
    pub allow_private_addresses: bool,
}

/// What a good token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Full access for every account.
    Everything,
    /// This role for every account.
    Role(Role),
    /// The roles that a claim names.
    Claim {
        /// The claim's name, or its path with dots.
        path: String,
        /// The role of an account for which the claim names none.
        otherwise: Option<Role>,
    },
    /// What the claim rules say, and nothing without one that fits.
    Rules(Vec<Rule>),
}

/// Reads all issuers, the one of the variables first.
pub(super) fn read(reader: &mut Reader) -> Vec<Issuer> {
    let mut issuers: Vec<Issuer> = workforce::read(reader).into_iter().collect();
    for (number, issuer) in issuers::read(reader).into_iter().enumerate() {
        let same = |known: &Issuer| known.url == issuer.url || known.name == issuer.name;
        if issuers.iter().any(same) {
            reader.mistake(
                &format!("oidc.issuers.{number}.name"),
                "another issuer has the name or the URL: give both once",
            );
        }
        issuers.push(issuer);
    }
    issuers
}

fn read_algorithms(reader: &mut Reader, key: &str) -> Vec<Algorithm> {
    let default = Algorithm::DEFAULT.map(|algorithm| algorithm.name().to_owned());
    let names = reader.value(&Key::new(key.to_owned()), default.to_vec());
    let mut algorithms = Vec::new();
    for name in &names {
        match name.parse() {
            Ok(algorithm) => algorithms.push(algorithm),
            Err(message) => reader.mistake(key, message),
        }
    }
    if names.is_empty() {
        reader.mistake(key, "expected at least one algorithm");
    }
    algorithms
}

fn bounded(reader: &mut Reader, name: &str, default: Duration, longest: Duration) -> Duration {
    let value = reader.value(&Key::new(name.to_owned()), default);
    if value > longest {
        let message = format!("may be {} seconds at most", longest.as_secs());
        reader.mistake(name, message);
    }
    value
}

/// Says what is wrong with an issuer's URL; returns whether nothing is.
fn judge_url(reader: &mut Reader, key: &str, url: &str, allow_loopback_http: bool) -> bool {
    if let Some(fault) = unusable(url) {
        reader.mistake(key, fault);
        return false;
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let shape = matches!(scheme, "https" | "http")
        && !authority.is_empty()
        && !rest.contains(['?', '#', '@', '\\']);
    if !shape {
        reader.mistake(key, "expected a URL such as https://your-org.okta.com");
        return false;
    }
    let secure = scheme == "https" || (allow_loopback_http && is_loopback(authority));
    if !secure {
        let switch = match key.rsplit_once('.') {
            Some((table, _)) => format!("{table}.allow_loopback_http"),
            None => "allow_loopback_http".to_owned(),
        };
        reader.mistake(
            key,
            format!("needs https; plain http is for tests on loopback, with {switch} = true"),
        );
    }
    let tenant = path_of(url).split('/').nth(1).unwrap_or_default();
    let nobodys = host_of_url(url) == "login.microsoftonline.com"
        && matches!(tenant, "" | "common" | "organizations" | "consumers");
    if nobodys {
        reader.mistake(
            key,
            "names no tenant: put your directory's id into https://login.microsoftonline.com/ID/v2.0",
        );
    }
    secure && !nobodys
}

/// Returns the host of a URL in lower case.
fn host_of_url(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    host_of(rest.split('/').next().unwrap_or_default()).to_ascii_lowercase()
}

/// Returns the path of a URL, from its first slash.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |start| &rest[start..])
}

fn unusable(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return Some("must not be empty");
    }
    if value.contains(['{', '}']) {
        return Some("still has a placeholder in braces: put your own value there");
    }
    if value.len() > 1_024 || value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("has blanks, control characters, or more than 1024 bytes");
    }
    None
}

fn is_loopback(authority: &str) -> bool {
    matches!(host_of(authority), "127.0.0.1" | "[::1]" | "localhost")
}

/// Returns an authority without its port.
fn host_of(authority: &str) -> &str {
    let from = authority.rfind(']').unwrap_or(0);
    authority[from..]
        .rfind(':')
        .map_or(authority, |colon| &authority[..from + colon])
}

#[cfg(test)]
mod tests;
