//! When each request is due.
//!
//! With a rate, requests are due at fixed times whether or not earlier ones were answered, and a
//! latency counts from when the request was due: a target that stalls cannot hide it (no
//! coordinated omission). Whoever is free takes the next one. Without a rate, a request is due when the one before it was
//! answered.
//!
//! The times are kept by a thread of their own: timers of the async runtime are a millisecond coarse, which is more than
//! most of what is measured. They lie on a grid, so that the thread does not take the processor from the load and
//! the origin beside it for every single request: what is due within one step comes at its end, all at once.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant as SystemInstant};

use anyhow::Context;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// The times at which requests are due; clones share them.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// At once, until then.
    Closed(Instant),
    /// In turn, at a fixed rate.
    Open(Arc<Mutex<UnboundedReceiver<Instant>>>),
}

impl Pace {
    /// Begins at `start` with so many requests per second, and stops at `end`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn begin(rate: Option<u32>, start: Instant, end: Instant) -> anyhow::Result<Self> {
        let Some(rate) = rate else {
            return Ok(Self::Closed(end));
        };
        let (say, due) = mpsc::unbounded_channel();
        let interval = Duration::from_secs_f64(1.0 / f64::from(rate.max(1)));
        thread::Builder::new()
            .name("pace".to_owned())
            .spawn(move || keep(start, end, interval, &say))
            .context("cannot start the thread that keeps the pace")?;
        Ok(Self::Open(Arc::new(Mutex::new(due))))
    }

    /// Waits until a request is due, and returns when that was; none at the end.
    pub(crate) async fn due(&self) -> Option<Instant> {
        match self {
            Self::Closed(end) => Some(Instant::now()).filter(|now| now < end),
            Self::Open(due) => due.lock().await.recv().await,
        }
    }
}

/// How far the times lie apart at which requests are due.
const STEP: Duration = Duration::from_micros(250);

/// How late the system may wake the thread, in nanoseconds.
const TIMER_SLACK: u64 = 1_000;

/// Says each time when it has come, until nobody listens.
#[expect(
    clippy::disallowed_methods,
    reason = "keeping time is what this thread is for"
)]
fn keep(start: Instant, end: Instant, interval: Duration, say: &UnboundedSender<Instant>) {
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK)) {
        crate::say(&format!("requests may be asked late: {error}"));
    }
    let mut next = start;
    let mut step = start;
    while next < end {
        while step < next {
            step += STEP;
        }
        let now = SystemInstant::now();
        thread::sleep(step.into_std().saturating_duration_since(now));
        while next <= step && next < end {
            if say.send(step).is_err() {
                return;
            }
            next += interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Pace;

    #[tokio::test]
    async fn a_stall_does_not_move_the_times_that_requests_are_due() {
        let start = Instant::now();
        let end = start + Duration::from_millis(50);
        let pace = Pace::begin(Some(1_000), start, end).expect("begun");
        let mut dues = vec![pace.due().await.expect("one is due")];
        // A target that stalls past the end.
        tokio::time::sleep_until(end + Duration::from_millis(10)).await;
        while let Some(due) = pace.due().await {
            dues.push(due);
        }
        let expected: Vec<_> = (0..50)
            .map(|number| start + Duration::from_millis(number))
            .collect();
        assert_eq!(dues, expected);
    }

    #[tokio::test]
    async fn what_is_due_within_a_step_is_due_at_its_end() {
        let start = Instant::now();
        let pace =
            Pace::begin(Some(10_000), start, start + Duration::from_millis(1)).expect("begun");
        let mut dues = Vec::new();
        while let Some(due) = pace.due().await {
            dues.push((due - start).as_micros());
        }
        assert_eq!(dues, [0, 250, 250, 500, 500, 500, 750, 750, 1_000, 1_000]);
    }

    #[tokio::test]
    async fn without_a_rate_a_request_is_due_at_once_until_the_end() {
        let now = Instant::now();
        let open = Pace::begin(None, now, now + Duration::from_secs(60)).expect("begun");
        assert!(open.due().await.is_some());
        let over = Pace::begin(None, now, now).expect("begun");
        assert_eq!(over.due().await, None);
    }
}
