//! How a session ends, and what a person should know of it. Pure.

use config::contract::session::SessionState;

use super::Ending;

impl Ending {
    /// Builds the end of a session that is given up.
    #[must_use]
    pub const fn failed(reason: String) -> Self {
        Self {
            state: SessionState::Failed,
            reason: Some(reason),
        }
    }

    /// Builds the end of a session that is done.
    #[must_use]
    pub const fn completed() -> Self {
        Self {
            state: SessionState::Completed,
            reason: None,
        }
    }

    /// Adds what else a person should know.
    #[must_use]
    pub(super) fn but(self, more: &str) -> Self {
        let reason = match self.reason {
            Some(reason) => format!("{reason}; {more}"),
            None => more.to_owned(),
        };
        Self {
            state: self.state,
            reason: Some(reason),
        }
    }
}
