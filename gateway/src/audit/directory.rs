//! The audit directory: its lock, and whether it is still the one that was opened.
//!
//! Invariant: while the lock is held, the open handle is the directory that has the path, and no
//! other process that keeps to the lock writes in it. The lock is on the directory itself, so
//! there is no lock file to delete.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::private;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::files::{self, FileName, Identity};

/// Longest wait for another process to release the lock.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// How often the lock is tried meanwhile.
const LOCK_POLL: Duration = Duration::from_micros(500);

/// The open audit directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    identity: Identity,
    /// When the directory had last changed, as of the last listing.
    listed: Option<(i64, i64)>,
}

impl Directory {
    /// Opens the directory; makes it and its parents (mode 0700) if need be.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        private::create_closed_directory(path)?;
        let handle = File::open(path)?;
        let (identity, _) = Identity::of(&handle)?;
        Ok(Self {
            path: path.to_owned(),
            handle,
            identity,
            listed: None,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Takes the lock; returns whether the directory had to be opened anew because another one,
    /// or none, had its path.
    ///
    /// # Errors
    /// When it is held for longer than five seconds, or the directory cannot be had.
    pub(crate) fn lock(&mut self) -> io::Result<bool> {
        let deadline = Instant::now() + LOCK_WAIT_MAX;
        let mut replaced = false;
        loop {
            match rustix::fs::flock(&self.handle, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if Identity::at(&self.path).is_ok_and(|there| there == self.identity) => {
                    return Ok(replaced);
                }
                Ok(()) => {
                    *self = Self::open(&self.path)?;
                    replaced = true;
                }
                Err(Errno::WOULDBLOCK) => std::thread::park_timeout(LOCK_POLL),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process holds the lock of the audit directory",
                ));
            }
        }
    }

    /// Releases the lock.
    pub(crate) fn unlock(&self) -> io::Result<()> {
        Ok(rustix::fs::flock(&self.handle, FlockOperation::Unlock)?)
    }

    /// Returns whether names may have come or gone since the last listing.
    pub(crate) fn changed(&self) -> io::Result<bool> {
        Ok(self.listed != Some(self.modified()?))
    }

    /// Returns the audit files, oldest first.
    pub(crate) fn list(&mut self) -> io::Result<Vec<FileName>> {
        let modified = self.modified()?;
        let names = files::list(&self.path)?;
        self.listed = Some(modified);
        Ok(names)
    }

    fn modified(&self) -> io::Result<(i64, i64)> {
        use std::os::unix::fs::MetadataExt;

        let metadata = self.handle.metadata()?;
        Ok((metadata.mtime(), metadata.mtime_nsec()))
    }
}
