//! The audit trail: who did what, when and from where, as one JSON object per line.
//!
//! Invariant: a mutation's record is on the disk before [`Audit::durable`] returns `Ok`; a record
//! that could not be kept is counted, and the gap becomes a record itself. Nothing here blocks a
//! worker of the async runtime: one thread of its own writes, in batches.

mod append;
mod archive;
mod background;
mod backward;
mod chain;
mod directory;
pub mod export;
mod files;
pub mod follow;
mod forward;
mod index;
mod line;
mod notice;
pub(crate) mod parameter;
pub mod query;
mod queue;
pub mod record;
mod redact;
mod seals;
mod space;
pub mod summary;
pub mod syslog;
mod tail;
mod tally;
mod text;
mod trail;
pub mod verify;
mod writer;

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::gateway::audit::AuditSettings;
use config::home::Home;
use config::secret::KeyFileError;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

pub use append::append;
pub use line::LINE_BYTES_MAX;
pub use notice::{CHECKPOINT, DISK_FULL, FAILED, GAP, RECOVERED, REPLACED, RETIRED};
pub use seals::PublicKey;
pub use tally::Tally;

use crate::clock::Clock;
use archive::{Archive, Retention};
use line::Line;
use queue::{Pushed, Queue};
use record::Draft;
use seals::Seals;
use trail::Trail;
use writer::Writer;

/// Longest wait of a record that nobody waits for until there is room for it.
pub const ROOM_WAIT_MAX: Duration = Duration::from_millis(20);

/// Longest wait for the disk, for room before it included.
pub const DISK_WAIT_MAX: Duration = Duration::from_secs(10);

/// Why the audit files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The directory or its newest file cannot be opened, made, written or read.
    #[error("cannot use audit files in {path}: {source}")]
    Files {
        /// The audit directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A key file holds something else.
    #[error("cannot use the keys of the audit trail: one of them is no key")]
    BadKey,
    /// The thread that writes cannot be started.
    #[error("cannot start the thread of the audit trail: {0}")]
    Thread(io::Error),
}

/// Why a record is not on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The disk failed; it is tried again each second.
    #[error("audit record cannot be written: the disk failed")]
    NotWritable,
    /// The disk did not answer within [`DISK_WAIT_MAX`]. The record may yet be written.
    #[error("audit record cannot be written in time")]
    TooSlow,
    /// The trail was closed.
    #[error("audit record cannot be written: the trail is closed")]
    Closed,
}

/// The way to the audit trail; cheap to clone. When the last one is gone, the thread writes what
/// is left and ends; [`Audit::close`] also waits for that.
#[derive(Clone, Debug)]
pub struct Audit {
    running: Option<Arc<Running>>,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Running {
    queue: Arc<Queue>,
    clock: Clock,
    ended: watch::Receiver<bool>,
    /// Looks after closed files; none where nothing is packed or removed.
    _archive: Option<Archive>,
}

/// What an open trail is told besides.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    /// Length in bytes from which on the next file is written; none: 64 MiB.
    segment_bytes_max: Option<u64>,
    /// Free bytes of the disk that are left to the records of changes.
    disk_reserve_bytes: u64,
}

/// Whether a record was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It will be written.
    Taken,
    /// There was no room for it; it is counted.
    Lost,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queue.close();
    }
}

thread_local! {
    /// Where a thread writes its drafts before it takes the queue's lock.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Audit {
    /// Opens the audit files of `home` and starts the thread that writes them; with `enabled`
    /// false, the same as [`Audit::disabled`]. At most `queue_max` records wait for the disk, and
    /// as many more that somebody waits for.
    ///
    /// # Errors
    /// When the directory or its newest file cannot be used, or no thread can be started.
    pub fn open(home: &Home, enabled: bool, queue_max: u32) -> Result<Self, AuditError> {
        if enabled {
            Self::open_at(home, queue_max, Clock::system())
        } else {
            Ok(Self::disabled())
        }
    }

    /// Opens the audit files of `home` as set, and looks after closed files.
    ///
    /// # Errors
    /// As [`Audit::open`].
    pub fn start(
        home: &Home,
        settings: &AuditSettings,
        queue_max: u32,
    ) -> Result<Self, AuditError> {
        if !settings.enabled {
            return Ok(Self::disabled());
        }
        let bounds = Bounds {
            segment_bytes_max: Some(settings.segment_bytes_max),
            disk_reserve_bytes: settings.disk_reserve_bytes,
        };
        let retention = Retention {
            age: settings.retention,
            bytes_max: settings.retention_bytes_max,
        };
        let archive = Archive::start(home, retention, Clock::system());
        Self::open_with(home, queue_max, Clock::system(), bounds, Some(archive?))
    }

    /// Opens the audit files of `home` with a clock of the caller's choice.
    ///
    /// # Errors
    /// As [`Audit::open`].
    pub fn open_at(home: &Home, queue_max: u32, clock: Clock) -> Result<Self, AuditError> {
        Self::open_with(home, queue_max, clock, Bounds::default(), None)
    }

    fn open_with(
        home: &Home,
        queue_max: u32,
        clock: Clock,
        bounds: Bounds,
        archive: Option<Archive>,
    ) -> Result<Self, AuditError> {
        let path = home.audit();
        let seals = Seals::open(home)?;
        let mut trail = Trail::open(&path, seals, clock.now()).map_err(in_directory(&path))?;
        if let Some(bytes) = bounds.segment_bytes_max {
            trail = trail.with_segment_bytes_max(bytes);
        }
        let queue = Arc::new(Queue::new(queue_max));
        let (tell_ended, ended) = watch::channel(false);
        let writer = Writer::new(
            Arc::clone(&queue),
            trail,
            clock.clone(),
            bounds.disk_reserve_bytes,
        );
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                writer.run();
                tell_ended.send_replace(true);
            })
            .map_err(AuditError::Thread)?;
        let tally = Arc::clone(&queue.tally);
        let running = Running {
            queue,
            clock,
            ended,
            _archive: archive,
        };
        Ok(Self {
            running: Some(Arc::new(running)),
            tally,
        })
    }

    /// Returns a trail that keeps nothing and to which everything succeeds.
    #[must_use]
    pub fn disabled() -> Self {
        Self {
            running: None,
            tally: Arc::new(Tally::new()),
        }
    }

    /// Returns whether records are kept at all.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.running.is_some()
    }

    /// Returns whether the last attempt to write succeeded; while not, mutations are refused.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.tally.is_writable()
    }

    /// Returns the counters, for the metrics.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Writes a record and returns when it is on the disk. Dropping the future leaves the record
    /// in the queue.
    ///
    /// # Errors
    /// When the disk failed, did not answer within [`DISK_WAIT_MAX`], or the trail is closed.
    pub async fn durable(&self, draft: Draft<'_>) -> Result<(), Unavailable> {
        let Some(running) = &self.running else {
            return Ok(());
        };
        let result = timeout(DISK_WAIT_MAX, running.durable(&draft))
            .await
            .unwrap_or(Err(Unavailable::TooSlow));
        if result.is_err() {
            self.tally.count_refused();
        }
        result
    }

    /// Leaves a record to be written soon. Waits at most [`ROOM_WAIT_MAX`] for room; then, and on a
    /// disk that is nearly full, the record is lost, and counted.
    pub async fn later(&self, draft: Draft<'_>) -> Kept {
        let Some(running) = &self.running else {
            return Kept::Taken;
        };
        if self.tally.is_disk_low() {
            running.queue.withhold();
            return Kept::Lost;
        }
        let deadline = Instant::now() + ROOM_WAIT_MAX;
        loop {
            let room = running.queue.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match running.push(&draft, None) {
                Pushed::Taken => return Kept::Taken,
                Pushed::Refused => break,
                Pushed::Full(_) => {}
            }
            if timeout_at(deadline, room).await.is_err() {
                break;
            }
        }
        running.queue.lose(1);
        Kept::Lost
    }

    /// Leaves a record to be written soon, and never waits: for drop guards. Without room the
    /// record is lost, and counted.
    pub fn later_now(&self, draft: Draft<'_>) {
        let Some(running) = &self.running else {
            return;
        };
        if self.tally.is_disk_low() {
            return running.queue.withhold();
        }
        match running.push(&draft, None) {
            Pushed::Taken => {}
            Pushed::Full(_) | Pushed::Refused => running.queue.lose(1),
        }
    }

    /// Takes no more records, from any clone, and returns when all that were taken are on the
    /// disk.
    ///
    /// # Errors
    /// When that takes longer than [`DISK_WAIT_MAX`], or the disk failed.
    pub async fn close(self) -> Result<(), Unavailable> {
        let Some(running) = &self.running else {
            return Ok(());
        };
        running.queue.close();
        let mut ended = running.ended.clone();
        match timeout(DISK_WAIT_MAX, ended.wait_for(|ended| *ended)).await {
            Err(_) => Err(Unavailable::TooSlow),
            Ok(Err(_)) => Err(Unavailable::Closed),
            Ok(Ok(_)) if running.queue.has_failed() => Err(Unavailable::NotWritable),
            Ok(Ok(_)) => Ok(()),
        }
    }
}

impl Running {
    async fn durable(&self, draft: &Draft<'_>) -> Result<(), Unavailable> {
        let (waiter, answer) = oneshot::channel();
        let mut waiter = Some(waiter);
        loop {
            let room = self.queue.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.push(draft, waiter.take()) {
                Pushed::Taken => break,
                Pushed::Refused => return Err(self.queue.refusal()),
                Pushed::Full(back) => waiter = back,
            }
            room.await;
        }
        answer.await.unwrap_or(Err(Unavailable::Closed))
    }

    fn push(&self, draft: &Draft<'_>, waiter: Option<queue::Waiter>) -> Pushed {
        SCRATCH.with_borrow_mut(|scratch| {
            let line = Line::render(scratch, draft, self.clock.now());
            self.queue.push(line, waiter)
        })
    }
}

fn in_directory(path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Files { path, source }
}

#[cfg(test)]
mod tests;
