//! What of Loki runs here: both processes, or one of them with the other elsewhere.
//!
//! Invariant: nothing is demanded of a place that only a process needs which is not installed there.

use std::path::PathBuf;

use super::Finding;

/// Which of our programs lie beside this one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The gateway runs here.
    pub(super) gateway: bool,
    /// The runtime, and so agents, run here.
    pub(super) runtime: bool,
}

impl Place {
    /// Looks beside this program.
    pub(super) fn look() -> Self {
        let is_here = |name| beside(name).is_ok_and(|path| path.is_file());
        Self {
            gateway: is_here("loki-gateway"),
            // A jail without a runtime is half an installation, so agents are meant to run.
            runtime: is_here("loki-runtime") || is_here("loki-jail"),
        }
    }

    /// Says what is looked at, and what is not.
    pub(super) fn finding(self) -> Finding {
        let check = "programs";
        match (self.gateway, self.runtime) {
            (true, true) => Finding::ok(check, "gateway and runtime are installed"),
            (true, false) => Finding::ok(
                check,
                "the gateway alone is installed, so no agents run here: run loki doctor where the \
                 runtime is, too",
            ),
            (false, true) => Finding::ok(
                check,
                "the runtime alone is installed: run loki doctor where the gateway is, too",
            ),
            (false, false) => Finding::warning(
                check,
                "neither gateway nor runtime is installed beside loki",
                "run loki doctor where they are",
            ),
        }
    }
}

/// Returns where a program of ours lies, if it is installed.
pub(super) fn beside(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(own.with_file_name(name))
}
