//! The wall clock of the gateway.
//!
//! Invariant: nothing else in this crate reads the time of day; decisions get it passed in.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

/// A source of the time of day that can be passed in.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// Reads the system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(now))
    }

    /// Reads a clock of the caller's making, as tests do.
    #[must_use]
    pub fn from_fn(read: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Returns the time of day.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// Returns the system's time of day.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock module: everyone else is told the time"
)]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
