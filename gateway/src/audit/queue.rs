//! Where records wait for the thread that writes them.
//!
//! Invariant: the queue is bounded in records and bytes, pushing never waits, and every waiter of a
//! record that was taken is answered or dropped, never forgotten.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::Unavailable;
use super::line::{Line, Lines};
use super::tally::Tally;
use super::trail::KEPT_BYTES_MAX;

/// How long records that nobody waits for may gather before they are written.
const LINGER: Duration = Duration::from_millis(5);

/// Bytes at which gathered records are written at once.
const URGENT_BYTES: usize = 256 * 1024;

/// Mean bytes of a record, for the bound on memory.
const RECORD_BYTES: usize = 1024;

/// Tells the caller of a durable record how it went.
pub(crate) type Waiter = oneshot::Sender<Result<(), Unavailable>>;

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// Told when there is room again.
    pub(crate) room: Notify,
    pub(crate) tally: Arc<Tally>,
    /// Records that were left out because the disk is nearly full.
    withheld: AtomicU64,
    records_max: usize,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    /// When the oldest record came.
    since: Option<Instant>,
    urgent: bool,
    life: Life,
    /// The last attempt to write failed.
    failed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Open,
    /// The disk failed: nothing is taken until a probe has succeeded.
    Broken,
    /// No more is taken; what is there is written.
    Closing,
    /// The thread is gone.
    Closed,
}

/// What is written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Lines,
    pub(crate) waiters: Vec<Waiter>,
    /// Records that were lost since the last batch.
    pub(crate) lost: u64,
}

impl Batch {
    /// Returns how many of the records nobody waits for.
    pub(crate) fn unwaited(&self) -> u64 {
        self.lines.count().saturating_sub(self.waiters.len()) as u64
    }
}

/// What became of a record.
#[derive(Debug)]
pub(crate) enum Pushed {
    Taken,
    /// No room now; the waiter comes back.
    Full(Option<Waiter>),
    /// Not before the disk is back, or never.
    Refused,
}

/// Why the thread woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There is a batch.
    Batch,
    /// The time that was given is over.
    Due,
    /// There is a last batch, maybe an empty one.
    Last,
}

impl Queue {
    pub(crate) fn new(records_max: u32) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            room: Notify::new(),
            tally: Arc::new(Tally::new()),
            withheld: AtomicU64::new(0),
            records_max: usize::try_from(records_max).unwrap_or(usize::MAX).max(1),
        }
    }

    /// Adds a record. Those with a waiter have as much room again once the others have none.
    pub(crate) fn push(&self, line: Line<'_>, waiter: Option<Waiter>) -> Pushed {
        let mut state = self.lock();
        match state.life {
            Life::Open => {}
            Life::Broken | Life::Closing | Life::Closed => return Pushed::Refused,
        }
        let share = if waiter.is_some() { 2 } else { 1 };
        let records_max = self.records_max.saturating_mul(share);
        let lines = &mut state.batch.lines;
        let bytes = lines.byte_count() + line.len();
        let fits = lines.count() < records_max
            && (lines.count() == 0 || bytes <= records_max.saturating_mul(RECORD_BYTES));
        if !fits {
            return Pushed::Full(waiter);
        }
        lines.push(line);
        let gathered = bytes >= URGENT_BYTES || lines.count() >= self.records_max.div_ceil(4);
        self.tally.set_queued(lines.count());
        let hurry = waiter.is_some() || gathered;
        state.batch.waiters.extend(waiter);
        let first = state.since.is_none();
        if first {
            state.since = Some(Instant::now());
        }
        let wake = first || (hurry && !state.urgent);
        state.urgent |= hurry;
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Pushed::Taken
    }

    /// Counts a record that was lost; a record about it follows.
    pub(crate) fn lose(&self, records: u64) {
        if records == 0 {
            return;
        }
        self.tally.count_lost(records);
        let mut state = self.lock();
        state.batch.lost += records;
        let first = state.since.is_none();
        if first {
            state.since = Some(Instant::now());
        }
        drop(state);
        if first {
            self.wake.notify_one();
        }
    }

    /// Counts a record that is left out because the disk is nearly full. A record about all of them
    /// follows when there is room: one by one, they would take what is left.
    pub(crate) fn withhold(&self) {
        self.tally.count_lost(1);
        self.withheld.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what was left out, for a record about it.
    pub(crate) fn take_withheld(&self) -> u64 {
        self.withheld.swap(0, Ordering::Relaxed)
    }

    /// Waits for a batch, or until `due`; puts it into `batch`, whose memory is used again.
    pub(crate) fn take(&self, batch: &mut Batch, due: Option<Instant>) -> Taken {
        batch.lines.clear(KEPT_BYTES_MAX);
        batch.waiters.clear();
        batch.lost = 0;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let ready = state.since.map(|since| since + LINGER);
            let taken = match state.life {
                Life::Closing | Life::Closed => Some(Taken::Last),
                Life::Open if state.urgent || ready.is_some_and(|at| at <= now) => {
                    Some(Taken::Batch)
                }
                Life::Open | Life::Broken => {
                    due.is_some_and(|due| due <= now).then_some(Taken::Due)
                }
            };
            match taken {
                Some(Taken::Due) => return Taken::Due,
                Some(taken) => {
                    self.hand_over(&mut state, batch);
                    return taken;
                }
                None => {}
            }
            let ready = ready.filter(|_| state.life == Life::Open);
            let until = [ready, due].into_iter().flatten().min();
            state = self.wait(
                state,
                until.map(|until| until.saturating_duration_since(now)),
            );
        }
    }

    /// Says that the disk failed: `batch` was not written, `unwaited` records of it are lost, and
    /// nothing is taken any more. What came meanwhile is refused as well.
    pub(crate) fn fail(&self, batch: &mut Batch, unwaited: u64) {
        self.tally.set_writable(false);
        let mut state = self.lock();
        state.failed = true;
        if state.life == Life::Open {
            state.life = Life::Broken;
        }
        let mut since_then = Batch::default();
        self.hand_over(&mut state, &mut since_then);
        let lost = unwaited + since_then.unwaited();
        state.batch.lost = batch.lost + since_then.lost + lost;
        drop(state);
        self.tally.count_lost(lost);
        let waiters = batch.waiters.drain(..).chain(since_then.waiters);
        for waiter in waiters {
            answer(waiter, Err(Unavailable::NotWritable));
        }
        self.room.notify_waiters();
    }

    /// Takes what was lost, for a record about it that mends the queue.
    pub(crate) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.lock().batch.lost)
    }

    /// Gives back what could not be recorded.
    pub(crate) fn put_lost(&self, records: u64) {
        self.lock().batch.lost += records;
    }

    /// Says that the disk is back.
    pub(crate) fn mend(&self) {
        let mut state = self.lock();
        if state.life == Life::Broken {
            state.life = Life::Open;
        }
        state.failed = false;
        drop(state);
        self.tally.set_writable(true);
    }

    /// Returns whether the last attempt to write failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// Returns why nothing is taken.
    pub(crate) fn refusal(&self) -> Unavailable {
        match self.lock().life {
            Life::Open | Life::Broken => Unavailable::NotWritable,
            Life::Closing | Life::Closed => Unavailable::Closed,
        }
    }

    /// Takes no more records, and makes the thread end.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if state.life != Life::Closed {
            state.life = Life::Closing;
        }
        drop(state);
        self.wake.notify_one();
        self.room.notify_waiters();
    }

    /// Says that the thread is gone, however it went.
    pub(crate) fn thread_ended(&self) {
        self.tally.set_writable(false);
        let mut state = self.lock();
        state.life = Life::Closed;
        // Dropped waiters learn that nobody will answer.
        let left = std::mem::take(&mut state.batch);
        drop(state);
        self.tally.count_lost(left.lines.count() as u64);
        drop(left);
        self.room.notify_waiters();
    }

    fn hand_over(&self, state: &mut State, batch: &mut Batch) {
        std::mem::swap(&mut state.batch, batch);
        state.since = None;
        state.urgent = false;
        self.tally.set_queued(0);
        self.room.notify_waiters();
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match timeout {
            Some(timeout) => {
                self.wake
                    .wait_timeout(state, timeout)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a waiter.
pub(crate) fn answer(waiter: Waiter, result: Result<(), Unavailable>) {
    if waiter.send(result).is_err() {
        tracing::debug!("nobody waited for an audit record any more");
    }
}
