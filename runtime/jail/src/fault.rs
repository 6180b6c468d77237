//! Why the sandbox cannot be had: the step, the cause, the fix.

use std::io;

/// Says which step of the sandbox failed, so that the program did not run.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}; fix: {fix}")]
pub(crate) struct Fault {
    /// What could not be done.
    pub(crate) what: String,
    /// What the kernel said.
    pub(crate) source: io::Error,
    /// What to do about it.
    pub(crate) fix: String,
}

/// Says what a failed step was for, and what to do.
pub(crate) fn at<T, E: Into<io::Error>>(
    what: impl Into<String>,
    fix: &str,
    done: Result<T, E>,
) -> Result<T, Fault> {
    done.map_err(|error| Fault {
        what: what.into(),
        source: error.into(),
        fix: fix.to_owned(),
    })
}
