//! The issuer of OpenID Connect tokens whose users may call.
//!
//! Invariant: an issuer where anybody can have an account never grants full access unless the
//! operator spelled out that it shall.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::contract::scope::Role;
use crate::load::{Key, Reader};

/// Google's issuer, which says in `hd` to which organisation an account belongs.
pub const GOOGLE: &str = "https://accounts.google.com";

/// Longest accepted clock difference to an issuer.
pub const LEEWAY_MAX: Duration = Duration::from_secs(60);

/// Longest time that keys are believed without being seen again.
pub const STALE_KEYS_MAX: Duration = Duration::from_secs(7 * 86_400);

/// An issuer and what its tokens are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The issuer's URL, byte for byte as in its tokens' `iss`.
    pub url: String,
    /// Our id at the issuer.
    pub client_id: String,
    /// The audience that tokens must name; the client id by default.
    pub audience: String,
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
}

/// The kind of token that callers bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenKind {
    /// Access tokens of the JWT profile (RFC 9068).
    Access,
    /// ID tokens (OpenID Connect Core).
    #[default]
    Id,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Access => "access",
            Self::Id => "id",
        })
    }
}

impl FromStr for TokenKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "access" => Ok(Self::Access),
            "id" => Ok(Self::Id),
            _ => Err(format!("{text:?} is not one of access, id")),
        }
    }
}

/// A signature algorithm (RFC 7518, RFC 8037). Only asymmetric ones exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS #1 v1.5 with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm that can be allowed.
    pub const EVERY: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// Those that are allowed by default.
    pub const DEFAULT: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// Returns the name as in a token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::EVERY
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or_else(|| {
                let names = Self::EVERY.map(Self::name).join(", ");
                format!("{text:?} is not one of {names}")
            })
    }
}

/// Reads the issuer; none if neither it nor a client id is set.
pub(super) fn read(reader: &mut Reader) -> Option<Issuer> {
    let text = |reader: &mut Reader, name: &'static str, variables| {
        reader.optional::<String>(&Key::new(name).variables(variables))
    };
    let url = text(reader, "oidc.issuer", &["LOKI_OIDC_ISSUER"]);
    let client_id = text(reader, "oidc.client_id", &["LOKI_OIDC_CLIENT_ID"]);
    let audience = text(reader, "oidc.audience", &["LOKI_OIDC_AUDIENCE"]);
    let settings = Narrowing::read(reader);
    let (token_kind, algorithms) = (token_kind(reader), algorithms(reader));
    let leeway = bounded(reader, "oidc.leeway", Duration::from_secs(30), LEEWAY_MAX);
    let day = Duration::from_secs(86_400);
    let stale_keys_max = bounded(reader, "oidc.stale_keys_max", day, STALE_KEYS_MAX);
    let ca = reader.optional(&Key::new("oidc.ca"));
    let allow_loopback_http = reader.value(&Key::new("oidc.allow_loopback_http"), false);
    let allow_private_addresses = reader.value(&Key::new("oidc.allow_private_addresses"), false);
    let (url, client_id) = match (url, client_id) {
        (Some(url), Some(client_id)) => (url, client_id),
        (None, None) => {
            if audience.is_some() {
                reader.mistake("oidc.audience", NO_ISSUER);
            }
            settings.refuse_alone(reader);
            return None;
        }
        (Some(_), None) => {
            reader.mistake(
                "oidc.issuer",
                "the client id is missing: set LOKI_OIDC_CLIENT_ID or oidc.client_id",
            );
            return None;
        }
        (None, Some(_)) => {
            reader.mistake("oidc.client_id", NO_ISSUER);
            return None;
        }
    };
    for (key, value) in [
        ("oidc.client_id", Some(&client_id)),
        ("oidc.audience", audience.as_ref()),
    ] {
        if let Some(fault) = value.and_then(|value| unusable(value)) {
            reader.mistake(key, fault);
        }
    }
    judge_url(reader, &url, allow_loopback_http);
    let grant = settings.grant(reader, &url);
    Some(Issuer {
        audience: audience.unwrap_or_else(|| client_id.clone()),
        url,
        client_id,
        token_kind,
        algorithms,
        allowed_domains: settings.allowed_domains,
        grant,
        leeway,
        stale_keys_max,
        ca,
        allow_loopback_http,
        allow_private_addresses,
    })
}

/// The settings that narrow what an issuer's accounts get.
struct Narrowing {
    roles_claim: Option<String>,
    default_role: Option<Role>,
    allowed_domains: Vec<String>,
    trust_any_account: bool,
}

impl Narrowing {
    fn read(reader: &mut Reader) -> Self {
        let roles_claim = Key::new("oidc.roles_claim").variables(&["LOKI_OIDC_ROLES_CLAIM"]);
        let default_role = Key::new("oidc.default_role").variables(&["LOKI_OIDC_DEFAULT_ROLE"]);
        let domains = Key::new("oidc.allowed_domains").variables(&["LOKI_OIDC_ALLOWED_DOMAINS"]);
        let trust = Key::new("oidc.dangerously_trust_any_account")
            .variables(&["LOKI_OIDC_DANGEROUSLY_TRUST_ANY_ACCOUNT"]);
        let roles_claim = reader.optional::<String>(&roles_claim);
        if roles_claim
            .as_ref()
            .is_some_and(|path| path.split('.').any(str::is_empty) && !path.contains("://"))
        {
            reader.mistake(
                "oidc.roles_claim",
                "expected the name of a claim, or a path such as realm_access.roles",
            );
        }
        let role = reader.optional::<String>(&default_role);
        let default_role = role.and_then(|name| match name.parse::<Role>() {
            Ok(role) => Some(role),
            Err(error) => {
                reader.mistake("oidc.default_role", error.to_string());
                None
            }
        });
        let given = reader.optional::<Vec<String>>(&domains);
        let allowed_domains = given.clone().unwrap_or_default();
        if given.is_some_and(|list| list.is_empty() || !list.iter().all(|name| is_domain(name))) {
            reader.mistake(
                "oidc.allowed_domains",
                "expected domains such as example.org, separated by commas, without @ or wildcards",
            );
        }
        Self {
            roles_claim,
            default_role,
            allowed_domains,
            trust_any_account: reader.value(&trust, false),
        }
    }

    /// A protection that has nothing to protect is a mistake, not a comfort.
    fn refuse_alone(&self, reader: &mut Reader) {
        for (key, set) in [
            ("oidc.roles_claim", self.roles_claim.is_some()),
            ("oidc.default_role", self.default_role.is_some()),
            ("oidc.allowed_domains", !self.allowed_domains.is_empty()),
            ("oidc.dangerously_trust_any_account", self.trust_any_account),
        ] {
            if set {
                reader.mistake(key, NO_ISSUER);
            }
        }
    }

    fn grant(&self, reader: &mut Reader, url: &str) -> Grant {
        let grant = match (&self.roles_claim, self.default_role) {
            (Some(path), otherwise) => Grant::Claim {
                path: path.clone(),
                otherwise,
            },
            (None, Some(role)) => Grant::Role(role),
            (None, None) => Grant::Everything,
        };
        let everything = matches!(grant, Grant::Everything)
            || self.default_role.is_some_and(|role| role == Role::Admin);
        if !everything {
            return grant;
        }
        let open = is_public(url) && self.allowed_domains.is_empty();
        if open && !self.trust_any_account {
            reader.mistake(
                "oidc.issuer",
                "anybody can have an account there, and every account would get full access: set \
                 LOKI_OIDC_ALLOWED_DOMAINS to your organisation's domains, or \
                 LOKI_OIDC_DEFAULT_ROLE to viewer, or \
                 LOKI_OIDC_DANGEROUSLY_TRUST_ANY_ACCOUNT=true",
            );
        }
        let who = if open {
            "anybody with an account".to_owned()
        } else if self.allowed_domains.is_empty() {
            "every account".to_owned()
        } else {
            format!("every account of {}", self.allowed_domains.join(", "))
        };
        reader.warning(format!(
            "{who} at {url} gets full access; LOKI_OIDC_ROLES_CLAIM or LOKI_OIDC_DEFAULT_ROLE \
             narrow it"
        ));
        grant
    }
}

const NO_ISSUER: &str = "the issuer is missing: set LOKI_OIDC_ISSUER or oidc.issuer";

fn token_kind(reader: &mut Reader) -> TokenKind {
    reader.value(&Key::new("oidc.token_kind"), TokenKind::default())
}

fn algorithms(reader: &mut Reader) -> Vec<Algorithm> {
    let default = Algorithm::DEFAULT.map(|algorithm| algorithm.name().to_owned());
    let names = reader.value(&Key::new("oidc.algorithms"), default.to_vec());
    let mut algorithms = Vec::new();
    for name in &names {
        match name.parse() {
            Ok(algorithm) => algorithms.push(algorithm),
            Err(message) => reader.mistake("oidc.algorithms", message),
        }
    }
    if names.is_empty() {
        reader.mistake("oidc.algorithms", "expected at least one algorithm");
    }
    algorithms
}

fn bounded(
    reader: &mut Reader,
    name: &'static str,
    default: Duration,
    longest: Duration,
) -> Duration {
    let value = reader.value(&Key::new(name), default);
    if value > longest {
        let message = format!("may be {} seconds at most", longest.as_secs());
        reader.mistake(name, message);
    }
    value
}

/// Says what is wrong with an issuer's URL, all of it.
fn judge_url(reader: &mut Reader, url: &str, allow_loopback_http: bool) {
    let key = "oidc.issuer";
    if let Some(fault) = unusable(url) {
        reader.mistake(key, fault);
        return;
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let shape = matches!(scheme, "https" | "http")
        && !authority.is_empty()
        && !rest.contains(['?', '#', '@', '\\']);
    if !shape {
        reader.mistake(key, "expected a URL such as https://your-org.okta.com");
        return;
    }
    if scheme == "http" && !(allow_loopback_http && is_loopback(authority)) {
        reader.mistake(
            key,
            "needs https; plain http is for tests on loopback, with oidc.allow_loopback_http = true",
        );
    }
    let host = host_of(authority).to_ascii_lowercase();
    let path = rest.strip_prefix(authority).unwrap_or_default();
    if CALLERS_CHOOSE.contains(&host.as_str()) || path.starts_with("/_services/token") {
        reader.mistake(
            key,
            "jobs there choose the audience of their tokens themselves, so every job of everybody \
             could call: this needs claim rules, which this version does not have",
        );
    }
    let tenant = path.split('/').nth(1).unwrap_or_default();
    if host == "login.microsoftonline.com"
        && matches!(tenant, "" | "common" | "organizations" | "consumers")
    {
        reader.mistake(
            key,
            "names no tenant: put your directory's id into https://login.microsoftonline.com/ID/v2.0",
        );
    }
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

/// Issuers whose callers choose the audience themselves.
const CALLERS_CHOOSE: [&str; 8] = [
    "agent.buildkite.com",
    "api.bitbucket.org",
    "app.terraform.io",
    "gitlab.com",
    "oidc.circleci.com",
    "oidc.vercel.com",
    "token.actions.githubusercontent.com",
    "vstoken.dev.azure.com",
];

/// Whether anybody can have an account there.
fn is_public(url: &str) -> bool {
    const PUBLIC: [&str; 7] = [
        "accounts.google.com",
        "appleid.apple.com",
        "api.login.yahoo.com",
        "github.com",
        "id.twitch.tv",
        "www.facebook.com",
        "www.linkedin.com",
    ];
    // Microsoft's own tenant of personal accounts.
    const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host_of(rest.split('/').next().unwrap_or_default()).to_ascii_lowercase();
    PUBLIC.contains(&host.as_str()) || url.contains(PERSONAL)
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

fn is_domain(name: &str) -> bool {
    name.contains('.')
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

#[cfg(test)]
mod tests;
