//! Claim rules: whom an issuer's tokens stand for, and what each of them may do.
//!
//! Invariant: a test of a claim that is missing, or of another type, fails, also under negation; so
//! nothing can be granted by what a token does not say.

use std::fmt;
use std::time::Duration;

use regex::{Regex, RegexBuilder};

use crate::contract::scope::{Role, Scopes};

/// Longest pattern in bytes, and the most memory that a compiled one may take.
const PATTERN_BYTES_MAX: (usize, usize) = (1_024, 256 * 1024);

/// One rule. Deny rules are asked first; then the grants of all that fit are united.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, for records and for `loki federate test`.
    pub name: String,
    /// What must hold of the token's claims, all of it.
    pub tests: Vec<Test>,
    /// What follows.
    pub effect: Effect,
}

/// What follows when all tests hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The token is refused, whatever other rules say.
    Deny,
    /// The token gets this.
    Grant(Granted),
}

/// What a rule grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What the holder may do.
    pub scopes: Scopes,
    /// The role that the scopes were taken from.
    pub role: Option<Role>,
    /// The projects that the holder is bound to; none means all.
    pub projects: Option<Vec<String>>,
    /// Longest life of a token that it is exchanged for.
    pub lifetime_max: Option<Duration>,
}

/// One test of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The claim's name, or its path with dots.
    pub claim: String,
    /// Whether the claim must be there and not fit.
    pub negated: bool,
    /// What it is compared with.
    pub matcher: Matcher,
    /// Whether it was added because the rule does not speak of the claim itself.
    pub implied: bool,
}

/// What a claim is compared with; a list of claims fits if one of them does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// Exactly this, of exactly this type.
    Is(Scalar),
    /// One of these texts.
    OneOf(Vec<String>),
    /// A text that begins so.
    Prefix(String),
    /// A text that fits as a whole.
    Pattern(Pattern),
}

/// A value with its type: the text `"true"` is not the switch `true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    Text(String),
    /// A number, as written.
    Number(String),
    /// `true` or `false`.
    Switch(bool),
}

/// A regular expression that must fit the whole text; it takes time in proportion to the text.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern, anchored at both ends.
    ///
    /// # Errors
    /// When it is no regular expression, or too large.
    pub fn new(text: &str) -> Result<Self, String> {
        let (text_max, compiled_max) = PATTERN_BYTES_MAX;
        if text.is_empty() || text.len() > text_max {
            return Err(format!("a pattern has 1 to {text_max} bytes"));
        }
        // Compiled alone first: `a)|(b` would otherwise escape from the anchors.
        let build = |text: &str| RegexBuilder::new(text).size_limit(compiled_max).build();
        let regex = build(text).and_then(|_| build(&format!("^(?:{text})$")));
        match regex {
            Ok(regex) => Ok(Self {
                text: text.to_owned(),
                regex,
            }),
            Err(error) => {
                let last = error.to_string();
                let why = last.lines().last().unwrap_or_default().trim();
                Err(format!("{text:?} is not a pattern: {why}"))
            }
        }
    }

    /// Returns whether the whole text fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        self.regex.is_match(text) && !text.contains('\n')
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Test {
    /// Returns a test that a rule implies.
    #[must_use]
    pub fn implied(claim: &str, negated: bool, matcher: Matcher) -> Self {
        Self {
            claim: claim.to_owned(),
            negated,
            matcher,
            implied: true,
        }
    }

    /// Returns whether it says exactly who is meant: not by negation, beginning or pattern.
    #[must_use]
    pub const fn pins(&self) -> bool {
        !self.negated && matches!(self.matcher, Matcher::Is(_) | Matcher::OneOf(_))
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(formatter, "{text:?}"),
            Self::Number(text) => formatter.write_str(text),
            Self::Switch(switch) => write!(formatter, "{switch}"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "not " } else { "" };
        write!(formatter, "{} {not}", self.claim)?;
        match &self.matcher {
            Matcher::Is(value) => write!(formatter, "= {value}"),
            Matcher::OneOf(values) => write!(formatter, "in {values:?}"),
            Matcher::Prefix(text) => write!(formatter, "begins with {text:?}"),
            Matcher::Pattern(pattern) => write!(formatter, "fits {:?}", pattern.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "(", "a)|(b", "[z-a]", "(?=x)", "\\1", "(a{1000}){1000}"] {
            assert!(Pattern::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_pattern_must_fit_the_whole_text() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let compiled = Pattern::new(pattern).expect("a pattern");
            assert_eq!(compiled.fits(text), expected, "{pattern} {text:?}");
        };
        check("main", "main", true);
        check("main", "not-main", false);
        check("main", "main-not", false);
        check("a|b", "ab", false);
        check("refs/heads/.*", "refs/heads/x\nevil", false);
        check("(?m)main", "main\nevil", false);
        check("refs/tags/v[0-9]+", "refs/tags/v12", true);
    }
}
