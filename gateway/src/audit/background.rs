//! Makes written records durable without keeping their writer from the next ones.
//!
//! Invariant: the result of every synchronisation is taken by the writer exactly once. The system
//! reports a failed write once per open file, so a result that nobody takes would be a loss that
//! nobody learns of.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A thread that synchronises one file at a time; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Background(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Idle,
    Asked(File),
    Busy,
    Done(io::Result<()>),
    Ended,
}

impl Background {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Idle),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("audit-sync".to_owned())
            .spawn(move || of_thread.run())?;
        Ok(Self(shared))
    }

    /// Begins to synchronise `file`; the last result must have been taken.
    pub(crate) fn begin(&self, file: File) {
        self.0.set(State::Asked(file));
    }

    /// Takes the result if there is one.
    pub(crate) fn finished(&self) -> Option<io::Result<()>> {
        let mut state = self.0.lock();
        match std::mem::replace(&mut *state, State::Idle) {
            State::Done(result) => Some(result),
            other @ (State::Idle | State::Asked(_) | State::Busy | State::Ended) => {
                *state = other;
                None
            }
        }
    }

    /// Waits for the result of what was begun, and takes it.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        loop {
            match std::mem::replace(&mut *state, State::Idle) {
                State::Done(result) => return result,
                State::Idle => return Ok(()),
                other @ (State::Asked(_) | State::Busy | State::Ended) => *state = other,
            }
            state = self.0.wait(state);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.set(State::Ended);
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.lock();
        loop {
            match std::mem::replace(&mut *state, State::Busy) {
                State::Asked(file) => {
                    drop(state);
                    let result = file.sync_data();
                    state = self.lock();
                    if matches!(*state, State::Ended) {
                        return;
                    }
                    *state = State::Done(result);
                    self.changed.notify_all();
                }
                State::Ended => return,
                other @ (State::Idle | State::Busy | State::Done(_)) => {
                    *state = other;
                    state = self.wait(state);
                }
            }
        }
    }

    fn set(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::Background;

    #[test]
    fn a_failure_is_reported_once() {
        let background = Background::start().expect("a thread starts");
        // The system refuses to synchronise a pipe.
        let (end, _other) = rustix::pipe::pipe().expect("a pipe");
        background.begin(File::from(end));
        assert!(background.wait().is_err());
        assert!(background.wait().is_ok());
        assert!(background.finished().is_none());
    }

    #[test]
    fn a_success_is_reported_once() {
        let background = Background::start().expect("a thread starts");
        background.begin(tempfile::tempfile().expect("a temporary file"));
        assert!(background.wait().is_ok());
        assert!(background.finished().is_none());
    }
}
