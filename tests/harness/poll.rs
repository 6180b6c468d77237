//! Waiting for something to become true, with a deadline.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

/// Time between two looks. Nothing is asserted after a fixed time; this only spares the processor.
const INTERVAL: Duration = Duration::from_millis(5);

/// How long the programs may take for anything that has no bound of its own.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until `attempt` gives something, and returns it.
///
/// # Panics
/// When it gives nothing within `bound`.
pub fn within<T>(bound: Duration, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        let waited = started.elapsed();
        assert!(waited < bound, "{what}: not within {bound:?}");
        thread::sleep(INTERVAL);
    }
}

/// Looks until `attempt` gives something, and returns it; for what has no bound of its own.
///
/// # Panics
/// When it gives nothing within [`PATIENCE`].
pub fn until<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, attempt)
}

/// Returns how often to repeat an attack: `long` when `make attack` asks for it.
#[must_use]
pub fn rounds(short: usize, long: usize) -> usize {
    if env::var_os("SUITE_LONG").is_some() {
        long
    } else {
        short
    }
}
