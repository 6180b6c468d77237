//! The front of an HTTP/1 connection: strict bytes, and no waiting for slow peers.
//!
//! Sits between the transport and Pingora. What breaks a rule is answered and recorded here, and
//! never reaches a parser.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use config::contract::id::RequestId;
use config::limit::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::answer;
use crate::edge_record;
use crate::metrics::Dropped;
use crate::random;
use crate::refusal::Refusal;
use crate::state::State;
use crate::wire::{Bounds, Fault, Waits, Wire};

/// A transport whose bytes are followed.
#[derive(Debug)]
pub(crate) struct Front {
    wire: Wire,
    peer: SocketAddr,
    state: Arc<State>,
    /// Bytes that may go on and were not read yet.
    passed: Vec<u8>,
    taken: usize,
    pace: Pace,
    /// The rest of the answer to a fault; once it is out, the connection is over.
    last_words: Option<(Vec<u8>, usize)>,
}

/// How fast the peer must be, and how fast it was.
#[derive(Debug)]
struct Pace {
    header_timeout: Duration,
    body_bytes_per_second_min: u32,
    header_began: Option<Instant>,
    body_bytes: u64,
    body_waited: Duration,
    waiting_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Front {
    /// Begins before the first request.
    pub(crate) fn new(peer: SocketAddr, state: Arc<State>) -> Self {
        let snapshot = state.snapshot();
        let limits = &snapshot.settings.limits;
        Self {
            wire: Wire::new(bounds(limits)),
            peer,
            passed: Vec::new(),
            taken: 0,
            pace: Pace::new(limits),
            last_words: None,
            state,
        }
    }

    /// Reads bytes that have passed.
    pub(crate) fn poll_read<T>(
        &mut self,
        transport: &mut T,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if self.last_words.is_some() {
                // After the answer the parser sees the end of the connection.
                return self.poll_last_words(transport, context);
            }
            if self.taken < self.passed.len() {
                self.hand_on(buffer);
                return Poll::Ready(Ok(()));
            }
            if self.wire.is_over() {
                return poll_discard(transport, context, buffer);
            }
            let before = buffer.filled().len();
            match Pin::new(&mut *transport).poll_read(context, buffer) {
                Poll::Pending => {
                    if ready!(self.pace.poll_late(self.wire.waits(), context)).is_header() {
                        self.refuse(Refusal::HeaderTimeout);
                        continue;
                    }
                    edge_record::dropped(&self.state, self.peer.ip(), Dropped::TooSlow);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
            if buffer.filled().len() == before || self.pass(buffer, before) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Returns whether there is something to read that came before.
    pub(crate) const fn has_more(&self) -> bool {
        self.last_words.is_some() || self.taken < self.passed.len()
    }

    /// Gives memory back that nothing waits in.
    pub(crate) fn release(&mut self) {
        if self.taken == self.passed.len() {
            self.passed = Vec::new();
            self.taken = 0;
        }
        self.wire.release();
    }

    /// Takes note of bytes that leave.
    pub(crate) fn answering(&mut self, bytes: &[u8]) {
        self.wire.answering(bytes);
    }

    /// Follows the bytes that came; returns whether they stay in the reader's buffer.
    fn pass(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> bool {
        let came = &buffer.filled()[before..];
        self.pace.came(came.len(), self.wire.waits());
        if self.wire.skim(came.len()) {
            return true;
        }
        let held_before = self.wire.held();
        self.passed.clear();
        self.taken = 0;
        let followed = match self.wire.glance(came) {
            Ok(false) => self.wire.take(came, &mut self.passed),
            Ok(true) => Ok(()),
            Err(fault) => Err(fault),
        };
        self.pace.moved(self.wire.waits());
        if let Err(fault) = followed {
            buffer.set_filled(before);
            self.refuse(refusal_of(fault));
            return false;
        }
        if held_before == 0 && self.wire.held() == 0 {
            self.passed.clear();
            // What one large read took is not kept for the life of the connection.
            self.passed.shrink_to(PASSED_BYTES_KEPT);
            return true;
        }
        buffer.set_filled(before);
        false
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.passed[self.taken..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.taken += count;
    }

    /// Records a request that no filter will see, and prepares its answer.
    fn refuse(&mut self, refusal: Refusal) {
        let Ok(bytes) = random::id_bytes() else {
            self.last_words = Some((Vec::new(), 0));
            return;
        };
        let id = RequestId::from_random(bytes);
        edge_record::refused(&self.state, self.peer.ip(), &id, &refusal);
        self.passed.clear();
        self.taken = 0;
        self.last_words = Some((answer::raw(&refusal, &id), 0));
    }

    fn poll_last_words<T>(
        &mut self,
        transport: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        T: AsyncWrite + Unpin,
    {
        let Some((words, written)) = &mut self.last_words else {
            return Poll::Ready(Ok(()));
        };
        while *written < words.len() {
            let count = ready!(Pin::new(&mut *transport).poll_write(context, &words[*written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += count;
        }
        Pin::new(transport).poll_flush(context)
    }
}

/// Reads to the end of the connection and hands on nothing.
fn poll_discard<T>(
    transport: &mut T,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>>
where
    T: AsyncRead + Unpin,
{
    let before = buffer.filled().len();
    loop {
        ready!(Pin::new(&mut *transport).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        buffer.set_filled(before);
    }
}

fn bounds(limits: &Limits) -> Bounds {
    let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    Bounds {
        bytes_max: count(limits.header_bytes_max),
        fields_max: count(limits.header_count_max),
        target_bytes_max: count(limits.target_bytes_max),
    }
}

fn refusal_of(fault: Fault) -> Refusal {
    match fault {
        Fault::HeadTooLong => Refusal::HeaderTooLong,
        Fault::TargetTooLong => Refusal::TargetTooLong,
        Fault::Malformed(what) => Refusal::Malformed(what),
    }
}

/// What came too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Header,
    Body,
}

impl Late {
    const fn is_header(self) -> bool {
        matches!(self, Self::Header)
    }
}

impl Pace {
    const fn new(limits: &Limits) -> Self {
        Self {
            header_timeout: limits.header_timeout,
            body_bytes_per_second_min: limits.body_bytes_per_second_min,
            header_began: None,
            body_bytes: 0,
            body_waited: Duration::ZERO,
            waiting_since: None,
            alarm: None,
        }
    }

    /// Counts bytes that came, and the time that we waited for them: time in which nobody asked
    /// for bytes is not the peer's.
    fn came(&mut self, count: usize, waits: Waits) {
        let waited = self
            .waiting_since
            .take()
            .map_or(Duration::ZERO, |since| since.elapsed());
        match waits {
            Waits::Idle => self.header_began = Some(Instant::now()),
            Waits::Head => {}
            Waits::Body => {
                self.body_bytes += count as u64;
                self.body_waited += waited;
            }
        }
    }

    /// Forgets the times of what is over.
    fn moved(&mut self, waits: Waits) {
        match waits {
            Waits::Idle => {
                self.header_began = None;
                self.body_bytes = 0;
                self.body_waited = Duration::ZERO;
                self.alarm = None;
            }
            Waits::Head => {}
            Waits::Body => self.header_began = None,
        }
    }

    /// Becomes ready when the peer is too late.
    fn poll_late(&mut self, waits: Waits, context: &mut Context<'_>) -> Poll<Late> {
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        let (late, deadline) = match waits {
            // How long an unused connection is kept is not our business here.
            Waits::Idle => return Poll::Pending,
            Waits::Head => {
                let began = *self.header_began.get_or_insert(now);
                (Late::Header, began + self.header_timeout)
            }
            Waits::Body => {
                let rate = f64::from(self.body_bytes_per_second_min.max(1));
                let earned = Duration::try_from_secs_f64(seconds(self.body_bytes, rate))
                    .unwrap_or(Duration::MAX);
                let allowed = self.header_timeout.saturating_add(earned);
                let left = allowed.saturating_sub(self.body_waited);
                (Late::Body, since.checked_add(left).unwrap_or(now + DAY))
            }
        };
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(context));
        Poll::Ready(late)
    }
}

/// Capacity that a connection keeps for bytes which have passed.
const PASSED_BYTES_KEPT: usize = 2 * 1024;

const DAY: Duration = Duration::from_secs(86_400);

#[expect(
    clippy::cast_precision_loss,
    reason = "a bound need not be exact beyond 2^52 bytes"
)]
fn seconds(bytes: u64, rate: f64) -> f64 {
    bytes as f64 / rate
}
