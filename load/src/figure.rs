//! What one measurement showed, as it is kept and compared.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::target::Protocol;

/// Quantiles that are kept for plots.
const QUANTILES: [f64; 16] = [
    0.0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999, 1.0,
];

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Who was measured.
    pub(crate) subject: String,
    /// What was asked.
    pub(crate) scenario: String,
    /// In which protocol.
    pub(crate) protocol: Protocol,
    /// Connections that were kept open.
    pub(crate) connections: u32,
    /// Streams on each connection.
    pub(crate) streams: u32,
    /// Requests per second that were due; none if each connection asked as fast as it was answered.
    pub(crate) rate: Option<u32>,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Answers, or handshakes, or events.
    pub(crate) count: u64,
    /// The same by second.
    pub(crate) per_second: f64,
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Answers whose status was not the expected one.
    pub(crate) unexpected: u64,
    /// Connections that failed, answers that never came.
    pub(crate) errors: u64,
    /// How long answers took.
    pub(crate) latency_us: Latency,
    /// What came in each tenth of a second.
    pub(crate) tenths: Vec<u64>,
    /// Processor time of the target, by answer, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us: Option<f64>,
    /// Resident memory of the target at the end, in KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resident_kib: Option<u64>,
    /// Growth of the target's resident memory, in KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) growth_kib: Option<i64>,
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// The mean.
    pub(crate) mean: f64,
    /// Half are below.
    pub(crate) p50: u64,
    /// Nine of ten are below.
    pub(crate) p90: u64,
    /// 99 of 100 are below.
    pub(crate) p99: u64,
    /// 999 of 1,000 are below.
    pub(crate) p999: u64,
    /// The longest.
    pub(crate) max: u64,
    /// Quantiles for plots.
    pub(crate) quantiles: Vec<(f64, u64)>,
}

impl Latency {
    /// Reads a histogram.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            quantiles: QUANTILES.map(|quantile| (quantile, at(quantile))).into(),
        }
    }
}

impl Figure {
    /// Returns the name by which budgets and comparisons know the figure.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.subject, self.scenario)
    }

    /// Returns whether every answer was a right one, and there was one.
    pub(crate) const fn is_clean(&self) -> bool {
        self.unexpected == 0 && self.errors == 0 && self.count > 0
    }

    /// Returns the value that a budget or a plot names.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts and times are far below 2^52"
    )]
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::PerSecond => Some(self.per_second),
            Metric::P50Us => Some(self.latency_us.p50 as f64),
            Metric::P99Us => Some(self.latency_us.p99 as f64),
            Metric::CpuUs => self.cpu_us,
            Metric::ResidentKib => self.resident_kib.map(|kib| kib as f64),
            Metric::IdleKib => match (self.resident_kib, self.growth_kib) {
                (Some(resident), Some(growth)) => Some(resident as f64 - growth as f64),
                (None, _) | (_, None) => None,
            },
            Metric::ConnectionKib => self
                .growth_kib
                .map(|kib| kib as f64 / f64::from(self.connections)),
            Metric::GrowthKib => self.growth_kib.map(|kib| kib as f64),
            Metric::Errors => Some((self.errors + self.unexpected) as f64),
        }
    }
}

/// A value of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Answers per second.
    PerSecond,
    /// Median latency in microseconds.
    P50Us,
    /// 99th percentile of latency in microseconds.
    P99Us,
    /// Processor time by answer in microseconds.
    CpuUs,
    /// Resident memory in KiB.
    ResidentKib,
    /// Resident memory before the load, in KiB.
    IdleKib,
    /// Growth of resident memory by connection, in KiB.
    ConnectionKib,
    /// Growth of resident memory in KiB.
    GrowthKib,
    /// Wrong or missing answers.
    Errors,
}

impl Metric {
    /// Returns the unit for people.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::P50Us | Self::P99Us | Self::CpuUs => "µs",
            Self::ResidentKib | Self::IdleKib | Self::ConnectionKib | Self::GrowthKib => "KiB",
            Self::Errors => "errors",
        }
    }
}
