//! The time of day in microseconds, for events that two processes of one machine compare.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns microseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "this is the load test's clock")]
pub(crate) fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}

/// Returns seconds since the Unix epoch.
pub(crate) fn now_seconds() -> u64 {
    now_us() / 1_000_000
}
