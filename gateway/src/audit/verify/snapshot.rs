//! The audit files as they are at one moment, between two commits.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::scan::Failed;
use super::trust::{Kept, Trust};
use crate::audit::chain::{Digest, digest};
use crate::audit::files::{self, FileName, Form, Identity};
use crate::audit::forward::read_line;

/// Longest wait for a writer.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// How often the lock is tried meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(1);

/// Open files, oldest first, each with the length that is looked at.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) files: Vec<Opened>,
    /// What has the name of an audit file and is none.
    pub(crate) foreign: Vec<FileName>,
    /// The checkpoint beside the keys.
    pub(crate) kept: Option<Kept>,
}

/// One open file.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) name: FileName,
    pub(crate) form: Form,
    file: File,
    length: u64,
}

impl Opened {
    /// Begins to read the lines of the file.
    pub(crate) fn reader(&self) -> Box<dyn BufRead + Send + '_> {
        let bytes = Positioned {
            file: &self.file,
            position: 0,
        };
        files::lines_of(self.form, bytes.take(self.length))
    }
}

/// Reads a file without moving its own position, so that it can be read twice.
#[derive(Debug)]
pub(crate) struct Positioned<'a> {
    file: &'a File,
    position: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;

        let length = self.file.read_at(buffer, self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}

impl Snapshot {
    /// Opens everything under the lock that writers take.
    pub(crate) fn take(path: &Path, trust: &Trust) -> io::Result<Self> {
        let mut snapshot = Self::default();
        let directory = match File::open(path) {
            Ok(directory) => Some(directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(directory) = &directory {
            lock(directory)?;
            for name in files::list(path)? {
                match files::open_to_read(directory, name) {
                    Ok(stored) => {
                        let (_, length) = Identity::of(&stored.file)?;
                        snapshot.files.push(Opened {
                            name,
                            form: stored.form,
                            file: stored.file,
                            length,
                        });
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                        snapshot.foreign.push(name);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if let Some(kept_at) = &trust.kept_at {
            snapshot.kept = match std::fs::read(kept_at) {
                Ok(line) => Some(Kept::parse(&line).ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("{} is no checkpoint", kept_at.display()),
                    )
                })?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        Ok(snapshot)
    }

    /// Returns whether `prev` is a line of the file that the disk failed on, not before the
    /// records that are in doubt: the next file goes on from there.
    pub(crate) fn branches(&self, failed: &Failed, prev: &Digest) -> bool {
        let Some(file) = self.files.iter().find(|file| file.name == failed.file) else {
            return false;
        };
        file.holds(prev, failed.in_doubt_from).unwrap_or(false)
    }
}

impl Opened {
    /// Returns whether a line with this digest stands in the file, its number no smaller than the
    /// one before `in_doubt_from`.
    fn holds(&self, wanted: &Digest, in_doubt_from: u64) -> io::Result<bool> {
        #[derive(serde::Deserialize)]
        struct Numbered {
            seq: u64,
        }
        let mut reader = self.reader();
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line)?.is_some() {
            if digest(&line) == *wanted {
                let numbered = serde_json::from_slice::<Numbered>(&line);
                return Ok(numbered.is_ok_and(|record| record.seq + 1 >= in_doubt_from));
            }
        }
        Ok(false)
    }
}

fn lock(directory: &File) -> io::Result<()> {
    let deadline = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match rustix::fs::flock(directory, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::park_timeout(LOCK_POLL);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
