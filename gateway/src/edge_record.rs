//! Records of what no filter sees: refused bytes, failed handshakes, dropped connections; and each
//! second what was suppressed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::contract::id::RequestId;
use serde_json::{Map, Value};
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::record::{Draft, Outcome, Phase, SYSTEM};
use crate::metrics::Dropped;
use crate::refusal::Refusal;
use crate::state::State;
use crate::suppression::{Summary, Verdict};

/// The action of a connection that ended before a request could be read.
pub(crate) const CONNECTION_REFUSED: &str = "connection.refused";

/// The action of the record that stands for suppressed ones.
pub(crate) const SUPPRESSED: &str = "audit.suppressed";

/// Counts and records a request that was refused before a filter saw it.
pub(crate) fn refused(state: &State, address: IpAddr, id: &RequestId, refusal: &Refusal) {
    state.metrics.refused(refusal);
    let mut details = reason(refusal.reason());
    if let Some(detail) = refusal.inside_detail() {
        details.insert("detail".to_owned(), detail.into());
    }
    write(state, address, |draft| Draft {
        request_id: Some(id),
        details: Some(&details),
        status: Some(refusal.status()),
        action: refusal.action(),
        ..draft
    });
}

/// Counts and records a connection that ended before a request could be read.
pub(crate) fn dropped(state: &State, address: IpAddr, why: Dropped) {
    state.metrics.dropped(why);
    let details = reason(why.name());
    write(state, address, |draft| Draft {
        details: Some(&details),
        ..draft
    });
}

fn reason(name: &str) -> Map<String, Value> {
    Map::from_iter([("reason".to_owned(), Value::from(name))])
}

fn write<'a>(state: &State, address: IpAddr, fill: impl FnOnce(Draft<'a>) -> Draft<'a>) {
    let address = address.to_canonical();
    match state.suppression.judge(address) {
        Verdict::Record => {
            let draft = Draft::new(CONNECTION_REFUSED, Phase::End, Outcome::Denied);
            state.audit.later_now(Draft {
                ip: Some(address),
                ..fill(draft)
            });
        }
        Verdict::Suppress => {}
    }
}

/// Writes each second what was suppressed, until the task is dropped.
pub(crate) async fn summarise(state: Arc<State>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        summary(&state, &state.suppression.turn());
    }
}

/// Writes what was suppressed since the last summary.
pub(crate) fn summary(state: &State, summary: &Summary) {
    let counted = |count: u64| Map::from_iter([("suppressed".to_owned(), Value::from(count))]);
    let write = |ip: Option<IpAddr>, count: u64| {
        let details = counted(count);
        state.audit.later_now(Draft {
            user: SYSTEM,
            ip,
            details: Some(&details),
            ..Draft::new(SUPPRESSED, Phase::Event, Outcome::Denied)
        });
    };
    for (address, count) in &summary.by_address {
        write(Some(*address), *count);
    }
    if summary.others > 0 {
        write(None, summary.others);
    }
}
