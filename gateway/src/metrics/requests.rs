//! Counts requests and how long they took.
//!
//! Invariant: counting takes no lock and allocates nothing once a combination was seen; label
//! values come from the operation table and from enums.

use std::sync::OnceLock;
use std::time::Duration;

use config::contract::caller::AuthMethod;
use config::contract::operation::{OPERATIONS, Operation};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::family;

/// The label of a request that is none of the table's.
const UNKNOWN: &str = "unknown";

const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

const AUTH_METHODS: [AuthMethod; 5] = [
    AuthMethod::Certificate,
    AuthMethod::Local,
    AuthMethod::None,
    AuthMethod::Oidc,
    AuthMethod::Token,
];

/// Upper bounds in seconds.
const DURATION_BUCKETS: [f64; 15] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    60.0,
];

/// The same for finding out who is calling, which is a matter of microseconds.
const AUTHENTICATION_BUCKETS: [f64; 12] = [
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.001,
    0.01,
    0.1,
    1.0,
];

/// The request families.
#[derive(Debug)]
pub(crate) struct Requests {
    counters: IntCounterVec,
    durations: HistogramVec,
    /// One per operation, status class and authentication method, made when first needed.
    counter_slots: Vec<OnceLock<IntCounter>>,
    /// One per operation.
    duration_slots: Vec<OnceLock<Histogram>>,
    upstream: HistogramVec,
    /// One per operation.
    upstream_slots: Vec<OnceLock<Histogram>>,
    /// One per authentication method, of what the credential turned out to be.
    authentications: Vec<Histogram>,
}

impl Requests {
    pub(crate) fn new(registry: &Registry) -> Self {
        let operations = OPERATIONS.len() + 1;
        let combinations = operations * STATUS_CLASSES.len() * AUTH_METHODS.len();
        let authentications = family::histograms(
            registry,
            "loki_gateway_authentication_duration_seconds",
            "Time to find out who is calling, by authentication method (none: nobody).",
            &["auth_method"],
            &AUTHENTICATION_BUCKETS,
        );
        Self {
            authentications: AUTH_METHODS
                .map(|method| authentications.with_label_values(&[method.name()]))
                .into(),
            upstream: family::histograms(
                registry,
                "loki_gateway_upstream_duration_seconds",
                "Time from forwarding a request to the header of the runtime's answer, by operation.",
                &["operation"],
                &DURATION_BUCKETS,
            ),
            upstream_slots: slots(operations),
            counters: family::counters(
                registry,
                "loki_gateway_requests_total",
                "Requests that ended, by operation of the table (unknown: none of it), method, \
                 class of the answer's status (none: no answer left) and authentication method.",
                &["operation", "method", "status_class", "auth_method"],
            ),
            durations: family::histograms(
                registry,
                "loki_gateway_request_duration_seconds",
                "Time from a request's first byte to its end, by operation of the table.",
                &["operation"],
                &DURATION_BUCKETS,
            ),
            counter_slots: slots(combinations),
            duration_slots: slots(operations),
        }
    }

    /// Counts how long it took to find out who is calling.
    pub(crate) fn authenticated(&self, auth_method: AuthMethod, duration: Duration) {
        if let Some(histogram) = self.authentications.get(auth_position(auth_method)) {
            histogram.observe(duration.as_secs_f64());
        }
    }

    /// Counts how long the runtime took for the header of its answer.
    pub(crate) fn forwarded(&self, operation: &'static Operation, duration: Duration) {
        let row = OPERATIONS.element_offset(operation);
        if let Some(slot) = row.and_then(|row| self.upstream_slots.get(row)) {
            slot.get_or_init(|| self.upstream.with_label_values(&[operation.name]))
                .observe(duration.as_secs_f64());
        }
    }

    pub(crate) fn count(
        &self,
        operation: Option<&'static Operation>,
        status: u16,
        auth_method: AuthMethod,
        duration: Duration,
    ) {
        let row = operation
            .and_then(|operation| OPERATIONS.element_offset(operation))
            .unwrap_or(OPERATIONS.len());
        let class = status_class(status);
        let auth = auth_position(auth_method);
        let slot = (row * STATUS_CLASSES.len() + class) * AUTH_METHODS.len() + auth;
        let name = OPERATIONS
            .get(row)
            .map_or(UNKNOWN, |operation| operation.name);
        if let Some(slot) = self.counter_slots.get(slot) {
            slot.get_or_init(|| {
                let method = OPERATIONS.get(row).map_or("other", |row| row.method.name());
                let class = STATUS_CLASSES[class];
                self.counters
                    .with_label_values(&[name, method, class, auth_method.name()])
            })
            .inc();
        }
        if let Some(slot) = self.duration_slots.get(row) {
            slot.get_or_init(|| self.durations.with_label_values(&[name]))
                .observe(duration.as_secs_f64());
        }
    }
}

fn slots<T>(count: usize) -> Vec<OnceLock<T>> {
    std::iter::repeat_with(OnceLock::new).take(count).collect()
}

/// Returns the position of a status in [`STATUS_CLASSES`].
fn status_class(status: u16) -> usize {
    match status {
        100..=599 => usize::from(status / 100),
        _ => 0,
    }
}

/// Returns the position of a method in [`AUTH_METHODS`].
const fn auth_position(method: AuthMethod) -> usize {
    match method {
        AuthMethod::Certificate => 0,
        AuthMethod::Local => 1,
        AuthMethod::None => 2,
        AuthMethod::Oidc => 3,
        AuthMethod::Token => 4,
    }
}
