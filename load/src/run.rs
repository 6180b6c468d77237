//! Runs a plan and gathers what happened.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::Client;
use crate::pace::Pace;
use crate::report::Report;
use crate::target::Target;

/// Longest latency that is told apart, in microseconds: one minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// How much load, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Connections that are kept open.
    pub(crate) connections: u16,
    /// How long to measure.
    pub(crate) duration: Duration,
    /// Requests per second in all.
    pub(crate) rate: Option<u32>,
    /// Status that every answer must have.
    pub(crate) status: u16,
}

/// What one connection saw.
#[derive(Debug)]
struct Seen {
    latencies: Histogram<u64>,
    other_statuses: u64,
    errors: u64,
}

/// Runs the plan.
///
/// # Errors
/// When the first connection cannot be made.
pub(crate) async fn run(target: &Target, plan: &Plan) -> anyhow::Result<Report> {
    // Before the load begins: is the target there at all?
    Client::connect(target).await?;
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for position in 0..plan.connections {
        let pace = Pace::new(plan.rate, plan.connections, position, start);
        connections.spawn(connection(
            target.clone(),
            *plan,
            pace,
            start + plan.duration,
        ));
    }
    let mut report = Report::new(plan)?;
    while let Some(seen) = connections.join_next().await {
        let seen = seen??;
        report.add(&seen.latencies, seen.other_statuses, seen.errors)?;
    }
    report.elapsed = start.elapsed();
    Ok(report)
}

async fn connection(
    target: Target,
    plan: Plan,
    mut pace: Pace,
    end: Instant,
) -> anyhow::Result<Seen> {
    let mut seen = Seen {
        latencies: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?,
        other_statuses: 0,
        errors: 0,
    };
    let mut client: Option<Client> = None;
    loop {
        let due = pace.due().await;
        if Instant::now() >= end {
            return Ok(seen);
        }
        let mut connected = match client.take() {
            Some(client) => client,
            None => match Client::connect(&target).await {
                Ok(client) => client,
                Err(_) => {
                    seen.errors += 1;
                    // A target that is gone is not asked in a tight loop.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        match connected.ask(&target).await {
            Ok(status) => {
                let latency = u64::try_from(due.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
                seen.latencies.record(latency.clamp(1, LATENCY_US_MAX))?;
                if status != plan.status {
                    seen.other_statuses += 1;
                }
                client = Some(connected);
            }
            Err(_) => seen.errors += 1,
        }
    }
}
