//! The project on which a session works: a git repository below an allowed root.
//!
//! Invariant: a [`Project`] names canonical places; none of them lies outside the allowed roots,
//! overlaps the data directory, or was reached through a symbolic link inside the repository.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use config::home::Home;
use config::private::NO_FOLLOW;

/// A checked project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    directory: PathBuf,
    git_directory: PathBuf,
}

/// Says why a path is no project on which a session can work, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectError {
    /// The path has no lawful shape.
    #[error("cannot use project {path:?}: {what}; fix: give its absolute path")]
    Path {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The folder is not there, or cannot be entered.
    #[error("cannot open project {path}: {why}; fix: give the path of a folder on the runtime's host", path = .path.display())]
    Unreachable {
        /// The path as given.
        path: PathBuf,
        /// What the kernel said.
        why: String,
    },
    /// The folder lies below no allowed root.
    #[error("cannot work on {path}: it lies outside the allowed folders ({roots}); fix: add its folder to projects.roots (LOKI_WORKSPACE_ROOTS)", path = .path.display())]
    Outside {
        /// The canonical path.
        path: PathBuf,
        /// The allowed roots, for people to read.
        roots: String,
    },
    /// The folder holds Loki's own data, or lies in it.
    #[error("cannot work on {path}: it and Loki's data directory lie in each other; fix: use a project outside, or move the data directory (LOKI_DATA_DIR)", path = .path.display())]
    Overlap {
        /// The canonical path.
        path: PathBuf,
    },
    /// The folder is no repository of the kind that a session can work on.
    #[error("cannot work on {path}: {what}; fix: {fix}", path = .path.display())]
    Repository {
        /// The canonical path.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
        /// What to do about it.
        fix: &'static str,
    },
}

impl Project {
    /// Checks the path that a caller gave. Starts no program.
    ///
    /// # Errors
    /// When it is no project below one of `roots`; the text names the fix.
    pub fn check(path: &Path, roots: &[PathBuf], home: &Home) -> Result<Self, ProjectError> {
        let directory = locate(path, roots, home)?;
        let git_directory = directory.join(".git");
        check_repository(&directory, &git_directory).map_err(|(what, fix)| {
            ProjectError::Repository {
                path: directory.clone(),
                what,
                fix,
            }
        })?;
        Ok(Self {
            directory,
            git_directory,
        })
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

/// Returns the canonical path of a folder that lies below one of `roots` and apart from the data
/// directory; it need not be a repository.
///
/// # Errors
/// When it is no such folder; the text names the fix.
pub fn locate(path: &Path, roots: &[PathBuf], home: &Home) -> Result<PathBuf, ProjectError> {
    let directory = canonical(path)?;
    require_root(&directory, roots)?;
    let data = home.directory();
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    if data.starts_with(&directory) || directory.starts_with(&data) {
        return Err(ProjectError::Overlap { path: directory });
    }
    Ok(directory)
}

fn canonical(path: &Path) -> Result<PathBuf, ProjectError> {
    let wrong = |what| ProjectError::Path {
        path: path.to_owned(),
        what,
    };
    if !path.is_absolute() {
        return Err(wrong("it is not absolute"));
    }
    let unreachable = |error: io::Error| ProjectError::Unreachable {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let directory = path.canonicalize().map_err(unreachable)?;
    if !fs::metadata(&directory).map_err(unreachable)?.is_dir() {
        return Err(wrong("it is not a folder"));
    }
    // Names travel through git's settings, answers and records, which are texts of one line.
    match directory.to_str() {
        Some(text) if !text.contains(char::is_control) => Ok(directory),
        Some(_) => Err(wrong("its name holds a control character")),
        None => Err(wrong("its name is not UTF-8")),
    }
}

fn require_root(directory: &Path, roots: &[PathBuf]) -> Result<(), ProjectError> {
    let allowed = roots
        .iter()
        .filter_map(|root| root.canonicalize().ok())
        .any(|root| directory.starts_with(root));
    if allowed {
        return Ok(());
    }
    let roots: Vec<_> = roots
        .iter()
        .map(|root| root.display().to_string())
        .collect();
    Err(ProjectError::Outside {
        path: directory.to_owned(),
        roots: if roots.is_empty() {
            "none".to_owned()
        } else {
            roots.join(", ")
        },
    })
}

/// What is wrong with a repository, and the fix.
type Fault = (&'static str, &'static str);

fn check_repository(directory: &Path, git: &Path) -> Result<(), Fault> {
    let Ok(found) = fs::symlink_metadata(git) else {
        return Err(no_repository(directory));
    };
    if found.is_symlink() {
        return Err((
            "its .git is a symbolic link",
            "give the path of the repository that the link leads to",
        ));
    }
    if !found.is_dir() {
        return Err((
            "its .git is a file: it is a linked work tree or a submodule",
            "give the path of the main work tree, or clone it",
        ));
    }
    for name in ["objects", "refs"] {
        if !is(&git.join(name), Metadata::is_dir) {
            return Err((
                "its .git is not complete, or leads elsewhere by a symbolic link",
                "check it with `git fsck`, or clone it",
            ));
        }
    }
    if git.join("commondir").symlink_metadata().is_ok() {
        return Err((
            "it is a linked work tree",
            "give the path of the main work tree, or clone it",
        ));
    }
    for name in ["alternates", "http-alternates"] {
        let path = git.join("objects/info").join(name);
        if path.symlink_metadata().is_ok_and(|found| found.len() > 0) {
            return Err((
                "it borrows objects from another repository (objects/info/alternates)",
                "make it whole: `git repack -a -d`, then remove .git/objects/info/alternates",
            ));
        }
    }
    require_commit(git)
}

fn no_repository(directory: &Path) -> Fault {
    if is(&directory.join("HEAD"), Metadata::is_file)
        && is(&directory.join("objects"), Metadata::is_dir)
    {
        return (
            "it is a bare repository, without a work tree",
            "clone it, and give the path of the clone",
        );
    }
    let below_one = directory
        .ancestors()
        .skip(1)
        .any(|parent| parent.join(".git").symlink_metadata().is_ok());
    if below_one {
        (
            "it is a folder inside a git repository, not the repository",
            "give the path of the repository",
        )
    } else {
        ("it is not a git repository", START)
    }
}

/// Refuses a repository which has no commit yet. Git itself has the last word when the clone is made;
/// this answers in time, and for the formats whose files tell.
fn require_commit(git: &Path) -> Result<(), Fault> {
    let Ok(head) = read_plain(&git.join("HEAD"), HEAD_BYTES_MAX) else {
        return Err((
            "its .git/HEAD is no regular file that can be read",
            "check it with `git fsck`, or clone it",
        ));
    };
    let Some(branch) = head.trim_end().strip_prefix("ref: ") else {
        return Ok(());
    };
    // Names such as this stand there if the references lie in a table of their own.
    let elsewhere = branch == "refs/heads/.invalid" || git.join("reftable").exists();
    let plain = branch.starts_with("refs/") && !branch.split('/').any(|part| part == "..");
    let loose = plain && is(&git.join(branch), Metadata::is_file);
    if elsewhere || loose || is_packed(git, branch) {
        Ok(())
    } else {
        Err(("it has no commit", "make one: `git add . && git commit`"))
    }
}

fn is_packed(git: &Path, branch: &str) -> bool {
    read_plain(&git.join("packed-refs"), PACKED_BYTES_MAX).is_ok_and(|packed| {
        packed
            .lines()
            .any(|line| line.split_once(' ').is_some_and(|(_, name)| name == branch))
    })
}

fn is(path: &Path, kind: impl FnOnce(&Metadata) -> bool) -> bool {
    path.symlink_metadata().is_ok_and(|found| kind(&found))
}

/// Reads a regular file. A link, and a pipe which would never end, are refused before they are opened.
fn read_plain(path: &Path, bytes_max: u64) -> io::Result<String> {
    if !is(path, Metadata::is_file) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(NO_FOLLOW)
        .open(path)?
        .take(bytes_max)
        .read_to_string(&mut text)?;
    Ok(text)
}

const START: &str = "make it one: `git init && git add . && git commit`";

const HEAD_BYTES_MAX: u64 = 4 * 1024;

const PACKED_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[cfg(test)]
mod tests;
