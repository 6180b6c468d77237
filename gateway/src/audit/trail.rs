//! The one place that appends to the audit files, for the gateway's thread and for commands alike.
//!
//! Invariant: under the directory's lock, records are numbered behind the last one on disk, and a
//! commit that says it is durable is on the disk whole. A file that failed once is never written
//! again: the next file of the day takes its place and says so.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::background::Background;
use super::directory::Directory;
use super::files::{self, FileName, Identity};
use super::line::{Line, Lines, Stamp};
use super::notice::Notice;
use super::tail::Tail;

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
    /// The number of the last record.
    head: u64,
    /// Synchronises what was left for later; started when first needed.
    background: Option<Background>,
    /// The last record that the synchronisation under way covers.
    syncing_to: Option<u64>,
    /// What happened to the files and is not on record yet.
    notices: Vec<Notice>,
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
    pub(crate) fn open(path: &Path, now: DateTime<Utc>) -> io::Result<Self> {
        let mut trail = Self {
            directory: Directory::open(path)?,
            current: None,
            floor: None,
            head: 0,
            background: None,
            syncing_to: None,
            notices: Vec::new(),
            stamp: Stamp::new(),
            scratch: Vec::new(),
            out: Vec::new(),
        };
        trail.commit(&Lines::default(), Durability::Now, now)?;
        Ok(trail)
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
        self.syncing_to = Some(self.head);
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
        let head = self.head;
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
        let first = self.head + 1;
        self.out.clear();
        if current.torn {
            self.out.push(b'\n');
        }
        notices.number(&mut self.out, first, &mut self.stamp);
        let records_from = first + notices.count() as u64;
        lines.number(&mut self.out, records_from, &mut self.stamp);
        let last = records_from + lines.count() as u64 - 1;
        if self.out.is_empty() {
            return Ok(());
        }
        // From here on, any of these numbers may be on the disk.
        let head_before = std::mem::replace(&mut self.head, last);
        current.unsynced_from.get_or_insert(first);
        let written = write_once(&mut current.file, &self.out).and_then(|()| match durability {
            // The system may have told the background of a failure that concerns these records.
            Durability::Now => {
                current.file.sync_data()?;
                wait_for(self.background.as_ref())
            }
            Durability::Later => Ok(()),
        });
        if let Err(error) = written {
            if !current.relied_on {
                self.head = head_before;
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
        self.notices.clear();
        Ok(())
    }

    /// Makes sure that the newest file is open, is the one in the directory, and that `head` is
    /// the number of its last record.
    fn align(&mut self, now: DateTime<Utc>) -> io::Result<()> {
        let newest = self.newest()?;
        let today = FileName::first_of(now.date_naive());
        let target = Some(today).max(newest).max(self.floor).unwrap_or(today);
        match &self.current {
            Some(current) if current.name == target => self.check_current(),
            Some(_) => {
                // A failure is noted, and the records in doubt with it.
                if let Err(error) = self.sync() {
                    tracing::error!(%error, "audit file failed when its day was over");
                }
                let target = Some(target).max(self.floor).unwrap_or(target);
                self.open_file(target)
            }
            None => self.open_file(target),
        }
    }

    fn newest(&mut self) -> io::Result<Option<FileName>> {
        let known = self.current.as_ref().map(|current| current.name);
        if let Some(name) = known
            && !self.directory.changed()?
            && Identity::named(self.directory.handle(), name.next())?.is_none()
        {
            return Ok(known);
        }
        Ok(self.directory.list()?.last().copied().max(known))
    }

    /// Notices whether the open file was deleted, swapped, cut or extended by somebody else.
    fn check_current(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let name = current.name;
        let found = Identity::named(self.directory.handle(), name)?;
        let reason = match found {
            None => "deleted",
            Some((identity, _)) if identity != current.identity => "replaced",
            Some((_, length)) if length == current.length => return Ok(()),
            Some((_, length)) => {
                let shorter = length < current.length;
                let tail = Tail::read(&current.file, length)?;
                current.length = length;
                current.torn = tail.torn;
                let rewritten = tail.last_seq.is_none_or(|seq| seq <= self.head);
                self.head = self.head.max(tail.last_seq.unwrap_or(0));
                if tail.torn {
                    self.notice(Notice::recovered(name));
                }
                if shorter {
                    self.notice(Notice::replaced(name, "truncated"));
                } else if rewritten && !tail.torn {
                    self.notice(Notice::replaced(name, "rewritten"));
                }
                return Ok(());
            }
        };
        self.notice(Notice::replaced(name, reason));
        self.leave()?;
        let newest = self.directory.list()?.last().copied();
        let next = newest.max(Some(name)).unwrap_or(name).next();
        self.floor = Some(next);
        self.open_file(next)
    }

    /// Lets go of a file that lost its name; another process may have written to it last.
    fn leave(&mut self) -> io::Result<()> {
        self.stop_sync();
        if let Some(current) = self.current.take() {
            let (_, length) = Identity::of(&current.file)?;
            let tail = Tail::read(&current.file, length)?;
            self.head = self.head.max(tail.last_seq.unwrap_or(0));
        }
        Ok(())
    }

    fn open_file(&mut self, name: FileName) -> io::Result<()> {
        if name.segment > files::SEGMENTS_MAX {
            return Err(io::Error::other(format!(
                "more than {} files in one day",
                files::SEGMENTS_MAX
            )));
        }
        self.current = None;
        self.find_head(name)?;
        let file = files::open_to_append(self.directory.handle(), name)?;
        let (identity, length) = Identity::of(&file)?;
        let torn = Tail::read(&file, length)?.torn;
        self.current = Some(Current {
            name,
            file,
            identity,
            length,
            torn,
            relied_on: length > 0,
            unsynced_from: None,
        });
        Ok(())
    }

    /// Reads the number of the last record on disk.
    fn find_head(&mut self, target: FileName) -> io::Result<()> {
        let mut newest = true;
        for name in self.directory.list()?.into_iter().rev() {
            let file = match files::open_to_read(self.directory.handle(), name) {
                // Whoever put it there does not stop us while we know the head ourselves.
                Err(error)
                    if error.kind() == io::ErrorKind::InvalidInput
                        && self.head > 0
                        && name != target =>
                {
                    continue;
                }
                other => other?,
            };
            let (_, length) = Identity::of(&file)?;
            let tail = Tail::read(&file, length)?;
            if newest && tail.torn {
                self.notice(Notice::recovered(name));
            }
            newest &= length == 0;
            if let Some(seq) = tail.last_seq {
                self.head = self.head.max(seq);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives up the open file after `error`.
    fn abandon(&mut self, error: &io::Error) {
        self.stop_sync();
        let Some(current) = self.current.take() else {
            return;
        };
        tracing::error!(file = %current.name, %error, "audit file failed");
        if current.relied_on {
            let doubt = current.unsynced_from.unwrap_or(self.head)..=self.head;
            self.notice(Notice::failed(current.name, error, &doubt));
            self.floor = Some(current.name.next());
            return;
        }
        // Nobody was told of anything in it, and the lock is held: the name can be used again.
        self.floor = Some(current.name);
        if let Err(error) = current.file.set_len(0) {
            tracing::error!(file = %current.name, %error, "cannot empty a failed audit file");
            self.floor = Some(current.name.next());
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
        lines.push(Line::render(scratch, &notice.draft(), now));
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
