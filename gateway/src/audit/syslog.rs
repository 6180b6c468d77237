//! Sends the trail to a syslog receiver, from its files, and never in the way of a request.
//!
//! Invariant: records are sent in their order, each at least once. Neither syslog protocol
//! acknowledges anything, so after each connection the last ones are sent again: at least
//! `AGAIN_RECORDS` and `AGAIN_BYTES`, more than both systems hold in their buffers.

mod cursor;
mod link;
mod message;
mod reader;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use config::gateway::audit::{Syslog, SyslogProtocol};
use config::home::Home;

use super::{AuditError, Tally};
use cursor::Cursor;
use link::Link;
use message::Sender as Origin;
use reader::Reader;

/// How many records are sent again after a connection was lost.
pub(crate) const AGAIN_RECORDS: u64 = 1_000;

/// How many bytes are sent again at least, if so many were sent.
pub(crate) const AGAIN_BYTES: u64 = 8 * 1024 * 1024;

/// How often new records are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How often the place is written down.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Shortest and longest wait before a lost receiver is tried again.
const RETRY_INTERVAL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// How long the last records may take at an orderly end.
const END_WAIT_MAX: Duration = Duration::from_secs(3);

/// After how many records the receiver is looked at.
const CHECK_RECORDS: u32 = 64;

/// A running forwarder.
#[derive(Debug)]
pub struct Forwarder {
    stop: Sender<()>,
    ended: Receiver<()>,
}

impl Forwarder {
    /// Starts the thread that sends the trail of `home`.
    ///
    /// # Errors
    /// When its place or its certificate authorities cannot be read, or no thread be started.
    pub fn start(home: &Home, receiver: &Syslog, tally: Arc<Tally>) -> Result<Self, AuditError> {
        let failure = |path: std::path::PathBuf| move |source| AuditError::Files { path, source };
        let place = home.audit_syslog();
        let ca = receiver.ca.clone().unwrap_or_default();
        let forward = Forward {
            cursor: Cursor::load(&place, receiver).map_err(failure(place.clone()))?,
            dialler: link::Dialler::new(receiver).map_err(failure(ca))?,
            origin: Origin::of_this_process(),
            directory: home.audit(),
            resends: receiver.protocol != SyslogProtocol::Udp,
            tally,
        };
        let (stop, stopped) = mpsc::channel();
        let (tell_ended, ended) = mpsc::channel();
        std::thread::Builder::new()
            .name("audit-syslog".to_owned())
            .spawn(move || {
                forward.run(&stopped);
                if tell_ended.send(()).is_err() {
                    tracing::debug!("nobody waits for the end of the syslog thread");
                }
            })
            .map_err(AuditError::Thread)?;
        Ok(Self { stop, ended })
    }

    /// Sends what is left, for a bounded time, and ends. Blocks.
    pub fn end(self) {
        drop(self.stop);
        if self.ended.recv_timeout(END_WAIT_MAX).is_err() {
            tracing::warn!(
                "the syslog receiver did not take the last audit records; they follow after the next start"
            );
        }
    }
}

/// Connects to the receiver once, as the forwarder would, and sends nothing. Blocks.
///
/// # Errors
/// When its certificate authorities cannot be read, it cannot be reached, or is not who it should be.
pub fn reach(receiver: &Syslog) -> io::Result<()> {
    link::Dialler::new(receiver)?.dial()?.check()
}

struct Forward {
    directory: std::path::PathBuf,
    cursor: Cursor,
    dialler: link::Dialler,
    origin: Origin,
    /// Whether the receiver may have lost what was sent before.
    resends: bool,
    tally: Arc<Tally>,
}

impl Forward {
    fn run(mut self, stopped: &Receiver<()>) {
        self.tally.set_forwarded(self.cursor.sent());
        let mut wait = RETRY_INTERVAL.0;
        loop {
            let ended = self.dialler.dial().and_then(|link| {
                tracing::info!(
                    receiver = self.dialler.name(),
                    "the syslog receiver is connected"
                );
                wait = RETRY_INTERVAL.0;
                self.tally.set_forward_connected(true);
                self.serve(link, stopped)
            });
            self.tally.set_forward_connected(false);
            self.save();
            let Err(error) = ended else {
                return;
            };
            tracing::warn!(receiver = self.dialler.name(), %error, "audit records cannot be sent to the syslog receiver");
            match stopped.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => wait = (wait * 2).min(RETRY_INTERVAL.1),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Sends what there is and what comes; ends without an error when it is told to stop.
    fn serve(&mut self, mut link: Link, stopped: &Receiver<()>) -> io::Result<()> {
        let last = reader::last_seq(&self.directory)?;
        if last.is_some_and(|last| last < self.cursor.sent()) {
            tracing::error!(
                sent = self.cursor.sent(),
                "the audit trail is shorter than what the syslog receiver has: it is sent anew"
            );
            self.cursor.restart();
        }
        let behind = if self.resends {
            self.cursor.again_from()
        } else {
            self.cursor.sent()
        };
        let mut reader = Reader::behind(&self.directory, behind);
        let mut saved = Instant::now();
        let mut stop_by: Option<Instant> = None;
        loop {
            let mut unchecked = 0;
            while let Some(line) = reader.next_line()? {
                let Some(message) = message::frame(&self.origin, line) else {
                    continue;
                };
                link.send(&message.bytes)?;
                self.cursor.advance(message.seq, message.bytes.len() as u64);
                self.tally.set_forwarded(self.cursor.sent());
                self.tally.count_forwarded();
                unchecked += 1;
                if unchecked == CHECK_RECORDS {
                    unchecked = 0;
                    link.check()?;
                }
                if stop_by.is_some_and(|by| by < Instant::now()) {
                    return Ok(());
                }
            }
            link.flush()?;
            link.check()?;
            if stop_by.is_some() {
                return Ok(());
            }
            if saved.elapsed() >= SAVE_INTERVAL {
                saved = Instant::now();
                self.save();
            }
            match stopped.recv_timeout(LOOK_INTERVAL) {
                Err(RecvTimeoutError::Timeout) => {}
                // Once more: the last records were written while this waited.
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                    stop_by = Some(Instant::now() + END_WAIT_MAX);
                }
            }
        }
    }

    fn save(&mut self) {
        if let Err(error) = self.cursor.save() {
            tracing::error!(%error, "the place in the audit trail cannot be kept: more is sent again after the next start");
        }
    }
}
