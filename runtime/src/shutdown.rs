//! When to end: the signals that ask for an orderly end, and how long that may take.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Time for sessions to be handed over after their process trees have had their grace.
pub const SESSIONS_WITHIN: Duration = Duration::from_secs(30);

/// Time for answers under way once the sessions have ended.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The signals that ask the runtime to end.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen, so that no signal ends the process at once any more.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the first of them and returns its name.
    pub async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
