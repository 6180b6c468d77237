//! The orderly end: the signals that ask for it, its order, and how long it may take.
//!
//! Invariant: no agent outlives the runtime, and work done so far is handed over if time allows.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::serve::Server;
use crate::session::Sessions;
use crate::session::standing::Standing;

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

/// Ends everything in order: no new requests, then what runs for sessions, then the answers under way.
pub async fn in_order(
    server: Server,
    sessions: &Sessions,
    standing: &Standing,
    stop_grace: Duration,
) {
    server.close();
    let within = stop_grace + SESSIONS_WITHIN;
    let (left, ()) = tokio::join!(sessions.shut_down(within), standing.shut_down(within));
    for id in left {
        tracing::error!(session = %id, "session was broken off; the next start carries it on");
    }
    if !server.drained(ANSWERS_WITHIN).await {
        tracing::warn!("answers under way were broken off");
    }
}

/// Time for sessions to be handed over after their process trees have had their grace.
const SESSIONS_WITHIN: Duration = Duration::from_secs(30);

/// Time for answers under way once the sessions have ended.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
