//! What the gateway counts, and how `/metrics` shows it.
//!
//! Invariant: label values come from enums and the operation table alone, so no caller can make
//! the output grow; counting a request takes no lock and allocates nothing.

mod dropped;
mod family;
mod figures;
mod requests;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use config::contract::caller::AuthMethod;
use config::contract::figures::Figures;
use config::contract::operation::Operation;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, Registry, TextEncoder};

pub use dropped::Dropped;

use crate::audit::Tally;
use crate::refusal::{self, Refusal};
use requests::Requests;

/// The media type of the text format 0.0.4.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Requests,
    /// One per reason, in the order of [`refusal::reasons`].
    refusals: Vec<IntCounter>,
    /// One per reason, in the order of [`Dropped::EVERY`].
    drops: Vec<IntCounter>,
    /// Renewed certificates put in use, and those refused.
    certificate_reloads: [IntCounter; 2],
    /// New states of the settings put in use, and those refused.
    reloads: [IntCounter; 2],
    streams: streams::Streams,
    audit: Arc<Tally>,
}

impl Metrics {
    /// Makes metrics that all stand at zero; `audit` is read when they are shown.
    #[must_use]
    pub fn new(audit: Arc<Tally>) -> Self {
        let registry = Registry::new();
        let refusals = family::counters(
            &registry,
            "loki_gateway_refusals_total",
            "Requests that the gateway refused, by reason.",
            &["reason"],
        );
        let drops = family::counters(
            &registry,
            "loki_gateway_connections_dropped_total",
            "Connections that ended before a request could be read, by reason.",
            &["reason"],
        );
        let results = |name: &str, help: &str| {
            let family = family::counters(&registry, name, help, &["result"]);
            ["done", "failed"].map(|result| family.with_label_values(&[result]))
        };
        let certificate_reloads = results(
            "loki_gateway_certificate_reloads_total",
            "Attempts to put a renewed certificate in use, by result.",
        );
        let reloads = results(
            "loki_gateway_reloads_total",
            "Attempts to put a new state of the settings in use, by result.",
        );
        Self {
            requests: Requests::new(&registry),
            streams: streams::Streams::new(&registry),
            certificate_reloads,
            reloads,
            refusals: refusal::reasons()
                .map(|reason| refusals.with_label_values(&[reason]))
                .collect(),
            drops: Dropped::EVERY
                .map(|reason| drops.with_label_values(&[reason.name()]))
                .into(),
            registry,
            audit,
        }
    }

    /// Counts a request that ended. `operation` is none for a path that is not in the table;
    /// `status` is 0 if no answer left.
    pub fn request(
        &self,
        operation: Option<&'static Operation>,
        status: u16,
        auth_method: AuthMethod,
        duration: Duration,
    ) {
        self.requests
            .count(operation, status, auth_method, duration);
    }

    /// Counts a refusal; the request is counted besides.
    pub fn refused(&self, refusal: &Refusal) {
        if let Some(counter) = self.refusals.get(refusal.position()) {
            counter.inc();
        }
    }

    /// Returns the instruments of streams.
    pub(crate) const fn streams(&self) -> &streams::Streams {
        &self.streams
    }

    /// Counts an attempt to put a renewed certificate in use.
    pub fn certificate_reload(&self, done: bool) {
        let [success, failure] = &self.certificate_reloads;
        if done { success.inc() } else { failure.inc() }
    }

    /// Counts an attempt to put a new state of the settings in use.
    pub fn reload(&self, done: bool) {
        let [success, failure] = &self.reloads;
        if done { success.inc() } else { failure.inc() }
    }

    /// Counts a connection that ended before a request could be read.
    pub fn dropped(&self, reason: Dropped) {
        if let Some(counter) = self.drops.get(reason.position()) {
            counter.inc();
        }
    }

    /// Shows the metrics in the text format 0.0.4. Without `figures`, the runtime counts as down
    /// and its nine families are left out.
    #[must_use]
    pub fn render(&self, figures: Option<&Figures>) -> String {
        let now = Registry::new();
        if let Some(figures) = figures {
            figures::add(&now, figures);
        }
        add_processes(&now, figures.is_some());
        self.add_audit(&now);
        let mut families = now.gather();
        families.extend(self.registry.gather());
        encode(&families)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has 64-bit floating point numbers only"
    )]
    fn add_audit(&self, registry: &Registry) {
        family::counter(
            registry,
            "loki_gateway_audit_records_written_total",
            "Audit records written.",
            self.audit.written(),
        );
        family::counter(
            registry,
            "loki_gateway_audit_records_lost_total",
            "Audit records lost for want of room or of a disk; each gap is a record itself.",
            self.audit.lost(),
        );
        family::counter(
            registry,
            "loki_gateway_audit_records_refused_total",
            "Audit records whose requests were refused because they could not be made durable.",
            self.audit.refused(),
        );
        family::gauge(
            registry,
            "loki_gateway_audit_queue_records",
            "Audit records that wait for the disk.",
            self.audit.queued() as f64,
        );
        family::gauge(
            registry,
            "loki_gateway_audit_writable",
            "1 if the last attempt to write the audit succeeded, else 0.",
            f64::from(u8::from(self.audit.is_writable())),
        );
    }
}

fn add_processes(registry: &Registry, runtime_answered: bool) {
    family::gauges(
        registry,
        "loki_up",
        "1 if the process answered when asked, else 0; while the runtime is at 0, the families \
         that it feeds (loki_session_status and its like) are left out.",
        "process",
        &[
            ("gateway", 1.0),
            ("runtime", f64::from(u8::from(runtime_answered))),
        ],
    );
    family::gauges(
        registry,
        "loki_gateway_build_info",
        "The version of the running gateway; always 1.",
        "version",
        &[(env!("CARGO_PKG_VERSION"), 1.0)],
    );
}

fn encode(families: &[MetricFamily]) -> String {
    match TextEncoder::new().encode_to_string(families) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "metrics cannot be shown");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests;
