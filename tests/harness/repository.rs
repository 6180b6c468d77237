//! A real git repository with a failing test: the project that agents repair.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, Finished};
use crate::programs;

/// A project of the user.
#[derive(Debug, Clone)]
pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// Makes the demo's sample project at `path`, with one commit on `main`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn with_failing_test(path: &Path) -> Self {
        let repository = Self::empty(path);
        let sample = programs::project().join("deploy/demo/project");
        for entry in fs::read_dir(&sample).expect("the demo has a project") {
            let entry = entry.expect("a readable folder");
            fs::copy(entry.path(), path.join(entry.file_name())).expect("a file can be copied");
        }
        repository.commit_all("begin");
        repository
    }

    /// Makes a repository without a commit.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn empty(path: &Path) -> Self {
        fs::create_dir_all(path).expect("a folder");
        let repository = Self {
            path: path.to_owned(),
        };
        let _made = repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    /// Returns where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs git in it and returns what it printed, without the last line's end.
    ///
    /// # Panics
    /// When git fails.
    #[must_use]
    pub fn git(&self, arguments: &[&str]) -> String {
        self.try_git(arguments).output().trim_end().to_owned()
    }

    /// Runs git in it.
    ///
    /// # Panics
    /// When git does not end.
    #[must_use]
    pub fn try_git(&self, arguments: &[&str]) -> Finished {
        command::run(hermetic_git().args(arguments).current_dir(&self.path))
    }

    /// Commits everything.
    ///
    /// # Panics
    /// When git fails.
    pub fn commit_all(&self, message: &str) {
        let _added = self.git(&["add", "--all"]);
        let _committed = self.git(&["commit", "-q", "-m", message]);
    }

    /// Returns the commit that a name stands for.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn commit(&self, name: &str) -> String {
        self.git(&["rev-parse", "--verify", name])
    }

    /// Returns the branches, in order.
    ///
    /// # Panics
    /// When git fails.
    #[must_use]
    pub fn branches(&self) -> Vec<String> {
        self.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Returns a file's text as a commit has it.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn file_at(&self, commit: &str, file: &str) -> String {
        self.git(&["show", &format!("{commit}:{file}")])
    }

    /// Returns a file's text as a commit has it, if it has one.
    ///
    /// # Panics
    /// When git does not end.
    #[must_use]
    pub fn try_file_at(&self, commit: &str, file: &str) -> Option<String> {
        let finished = self.try_git(&["show", &format!("{commit}:{file}")]);
        (finished.code == 0).then(|| finished.output().trim_end().to_owned())
    }

    /// Writes a file and commits it.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write_and_commit(&self, file: &str, text: &str) {
        let path = self.path.join(file);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, text).expect("a file can be written");
        self.commit_all(file);
    }

    /// Asserts that git finds nothing wrong with the repository.
    ///
    /// # Panics
    /// When it does.
    pub fn assert_sound(&self) {
        let finished = self.try_git(&["fsck", "--full", "--strict", "--no-dangling"]);
        assert_eq!(
            (finished.code, finished.text().as_str()),
            (0, ""),
            "{finished}"
        );
    }
}

/// git without anybody's configuration.
fn hermetic_git() -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        // Its daemons may be of another user than the test.
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org");
    command
}
