//! What narrows a token besides its scopes: from where, how often, for which projects.
//!
//! Invariant: a token is never made wider than the one that makes it.

use std::fmt;
use std::net::IpAddr;
use std::path::{Component, Path};
use std::str::FromStr;

use config::address::Network;
use config::rate::Rate;
use serde::{Deserialize, Serialize};

/// Most networks and most projects of one token.
pub const ENTRIES_MAX: usize = 64;

/// Longest path of a project in bytes.
const PATH_BYTES_MAX: usize = 4_096;

/// The bounds of one token; by default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Networks from which it is accepted; empty means from anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// How often it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Projects that it is bound to; none means all, an empty list none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<ProjectPath>>,
}

/// A bound that would be wider than its maker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wider {
    /// More scopes.
    #[error("scopes: a token cannot make one that may do more than itself")]
    Scopes,
    /// From more places.
    #[error("networks: a token cannot make one that is accepted from more networks than itself")]
    Networks,
    /// More often.
    #[error("rate_limit: a token cannot make one that may be used more often than itself")]
    Rate,
    /// For more projects.
    #[error("projects: a token cannot make one for other projects than its own")]
    Projects,
    /// For longer.
    #[error("expires_days: a token cannot make one that lives longer than itself")]
    Life,
}

impl Bounds {
    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a caller at `address` may use the token.
    #[must_use]
    pub fn accept(&self, address: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|range| range.contains(address))
    }

    /// Returns these bounds with `maker`'s wherever nothing was asked for.
    #[must_use]
    pub fn or(self, maker: &Self) -> Self {
        Self {
            networks: if self.networks.is_empty() {
                maker.networks.clone()
            } else {
                self.networks
            },
            rate: self.rate.or(maker.rate),
            projects: self.projects.or_else(|| maker.projects.clone()),
        }
    }

    /// Checks that nothing is wider than `maker`'s.
    ///
    /// # Errors
    /// The first bound that is.
    pub fn within(&self, maker: &Self) -> Result<(), Wider> {
        let held = |range: &Network| maker.networks.iter().any(|wide| range.within(wide));
        if !maker.networks.is_empty()
            && (self.networks.is_empty() || !self.networks.iter().all(held))
        {
            return Err(Wider::Networks);
        }
        if let Some(most) = maker.rate
            && !self.rate.is_some_and(|rate| rate.within(most))
        {
            return Err(Wider::Rate);
        }
        if let Some(own) = &maker.projects
            && !self
                .projects
                .as_ref()
                .is_some_and(|asked| asked.iter().all(|path| own.contains(path)))
        {
            return Err(Wider::Projects);
        }
        Ok(())
    }
}

/// The absolute path of a project, as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ProjectPath(String);

/// A text that is not the path of a project.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a project's path: use its absolute path, without . or .., as loki projects list shows it"
)]
pub struct InvalidPath(String);

impl ProjectPath {
    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let path = Path::new(text);
        let mut parts = path.components();
        let plain = parts.next() == Some(Component::RootDir)
            && parts.all(|part| matches!(part, Component::Normal(_)));
        // Normal forms alone: the runtime compares them letter by letter.
        let rebuilt: std::path::PathBuf = path.components().collect();
        let fits = plain
            && text.len() <= PATH_BYTES_MAX
            && rebuilt.as_os_str() == path.as_os_str()
            && !text.chars().any(char::is_control);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPath(text.chars().take(128).collect()))
        }
    }
}

impl TryFrom<String> for ProjectPath {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        text.parse()
    }
}

impl From<ProjectPath> for String {
    fn from(path: ProjectPath) -> Self {
        path.0
    }
}

impl fmt::Display for ProjectPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Bounds, ProjectPath, Wider};

    fn bounds(networks: &[&str], rate: Option<&str>, projects: Option<&[&str]>) -> Bounds {
        Bounds {
            networks: networks
                .iter()
                .map(|text| text.parse().expect("a range"))
                .collect(),
            rate: rate.map(|text| text.parse().expect("a rate")),
            projects: projects.map(|list| {
                list.iter()
                    .map(|text| text.parse().expect("a path"))
                    .collect()
            }),
        }
    }

    #[test]
    fn what_is_no_plain_absolute_path_is_refused() {
        for text in [
            "", "app", "./app", "/a/../b", "/a/./b", "/a//b", "/a/", "/a\n", "~/app",
        ] {
            assert!(text.parse::<ProjectPath>().is_err(), "{text:?}");
        }
        assert!("/home/you/app".parse::<ProjectPath>().is_ok());
    }

    #[test]
    fn nothing_wider_than_the_maker_is_accepted() {
        let maker = bounds(&["10.0.0.0/8"], Some("10/s"), Some(&["/a"]));
        let check = |asked: Bounds, expected: Wider| {
            assert_eq!(asked.within(&maker), Err(expected), "{asked:?}");
        };
        check(bounds(&[], Some("1/s"), Some(&["/a"])), Wider::Networks);
        check(
            bounds(&["10.1.0.0/16", "11.0.0.0/8"], Some("1/s"), Some(&["/a"])),
            Wider::Networks,
        );
        check(bounds(&["10.0.0.0/9"], None, Some(&["/a"])), Wider::Rate);
        check(
            bounds(&["10.0.0.0/9"], Some("11/s"), Some(&["/a"])),
            Wider::Rate,
        );
        check(bounds(&["10.0.0.0/9"], Some("1/s"), None), Wider::Projects);
        check(
            bounds(&["10.0.0.0/9"], Some("1/s"), Some(&["/a", "/b"])),
            Wider::Projects,
        );
        assert_eq!(Bounds::default().or(&maker).within(&maker), Ok(()));
        assert_eq!(maker.within(&Bounds::default()), Ok(()));
    }

    fn any_bounds() -> impl Strategy<Value = Bounds> {
        let networks = proptest::collection::vec(
            prop_oneof![
                Just("10.0.0.0/8"),
                Just("10.1.0.0/16"),
                Just("192.0.2.0/24")
            ],
            0..3,
        );
        let rate = proptest::option::of(prop_oneof![Just("1/s"), Just("60/m"), Just("600/m")]);
        let projects = proptest::option::of(proptest::collection::vec(
            prop_oneof![Just("/a"), Just("/b")],
            0..3,
        ));
        (networks, rate, projects)
            .prop_map(|(networks, rate, projects)| bounds(&networks, rate, projects.as_deref()))
    }

    proptest! {
        #[test]
        fn a_restriction_never_widens(
            asked in any_bounds(), maker in any_bounds(), root in any_bounds(),
            address in any::<std::net::Ipv4Addr>(),
        ) {
            let made = asked.or(&maker);
            if made.within(&maker).is_ok() {
                prop_assert!(!made.accept(address.into()) || maker.accept(address.into()));
                // What one token makes of another is within whatever the first is within.
                if maker.within(&root).is_ok() {
                    prop_assert_eq!(made.within(&root), Ok(()));
                }
            }
        }
    }
}
