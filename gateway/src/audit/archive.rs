//! The thread that looks after closed files: it gives them an index, packs them, and removes those
//! whose time is over.
//!
//! Invariant: a file goes only when its packed copy was read back and is on the disk, or when a
//! signed record that names what is removed is. The newest closed file stays as it is, so that the
//! newest records are always read without unpacking.

mod pack;
mod retire;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use config::home::Home;
use rustix::fs::FlockOperation;

use super::files::{self, FileName, Form};
use super::index::{self, Index};
use super::seals::Seals;
use super::{AuditError, in_directory};
use crate::clock::Clock;

/// How often closed files are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How far the thread stands back behind those that serve requests.
const NICENESS: i32 = 10;

/// The file that lets one process at a time look after closed files.
const LOCK: &str = "archive.lock";

/// How long closed files are kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retention {
    /// Longest age; none: for ever.
    pub(crate) age: Option<Duration>,
    /// Most bytes of all files; none: no bound.
    pub(crate) bytes_max: Option<u64>,
}

/// A running archive; the thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Archive {
    _running: Sender<()>,
}

impl Archive {
    /// Starts the thread for the audit files of `home`.
    pub(crate) fn start(
        home: &Home,
        retention: Retention,
        clock: Clock,
    ) -> Result<Self, AuditError> {
        let keeper = Keeper::new(home, retention, clock)?;
        let (running, stopped) = mpsc::channel();
        std::thread::Builder::new()
            .name("audit-archive".to_owned())
            .spawn(move || keeper.run(&stopped))
            .map_err(AuditError::Thread)?;
        Ok(Self { _running: running })
    }
}

/// Looks after the closed files of one directory.
pub(super) struct Keeper {
    home: Home,
    path: PathBuf,
    seals: Seals,
    retention: Retention,
    clock: Clock,
    /// Files that have their index.
    indexed: BTreeSet<FileName>,
}

impl Keeper {
    pub(super) fn new(home: &Home, retention: Retention, clock: Clock) -> Result<Self, AuditError> {
        Ok(Self {
            home: home.clone(),
            path: home.audit(),
            seals: Seals::open(home)?,
            retention,
            clock,
            indexed: BTreeSet::new(),
        })
    }

    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        stand_back();
        loop {
            match stopped.recv_timeout(LOOK_INTERVAL) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Err(error) = self.look() {
                tracing::error!(%error, "closed audit files cannot be looked after");
            }
        }
    }

    /// Looks after all closed files once.
    pub(super) fn look(&mut self) -> Result<(), AuditError> {
        let path = self.path.clone();
        self.look_locked().map_err(in_directory(&path))
    }

    fn look_locked(&mut self) -> io::Result<()> {
        let directory = File::open(&self.path)?;
        let Some(_lock) = lock(&directory)? else {
            return Ok(());
        };
        let names = files::list(&self.path)?;
        let Some((_, closed)) = names.split_last() else {
            return Ok(());
        };
        self.indexed.retain(|name| closed.contains(name));
        for name in closed {
            self.give_index(&directory, *name)?;
        }
        if let Some((_, older)) = closed.split_last() {
            for name in older {
                pack::pack(&directory, *name)?;
            }
        }
        retire::retire(self, &directory, closed)
    }

    fn give_index(&mut self, directory: &File, name: FileName) -> io::Result<()> {
        if self.indexed.contains(&name) {
            return Ok(());
        }
        let key = self.seals.mac();
        if Index::load(directory, name, key)?.is_none() {
            let stored = match files::open_to_read(directory, name) {
                // What is no regular file is told by a check, and stays where it is.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(()),
                other => other?,
            };
            match Index::of(name, &mut stored.reader()?) {
                Ok(index) => index.save(directory, name, key)?,
                Err(error) => tracing::error!(%name, %error, "audit file cannot be read"),
            }
        }
        self.indexed.insert(name);
        Ok(())
    }
}

/// Takes the lock that lets one process at a time pack and remove; none if another has it.
fn lock(directory: impl AsFd + Copy) -> io::Result<Option<File>> {
    let file = match files::open_named(directory, LOCK) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => files::create(directory, LOCK)?,
        other => other?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn stand_back() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!(%error, "the archive thread keeps its priority");
    }
}

/// Returns whether a file is kept as it was written.
fn is_plain(directory: impl AsFd + Copy, name: FileName) -> io::Result<bool> {
    Ok(files::form(directory, name)? == Some(Form::Plain))
}

/// Removes a file in all its forms, and its index.
fn remove(directory: impl AsFd + Copy, name: FileName) -> io::Result<()> {
    files::remove(directory, &name.to_string())?;
    files::remove(directory, &name.packed())?;
    files::remove(directory, &index::file_name(name))
}

#[cfg(test)]
mod tests;
