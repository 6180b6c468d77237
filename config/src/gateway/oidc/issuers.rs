//! `[[oidc.issuers]]`: any number of issuers, each with its own claim rules.
//!
//! Invariant: nothing is granted without a rule, and no rule of a shared issuer leaves open whose
//! tokens it means.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::preset::Preset;
use super::rule::{Effect, Granted, Matcher, Pattern, Rule, Scalar, Test};
use super::shared;
use super::{Algorithm, Grant, Issuer, LEEWAY_MAX, STALE_KEYS_MAX, TokenKind};
use super::{bounded, host_of_url, judge_url, read_algorithms, unusable};
use crate::contract::scope::{Role, Scopes};
use crate::load::document::Written;
use crate::load::{Key, Reader};

/// Most issuers.
const ISSUERS_MAX: usize = 64;

/// Most rules of an issuer.
const RULES_MAX: usize = 256;

/// Most tests of a rule, and most entries of a list.
const TESTS_MAX: usize = 64;

/// Longest life of a token that another issuer's is exchanged for.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3_600);

const ARRAY: &str = "oidc.issuers";

/// Reads all issuers; what is wrong with one comes out as mistakes.
pub(super) fn read(reader: &mut Reader) -> Vec<Issuer> {
    let count = reader.array_len(ARRAY);
    if count > ISSUERS_MAX {
        reader.mistake(ARRAY, format!("there may be {ISSUERS_MAX} issuers at most"));
    }
    (0..count.min(ISSUERS_MAX))
        .filter_map(|number| Table::new(number).read(reader))
        .collect()
}

/// One table of the array.
struct Table {
    prefix: String,
}

impl Table {
    fn new(number: usize) -> Self {
        Self {
            prefix: format!("{ARRAY}.{number}"),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn optional<T: crate::load::Value>(&self, reader: &mut Reader, name: &str) -> Option<T> {
        reader.optional::<T>(&Key::new(self.key(name)))
    }

    fn read(&self, reader: &mut Reader) -> Option<Issuer> {
        let name = self.name(reader);
        let preset = self.optional::<Preset>(reader, "preset");
        let allow_loopback_http = reader.value(&Key::new(self.key("allow_loopback_http")), false);
        let url = self.url(reader, preset, allow_loopback_http);
        let audiences = self.audiences(reader);
        let client_id = self.optional::<String>(reader, "client_id");
        let token_kind = reader.value(&Key::new(self.key("token_kind")), TokenKind::default());
        let algorithms: Vec<Algorithm> = read_algorithms(reader, &self.key("algorithms"));
        let seconds = Duration::from_secs;
        let leeway = bounded(reader, &self.key("leeway"), seconds(30), LEEWAY_MAX);
        let stale = bounded(
            reader,
            &self.key("stale_keys_max"),
            seconds(86_400),
            STALE_KEYS_MAX,
        );
        let life = bounded(
            reader,
            &self.key("lifetime_max"),
            seconds(3_600),
            LIFETIME_MAX,
        );
        let max_age = self.optional::<Duration>(reader, "max_age");
        let ca = self.optional::<PathBuf>(reader, "ca");
        let private = reader.value(&Key::new(self.key("allow_private_addresses")), false);
        let tenant_claims = tenant_claims(preset, url.as_deref().unwrap_or_default());
        let rules = self.rules(reader, preset, tenant_claims);
        Some(Issuer {
            name: name?,
            url: url?,
            client_id,
            audiences,
            token_kind,
            algorithms,
            allowed_domains: Vec::new(),
            grant: Grant::Rules(rules),
            leeway,
            stale_keys_max: stale,
            max_age,
            lifetime_max: life,
            ca,
            allow_loopback_http,
            allow_private_addresses: private,
        })
    }

    fn name(&self, reader: &mut Reader) -> Option<String> {
        let name = self.optional::<String>(reader, "name");
        let plain = |name: &String| {
            (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !name.as_ref().is_some_and(plain) {
            let key = self.key("name");
            reader.mistake(&key, "needs a name of 1 to 64 letters, digits, -, _ and .");
            return None;
        }
        name
    }

    fn url(&self, reader: &mut Reader, preset: Option<Preset>, loopback: bool) -> Option<String> {
        let key = self.key("url");
        let given = self.optional::<String>(reader, "url");
        let tenant = self.optional::<String>(reader, "tenant");
        let made = match (&tenant, preset) {
            (Some(tenant), Some(Preset::AzureAd)) if given.is_none() => {
                let guid = tenant.len() == 36
                    && tenant
                        .bytes()
                        .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
                if !guid {
                    let key = self.key("tenant");
                    reader.mistake(
                        &key,
                        "expected the directory's id, such as 8d1f…-…: a name can change hands",
                    );
                    return None;
                }
                Some(format!("https://login.microsoftonline.com/{tenant}/v2.0"))
            }
            (Some(_), _) => {
                let key = self.key("tenant");
                reader.mistake(&key, "belongs to the preset azure-ad without a url");
                return None;
            }
            (None, _) => None,
        };
        let known = preset.and_then(Preset::url).map(str::to_owned);
        let Some(url) = given.or(made).or(known) else {
            let example = preset.map_or("https://issuer.example.org", Preset::example);
            reader.mistake(
                &key,
                format!("the issuer's URL is missing: such as {example}"),
            );
            return None;
        };
        judge_url(reader, &key, &url, loopback).then_some(url)
    }

    fn audiences(&self, reader: &mut Reader) -> Vec<String> {
        let key = self.key("audiences");
        let audiences = self
            .optional::<Vec<String>>(reader, "audiences")
            .unwrap_or_default();
        if audiences.is_empty() || audiences.len() > TESTS_MAX {
            reader.mistake(
                &key,
                "needs at least one audience: what tokens for this gateway name in aud",
            );
        }
        if let Some(fault) = audiences.iter().find_map(|audience| unusable(audience)) {
            reader.mistake(&key, fault);
        }
        audiences
    }

    fn rules(&self, reader: &mut Reader, preset: Option<Preset>, tenant: &[&str]) -> Vec<Rule> {
        let prefix = self.key("rules");
        let count = reader.array_len(&prefix);
        if count == 0 || count > RULES_MAX {
            reader.mistake(
                &self.key("name"),
                format!("needs 1 to {RULES_MAX} rules ([[oidc.issuers.rules]]): nothing is granted without one"),
            );
        }
        let mut names = BTreeSet::new();
        let mut rules = Vec::new();
        for number in 0..count.min(RULES_MAX) {
            let table = Self {
                prefix: format!("{prefix}.{number}"),
            };
            let Some(rule) = table.rule(reader, preset, tenant) else {
                continue;
            };
            if !names.insert(rule.name.clone()) {
                reader.mistake(
                    &table.key("name"),
                    "another rule of this issuer has the name",
                );
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&self, reader: &mut Reader, preset: Option<Preset>, tenant: &[&str]) -> Option<Rule> {
        let name = self.name(reader);
        let effect = self.effect(reader);
        let any_account = reader.value(&Key::new(self.key("any_account")), false);
        let mut tests = self.tests(reader);
        let name = name?;
        let effect = effect?;
        let place = self.key("name");
        if tests.is_empty() != any_account {
            reader.mistake(
                &place,
                "says nothing about whom it means: add tests below `when`, or any_account = true",
            );
        }
        let pinned = tests
            .iter()
            .any(|test| test.pins() && tenant.contains(&test.claim.as_str()));
        if !tenant.is_empty() && !pinned && matches!(effect, Effect::Grant(_)) {
            reader.mistake(
                &place,
                format!(
                    "many strangers share this issuer, so a rule must say whose tokens it means: \
                     pin one of {} to a value",
                    tenant.join(", ")
                ),
            );
        }
        imply(&mut tests, &effect, preset);
        Some(Rule {
            name,
            tests,
            effect,
        })
    }

    fn effect(&self, reader: &mut Reader) -> Option<Effect> {
        let deny = reader.value(&Key::new(self.key("deny")), false);
        let scopes = self.optional::<Vec<String>>(reader, "scopes");
        let role = self.optional::<String>(reader, "role");
        let projects = self.optional::<Vec<String>>(reader, "projects");
        let lifetime_max = self.optional::<Duration>(reader, "lifetime_max");
        if deny {
            if scopes.is_some() || role.is_some() || projects.is_some() || lifetime_max.is_some() {
                reader.mistake(
                    &self.key("deny"),
                    "a deny rule grants nothing: leave the rest out",
                );
            }
            return Some(Effect::Deny);
        }
        if projects.iter().flatten().any(|path| !path.starts_with('/')) {
            reader.mistake(&self.key("projects"), "expected absolute paths of projects");
        }
        if lifetime_max.is_some_and(|life| life.is_zero() || life > LIFETIME_MAX) {
            reader.mistake(
                &self.key("lifetime_max"),
                "expected more than nothing and at most 24h",
            );
        }
        let role = match role.map(|name| name.parse::<Role>()).transpose() {
            Ok(role) => role,
            Err(error) => {
                reader.mistake(&self.key("role"), error.to_string());
                return None;
            }
        };
        let scopes = match scopes.map(Scopes::try_from).transpose() {
            Ok(scopes) => scopes,
            Err(error) => {
                reader.mistake(&self.key("scopes"), error.to_string());
                return None;
            }
        };
        let scopes = match (scopes, role) {
            (Some(scopes), None) if !scopes.is_empty() => scopes,
            (None, Some(role)) => role.scopes(),
            (Some(_), _) | (None, None) => {
                reader.mistake(
                    &self.key("name"),
                    "needs one of role, scopes, and deny = true",
                );
                return None;
            }
        };
        Some(Effect::Grant(Granted {
            scopes,
            role,
            projects,
            lifetime_max,
        }))
    }

    fn tests(&self, reader: &mut Reader) -> Vec<Test> {
        let prefix = self.key("when");
        let mut tests = Vec::new();
        for (path, written) in reader.written_below(&prefix) {
            match test(&path, written) {
                Ok(test) => tests.push(test),
                Err(message) => reader.mistake(&format!("{prefix}.{path}"), message),
            }
        }
        if tests.len() > TESTS_MAX {
            reader.mistake(
                &self.key("name"),
                format!("may have {TESTS_MAX} tests at most"),
            );
        }
        tests
    }
}

/// Adds what a rule must hold although it does not say so.
fn imply(tests: &mut Vec<Test>, effect: &Effect, preset: Option<Preset>) {
    if matches!(effect, Effect::Deny) {
        return;
    }
    let speaks_of = |tests: &[Test], claim: &str| tests.iter().any(|test| test.claim == claim);
    // An address that the issuer did not verify is whatever its holder typed.
    if speaks_of(tests, "email") && !speaks_of(tests, "email_verified") {
        let verified = Matcher::Is(Scalar::Switch(true));
        tests.push(Test::implied("email_verified", false, verified));
    }
    // Whoever opens a pull request decides what its jobs run.
    if preset == Some(Preset::GithubActions) && !speaks_of(tests, "event_name") {
        let events = ["pull_request", "pull_request_target"].map(str::to_owned);
        tests.push(Test::implied(
            "event_name",
            true,
            Matcher::OneOf(events.into()),
        ));
    }
}

/// Reads `claim`, or `claim.operator`, with its value.
fn test(path: &str, written: Written) -> Result<Test, String> {
    let (claim, operator) = match path.rsplit_once('.') {
        Some((claim, operator)) if OPERATORS.contains(&operator) => (claim, operator),
        Some(_) | None => (path, "is"),
    };
    let (negated, operator) = match operator.strip_prefix("not_") {
        Some(operator) => (true, operator),
        None if operator == "not" => (true, "is"),
        None => (false, operator),
    };
    let list = |list: Vec<String>| {
        if list.is_empty() || list.len() > TESTS_MAX {
            return Err(format!("expected a list of 1 to {TESTS_MAX} texts"));
        }
        Ok(Matcher::OneOf(list))
    };
    let matcher = match (operator, written) {
        ("is", Written::Text(text)) => Matcher::Is(Scalar::Text(text)),
        ("is", Written::Number(number)) => Matcher::Is(Scalar::Number(number)),
        ("is", Written::Switch(switch)) => Matcher::Is(Scalar::Switch(switch)),
        ("is" | "in", Written::List(texts)) => list(texts)?,
        ("prefix", Written::Text(text)) if !text.is_empty() => Matcher::Prefix(text),
        ("pattern", Written::Text(text)) => Matcher::Pattern(Pattern::new(&text)?),
        (operator, _) => return Err(format!("expected a text for {operator}, a list for in")),
    };
    Ok(Test {
        claim: claim.to_owned(),
        negated,
        matcher,
        implied: false,
    })
}

const OPERATORS: [&str; 8] = [
    "is",
    "in",
    "prefix",
    "pattern",
    "not",
    "not_in",
    "not_prefix",
    "not_pattern",
];

fn tenant_claims(preset: Option<Preset>, url: &str) -> &'static [&'static str] {
    let of_preset = preset.map_or(&[][..], Preset::tenant_claims);
    if of_preset.is_empty() {
        shared::find(&host_of_url(url)).map_or(&[], |shared| shared.tenant_claims)
    } else {
        of_preset
    }
}
