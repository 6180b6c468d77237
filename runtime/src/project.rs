//! The project on which a session works: a git repository below an allowed root.
//!
//! Invariant: a [`Project`] names canonical places; none of them lies outside the allowed roots,
//! overlaps the data directory, or was reached through a symbolic link inside the repository.

use std::path::{Path, PathBuf};

use config::home::Home;

/// A checked project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    directory: PathBuf,
    git_directory: PathBuf,
}

/// Says why a path is no project on which a session can work, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectError {
    /// To be filled.
    #[error("cannot")]
    Not,
}

impl Project {
    /// Checks the path that a caller gave. Starts no program.
    ///
    /// # Errors
    /// When it is no project below one of `roots`; the text names the fix.
    pub fn check(path: &Path, roots: &[PathBuf], home: &Home) -> Result<Self, ProjectError> {
        unimplemented!("{path:?}{roots:?}{home:?}")
    }

    /// Returns the canonical path.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the folder of its repository.
    pub(crate) fn git_directory(&self) -> &Path {
        &self.git_directory
    }
}
