//! What a run showed, for people and for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::run::Plan;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Report {
    /// Time from the first request to the last answer.
    pub(crate) elapsed: Duration,
    plan: Plan,
    latencies: Histogram<u64>,
    other_statuses: u64,
    errors: u64,
}

/// The shape of the JSON result. Latencies are in microseconds.
#[derive(Serialize)]
struct Shape {
    connections: u16,
    rate: Option<u32>,
    seconds: f64,
    requests: u64,
    requests_per_second: f64,
    other_statuses: u64,
    errors: u64,
    latency_us_mean: f64,
    latency_us_p50: u64,
    latency_us_p90: u64,
    latency_us_p99: u64,
    latency_us_p999: u64,
    latency_us_max: u64,
}

impl Report {
    /// Begins an empty report.
    ///
    /// # Errors
    /// When the histogram cannot be made.
    pub(crate) fn new(plan: &Plan) -> anyhow::Result<Self> {
        Ok(Self {
            elapsed: Duration::ZERO,
            plan: *plan,
            latencies: Histogram::new(3)?,
            other_statuses: 0,
            errors: 0,
        })
    }

    /// Adds what one connection saw.
    ///
    /// # Errors
    /// When the histograms do not fit together.
    pub(crate) fn add(
        &mut self,
        latencies: &Histogram<u64>,
        other_statuses: u64,
        errors: u64,
    ) -> anyhow::Result<()> {
        self.latencies.add(latencies)?;
        self.other_statuses += other_statuses;
        self.errors += errors;
        Ok(())
    }

    /// Returns whether every answer had the expected status, and there was one.
    pub(crate) fn is_clean(&self) -> bool {
        self.other_statuses == 0 && self.errors == 0 && !self.latencies.is_empty()
    }

    /// Returns the result as JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(&self.shape()).unwrap_or_default()
    }

    /// Returns the result as a table.
    pub(crate) fn table(&self) -> String {
        let shape = self.shape();
        let milliseconds = |us: u64| f64::from(u32::try_from(us).unwrap_or(u32::MAX)) / 1_000.0;
        let rate = shape
            .rate
            .map_or("as fast as answered".to_owned(), |rate| format!("{rate}/s"));
        format!(
            "connections    {}\nrate           {rate}\nseconds        {:.1}\nrequests       {}\n\
             per second     {:.0}\nother statuses {}\nerrors         {}\n\
             latency p50    {:.3} ms\nlatency p90    {:.3} ms\nlatency p99    {:.3} ms\n\
             latency p99.9  {:.3} ms\nlatency max    {:.3} ms",
            shape.connections,
            shape.seconds,
            shape.requests,
            shape.requests_per_second,
            shape.other_statuses,
            shape.errors,
            milliseconds(shape.latency_us_p50),
            milliseconds(shape.latency_us_p90),
            milliseconds(shape.latency_us_p99),
            milliseconds(shape.latency_us_p999),
            milliseconds(shape.latency_us_max),
        )
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of requests is below 2^52"
    )]
    fn shape(&self) -> Shape {
        let seconds = self.elapsed.as_secs_f64();
        let requests = self.latencies.len();
        Shape {
            connections: self.plan.connections,
            rate: self.plan.rate,
            seconds,
            requests,
            requests_per_second: requests as f64 / seconds.max(f64::EPSILON),
            other_statuses: self.other_statuses,
            errors: self.errors,
            latency_us_mean: self.latencies.mean(),
            latency_us_p50: self.latencies.value_at_quantile(0.5),
            latency_us_p90: self.latencies.value_at_quantile(0.9),
            latency_us_p99: self.latencies.value_at_quantile(0.99),
            latency_us_p999: self.latencies.value_at_quantile(0.999),
            latency_us_max: self.latencies.max(),
        }
    }
}
