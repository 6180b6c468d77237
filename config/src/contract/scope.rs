//! Scopes and roles: what a credential may do.
//!
//! Scopes form a partial order: `*` includes all, `control` includes `write` and `approve`,
//! `write` includes `read`, `approve` includes `read`; `audit` stands apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One permission that an operation demands and a credential holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything (`*`).
    All,
    /// Decides approvals; includes `read`.
    Approve,
    /// Reads the audit trail; includes nothing else.
    Audit,
    /// Starts and stops sessions; includes `write` and `approve`.
    Control,
    /// Sees state.
    Read,
    /// Changes tasks and projects; includes `read`.
    Write,
}

impl Scope {
    /// Every scope, widest first.
    pub const EVERY: [Self; 6] = [
        Self::All,
        Self::Control,
        Self::Write,
        Self::Approve,
        Self::Read,
        Self::Audit,
    ];

    /// Returns the name as written in settings, tokens and claims.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "*",
            Self::Approve => "approve",
            Self::Audit => "audit",
            Self::Control => "control",
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Returns whether holding `self` grants `needed`.
    #[must_use]
    pub const fn includes(self, needed: Self) -> bool {
        self.closure() & needed.bit() != 0
    }

    const fn bit(self) -> u8 {
        match self {
            Self::All => 1,
            Self::Approve => 2,
            Self::Audit => 4,
            Self::Control => 8,
            Self::Read => 16,
            Self::Write => 32,
        }
    }

    /// Everything that this scope grants, itself included.
    const fn closure(self) -> u8 {
        let read = Self::Read.bit();
        let write = Self::Write.bit() | read;
        let approve = Self::Approve.bit() | read;
        match self {
            Self::All => 0b11_1111,
            Self::Approve => approve,
            Self::Audit => Self::Audit.bit(),
            Self::Control => Self::Control.bit() | write | approve,
            Self::Read => read,
            Self::Write => write,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let name = text.trim();
        Self::EVERY
            .into_iter()
            .find(|scope| scope.name() == name)
            .ok_or_else(|| UnknownScope(name.to_owned()))
    }
}

/// A name that is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope {0:?}: use one of *, control, write, approve, read, audit")]
pub struct UnknownScope(String);

/// The scopes that a credential was given, as written; the hierarchy is applied when judging.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Scopes(u8);

impl Scopes {
    /// Grants nothing.
    pub const NONE: Self = Self(0);

    /// Returns whether any of the scopes grants `needed`.
    #[must_use]
    pub fn allow(self, needed: Scope) -> bool {
        self.iter().any(|held| held.includes(needed))
    }

    /// Returns whether everything that `self` grants is granted by `other` too.
    #[must_use]
    pub fn within(self, other: Self) -> bool {
        let granted = |scopes: Self| scopes.iter().fold(0, |sum, scope| sum | scope.closure());
        granted(self) & !granted(other) == 0
    }

    /// Returns the scopes, widest first.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::EVERY
            .into_iter()
            .filter(move |scope| self.0 & scope.bit() != 0)
    }

    /// Returns whether there is no scope at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | scope.bit()))
    }
}

/// Reads a comma-separated list; blanks around a name do not count.
impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        text.split(',').map(str::parse::<Scope>).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.iter().enumerate() {
            if position > 0 {
                formatter.write_str(", ")?;
            }
            formatter.write_str(scope.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{self}]")
    }
}

impl From<Scopes> for Vec<String> {
    fn from(scopes: Scopes) -> Self {
        scopes.iter().map(|scope| scope.name().to_owned()).collect()
    }
}

impl TryFrom<Vec<String>> for Scopes {
    type Error = UnknownScope;

    fn try_from(names: Vec<String>) -> Result<Self, UnknownScope> {
        names.iter().map(|name| name.parse::<Scope>()).collect()
    }
}

/// A named bundle of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Full access to all endpoints.
    Admin,
    /// Read access plus audit log viewing.
    Auditor,
    /// Starts and stops sessions, manages tasks.
    Operator,
    /// Read-only access.
    Viewer,
}

impl Role {
    /// Every role.
    pub const EVERY: [Self; 4] = [Self::Admin, Self::Operator, Self::Viewer, Self::Auditor];

    /// Returns the name as typed on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// Returns the scopes that the role stands for.
    #[must_use]
    pub fn scopes(self) -> Scopes {
        match self {
            Self::Admin => [Scope::All].into_iter().collect(),
            Self::Auditor => [Scope::Read, Scope::Audit].into_iter().collect(),
            Self::Operator => [Scope::Control, Scope::Write, Scope::Read]
                .into_iter()
                .collect(),
            Self::Viewer => [Scope::Read].into_iter().collect(),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let name = text.trim();
        Self::EVERY
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

/// A name that is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role {0:?}: use one of admin, operator, viewer, auditor")]
pub struct UnknownRole(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Role, Scope, Scopes};

    fn any_scope() -> impl Strategy<Value = Scope> {
        proptest::sample::select(Scope::EVERY.to_vec())
    }

    fn any_scopes() -> impl Strategy<Value = Scopes> {
        proptest::collection::vec(any_scope(), 0..6).prop_map(|list| list.into_iter().collect())
    }

    #[test]
    fn unknown_names_are_refused() {
        for text in [
            "",
            "superadmin-read",
            "READ",
            "read;write",
            "admin",
            "re ad",
        ] {
            assert!(text.parse::<Scopes>().is_err(), "{text:?}");
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn the_hierarchy_is_the_documented_one() {
        let granted = |held: Scope| -> Vec<&str> {
            Scope::EVERY
                .into_iter()
                .filter(|needed| held.includes(*needed))
                .map(Scope::name)
                .collect()
        };
        assert_eq!(
            granted(Scope::All),
            ["*", "control", "write", "approve", "read", "audit"]
        );
        assert_eq!(
            granted(Scope::Control),
            ["control", "write", "approve", "read"]
        );
        assert_eq!(granted(Scope::Write), ["write", "read"]);
        assert_eq!(granted(Scope::Approve), ["approve", "read"]);
        assert_eq!(granted(Scope::Read), ["read"]);
        assert_eq!(granted(Scope::Audit), ["audit"]);
    }

    #[test]
    fn roles_stand_for_the_documented_scopes() {
        let scopes = |role: Role| role.scopes().to_string();
        assert_eq!(scopes(Role::Admin), "*");
        assert_eq!(scopes(Role::Operator), "control, write, read");
        assert_eq!(scopes(Role::Viewer), "read");
        assert_eq!(scopes(Role::Auditor), "read, audit");
    }

    #[test]
    fn blanks_around_names_do_not_count() {
        assert_eq!(
            "read, write".parse::<Scopes>().map(|s| s.to_string()),
            Ok("write, read".to_owned())
        );
    }

    proptest! {
        #[test]
        fn scopes_are_a_partial_order(a in any_scope(), b in any_scope(), c in any_scope()) {
            prop_assert!(a.includes(a));
            prop_assert!(!(a.includes(b) && b.includes(a)) || a == b);
            prop_assert!(!(a.includes(b) && b.includes(c)) || a.includes(c));
        }

        #[test]
        fn a_restriction_never_widens(narrow in any_scopes(), wide in any_scopes(), needed in any_scope()) {
            prop_assume!(narrow.within(wide));
            prop_assert!(!narrow.allow(needed) || wide.allow(needed));
        }

        #[test]
        fn printing_and_parsing_is_identity(scopes in any_scopes()) {
            prop_assume!(!scopes.is_empty());
            prop_assert_eq!(scopes.to_string().parse::<Scopes>(), Ok(scopes));
        }
    }
}
