//! When a stream must end although neither side wants it to.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use config::gateway::streams::Streams;
use pingora::http::RequestHeader;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::admission::{self, Admitted};
use crate::authn::client_certificate::PeerCertificate;
use crate::clock;
use crate::state::State;

/// Time between two looks at whether the caller may still have the stream: with the time that a
/// revocation takes to be published, less than the second that is promised.
const LOOK_INTERVAL: Duration = Duration::from_millis(400);

/// Who or what ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A side broke off in the middle.
    Broken,
    /// The caller.
    Caller,
    /// The credential: revoked, expired or narrowed.
    Credential,
    /// A WebSocket frame over the bound.
    FrameTooLong,
    /// Nothing moved for too long.
    Idle,
    /// The runtime.
    Runtime,
    /// The gateway is stopping.
    Stopping,
    /// The longest life of a stream.
    TooOld,
}

impl Ending {
    /// Every ending.
    pub(crate) const EVERY: [Self; 8] = [
        Self::Broken,
        Self::Caller,
        Self::Credential,
        Self::FrameTooLong,
        Self::Idle,
        Self::Runtime,
        Self::Stopping,
        Self::TooOld,
    ];

    /// Returns the word for metrics and records.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Caller => "caller",
            Self::Credential => "credential",
            Self::FrameTooLong => "frame_too_long",
            Self::Idle => "idle",
            Self::Runtime => "runtime",
            Self::Stopping => "stopping",
            Self::TooOld => "too_old",
        }
    }

    /// Returns the status of a WebSocket's close frame (RFC 6455, section 7.4.1), where the gateway
    /// sends one.
    pub(super) const fn close_status(self) -> Option<u16> {
        match self {
            Self::Credential => Some(1008),
            Self::FrameTooLong => Some(1009),
            Self::Idle | Self::Stopping | Self::TooOld => Some(1001),
            Self::Broken | Self::Caller | Self::Runtime => None,
        }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Who or what ended it.
    pub(super) by: Ending,
    /// Whether the last message is whole.
    pub(super) clean: bool,
}

impl Ended {
    /// Between two messages.
    pub(super) const fn cleanly(by: Ending) -> Self {
        Self { by, clean: true }
    }

    /// In the middle of a message.
    pub(super) const fn abruptly(by: Ending) -> Self {
        Self { by, clean: false }
    }
}

/// Watches over one stream, or another answer that takes long.
#[derive(Debug)]
pub(crate) struct Vigil<'state> {
    state: &'state State,
    header: RequestHeader,
    certificate: Option<Arc<PeerCertificate>>,
    admitted: Admitted,
    stopping: watch::Receiver<bool>,
    looks: Interval,
    idle_timeout: Duration,
    until: Instant,
    moved_at: Instant,
}

impl<'state> Vigil<'state> {
    /// Begins when the status line has left.
    pub(crate) fn begin(
        header: &RequestHeader,
        certificate: Option<Arc<PeerCertificate>>,
        admitted: &Admitted,
        state: &'state State,
        bounds: &Streams,
    ) -> Self {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Self {
            state,
            header: header.clone(),
            certificate,
            admitted: admitted.clone(),
            stopping: state.stopping.subscribe(),
            looks,
            idle_timeout: bounds.idle_timeout,
            until: now + bounds.duration_max,
            moved_at: now,
        }
    }

    /// Takes note that something moved.
    pub(super) fn moved(&mut self) {
        self.moved_at = Instant::now();
    }

    /// Waits until it is time to judge again; may be dropped and called again.
    pub(super) async fn time_to_judge(&mut self) {
        tokio::select! {
            // Whether it stops is judged; a closed channel means that it does.
            _ = self.stopping.wait_for(|stopping| *stopping) => {}
            _ = self.looks.tick() => {}
        }
    }

    /// Returns why the stream must end now, if it must.
    pub(super) async fn judge(&self) -> Option<Ending> {
        if self.state.is_draining() {
            return Some(Ending::Stopping);
        }
        let now = Instant::now();
        if now >= self.until {
            return Some(Ending::TooOld);
        }
        if now - self.moved_at > self.idle_timeout {
            return Some(Ending::Idle);
        }
        (!self.still_admits().await).then_some(Ending::Credential)
    }

    async fn still_admits(&self) -> bool {
        let snapshot = self.state.snapshot();
        let admitted = admission::still_admits(
            &self.header,
            self.certificate.as_deref(),
            &self.admitted,
            &snapshot,
            clock::now(),
        );
        admitted.await
    }

    /// Lets work go on while the caller may have what it gives; none if it had to be broken off. Nothing
    /// else ends it: what has an end of its own is not cut off by a shutdown.
    pub(crate) async fn while_admitted<F: Future>(&mut self, work: F) -> Option<F::Output> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                // First: work that never waits would never be judged.
                biased;
                _ = self.looks.tick() => {
                    if !self.still_admits().await {
                        return None;
                    }
                }
                done = &mut work => return Some(done),
            }
        }
    }

    /// Lets a write go on while the stream may live; returns why it had to be broken off.
    pub(super) async fn over<F>(&mut self, writing: F) -> pingora::Result<Option<Ending>>
    where
        F: Future<Output = pingora::Result<()>>,
    {
        tokio::pin!(writing);
        loop {
            tokio::select! {
                biased;
                written = &mut writing => {
                    written?;
                    self.moved();
                    return Ok(None);
                }
                () = self.time_to_judge() => {
                    if let Some(ending) = self.judge().await {
                        return Ok(Some(ending));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ending;

    #[test]
    fn every_ending_has_its_own_word() {
        let words: Vec<_> = Ending::EVERY.iter().map(|ending| ending.name()).collect();
        assert!(words.is_sorted_by(|one, two| one < two), "{words:?}");
    }
}
