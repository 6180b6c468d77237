//! What the gateway counts, and how `/metrics` shows it.
//!
//! Invariant: label values come from enums and the operation table alone, so no caller can make
//! the output grow; counting a request takes no lock and allocates nothing.

mod dropped;
mod family;
mod figures;
mod handshakes;
pub mod open_metrics;
mod process;
mod requests;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use config::contract::caller::AuthMethod;
use config::contract::figures::Figures;
use config::contract::operation::Operation;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};
use rustls::{NamedGroup, ProtocolVersion};

pub use dropped::Dropped;

use crate::audit::Tally;
use crate::refusal::{self, Refusal};
use handshakes::Handshakes;
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
    handshakes: Handshakes,
    connections: IntGauge,
    streams: streams::Streams,
    audit: Arc<Tally>,
    forwards_audit: bool,
}

/// What is looked up for one scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scrape<'a> {
    /// What the runtime told; without it, it counts as down and its nine families are left out.
    pub figures: Option<&'a Figures>,
    /// The tokens; none where no tokens are accepted.
    pub tokens: Option<TokenCounts>,
    /// Since when the issuer's keys were not seen; none without an issuer, or without its keys.
    pub issuer_keys_age: Option<Duration>,
}

/// How many tokens there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Accepted now.
    pub active: u64,
    /// Accepted now, and not any more in a week.
    pub expiring: u64,
    /// Not accepted any more because their time is over.
    pub expired: u64,
    /// Taken back.
    pub revoked: u64,
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
        family::share(&registry, audit.syncs());
        Self {
            requests: Requests::new(&registry),
            handshakes: Handshakes::new(&registry),
            connections: family::live_gauge(
                &registry,
                "loki_gateway_connections",
                "Connections that are open.",
            ),
            forwards_audit: false,
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

    /// Shows also how far the syslog receiver is behind.
    #[must_use]
    pub const fn with_forwarding(mut self) -> Self {
        self.forwards_audit = true;
        self
    }

    /// Counts a TLS handshake that succeeded.
    pub fn handshake(&self, version: Option<ProtocolVersion>, group: Option<NamedGroup>) {
        self.handshakes.count(version, group);
    }

    /// Counts a connection as open until what is returned is dropped.
    #[must_use]
    pub fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// Counts how long it took to find out who is calling.
    pub fn authenticated(&self, auth_method: AuthMethod, duration: Duration) {
        self.requests.authenticated(auth_method, duration);
    }

    /// Counts how long the runtime took for the header of its answer.
    pub fn forwarded(&self, operation: &'static Operation, duration: Duration) {
        self.requests.forwarded(operation, duration);
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

    /// Shows the metrics in the text format 0.0.4.
    #[must_use]
    pub fn render(&self, scrape: &Scrape<'_>) -> String {
        encode(&self.gather(scrape))
    }

    /// Shows the same in the OpenMetrics format.
    #[must_use]
    pub fn render_open(&self, scrape: &Scrape<'_>) -> String {
        open_metrics::encode(&self.gather(scrape))
    }

    fn gather(&self, scrape: &Scrape<'_>) -> Vec<MetricFamily> {
        let now = Registry::new();
        if let Some(figures) = scrape.figures {
            figures::add(&now, figures);
        }
        add_processes(&now, scrape.figures.is_some());
        process::add(&now);
        add_credentials(&now, scrape);
        self.add_audit(&now);
        let mut families = now.gather();
        families.extend(self.registry.gather());
        families
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
        family::gauge(
            registry,
            "loki_gateway_audit_last_seq",
            "Number of the last audit record.",
            self.audit.last_seq() as f64,
        );
        family::gauge(
            registry,
            "loki_gateway_audit_disk_free_bytes",
            "Free bytes of the audit disk.",
            self.audit.disk_free_bytes() as f64,
        );
        family::gauge(
            registry,
            "loki_gateway_audit_disk_low",
            "1 if what is left of the audit disk belongs to the records of changes, else 0.",
            f64::from(u8::from(self.audit.is_disk_low())),
        );
        if self.forwards_audit {
            self.add_forwarding(registry);
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has 64-bit floating point numbers only"
    )]
    fn add_forwarding(&self, registry: &Registry) {
        family::counter(
            registry,
            "loki_gateway_syslog_records_sent_total",
            "Audit records sent to the syslog receiver, those sent again included.",
            self.audit.forwarded(),
        );
        family::gauge(
            registry,
            "loki_gateway_syslog_lag_records",
            "Audit records that the syslog receiver was not sent yet.",
            self.audit.forward_lag() as f64,
        );
        family::gauge(
            registry,
            "loki_gateway_syslog_connected",
            "1 if there is a connection to the syslog receiver, else 0.",
            f64::from(u8::from(self.audit.is_forward_connected())),
        );
    }
}

/// An open connection, counted until this is dropped.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the text format has 64-bit floating point numbers only"
)]
fn add_credentials(registry: &Registry, scrape: &Scrape<'_>) {
    if let Some(counts) = scrape.tokens {
        family::gauges(
            registry,
            "loki_gateway_tokens",
            "Tokens by state; expiring ones are active for less than a week more, and count there too.",
            "state",
            &[
                ("active", counts.active as f64),
                ("expiring", counts.expiring as f64),
                ("expired", counts.expired as f64),
                ("revoked", counts.revoked as f64),
            ],
        );
    }
    if let Some(age) = scrape.issuer_keys_age {
        family::gauge(
            registry,
            "loki_gateway_issuer_keys_age_seconds",
            "Seconds since the keys of the issuer whose keys are oldest were last seen.",
            age.as_secs_f64(),
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
