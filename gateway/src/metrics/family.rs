//! Makes the families of metrics.
//!
//! Invariant: every name is fixed in this crate, so making a family cannot fail at run time for
//! any reason that a test of this crate would not show.
#![expect(
    clippy::expect_used,
    reason = "names and labels are constants, and every family is made in the tests"
)]

use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, Opts, Registry,
};

const VALID: &str = "the name is valid and used once";

/// Makes and registers counters.
pub(crate) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> IntCounterVec {
    let family = IntCounterVec::new(Opts::new(name, help), labels).expect(VALID);
    registry.register(Box::new(family.clone())).expect(VALID);
    family
}

/// Makes and registers histograms.
pub(crate) fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let family = HistogramVec::new(options, labels).expect(VALID);
    registry.register(Box::new(family.clone())).expect(VALID);
    family
}

/// Makes and registers a gauge that is moved while the gateway runs.
pub(crate) fn live_gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect(VALID);
    registry.register(Box::new(gauge.clone())).expect(VALID);
    gauge
}

/// Adds a counter that stands at `value`.
pub(crate) fn counter(registry: &Registry, name: &str, help: &str, value: u64) {
    let family = IntCounter::new(name, help).expect(VALID);
    family.inc_by(value);
    registry.register(Box::new(family)).expect(VALID);
}

/// Adds a counter of something that is no whole number.
pub(crate) fn counter_of(registry: &Registry, name: &str, help: &str, value: f64) {
    let family = Counter::new(name, help).expect(VALID);
    family.inc_by(value);
    registry.register(Box::new(family)).expect(VALID);
}

/// Registers a histogram that was made elsewhere.
pub(crate) fn share(registry: &Registry, family: Histogram) {
    registry.register(Box::new(family)).expect(VALID);
}

/// Adds a gauge that stands at `value`.
pub(crate) fn gauge(registry: &Registry, name: &str, help: &str, value: f64) {
    let family = Gauge::new(name, help).expect(VALID);
    family.set(value);
    registry.register(Box::new(family)).expect(VALID);
}

/// Adds a gauge per value of one label.
pub(crate) fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    values: &[(&str, f64)],
) {
    let family = GaugeVec::new(Opts::new(name, help), &[label]).expect(VALID);
    for (label, value) in values {
        family.with_label_values(&[*label]).set(*value);
    }
    registry.register(Box::new(family)).expect(VALID);
}
