//! The issuer of the variables: a workforce whose accounts get full access, or what narrows it.
//!
//! Invariant: an issuer whose callers choose the audience themselves, or where anybody can have an
//! account, is no workforce.

use std::time::Duration;

use super::{Grant, Issuer, LEEWAY_MAX, STALE_KEYS_MAX, TokenKind};
use super::{bounded, host_of_url, judge_url, path_of, read_algorithms, unusable};
use crate::contract::scope::Role;
use crate::load::{Key, Reader};

/// Reads the issuer; none if neither it nor a client id is set.
pub(super) fn read(reader: &mut Reader) -> Option<Issuer> {
    let text = |reader: &mut Reader, name: &'static str, variables| {
        reader.optional::<String>(&Key::new(name).variables(variables))
    };
    let url = text(reader, "oidc.issuer", &["LOKI_OIDC_ISSUER"]);
    let client_id = text(reader, "oidc.client_id", &["LOKI_OIDC_CLIENT_ID"]);
    let audience = text(reader, "oidc.audience", &["LOKI_OIDC_AUDIENCE"]);
    let settings = Narrowing::read(reader);
    let token_kind = reader.value(&Key::new("oidc.token_kind"), TokenKind::default());
    let algorithms = read_algorithms(reader, "oidc.algorithms");
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
    if judge_url(reader, "oidc.issuer", &url, allow_loopback_http) {
        refuse_strangers(reader, &url);
    }
    let grant = settings.grant(reader, &url);
    Some(Issuer {
        name: "default".to_owned(),
        audiences: vec![audience.unwrap_or_else(|| client_id.clone())],
        url,
        client_id: Some(client_id),
        token_kind,
        algorithms,
        allowed_domains: settings.allowed_domains,
        grant,
        leeway,
        stale_keys_max,
        max_age: None,
        lifetime_max: Duration::from_secs(3_600),
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

/// Jobs of everybody choose our audience there, so it would say nothing.
fn refuse_strangers(reader: &mut Reader, url: &str) {
    let own_server = path_of(url).starts_with("/_services/token");
    if CALLERS_CHOOSE.contains(&host_of_url(url).as_str()) || own_server {
        reader.mistake(
            "oidc.issuer",
            "jobs there choose the audience of their tokens themselves, so every job of everybody \
             could call: use [[oidc.issuers]] with claim rules, see docs/ci.md",
        );
    }
}

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
    PUBLIC.contains(&host_of_url(url).as_str()) || url.contains(PERSONAL)
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
