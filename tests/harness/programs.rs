//! The programs under test, built once per run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns the folder with the programs, built if need be in the profile of the suite itself.
///
/// # Panics
/// When they cannot be built.
#[must_use]
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(build)
}

/// Returns the path of a program.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    directory().join(name)
}

/// Returns the folder of the whole project.
#[must_use]
pub fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn build() -> PathBuf {
    let suite = env::current_exe().expect("the suite knows its own path");
    let profile = suite
        .parent()
        .and_then(Path::parent)
        .expect("cargo puts test programs into target/PROFILE/deps");
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--workspace", "--bins", "--locked", "--target-dir"])
        .arg(profile.parent().expect("a profile lies in target"))
        .current_dir(project());
    // What cargo tells this test of its own crate would make build scripts believe that something
    // changed, and every run would build half of the programs anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().expect("cargo starts");
    assert!(
        output.status.success(),
        "the programs do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    profile.to_owned()
}
