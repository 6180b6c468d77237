//! How a process tree ended: the one line that the supervisor leaves behind.
//!
//! Invariant: the file exists before the program starts and is filled only when the tree is gone or
//! could not be ended; an empty file means that the supervisor itself was killed.

use serde::{Deserialize, Serialize};

/// Tells how a process tree ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How the program itself ended. `None` only if it could not be killed.
    pub exit: Option<Exit>,
    /// Who ended it.
    pub stopped_by: StoppedBy,
    /// How many living processes besides the program had to be killed.
    pub killed_descendants: usize,
    /// How many processes could not be killed in time. Above 0 something is left on the host.
    pub survivors: usize,
    /// Processor time of all reaped processes in user mode, in milliseconds, counted in steps of 10.
    pub user_cpu_ms: Option<u64>,
    /// Processor time of all reaped processes in the kernel, in milliseconds, counted in steps of 10.
    pub system_cpu_ms: Option<u64>,
    /// Most memory that the tree had at once, in bytes. Only the sandbox counts it.
    #[serde(default)]
    pub memory_peak_bytes: Option<u64>,
    /// How many processes the kernel killed because the tree had no memory left. Only the sandbox
    /// counts them.
    #[serde(default)]
    pub out_of_memory_kills: Option<u64>,
}

/// Tells how one process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this code.
    Code(u8),
    /// This signal killed it.
    Signal(u8),
}

/// Names who ended the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// The program, or somebody outside whom the supervisor does not know.
    Itself,
    /// The request `stop`.
    Stop,
    /// The request `kill`.
    Kill,
    /// The end of the lifeline, or a line on it that is no request.
    Lifeline,
}

impl Exit {
    /// Returns the exit code by which a shell would tell of this end.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => SIGNAL_BASE.saturating_add(signal),
        }
    }
}

const SIGNAL_BASE: u8 = 128;
