//! Which file is written next, and what became of the one before.
//!
//! Invariant: the file that is written is the newest of the directory, and what was done to it by
//! others is noticed before the next record.

use std::io;

use chrono::{DateTime, Utc};

use super::{Current, Trail};
use crate::audit::chain::Digest;
use crate::audit::files::{self, FileName, Form, Identity};
use crate::audit::notice::Notice;
use crate::audit::tail::Tail;

impl Trail {
    /// Makes sure that the newest file is open, is the one in the directory, and that `head` is
    /// the number of its last record.
    pub(super) fn align(&mut self, now: DateTime<Utc>) -> io::Result<()> {
        let newest = self.newest()?;
        let today = FileName::first_of(now.date_naive());
        let mut target = Some(today).max(newest).max(self.floor).unwrap_or(today);
        if let Some(current) = &self.current
            && current.name == target
            && current.length >= self.segment_bytes_max
        {
            target = target.next();
        }
        match &self.current {
            Some(current) if current.name == target => self.check_current(),
            Some(_) => {
                // A failure is noted, and the records in doubt with it.
                if let Err(error) = self.sync() {
                    tracing::error!(%error, "audit file failed when it was full or its day over");
                }
                let target = Some(target).max(self.floor).unwrap_or(target);
                self.open_file(target)?;
                self.notice(Notice::checkpoint());
                Ok(())
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
        let newest = self.directory.list()?.last().copied().max(known);
        // A packed file is closed for good.
        match newest {
            Some(name)
                if Some(name) != known
                    && files::form(self.directory.handle(), name)? == Some(Form::Packed) =>
            {
                Ok(Some(name.next()))
            }
            other => Ok(other),
        }
    }

    /// Notices whether the open file was deleted, swapped, cut or extended by somebody else.
    fn check_current(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let name = current.name;
        if files::narrow(&current.file)? {
            self.notices.push(Notice::replaced(name, "permissions"));
        }
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
                let rewritten = tail.last_seq.is_none_or(|seq| seq <= self.head.seq);
                // Behind what we wrote and is gone, the chain must not go on as if nothing was.
                if !shorter && (!rewritten || tail.torn) {
                    self.head.digest = tail.digest.unwrap_or(self.head.digest);
                }
                self.head.seq = self.head.seq.max(tail.last_seq.unwrap_or(0));
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
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.stop_sync();
        if let Some(current) = self.current.take() {
            let (_, length) = Identity::of(&current.file)?;
            let tail = Tail::read(&current.file, length)?;
            self.follow(tail.last_seq, tail.digest, tail.torn);
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

    /// Goes on behind what is on the disk, if that is newer than what is known.
    fn follow(&mut self, last_seq: Option<u64>, digest: Option<Digest>, torn: bool) {
        let newer = last_seq.unwrap_or(0) > self.head.seq || self.head.seq == 0;
        if (newer || torn)
            && let Some(digest) = digest
        {
            self.head.digest = digest;
        }
        self.head.seq = self.head.seq.max(last_seq.unwrap_or(0));
    }

    /// Reads which record is the last one on disk.
    fn find_head(&mut self, target: FileName) -> io::Result<()> {
        let mut newest = true;
        let mut end = (None, false);
        for name in self.directory.list()?.into_iter().rev() {
            let file = match files::open_to_read(self.directory.handle(), name) {
                // Whoever put it there does not stop us while we know the head ourselves.
                Err(error)
                    if error.kind() == io::ErrorKind::InvalidInput
                        && self.head.seq > 0
                        && name != target =>
                {
                    continue;
                }
                other => other?,
            };
            let tail = Tail::of(file)?;
            if newest && tail.torn {
                self.notice(Notice::recovered(name));
            }
            if newest {
                end = (tail.digest, tail.torn);
            }
            newest &= tail.digest.is_none();
            if tail.last_seq.is_some() {
                self.follow(tail.last_seq, end.0, end.1);
                return Ok(());
            }
        }
        self.follow(None, end.0, end.1);
        Ok(())
    }

    /// Gives up the open file after `error`.
    pub(super) fn abandon(&mut self, error: &io::Error) {
        self.stop_sync();
        let Some(current) = self.current.take() else {
            return;
        };
        tracing::error!(file = %current.name, %error, "audit file failed");
        if current.relied_on {
            let doubt = current.unsynced_from.unwrap_or(self.head.seq)..=self.head.seq;
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
}
