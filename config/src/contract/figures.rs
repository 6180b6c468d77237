//! The figures that the gateway's `/metrics` asks of the runtime, over all kept sessions.

use serde::{Deserialize, Serialize};

/// Path on which the runtime answers the gateway alone; no operation of the table leads there.
pub const PATH: &str = "/internal/figures";

/// The values behind the nine families of `/metrics` that the runtime knows.
///
/// Status is 1 if any session runs, else 2 if any is paused or waits, else 0. Iteration, its
/// maximum and the uptime are those of the most recently started live session, else 0. Tasks are
/// those of the board and of live sessions, agents are summed over live sessions, cost over all kept
/// ones; events is a persistent counter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// 0 stopped, 1 running, 2 paused.
    pub session_status: u8,
    /// Current iteration number.
    pub iteration_current: u64,
    /// Most iterations that the session may take.
    pub iteration_max: u64,
    /// Tasks by status.
    pub tasks: TaskCounts,
    /// Agents at work.
    pub agents_active: u64,
    /// Agents that live sessions registered.
    pub agents_total: u64,
    /// Estimated cost in US dollars.
    pub cost_usd: f64,
    /// Events ever recorded.
    pub events_total: u64,
    /// Seconds since the session started.
    pub uptime_seconds: f64,
}

/// Number of tasks in each status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskCounts {
    /// Not begun.
    pub pending: u64,
    /// Under way.
    pub in_progress: u64,
    /// Done.
    pub completed: u64,
    /// Given up.
    pub failed: u64,
}
