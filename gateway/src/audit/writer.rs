//! The thread that owns the audit files.
//!
//! Invariant: a waiter is told that its record is durable only after the disk said so. When the
//! disk fails, everyone waiting is told, nothing more is taken, and once a second a record about
//! the gap is tried until it holds.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::Line;
use super::notice::Notice;
use super::queue::{Batch, Queue, Taken, answer};
use super::space;
use super::trail::{Durability, Trail};
use crate::clock::Clock;

/// How often records that nobody waits for are brought to the disk.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// How far the disk may fall behind before the writer waits for it.
const SYNC_LAG_MAX: Duration = Duration::from_secs(1);

/// How long records stay without a checkpoint behind them.
const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(5);

/// How often the files and the disk are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a failed disk is tried.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Writes what the queue holds until it is closed.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    trail: Trail,
    clock: Clock,
    /// When the disk is looked after: records are written that may not be on it.
    sync_due: Option<Instant>,
    /// Since when that is so.
    unsynced_since: Option<Instant>,
    /// When a checkpoint is signed: records were written since the last one.
    checkpoint_due: Option<Instant>,
    /// When the failed disk is tried again.
    probe_due: Option<Instant>,
    /// When the files and the disk are looked at again.
    look_due: Instant,
    disk: Disk,
    scratch: Vec<u8>,
}

/// What is known of the disk.
#[derive(Debug)]
struct Disk {
    /// Free bytes that are left to the records of changes.
    reserve_bytes: u64,
    /// Less than that is free.
    low: bool,
    /// It was full: nothing is tried before there is room.
    full: bool,
}

impl Writer {
    pub(crate) fn new(queue: Arc<Queue>, trail: Trail, clock: Clock, reserve_bytes: u64) -> Self {
        Self {
            look_due: Instant::now(),
            disk: Disk {
                reserve_bytes,
                low: false,
                full: false,
            },
            queue,
            trail,
            clock,
            sync_due: None,
            unsynced_since: None,
            checkpoint_due: None,
            probe_due: None,
            scratch: Vec::new(),
        }
    }

    /// Runs until the queue is closed.
    pub(crate) fn run(mut self) {
        let _ended = Ended(Arc::clone(&self.queue));
        self.hold_back();
        let mut batch = Batch::default();
        loop {
            let due = [self.sync_due, self.checkpoint_due, Some(self.look_due)];
            let due = self.probe_due.or(due.into_iter().flatten().min());
            match self.queue.take(&mut batch, due) {
                Taken::Batch => {
                    self.write(&mut batch);
                    self.look_if_due();
                }
                Taken::Due if self.probe_due.is_some() => self.probe(),
                Taken::Due => {
                    self.look_if_due();
                    self.checkpoint_if_due();
                    if self.unsynced_since.is_some() {
                        self.look_after_disk();
                    }
                }
                Taken::Last => {
                    batch.lost += self.queue.take_withheld();
                    self.write(&mut batch);
                    if self.trail.is_unsigned() && self.probe_due.is_none() {
                        self.checkpoint();
                    }
                    self.sync();
                    return;
                }
            }
        }
    }

    fn write(&mut self, batch: &mut Batch) {
        let records = batch.lines.count() as u64;
        let unwaited = batch.unwaited();
        if batch.lost > 0 {
            self.add_gap(batch);
        }
        let durability = if batch.waiters.is_empty() {
            Durability::Later
        } else {
            Durability::Now
        };
        match self
            .trail
            .commit(&batch.lines, durability, self.clock.now())
        {
            Ok(()) => {
                self.queue.tally.count_written(records);
                self.tell_tally();
                for waiter in batch.waiters.drain(..) {
                    answer(waiter, Ok(()));
                }
                match durability {
                    Durability::Now => self.all_synced(),
                    Durability::Later => self.sync_if_due(),
                }
                self.checkpoint_if_due();
            }
            Err(error) => self.fail(batch, unwaited, &error),
        }
    }

    fn tell_tally(&mut self) {
        let tally = &self.queue.tally;
        tally.set_last_seq(self.trail.last_seq());
        if let Some(took) = self.trail.take_sync_time() {
            tally.observe_sync(took);
        }
    }

    /// Once a second: sees how much room the disk has, and whether the files are what was written.
    fn look_if_due(&mut self) {
        let now = Instant::now();
        if self.look_due > now || self.probe_due.is_some() {
            return;
        }
        self.look_due = now + LOOK_INTERVAL;
        let looked = match self.look_at_disk() {
            Ok(()) => self.trail.look(self.clock.now()),
            failed => failed,
        };
        match looked {
            Ok(()) => self.tell_tally(),
            Err(error) => self.fail(&mut Batch::default(), 0, &error),
        }
    }

    /// Leaves the last bytes of the disk to the records of changes.
    fn look_at_disk(&mut self) -> io::Result<()> {
        let free_bytes = space::free_bytes(self.trail.directory())?;
        let reserve_bytes = self.disk.reserve_bytes;
        let low = if self.disk.low {
            // A little more than the bound, so that it is not crossed to and fro.
            free_bytes < reserve_bytes + reserve_bytes / 8
        } else {
            free_bytes < reserve_bytes
        };
        let was_low = std::mem::replace(&mut self.disk.low, low);
        self.queue.tally.set_disk(free_bytes, low);
        match (was_low, low) {
            (false, true) => {
                tracing::error!(
                    free_bytes,
                    reserve_bytes,
                    "the audit disk is nearly full: reads and refusals are no longer recorded"
                );
                self.trail
                    .tell(Notice::disk_low(free_bytes), self.clock.now())
            }
            (true, false) => {
                let lost = self.queue.take_withheld();
                tracing::warn!(free_bytes, lost, "the audit disk has room again");
                self.trail.tell(Notice::gap(lost), self.clock.now())
            }
            (false, false) | (true, true) => Ok(()),
        }
    }

    /// Holds back a piece of the disk for the last words.
    fn hold_back(&self) {
        if let Err(error) = space::hold_back(self.trail.directory()) {
            tracing::debug!(%error, "no piece of the audit disk is held back");
        }
    }

    /// Says in the trail that the disk is full, with the piece that was held back for it.
    fn say_last_words(&mut self, error: &io::Error) {
        self.disk.full = true;
        let said = space::let_go(self.trail.directory())
            .and_then(|()| self.trail.tell(Notice::disk_full(error), self.clock.now()));
        match said {
            Ok(()) => self.tell_tally(),
            Err(error) => tracing::error!(%error, "the end of the audit trail cannot be recorded"),
        }
    }

    /// Returns whether a full disk has room again for more than the last words.
    fn has_room(&self) -> bool {
        !self.disk.full
            || space::free_bytes(self.trail.directory())
                .is_ok_and(|bytes| bytes >= 2 * space::HELD_BACK_BYTES)
    }

    fn checkpoint_if_due(&mut self) {
        if !self.trail.is_unsigned() {
            self.checkpoint_due = None;
            return;
        }
        let now = Instant::now();
        let due = *self.checkpoint_due.get_or_insert(now + CHECKPOINT_INTERVAL);
        if due <= now {
            self.checkpoint();
        }
    }

    fn checkpoint(&mut self) {
        self.checkpoint_due = None;
        match self.trail.checkpoint(self.clock.now()) {
            Ok(()) => self.all_synced(),
            Err(error) => self.fail(&mut Batch::default(), 0, &error),
        }
    }

    fn add_gap(&mut self, batch: &mut Batch) {
        let notice = Notice::gap(batch.lost);
        let line = Line::render(&mut self.scratch, &notice.draft(), self.clock.now());
        batch.lines.push(line);
    }

    fn sync_if_due(&mut self) {
        let now = Instant::now();
        self.unsynced_since.get_or_insert(now);
        let due = *self.sync_due.get_or_insert(now + SYNC_INTERVAL);
        if due <= now {
            self.look_after_disk();
        }
    }

    /// Sees what became of the last synchronisation and begins the next one.
    fn look_after_disk(&mut self) {
        let now = Instant::now();
        let lag = self
            .unsynced_since
            .map(|since| now.saturating_duration_since(since));
        if lag.is_some_and(|lag| lag > SYNC_LAG_MAX) {
            return self.sync();
        }
        match self.trail.check_sync() {
            Ok(true) => return self.all_synced(),
            Ok(false) => {}
            Err(error) => return self.sync_failed(&error),
        }
        self.sync_due = Some(now + SYNC_INTERVAL);
        match self.trail.begin_sync() {
            Ok(true) => self.unsynced_since = Some(now),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "audit records cannot be synchronised in the background");
                self.sync();
            }
        }
    }

    /// Waits until all records are on the disk.
    fn sync(&mut self) {
        match self.trail.sync() {
            Ok(()) => self.all_synced(),
            Err(error) => self.sync_failed(&error),
        }
    }

    const fn all_synced(&mut self) {
        self.sync_due = None;
        self.unsynced_since = None;
    }

    /// Has the next file say which records are in doubt, if there can be one.
    fn sync_failed(&mut self, error: &io::Error) {
        tracing::error!(%error, "audit records may be missing from the disk");
        self.all_synced();
        let mut nothing = Batch::default();
        let now = self.clock.now();
        if let Err(error) = self.trail.commit(&nothing.lines, Durability::Now, now) {
            self.fail(&mut nothing, 0, &error);
        }
    }

    fn fail(&mut self, batch: &mut Batch, unwaited: u64, error: &io::Error) {
        tracing::error!(path = %self.trail.path().display(), %error, "audit cannot be written");
        self.queue.fail(batch, unwaited);
        if space::is_full(error) && !self.disk.full {
            self.say_last_words(error);
        }
        self.probe_due = Some(Instant::now() + PROBE_INTERVAL);
    }

    /// Tries the disk with a record about what was lost.
    fn probe(&mut self) {
        if !self.has_room() {
            self.probe_due = Some(Instant::now() + PROBE_INTERVAL);
            return;
        }
        let mut batch = Batch {
            lost: self.queue.take_lost(),
            ..Batch::default()
        };
        self.add_gap(&mut batch);
        match self
            .trail
            .commit(&batch.lines, Durability::Now, self.clock.now())
        {
            Ok(()) => {
                tracing::warn!(lost = batch.lost, "audit can be written again");
                self.probe_due = None;
                self.disk.full = false;
                self.all_synced();
                self.tell_tally();
                self.hold_back();
                self.queue.mend();
            }
            Err(error) => {
                tracing::error!(%error, "audit still cannot be written");
                self.queue.put_lost(batch.lost);
                self.probe_due = Some(Instant::now() + PROBE_INTERVAL);
            }
        }
    }
}

/// Tells the queue when the thread is gone, also after a panic.
struct Ended(Arc<Queue>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.thread_ended();
    }
}
