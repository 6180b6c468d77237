//! How running gateways tell the command line which changes of the tokens they have applied.
//!
//! Each gateway holds a file below `dashboard/gateways` locked for as long as it lives, so a file
//! that nobody locks belongs to a dead one and is removed. The kernel frees the lock however the
//! process ends, and the lock tells processes apart where their ids cannot (containers).
//!
//! Invariant: a gateway has such a file before it reads the tokens, so none is overlooked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use config::home::Home;
use config::private;
use serde::{Deserialize, Serialize};

use super::store::StoreError;

/// Longest wait for the running gateways.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// Most gateways on one host.
const GATEWAYS_MAX: usize = 256;

const FILE_BYTES_MAX: u64 = 512;

/// What one gateway has applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The gateway's process.
    pub pid: u32,
    /// Revocations up to this generation are refused.
    pub revocations: u64,
    /// The token file of this generation is in use.
    pub tokens: u64,
}

/// Which change to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A token was revoked or deleted.
    Revocation(u64),
    /// A token was added.
    Addition(u64),
}

impl Awaited {
    const fn is_applied(self, applied: &Applied) -> bool {
        match self {
            Self::Revocation(generation) => applied.revocations >= generation,
            Self::Addition(generation) => applied.tokens >= generation,
        }
    }
}

/// Gateways that run and did not say in time that they applied a change.
#[derive(Debug, thiserror::Error)]
pub enum Unconfirmed {
    /// These did not answer.
    #[error("gateway process {} did not confirm within {} ms", shown(.0), TIMEOUT.as_millis())]
    Silent(Vec<u32>),
    /// It cannot be told who runs.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn shown(processes: &[u32]) -> String {
    let shown: Vec<String> = processes.iter().map(ToString::to_string).collect();
    shown.join(", ")
}

/// A running gateway's own file; locked until dropped.
#[derive(Debug)]
pub(crate) struct Acknowledgement {
    path: PathBuf,
    file: File,
    applied: Option<Applied>,
}

impl Acknowledgement {
    /// Makes this process's file, so that changes are waited for from now on.
    pub(crate) fn register(home: &Home) -> Result<Self, StoreError> {
        let directory = home.gateways();
        private::create_closed_directory(&home.dashboard())
            .and_then(|()| private::create_closed_directory(&directory))
            .map_err(|source| StoreError::io("make", &directory, source))?;
        for attempt in 0..GATEWAYS_MAX {
            let path = directory.join(file_name(attempt));
            if let Some(file) = claim(&path).map_err(|e| StoreError::io("claim", &path, e))? {
                return Ok(Self {
                    path,
                    file,
                    applied: None,
                });
            }
        }
        let error = io::Error::new(ErrorKind::AlreadyExists, "too many gateways run");
        Err(StoreError::io("register in", &directory, error))
    }

    /// Says what is applied by now; writes only if it differs from what was said last.
    pub(crate) fn say(&mut self, revocations: u64, tokens: u64) -> Result<(), StoreError> {
        let applied = Applied {
            pid: std::process::id(),
            revocations,
            tokens,
        };
        if self.applied == Some(applied) {
            return Ok(());
        }
        self.write(&applied)
            .map_err(|source| StoreError::io("write", &self.path, source))?;
        self.applied = Some(applied);
        Ok(())
    }

    fn write(&self, applied: &Applied) -> io::Result<()> {
        let text = serde_json::to_vec(applied)?;
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)
    }
}

impl Drop for Acknowledgement {
    fn drop(&mut self) {
        // The lock falls with the handle in any case, so a file left behind is found to be dead.
        drop(fs::remove_file(&self.path));
    }
}

/// Two containers that share a data directory can have the same process id.
fn file_name(attempt: usize) -> String {
    let pid = std::process::id();
    match attempt {
        0 => format!("{pid}.json"),
        more => format!("{pid}-{more}.json"),
    }
}

/// Opens and locks a file of its own; none if another process holds it.
fn claim(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(private::NO_FOLLOW)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever cleans up may have removed the file between opening and locking.
        let named = fs::symlink_metadata(path).map(|metadata| metadata.ino());
        if named.is_ok_and(|inode| file.metadata().is_ok_and(|held| held.ino() == inode)) {
            file.set_len(0)?;
            return Ok(Some(file));
        }
    }
}

/// Waits until every gateway that runs on this host has applied a change.
///
/// # Errors
/// When one of them has not within [`TIMEOUT`], or it cannot be told who runs.
pub fn wait(home: &Home, awaited: Awaited) -> Result<(), Unconfirmed> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let silent: Vec<u32> = running(home)?
            .into_iter()
            .filter(|applied| !awaited.is_applied(applied))
            .map(|applied| applied.pid)
            .collect();
        if silent.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Unconfirmed::Silent(silent));
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Returns what each running gateway has applied, and removes the files of dead ones.
///
/// # Errors
/// When the folder or a file in it cannot be read.
pub fn running(home: &Home) -> Result<Vec<Applied>, StoreError> {
    let directory = home.gateways();
    let listed = match fs::read_dir(&directory) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", &directory, error)),
    };
    let mut running = Vec::new();
    for entry in listed {
        let path = entry
            .map_err(|source| StoreError::io("list", &directory, source))?
            .path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match inspect(&path) {
            Ok(Some(applied)) => running.push(applied),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("inspect", &path, error)),
        }
    }
    Ok(running)
}

/// Returns what a live gateway says; none if it is dead, and then its file is gone.
fn inspect(path: &Path) -> io::Result<Option<Applied>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(private::NO_FOLLOW)
        .open(path)?;
    match file.try_lock_shared() {
        Ok(()) => {
            fs::remove_file(path)?;
            Ok(None)
        }
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            let mut text = Vec::new();
            file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
            // A gateway that has just begun, or is just writing, has applied nothing yet.
            Ok(Some(serde_json::from_slice(&text).unwrap_or(Applied {
                pid: pid_of(path),
                ..Applied::default()
            })))
        }
    }
}

fn pid_of(path: &Path) -> u32 {
    path.file_stem()
        .and_then(|stem| stem.to_str()?.split('-').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
