//! Judges claim rules: pure, without I/O, clock or state.
//!
//! Invariant: a claim that is missing, empty, or of another type than the test expects makes the
//! test fail, also a negated one.

use std::time::Duration;

use config::contract::scope::{Role, Scopes};
use config::gateway::oidc::rule::{Effect, Granted, Matcher, Rule, Scalar, Test};
use serde_json::{Map, Value};

/// Longest list that is looked at.
const ENTRIES_MAX: usize = 256;

/// Most steps that a claim's path may have.
const PATH_STEPS_MAX: usize = 8;

/// What the rules make of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This rule refuses it.
    Denied(String),
    /// These rules grant this.
    Granted(Grants),
    /// No rule fits.
    Nothing,
}

/// The union of what all rules that fit grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    /// What the holder may do.
    pub(crate) scopes: Scopes,
    /// The role, if one rule alone granted it.
    pub(crate) role: Option<Role>,
    /// The projects that the holder is bound to; none means all.
    pub(crate) projects: Option<Vec<String>>,
    /// Longest life of a token that it is exchanged for: the shortest of the rules'.
    pub(crate) lifetime_max: Option<Duration>,
    /// Which rules.
    pub(crate) rules: Vec<String>,
}

/// Judges a token's claims: deny rules first, then the union of the grants.
pub(crate) fn judge(rules: &[Rule], claims: &Map<String, Value>) -> Verdict {
    let fitting = || {
        rules
            .iter()
            .filter(|rule| rule.tests.iter().all(|test| holds(test, claims)))
    };
    if let Some(denying) = fitting().find(|rule| matches!(rule.effect, Effect::Deny)) {
        return Verdict::Denied(denying.name.clone());
    }
    let mut grants = Grants {
        projects: Some(Vec::new()),
        ..Grants::default()
    };
    for rule in fitting() {
        match &rule.effect {
            Effect::Deny => {}
            Effect::Grant(granted) => grants.add(&rule.name, granted),
        }
    }
    if grants.rules.is_empty() {
        Verdict::Nothing
    } else {
        Verdict::Granted(grants)
    }
}

impl Grants {
    fn add(&mut self, rule: &str, granted: &Granted) {
        self.scopes = self.scopes.iter().chain(granted.scopes.iter()).collect();
        self.role = granted.role.filter(|_| self.rules.is_empty());
        self.projects = match (self.projects.take(), &granted.projects) {
            (Some(mut held), Some(more)) => {
                held.extend(
                    more.iter()
                        .filter(|path| !held.contains(path))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                Some(held)
            }
            (None, _) | (_, None) => None,
        };
        self.lifetime_max = match (self.lifetime_max, granted.lifetime_max) {
            (Some(held), Some(other)) => Some(held.min(other)),
            (held, other) => held.or(other),
        };
        self.rules.push(rule.to_owned());
    }
}

/// Returns whether a test holds.
pub(crate) fn holds(test: &Test, claims: &Map<String, Value>) -> bool {
    let Some(value) = at_path(claims, &test.claim) else {
        return false;
    };
    let entries = match value {
        Value::Array(list) => list.as_slice(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            std::slice::from_ref(value)
        }
    };
    let comparable = !entries.is_empty()
        && entries.len() <= ENTRIES_MAX
        && entries
            .iter()
            .all(|entry| is_comparable(entry, &test.matcher));
    comparable && entries.iter().any(|entry| fits(entry, &test.matcher)) != test.negated
}

fn is_comparable(value: &Value, matcher: &Matcher) -> bool {
    match matcher {
        Matcher::Is(Scalar::Number(_)) => value.is_number(),
        Matcher::Is(Scalar::Switch(_)) => value.is_boolean(),
        Matcher::Is(Scalar::Text(_))
        | Matcher::OneOf(_)
        | Matcher::Prefix(_)
        | Matcher::Pattern(_) => value.is_string(),
    }
}

fn fits(value: &Value, matcher: &Matcher) -> bool {
    let text = value.as_str();
    match matcher {
        Matcher::Is(Scalar::Text(wanted)) => text == Some(wanted),
        Matcher::Is(Scalar::Number(wanted)) => value
            .as_number()
            .is_some_and(|number| number.to_string() == *wanted),
        Matcher::Is(Scalar::Switch(wanted)) => value.as_bool() == Some(*wanted),
        Matcher::OneOf(wanted) => text.is_some_and(|text| wanted.iter().any(|one| one == text)),
        Matcher::Prefix(wanted) => text.is_some_and(|text| text.starts_with(wanted)),
        Matcher::Pattern(pattern) => text.is_some_and(|text| pattern.fits(text)),
    }
}

/// Finds a claim by its whole name, else step by step along the dots.
pub(crate) fn at_path<'claims>(
    claims: &'claims Map<String, Value>,
    path: &str,
) -> Option<&'claims Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut steps = path.split('.').take(PATH_STEPS_MAX + 1);
    let mut value = claims.get(steps.next()?)?;
    for (taken, step) in steps.enumerate() {
        if taken + 1 == PATH_STEPS_MAX {
            return None;
        }
        value = value.as_object()?.get(step)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use config::contract::scope::Role;
    use config::gateway::oidc::rule::{Effect, Granted, Matcher, Pattern, Rule, Scalar, Test};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::{Verdict, holds, judge};

    fn claims(value: &Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn test(claim: &str, negated: bool, matcher: Matcher) -> Test {
        Test {
            claim: claim.to_owned(),
            negated,
            matcher,
            implied: false,
        }
    }

    fn text(text: &str) -> Matcher {
        Matcher::Is(Scalar::Text(text.to_owned()))
    }

    fn grant(name: &str, role: Role, projects: Option<&[&str]>, tests: Vec<Test>) -> Rule {
        let projects = projects.map(|list| list.iter().map(|path| (*path).to_owned()).collect());
        let granted = Granted {
            scopes: role.scopes(),
            role: Some(role),
            projects,
            lifetime_max: None,
        };
        Rule {
            name: name.to_owned(),
            tests,
            effect: Effect::Grant(granted),
        }
    }

    #[test]
    fn what_is_missing_or_of_another_type_holds_nothing_also_negated() {
        for found in [
            json!({}),
            json!({"a": null}),
            json!({"a": 1}),
            json!({"a": true}),
            json!({"a": {"x": 1}}),
            json!({"a": []}),
            json!({"a": ["x", 1]}),
            json!({"a": [["x"]]}),
            json!({"A": "x"}),
            json!({"a ": "x"}),
        ] {
            for negated in [false, true] {
                for matcher in [
                    text("x"),
                    Matcher::OneOf(vec!["x".to_owned()]),
                    Matcher::Prefix("x".to_owned()),
                    Matcher::Pattern(Pattern::new("x.*").expect("a pattern")),
                ] {
                    let test = test("a", negated, matcher);
                    assert!(!holds(&test, &claims(&found)), "{test} {found}");
                }
            }
        }
        // GitLab writes truth as a text.
        let protected = claims(&json!({"ref_protected": "true"}));
        let switch = Matcher::Is(Scalar::Switch(true));
        assert!(!holds(&test("ref_protected", false, switch), &protected));
        assert!(holds(
            &test("ref_protected", false, text("true")),
            &protected
        ));
    }

    #[test]
    fn claims_are_found_by_name_and_by_path_and_in_lists() {
        let found = claims(&json!({
            "realm_access": {"roles": ["viewer", "admin"]},
            "a.b": "whole", "a": {"b": "step"}, "n": 7,
        }));
        assert!(holds(
            &test("realm_access.roles", false, text("admin")),
            &found
        ));
        assert!(!holds(
            &test("realm_access.roles", true, text("admin")),
            &found
        ));
        assert!(holds(
            &test("realm_access.roles", true, text("root")),
            &found
        ));
        assert!(holds(&test("a.b", false, text("whole")), &found));
        assert!(holds(
            &test("n", false, Matcher::Is(Scalar::Number("7".to_owned()))),
            &found
        ));
        assert!(!holds(&test("n", false, text("7")), &found));
    }

    #[test]
    fn denial_wins_and_grants_are_united() {
        let is = |value: &str| vec![test("env", false, text(value))];
        let mut rules = vec![
            grant("a", Role::Viewer, Some(&["/a"]), is("prod")),
            grant("b", Role::Auditor, Some(&["/b"]), is("prod")),
        ];
        let prod = claims(&json!({"env": "prod", "actor": "mallory"}));
        let Verdict::Granted(grants) = judge(&rules, &prod) else {
            panic!("granted")
        };
        assert_eq!(grants.scopes, Role::Auditor.scopes());
        assert_eq!(
            grants.projects,
            Some(vec!["/a".to_owned(), "/b".to_owned()])
        );
        assert_eq!(
            (grants.role, grants.rules),
            (None, vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(
            judge(&rules, &claims(&json!({"env": "dev"}))),
            Verdict::Nothing
        );
        rules.push(Rule {
            name: "no".to_owned(),
            tests: vec![test("actor", false, text("mallory"))],
            effect: Effect::Deny,
        });
        assert_eq!(judge(&rules, &prod), Verdict::Denied("no".to_owned()));
        assert_eq!(judge(&[], &prod), Verdict::Nothing);
    }

    proptest! {
        #[test]
        fn a_missing_claim_never_grants(
            name in "[a-z]{1,8}", wanted in ".{0,12}", negated in any::<bool>(), kind in 0..4,
        ) {
            let matcher = match kind {
                0 => text(&wanted),
                1 => Matcher::OneOf(vec![wanted]),
                2 => Matcher::Prefix(wanted),
                _ => Matcher::Is(Scalar::Switch(negated)),
            };
            let rules = [grant("r", Role::Admin, None, vec![test(&name, negated, matcher)])];
            prop_assert_eq!(judge(&rules, &claims(&json!({"other": "x"}))), Verdict::Nothing);
        }
    }
}
