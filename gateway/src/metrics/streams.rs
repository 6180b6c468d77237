//! What is counted of streams.

use prometheus::{IntCounter, IntGauge, Registry};

use super::family;
use crate::stream::Ending;

/// The instruments.
#[derive(Debug)]
pub(crate) struct Streams {
    open: IntGauge,
    /// One per reason, in the order of [`Ending::EVERY`].
    ended: Vec<IntCounter>,
}

impl Streams {
    /// Makes instruments that stand at zero.
    pub(super) fn new(registry: &Registry) -> Self {
        let ended = family::counters(
            registry,
            "loki_gateway_streams_ended_total",
            "Streams (server-sent events, WebSockets) that ended, by who or what ended them.",
            &["by"],
        );
        Self {
            open: family::live_gauge(
                registry,
                "loki_gateway_streams_open",
                "Streams (server-sent events, WebSockets) that are open.",
            ),
            ended: Ending::EVERY
                .map(|ending| ended.with_label_values(&[ending.name()]))
                .into(),
        }
    }

    /// Counts a stream that began.
    pub(crate) fn opened(&self) {
        self.open.inc();
    }

    /// Counts a stream that ended.
    pub(crate) fn ended(&self, ending: Ending) {
        self.open.dec();
        let position = Ending::EVERY.iter().position(|known| *known == ending);
        if let Some(counter) = position.and_then(|position| self.ended.get(position)) {
            counter.inc();
        }
    }
}
