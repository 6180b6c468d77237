//! The one place that appends to the audit files, for the gateway's thread and for commands alike.
//!
//! Invariant: under the directory's lock, records are numbered behind the last one on disk, and a
//! commit that says it is durable is on the disk whole. A file that failed once is never written
//! again: the next file of the day takes its place and says so.

mod place;

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::background::Background;
use super::chain::Head;
use super::directory::Directory;
use super::files::{FileName, Identity};
use super::line::{Ending, Line, Lines, Stamp};
use super::notice::Notice;
use super::seals::Seals;

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Returns when the records are on the disk.
    Now,
    /// Leaves them to a later [`Trail::sync`].
    Later,
}

/// The audit files of one directory, open for appending.
#[derive(Debug)]
pub(crate) struct Trail {
    directory: Directory,
    /// The file that is written.
    current: Option<Current>,
    /// The oldest file that may still be written; those before it have failed or were tampered with.
    floor: Option<FileName>,
    /// The last record.
    head: Head,
    /// The last record that this process wrote when it last signed a checkpoint, or began.
    signed_to: u64,
    seals: Seals,
    /// Synchronises what was left for later; started when first needed.
    background: Option<Background>,
    /// The last record that the synchronisation under way covers.
    syncing_to: Option<u64>,
    /// Length in bytes from which on the next file of the day is written.
    segment_bytes_max: u64,
    /// What happened to the files and is not on record yet.
    notices: Vec<Notice>,
    sync_time: Option<Duration>,
    stamp: Stamp,
    scratch: Vec<u8>,
    out: Vec<u8>,
}

#[derive(Debug)]
struct Current {
    name: FileName,
    file: File,
    identity: Identity,
    length: u64,
    /// The file ends within a line.
    torn: bool,
    /// Somebody may rely on what the file holds.
    relied_on: bool,
    /// The first record that may not be on the disk yet.
    unsynced_from: Option<u64>,
}

/// Why a commit failed.
#[derive(Debug)]
enum Failure {
    /// No file could be had.
    Place(io::Error),
    /// The file did not take the records.
    File(io::Error),
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Place(error) | Failure::File(error) => error,
        }
    }
}

/// Length in bytes from which on the next file of the day is written, unless told otherwise.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most notices kept while nothing can be written.
const NOTICES_MAX: usize = 32;

/// Most memory in bytes kept between commits.
pub(crate) const KEPT_BYTES_MAX: usize = 1024 * 1024;

impl Trail {
    /// Opens the directory (made with mode 0700) and its newest file, and repairs what a crash
    /// left behind.
    ///
    /// # Errors
    /// When the directory or the file cannot be made, opened or read.
    pub(crate) fn open(path: &Path, seals: Seals, now: DateTime<Utc>) -> io::Result<Self> {
        let mut trail = Self {
            directory: Directory::open(path)?,
            current: None,
            floor: None,
            head: Head::NOTHING,
            signed_to: 0,
            seals,
            background: None,
            syncing_to: None,
            segment_bytes_max: SEGMENT_BYTES_MAX,
            notices: Vec::new(),
            sync_time: None,
            stamp: Stamp::new(),
            scratch: Vec::new(),
            out: Vec::new(),
        };
        trail.commit(&Lines::default(), Durability::Now, now)?;
        trail.signed_to = trail.head.seq;
        Ok(trail)
    }

    /// Goes on with the next file of the day from this length in bytes on.
    pub(crate) const fn with_segment_bytes_max(mut self, bytes: u64) -> Self {
        self.segment_bytes_max = bytes;
        self
    }

    /// Returns the number of the last record.
    pub(crate) const fn last_seq(&self) -> u64 {
        self.head.seq
    }

    /// Returns how long the disk took for the last synchronisation that somebody waited for, once.
    pub(crate) const fn take_sync_time(&mut self) -> Option<Duration> {
        self.sync_time.take()
    }

    /// Returns the open directory.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.handle()
    }

    /// Notes that closed files are about to be removed, signed; durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then nothing may be removed.
    pub(crate) fn retire(&mut self, notice: Notice, now: DateTime<Utc>) -> io::Result<()> {
        self.notice(notice);
        self.checkpoint(now)
    }

    /// Notes something about the trail itself; durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written; it is then written with the next record.
    pub(crate) fn tell(&mut self, notice: Notice, now: DateTime<Utc>) -> io::Result<()> {
        self.notice(notice);
        self.commit(&Lines::default(), Durability::Now, now)
    }

    /// Looks whether the files are what was written; whatever is not becomes a record.
    ///
    /// # Errors
    /// When the directory cannot be used, or the record not be written.
    pub(crate) fn look(&mut self, now: DateTime<Utc>) -> io::Result<()> {
        self.commit(&Lines::default(), Durability::Now, now)
    }

    /// Returns whether records were written since the last checkpoint.
    pub(crate) const fn is_unsigned(&self) -> bool {
        self.head.seq > self.signed_to
    }

    /// Writes a checkpoint, which signs everything before it; durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn checkpoint(&mut self, now: DateTime<Utc>) -> io::Result<()> {
        self.notice(Notice::checkpoint());
        self.commit(&Lines::default(), Durability::Now, now)
    }

    /// Returns the file that was last written.
    pub(crate) fn path(&self) -> PathBuf {
        let directory = self.directory.path();
        match &self.current {
            Some(current) => directory.join(current.name.to_string()),
            None => directory.to_owned(),
        }
    }

    /// Appends records in one write; on a failing file, once more to the next one.
    ///
    /// # Errors
    /// When neither took them.
    pub(crate) fn commit(
        &mut self,
        lines: &Lines,
        durability: Durability,
        now: DateTime<Utc>,
    ) -> io::Result<()> {
        let replaced = self.directory.lock()?;
        let done = self.commit_locked(replaced, lines, durability, now);
        self.directory.unlock()?;
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES_MAX);
        done
    }

    fn commit_locked(
        &mut self,
        directory_replaced: bool,
        lines: &Lines,
        durability: Durability,
        now: DateTime<Utc>,
    ) -> io::Result<()> {
        if directory_replaced {
            self.notice(Notice::directory_replaced());
            self.leave()?;
        }
        match self.append(lines, durability, now) {
            Err(Failure::File(error)) => {
                self.abandon(&error);
                self.append(lines, durability, now).map_err(|failure| {
                    if let Failure::File(error) = &failure {
                        self.abandon(error);
                    }
                    failure.into()
                })
            }
            other => other.map_err(io::Error::from),
        }
    }

    /// Begins to make the records that were left for later durable; returns false if there are
    /// none or that is under way.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub(crate) fn begin_sync(&mut self) -> io::Result<bool> {
        let Some(current) = &self.current else {
            return Ok(false);
        };
        if current.unsynced_from.is_none() || self.syncing_to.is_some() {
            return Ok(false);
        }
        let background = match self.background.take() {
            Some(background) => background,
            None => Background::start()?,
        };
        background.begin(current.file.try_clone()?);
        self.background = Some(background);
        self.syncing_to = Some(self.head.seq);
        Ok(true)
    }

    /// Returns whether all records are durable, as far as is known by now.
    ///
    /// # Errors
    /// When the disk failed: the file is not written again, and the next commit says which records
    /// are in doubt.
    pub(crate) fn check_sync(&mut self) -> io::Result<bool> {
        match self.background.as_ref().and_then(Background::finished) {
            Some(Ok(())) => self.settle(),
            Some(Err(error)) => {
                self.abandon(&error);
                return Err(error);
            }
            None => {}
        }
        let current = self.current.as_ref();
        Ok(current.is_none_or(|current| current.unsynced_from.is_none()))
    }

    /// Makes the records that were left for later durable.
    ///
    /// # Errors
    /// As [`Self::check_sync`].
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        if current.unsynced_from.is_none() {
            return Ok(());
        }
        let synced = current.file.sync_data();
        match synced.and_then(|()| wait_for(self.background.as_ref())) {
            Ok(()) => {
                current.unsynced_from = None;
                self.syncing_to = None;
                Ok(())
            }
            Err(error) => {
                self.abandon(&error);
                Err(error)
            }
        }
    }

    /// Takes note that what the background synchronised is durable.
    fn settle(&mut self) {
        let head = self.head.seq;
        if let (Some(current), Some(to)) = (&mut self.current, self.syncing_to.take()) {
            current.unsynced_from = (head > to).then_some(to + 1);
        }
    }

    /// Waits for the background before a file is let go of, whatever became of it.
    fn stop_sync(&mut self) {
        self.syncing_to = None;
        if let Err(error) = wait_for(self.background.as_ref()) {
            tracing::error!(%error, "audit file failed when it was given up");
        }
    }

    fn append(
        &mut self,
        lines: &Lines,
        durability: Durability,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        self.align(now).map_err(Failure::Place)?;
        let Some(current) = &mut self.current else {
            return Err(Failure::Place(io::ErrorKind::NotFound.into()));
        };
        let notices = notice_lines(&self.notices, &mut self.scratch, now);
        self.out.clear();
        if current.torn {
            self.out.push(b'\n');
        }
        let ending = if lines.count() == 0 {
            Ending::Sealed
        } else {
            Ending::Open
        };
        let (out, stamp, seals) = (&mut self.out, &mut self.stamp, &self.seals);
        let mut head = self.head;
        let checkpoint = notices.number(out, &mut head, stamp, seals, ending);
        lines.number(out, &mut head, stamp, seals, Ending::Sealed);
        if self.out.is_empty() {
            return Ok(());
        }
        // From here on, any of these numbers may be on the disk.
        let head_before = std::mem::replace(&mut self.head.seq, head.seq);
        current.unsynced_from.get_or_insert(head_before + 1);
        let written = write_once(&mut current.file, &self.out).and_then(|()| match durability {
            // The system may have told the background of a failure that concerns these records.
            Durability::Now => {
                let begun = Instant::now();
                current.file.sync_data()?;
                self.sync_time = Some(begun.elapsed());
                wait_for(self.background.as_ref())
            }
            Durability::Later => Ok(()),
        });
        if let Err(error) = written {
            if !current.relied_on {
                self.head.seq = head_before;
            }
            return Err(Failure::File(error));
        }
        current.length += self.out.len() as u64;
        current.torn = false;
        current.relied_on = true;
        if durability == Durability::Now {
            current.unsynced_from = None;
            self.syncing_to = None;
        }
        self.head = head;
        self.notices.clear();
        if let Some(checkpoint) = checkpoint {
            self.signed_to = head.seq - lines.count() as u64;
            self.keep(checkpoint);
        }
        Ok(())
    }

    /// Keeps a copy of a checkpoint where whoever writes the audit files may not.
    fn keep(&self, checkpoint: Range<usize>) {
        if let Err(error) = self.seals.keep(&self.out[checkpoint]) {
            tracing::error!(%error, "the copy of an audit checkpoint cannot be kept");
        }
    }

    fn notice(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(notice);
        }
    }
}

fn notice_lines(notices: &[Notice], scratch: &mut Vec<u8>, now: DateTime<Utc>) -> Lines {
    let mut lines = Lines::default();
    for notice in notices {
        let line = Line::render(scratch, &notice.draft(), now);
        lines.push(if notice.is_checkpoint() {
            line.signed()
        } else {
            line
        });
    }
    lines
}

fn wait_for(background: Option<&Background>) -> io::Result<()> {
    background.map_or(Ok(()), Background::wait)
}

/// Writes all of `bytes` by one call, so that the records of a commit stand together.
fn write_once(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    loop {
        match file.write(bytes) {
            Ok(length) if length == bytes.len() => return Ok(()),
            Ok(length) => {
                let message = format!("only {length} of {} bytes were taken", bytes.len());
                return Err(io::Error::new(io::ErrorKind::StorageFull, message));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
