//! The view of the record in the project: `.loki/logs/agent-audit.jsonl`.
//!
//! Invariant: nothing is ever written through a link that lies in the project, and what git sees of
//! the project does not change: `.loki/.gitignore` hides the folder.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use config::contract::agent_audit::Chained;
use config::contract::id::SessionId;
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

    /// Adds the lines of a session's record that an earlier run kept and could not show any more. What is
    /// shown of the session and is not its record is left as it is: nothing is mended that somebody changed.
    pub(super) fn catch_up(&self, session: &SessionId, record: &[u8]) -> Result<(), ViewError> {
        let file = self.open()?;
        let shown = read_whole(&file).map_err(|source| ViewError {
            place: FILE,
            source,
        })?;
        let whole = shown.iter().rposition(|byte| *byte == b'\n');
        let (lines, torn) = shown.split_at(whole.map_or(0, |end| end + 1));
        if let Some(missing) = missing(session, lines, torn, record) {
            write_whole(&file, missing).map_err(failed(FILE))?;
        }
        Ok(())
    }

    /// Adds one line.
    pub(super) fn append(&self, line: &[u8]) -> Result<(), ViewError> {
        write_whole(&self.open()?, line).map_err(failed(FILE))
    }

    /// Opens the file. Every part of the path is opened anew: the project's owner may have changed it.
    fn open(&self) -> Result<OwnedFd, ViewError> {
        let project = open(&self.project, FOLDER, Mode::empty()).map_err(failed("the project"))?;
        let folder = make_folder(&project, ".loki").map_err(failed(".loki"))?;
        hide(&folder).map_err(failed(".loki/.gitignore"))?;
        let logs = make_folder(&folder, "logs").map_err(failed(".loki/logs"))?;
        open_file(&logs).map_err(failed(FILE))
    }
}

fn failed(place: &'static str) -> impl Fn(Errno) -> ViewError {
    move |error| ViewError {
        place,
        source: error.into(),
    }
}

/// Returns what of a session's record follows what is shown of it: `lines`, and the beginning of one more.
fn missing<'record>(
    session: &SessionId,
    lines: &[u8],
    torn: &[u8],
    record: &'record [u8],
) -> Option<&'record [u8]> {
    let of_session = |line: &&[u8]| {
        let chained = serde_json::from_slice::<Chained>(line);
        chained.is_ok_and(|chained| chained.session == *session)
    };
    let last = lines
        .split_inclusive(|byte| *byte == b'\n')
        .rev()
        .find(of_session);
    let mut rest = record;
    if let Some(last) = last {
        let mut end = 0;
        let found = record.split_inclusive(|byte| *byte == b'\n').any(|line| {
            end += line.len();
            line == last
        });
        rest = found.then(|| record.get(end..))??;
    }
    // Of a line that was cut off, the rest of it comes first.
    rest.strip_prefix(torn).filter(|rest| !rest.is_empty())
}

fn read_whole(file: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut shown = Vec::new();
    let file = File::from(file.try_clone()?);
    let length = file.take(SHOWN_BYTES_MAX + 1).read_to_end(&mut shown)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > SHOWN_BYTES_MAX {
        return Err(io::Error::other("it is too long to be read"));
    }
    Ok(shown)
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
    let flags = OFlags::RDWR
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

const FILE: &str = ".loki/logs/agent-audit.jsonl";

/// The longest file that is read to find out what it lacks.
const SHOWN_BYTES_MAX: u64 = 256 * 1024 * 1024;

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
