//! The view of the record in the project: `.loki/logs/agent-audit.jsonl`.
//!
//! Invariant: nothing is ever written through a link that lies in the project, and what git sees of
//! the project does not change: `.loki/.gitignore` hides the folder.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags, fstat, mkdirat, open, openat};
use rustix::io::Errno;

use crate::project::Project;

/// Where the lines are shown.
#[derive(Debug)]
pub(super) struct View {
    project: PathBuf,
}

/// Says why a line cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("the agent audit is not shown in the project: cannot open {place}: {source}")]
pub(super) struct ViewError {
    place: &'static str,
    source: io::Error,
}

impl View {
    pub(super) fn new(project: &Project) -> Self {
        Self {
            project: project.directory().to_owned(),
        }
    }

    /// Adds one line. Every part of the path is opened anew: the project's owner may have changed it.
    pub(super) fn append(&self, line: &[u8]) -> Result<(), ViewError> {
        let failed = |place| {
            move |error: Errno| ViewError {
                place,
                source: error.into(),
            }
        };
        let project = open(&self.project, FOLDER, Mode::empty()).map_err(failed("the project"))?;
        let folder = make_folder(&project, ".loki").map_err(failed(".loki"))?;
        hide(&folder).map_err(failed(".loki/.gitignore"))?;
        let logs = make_folder(&folder, "logs").map_err(failed(".loki/logs"))?;
        let file = open_file(&logs).map_err(failed(".loki/logs/agent-audit.jsonl"))?;
        write_whole(&file, line).map_err(failed(".loki/logs/agent-audit.jsonl"))
    }
}

fn make_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => (),
        // A read-only project may have the folder already.
        Err(error) => return openat(parent, name, FOLDER, Mode::empty()).map_err(|_| error),
    }
    openat(parent, name, FOLDER, Mode::empty())
}

/// Has git overlook the folder. A file that is there already is its owner's.
fn hide(folder: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, ".gitignore", flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => write_whole(&file, b"*\n"),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens the file for adding to it. A link, a pipe, or a file that has a second name elsewhere is not
/// ours to write.
fn open_file(logs: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    let file = openat(logs, "agent-audit.jsonl", flags, Mode::RUSR | Mode::WUSR)?;
    let found = fstat(&file)?;
    if FileType::from_raw_mode(found.st_mode).is_file() && found.st_nlink == 1 {
        Ok(file)
    } else {
        Err(Errno::MLINK)
    }
}

/// Writes in one call where the kernel lets it, so that sessions of one project do not mix their lines.
fn write_whole(file: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(Errno::INTR) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
