//! Programs of other projects that tests speak with.
//!
//! Invariant: a missing one fails the test and names the command that installs it; nothing is
//! skipped silently.

use std::env;
use std::path::{Path, PathBuf};

use crate::programs;

/// Returns where a package of its own folder lies.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn folder(name: &str) -> PathBuf {
    let folder = programs::project()
        .join("target/counterparts")
        .join(name.replace(['/', '@'], "_"));
    assert!(
        folder.is_dir(),
        "{name} is not installed: run tests/counterparts/install.sh test attack"
    );
    folder
}

/// Returns where a program of the system lies.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn system(program: &str) -> PathBuf {
    env::var_os("PATH")
        .iter()
        .flat_map(env::split_paths)
        .chain([Path::new("/usr/sbin").to_owned()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("{program} is not installed: run tests/counterparts/install.sh test attack")
        })
}
