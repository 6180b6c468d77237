//! When each request is due.
//!
//! With a rate, requests are due at fixed times whether or not earlier ones were answered, and a
//! latency counts from when the request was due: a target that stalls cannot hide it (no
//! coordinated omission). Without one, a request is due when the one before it was answered.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The times at which one worker's requests are due.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// Spreads `rate` over `workers`, of which this is number `position`.
    pub(crate) fn new(rate: Option<u32>, workers: u32, position: u32, start: Instant) -> Self {
        let interval =
            rate.map(|rate| Duration::from_secs_f64(f64::from(workers) / f64::from(rate)));
        let offset = interval.map_or(Duration::ZERO, |interval| {
            interval.mul_f64(f64::from(position) / f64::from(workers))
        });
        Self {
            interval,
            next: start + offset,
        }
    }

    /// Waits until the next request is due, and returns when that was.
    pub(crate) async fn due(&mut self) -> Instant {
        match self.interval {
            None => Instant::now(),
            Some(interval) => {
                let due = self.next;
                self.next += interval;
                sleep_until(due).await;
                due
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Pace;

    #[tokio::test(start_paused = true)]
    async fn a_stall_does_not_move_the_times_that_requests_are_due() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10), 2, 1, start);
        let first = pace.due().await;
        tokio::time::advance(Duration::from_secs(5)).await;
        let second = pace.due().await;
        assert_eq!(first - start, Duration::from_millis(100));
        assert_eq!(second - first, Duration::from_millis(200));
    }
}
