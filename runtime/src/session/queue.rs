//! Who may work, who has to wait, and who is sent away.
//!
//! Invariant: at most `live_max` sessions work, at most `queue_max` wait, first come first served.

use std::sync::Arc;

use config::runtime::Sessions;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The places of a runtime.
#[derive(Debug)]
pub struct Queue {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    live_max: u32,
    queue_max: u32,
}

/// A place among those who work or wait; free again when dropped.
#[derive(Debug)]
pub struct Place {
    /// A session that was taken on by an earlier run keeps its place, whatever the settings are now.
    _place: Option<OwnedSemaphorePermit>,
    turns: Arc<Semaphore>,
}

/// A turn to work; over when dropped.
#[derive(Debug)]
pub struct Turn {
    _turn: Result<OwnedSemaphorePermit, AcquireError>,
}

/// Neither a place to work nor one to wait is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{live_max} sessions are at work and {queue_max} wait already")]
pub struct Full {
    /// Most sessions at work.
    pub live_max: u32,
    /// Most sessions that wait.
    pub queue_max: u32,
}

impl Queue {
    /// Builds the places that the settings allow.
    #[must_use]
    pub fn new(settings: &Sessions) -> Self {
        let (live_max, queue_max) = (settings.live_max, settings.queue_max);
        Self {
            places: Arc::new(Semaphore::new(size(live_max.saturating_add(queue_max)))),
            turns: Arc::new(Semaphore::new(size(live_max))),
            live_max,
            queue_max,
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// When none is free.
    pub fn enter(&self) -> Result<Place, Full> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Full {
                live_max: self.live_max,
                queue_max: self.queue_max,
            })?;
        Ok(Place {
            _place: Some(place),
            turns: Arc::clone(&self.turns),
        })
    }

    /// Takes a place for a session that had one before.
    #[must_use]
    pub fn enter_again(&self) -> Place {
        Place {
            _place: Arc::clone(&self.places).try_acquire_owned().ok(),
            turns: Arc::clone(&self.turns),
        }
    }
}

impl Place {
    /// Waits for a turn to work.
    pub async fn turn(&self) -> Turn {
        // The turns are never closed, so that there is always one to wait for.
        Turn {
            _turn: Arc::clone(&self.turns).acquire_owned().await,
        }
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number)
        .unwrap_or(Semaphore::MAX_PERMITS)
        .min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::runtime::Sessions;
    use futures_now::poll_once;

    use super::{Full, Queue};

    fn queue(live_max: u32, queue_max: u32) -> Queue {
        Queue::new(&Sessions {
            live_max,
            queue_max,
            iterations_max: 1,
            iteration_timeout: Duration::ZERO,
            verify_timeout: Duration::ZERO,
            retry_pause: Duration::ZERO,
            stop_grace: Duration::ZERO,
            keep_days: None,
            output_bytes_max: 0,
        })
    }

    #[test]
    fn one_more_than_work_and_wait_is_sent_away() {
        let queue = queue(1, 1);
        let first = queue.enter().expect("works");
        let _second = queue.enter().expect("waits");
        let full = Full {
            live_max: 1,
            queue_max: 1,
        };
        assert_eq!(queue.enter().map(|_| ()), Err(full));
        drop(first);
        assert!(queue.enter().is_ok());
    }

    #[test]
    fn whoever_waits_gets_a_turn_when_one_is_over() {
        let queue = queue(1, 1);
        let (first, second) = (queue.enter().expect("place"), queue.enter().expect("place"));
        let turn = poll_once(first.turn()).expect("first turn");
        assert!(poll_once(second.turn()).is_none());
        drop(turn);
        assert!(poll_once(second.turn()).is_some());
    }

    /// Polls a future a single time, so that nothing has to be waited for.
    mod futures_now {
        use std::pin::pin;
        use std::task::{Context, Poll, Waker};

        pub(super) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
            match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            }
        }
    }
}
