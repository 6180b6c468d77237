//! How tightly one session's programs are held: in the sandbox or not, and what they may write.
//!
//! Invariant: a caller's wish only tightens what the operator set. What is judged here are names; the
//! places behind them are checked when a program starts.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// How tightly one session's programs are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The project's own path, under which its clone appears in the sandbox.
    pub project: PathBuf,
    /// Whether they run in the sandbox.
    pub sandbox: bool,
    /// The only places of the project that they may write, relative to it; none is all of it.
    pub allowed: Option<BTreeSet<PathBuf>>,
    /// Whether variables of the runtime are given to its programs.
    pub variables: bool,
}

/// Why the allowed paths cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A path lies outside the project.
    #[error("{path:?} lies outside the project {project}", project = .project.display())]
    Outside {
        /// As asked.
        path: String,
        /// The project.
        project: PathBuf,
    },
    /// There is nothing at a path.
    #[error("{path:?} is not in the project {project}", project = .project.display())]
    Missing {
        /// As asked.
        path: String,
        /// The project.
        project: PathBuf,
    },
    /// A path is git's own.
    #[error("{0:?} is git's own data")]
    Git(String),
    /// A caller asks for a path that the operator did not allow.
    #[error("{0:?} is not among the paths that the operator allows")]
    Loosens(String),
    /// The list is empty.
    #[error("no path is allowed")]
    Empty,
}

impl Profile {
    /// Builds the profile of a session on a project: relative paths start at the project's root.
    ///
    /// # Errors
    /// [`PathError`] for a path outside the project, or beyond the operator's list.
    pub fn new(
        project: &Path,
        sandbox: bool,
        operator: Option<&[String]>,
        caller: Option<&[String]>,
    ) -> Result<Self, PathError> {
        let within = |paths: &[String]| -> Result<BTreeSet<PathBuf>, PathError> {
            paths.iter().map(|path| relative(path, project)).collect()
        };
        let operator = operator.map(within).transpose()?;
        let wanted = caller.map(within).transpose()?;
        if let (Some(allowed), Some(wanted)) = (&operator, &wanted) {
            let covered = |path: &&PathBuf| allowed.iter().any(|place| path.starts_with(place));
            if let Some(path) = wanted.iter().find(|path| !covered(path)) {
                return Err(PathError::Loosens(path.display().to_string()));
            }
        }
        let allowed = wanted.or(operator);
        if allowed.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(PathError::Empty);
        }
        Ok(Self {
            project: project.to_owned(),
            sandbox,
            allowed,
            variables: false,
        })
    }

    /// Checks that every allowed path is there.
    ///
    /// # Errors
    /// [`PathError::Missing`].
    pub fn check_present(&self) -> Result<(), PathError> {
        for path in self.allowed.iter().flatten() {
            if self.project.join(path).symlink_metadata().is_err() {
                return Err(PathError::Missing {
                    path: path.display().to_string(),
                    project: self.project.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Returns a path as it lies below the project.
fn relative(path: &str, project: &Path) -> Result<PathBuf, PathError> {
    let outside = || PathError::Outside {
        path: path.to_owned(),
        project: project.to_owned(),
    };
    let named = Path::new(path.trim());
    let below = if named.is_absolute() {
        named.strip_prefix(project).map_err(|_| outside())?
    } else {
        named
    };
    let mut clean = PathBuf::new();
    for part in below.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => (),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(outside());
            }
        }
    }
    if clean.starts_with(".git") {
        return Err(PathError::Git(path.to_owned()));
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        operator: Option<&[&str]>,
        caller: Option<&[&str]>,
        expected: Result<Option<&[&str]>, &str>,
    ) {
        let owned = |paths: &[&str]| {
            paths
                .iter()
                .map(|path| (*path).to_owned())
                .collect::<Vec<_>>()
        };
        let (operator, caller) = (operator.map(owned), caller.map(owned));
        let found = Profile::new(
            Path::new("/app"),
            false,
            operator.as_deref(),
            caller.as_deref(),
        );
        let expected = expected
            .map(|paths| paths.map(|paths| paths.iter().map(PathBuf::from).collect()))
            .map_err(str::to_owned);
        assert_eq!(
            found
                .map(|profile| profile.allowed)
                .map_err(|error| error.to_string()),
            expected
        );
    }

    #[test]
    fn paths_outside_the_project_and_beyond_the_operators_are_refused() {
        let outside = |path: &str| format!("{path:?} lies outside the project /app");
        for path in [
            "/etc",
            "/application",
            "..",
            "src/../..",
            "/app/../etc",
            "/",
        ] {
            check(Some(&[path]), None, Err(&outside(path)));
            check(None, Some(&[path]), Err(&outside(path)));
        }
        check(
            None,
            Some(&[".git/hooks"]),
            Err("\".git/hooks\" is git's own data"),
        );
        check(None, Some(&[]), Err("no path is allowed"));
        let beyond = Err("\"tests\" is not among the paths that the operator allows");
        check(Some(&["src"]), Some(&["src/a", "tests"]), beyond);
        let beyond = Err("\"src2\" is not among the paths that the operator allows");
        check(Some(&["src"]), Some(&["src2"]), beyond);
    }

    #[test]
    fn relative_paths_start_at_the_project_and_callers_tighten() {
        check(None, None, Ok(None));
        check(
            Some(&["/app/src", "tests/./a/"]),
            None,
            Ok(Some(&["src", "tests/a"])),
        );
        check(Some(&["src"]), Some(&["/app/src/a"]), Ok(Some(&["src/a"])));
        check(None, Some(&["."]), Ok(Some(&[""])));
    }
}
