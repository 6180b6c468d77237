//! The wall clock.

use chrono::{DateTime, Utc};

/// Returns the time.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
