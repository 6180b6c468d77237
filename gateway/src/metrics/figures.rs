//! The nine families of the runtime, from the figures that it answered with.
//!
//! Invariant: no value is made up. While the runtime cannot be asked, the families are left out: a
//! zero would claim that nothing runs, and would look like a restarted counter.

use config::contract::figures::Figures;
use prometheus::Registry;

use super::family::{counter, gauge, gauges};

/// Adds the families.
#[expect(
    clippy::cast_precision_loss,
    reason = "the text format has 64-bit floating point numbers only"
)]
pub(crate) fn add(registry: &Registry, figures: &Figures) {
    gauge(
        registry,
        "loki_session_status",
        "0=stopped, 1=running, 2=paused: 1 if any session runs, else 2 if any is paused or waits.",
        f64::from(figures.session_status),
    );
    gauge(
        registry,
        "loki_iteration_current",
        "Current iteration number of the most recently started live session, else 0.",
        figures.iteration_current as f64,
    );
    gauge(
        registry,
        "loki_iteration_max",
        "Max configured iterations of the most recently started live session, else 0.",
        figures.iteration_max as f64,
    );
    let tasks = &figures.tasks;
    gauges(
        registry,
        "loki_tasks_total",
        "Tasks by status: those of the board and of live sessions.",
        "status",
        &[
            ("pending", tasks.pending as f64),
            ("in_progress", tasks.in_progress as f64),
            ("completed", tasks.completed as f64),
            ("failed", tasks.failed as f64),
        ],
    );
    gauge(
        registry,
        "loki_agents_active",
        "Active agent count, summed over live sessions.",
        figures.agents_active as f64,
    );
    gauge(
        registry,
        "loki_agents_total",
        "Total agents registered, summed over live sessions.",
        figures.agents_total as f64,
    );
    gauge(
        registry,
        "loki_cost_usd",
        "Estimated cost in USD, summed over all kept sessions.",
        figures.cost_usd,
    );
    counter(
        registry,
        "loki_events_total",
        "Total events recorded, over restarts.",
        figures.events_total,
    );
    gauge(
        registry,
        "loki_uptime_seconds",
        "Session uptime of the most recently started live session, else 0.",
        figures.uptime_seconds,
    );
}
