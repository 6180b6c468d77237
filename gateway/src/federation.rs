//! Replays a token of another issuer offline, and says which check and which rule made what of it.
//!
//! Invariant: nothing is asked over the network and nothing is granted: this explains.

use std::io;

use chrono::{DateTime, Utc};
use config::gateway::oidc::rule::{Effect, Rule};
use config::gateway::oidc::{Algorithm, Grant, Issuer};
use config::home::Home;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::authn::oidc;
use crate::authn::oidc::claims;
use crate::authn::oidc::fault::Fault;
use crate::authn::oidc::jws::{Opened, Sealed};
use crate::authn::oidc::kept;
use crate::authn::oidc::key::KeySet;
use crate::authn::oidc::rules::{self, Verdict};
use crate::tokens::record::shown_scopes;

/// What became of a token.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// The name of the issuer that it is of.
    pub issuer: Option<String>,
    /// What was checked, in order; the last one may have failed.
    pub checks: Vec<Check>,
    /// The issuer's claim rules, each with its tests.
    pub rules: Vec<RuleReplay>,
    /// What it would be granted; none if it would be refused.
    pub granted: Option<Granted>,
}

/// One check.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it passed; none if it could not be checked here.
    pub passed: Option<bool>,
    /// What was found.
    pub found: String,
}

/// One rule.
#[derive(Debug, Serialize)]
pub struct RuleReplay {
    /// Its name.
    pub name: String,
    /// What it does.
    pub effect: String,
    /// Whether all tests hold.
    pub fits: bool,
    /// Its tests.
    pub tests: Vec<TestReplay>,
}

/// One test of a rule.
#[derive(Debug, Serialize)]
pub struct TestReplay {
    /// The test.
    pub test: String,
    /// Whether it holds.
    pub holds: bool,
    /// What the token says.
    pub found: String,
    /// Whether the rule does not say it, but it holds for all such rules.
    pub implied: bool,
}

/// What a token would be granted.
#[derive(Debug, Serialize)]
pub struct Granted {
    /// Whom it stands for.
    pub principal: String,
    /// What it may do.
    pub scopes: String,
    /// The projects that it is bound to; none means all.
    pub projects: Option<Vec<String>>,
    /// Seconds that a token lives for which it is exchanged, at most.
    pub lifetime_max_seconds: u64,
    /// The rules that granted it.
    pub rules: Vec<String>,
}

/// Replays a token at `now`.
#[must_use]
pub fn replay(token: &str, issuers: &[Issuer], home: &Home, now: DateTime<Utc>) -> Replay {
    let mut replay = Replay {
        issuer: None,
        checks: Vec::new(),
        rules: Vec::new(),
        granted: None,
    };
    let sealed = match Sealed::read(token, &Algorithm::EVERY) {
        Ok(sealed) => sealed,
        Err(fault) => return replay.failed("shape", fault),
    };
    replay.passed("shape", "a signed token of strict form");
    let issuer = match sealed.claimed_issuer() {
        Ok(claimed) => match issuers.iter().find(|issuer| issuer.url == claimed) {
            Some(issuer) => issuer,
            None => return replay.no("issuer", format!("{claimed} is not in the settings")),
        },
        Err(fault) => return replay.failed("issuer", fault),
    };
    replay.issuer = Some(issuer.name.clone());
    replay.passed("issuer", &issuer.url);
    if let Err(fault) = sealed.keeps_to(&issuer.algorithms) {
        return replay.failed("algorithm", fault);
    }
    replay.passed("algorithm", "allowed");
    let Some(opened) = replay.signature(&sealed, issuer, home, now) else {
        return replay;
    };
    replay.claims(opened, issuer, now);
    replay
}

/// Returns when a gateway last saw an issuer's keys; none if it never did.
///
/// # Errors
/// When what is kept of them may not be used, also because it is from the future.
pub fn keys_seen_at(
    home: &Home,
    issuer: &str,
    now: DateTime<Utc>,
) -> io::Result<Option<DateTime<Utc>>> {
    let found = kept::load(&kept::path(home, issuer), issuer, now)?;
    Ok(found.map(|(_, seen_at)| seen_at))
}

impl Replay {
    fn passed(&mut self, name: &'static str, found: &str) {
        self.checks.push(Check {
            name,
            passed: Some(true),
            found: found.to_owned(),
        });
    }

    fn no(mut self, name: &'static str, found: String) -> Self {
        self.checks.push(Check {
            name,
            passed: Some(false),
            found,
        });
        self
    }

    fn failed(self, name: &'static str, fault: Fault) -> Self {
        self.no(name, format!("{fault} ({})", fault.name()))
    }

    /// Checks the signature with the keys that the gateway keeps; without any, it says so.
    fn signature<'sealed>(
        &mut self,
        sealed: &'sealed Sealed<'_>,
        issuer: &Issuer,
        home: &Home,
        now: DateTime<Utc>,
    ) -> Option<Opened<'sealed>> {
        let path = kept::path(home, &issuer.url);
        let keys = kept::load(&path, &issuer.url, now)
            .ok()
            .flatten()
            .and_then(|(bytes, _)| KeySet::read(&bytes).ok());
        let Some(keys) = keys else {
            let found =
                "not checked: a running gateway has not kept this issuer's keys yet".to_owned();
            self.checks.push(Check {
                name: "signature",
                passed: None,
                found,
            });
            return Some(sealed.unverified());
        };
        match sealed.open(&keys) {
            Ok(opened) => {
                self.passed("signature", "good, by the keys that were kept last");
                Some(opened)
            }
            Err(fault) => {
                let found = format!("{fault} ({})", fault.name());
                self.checks.push(Check {
                    name: "signature",
                    passed: Some(false),
                    found,
                });
                None
            }
        }
    }

    fn claims(&mut self, opened: Opened<'_>, issuer: &Issuer, now: DateTime<Utc>) {
        let nothing = Map::new();
        let payload = opened.payload.members().unwrap_or(&nothing);
        if let Grant::Rules(rules) = &issuer.grant {
            self.rules = rules.iter().map(|rule| of_rule(rule, payload)).collect();
        }
        match claims::check(opened, issuer, now) {
            Ok(found) => {
                self.passed("claims", "in order");
                let longest = found.grants.lifetime_max.unwrap_or(issuer.lifetime_max);
                self.granted = Some(Granted {
                    principal: oidc::principal(&issuer.url, &found.subject),
                    scopes: shown_scopes(found.grants.scopes),
                    projects: found.grants.projects,
                    lifetime_max_seconds: longest.min(issuer.lifetime_max).as_secs(),
                    rules: found.grants.rules,
                });
            }
            Err(fault @ (Fault::Denied | Fault::NoRule)) => {
                self.passed("claims", "in order");
                let found = match (fault, &issuer.grant) {
                    (Fault::Denied, Grant::Rules(rules)) => match rules::judge(rules, payload) {
                        Verdict::Denied(rule) => format!("denied by {rule:?}"),
                        Verdict::Granted(_) | Verdict::Nothing => fault.to_string(),
                    },
                    _ => format!("{fault} ({})", fault.name()),
                };
                self.checks.push(Check {
                    name: "rules",
                    passed: Some(false),
                    found,
                });
            }
            Err(fault) => {
                let found = format!("{fault} ({})", fault.name());
                self.checks.push(Check {
                    name: "claims",
                    passed: Some(false),
                    found,
                });
            }
        }
    }
}

fn of_rule(rule: &Rule, claims: &Map<String, Value>) -> RuleReplay {
    let tests: Vec<TestReplay> = rule
        .tests
        .iter()
        .map(|test| TestReplay {
            test: test.to_string(),
            holds: rules::holds(test, claims),
            found: rules::at_path(claims, &test.claim)
                .map_or_else(|| "missing".to_owned(), ToString::to_string),
            implied: test.implied,
        })
        .collect();
    RuleReplay {
        name: rule.name.clone(),
        effect: match &rule.effect {
            Effect::Deny => "deny".to_owned(),
            Effect::Grant(granted) => format!("grant {}", shown_scopes(granted.scopes)),
        },
        fits: tests.iter().all(|test| test.holds),
        tests,
    }
}
