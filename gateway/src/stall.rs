//! How long a peer may refuse to take bytes.
//!
//! Invariant: a connection whose peer takes nothing for the whole time ends, whatever waits behind
//! it; a peer that takes something begins anew.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Watches the writes of one connection.
#[derive(Debug)]
pub(crate) struct Stall {
    patience: Duration,
    /// Runs from when the peer took nothing; memory is held for it only then.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Begins with a peer that takes bytes.
    pub(crate) const fn new(patience: Duration) -> Self {
        Self {
            patience,
            alarm: None,
        }
    }

    /// Takes note of how a write went; returns whether it took too long.
    pub(crate) fn is_over<T>(&mut self, written: &Poll<T>, context: &mut Context<'_>) -> bool {
        if written.is_ready() {
            self.alarm = None;
            return false;
        }
        let patience = self.patience;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        alarm.as_mut().poll(context).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Stall;

    const PATIENCE: Duration = Duration::from_millis(20);

    async fn until_over(stall: &mut Stall) {
        poll_fn(|context| {
            if stall.is_over(&Poll::<()>::Pending, context) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    #[tokio::test]
    async fn who_takes_nothing_is_over_and_who_takes_something_begins_anew() {
        let mut stall = Stall::new(PATIENCE);
        let begun = Instant::now();
        until_over(&mut stall).await;
        assert!(begun.elapsed() >= PATIENCE);
        let taken = poll_fn(|context| {
            assert!(!stall.is_over(&Poll::Ready(()), context));
            assert!(!stall.is_over(&Poll::<()>::Pending, context));
            Poll::Ready(())
        });
        taken.await;
        let again = Instant::now();
        until_over(&mut stall).await;
        assert!(again.elapsed() >= PATIENCE / 2);
    }
}
