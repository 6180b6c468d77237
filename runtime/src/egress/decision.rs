//! What the proxy decided on one request, for the session's events and the agent audit.

use serde::Serialize;
use tokio::sync::oneshot;

/// One request of an agent to reach something outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What came of it.
    pub verdict: Verdict,
    /// The request's method, `CONNECT` for a tunnel.
    pub method: String,
    /// Where to, as it was asked for.
    pub target: String,
    /// The rule or route that allowed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A decision that waits to be recorded; what it allows waits with it.
#[derive(Debug)]
pub struct Pending {
    /// The decision.
    pub decision: Decision,
    /// To be told when the record is durable.
    pub recorded: oneshot::Sender<()>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is connected.
    Allowed,
    /// It is not.
    Refused,
}

impl Decision {
    /// Shows text of an agent without what could control a terminal or hide what is there.
    pub(super) fn shown(text: &str) -> String {
        let plain = |letter: char| letter.is_ascii_graphic() || letter == ' ';
        let shown = text.chars().take(SHOWN_CHARACTERS_MAX);
        shown
            .map(|letter| if plain(letter) { letter } else { '\u{fffd}' })
            .collect()
    }
}

const SHOWN_CHARACTERS_MAX: usize = 300;
