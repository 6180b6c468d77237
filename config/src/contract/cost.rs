//! The shapes of agents and costs, with the member names of Loki Mode where it has them.

use serde::{Deserialize, Serialize};

use crate::contract::id::SessionId;
use crate::contract::session::Usage;

/// One entry of `GET /api/agents`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// The session for which it works.
    pub session: SessionId,
    /// Its provider.
    pub name: String,
    /// Its model, if one was chosen.
    pub model: Option<String>,
    /// `running` while its program runs, else `idle`.
    pub status: String,
    /// The PRD's name.
    pub current_task: String,
}

/// The answer of `GET /api/cost`, over the kept sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Estimated cost as far as it is known; null if nothing is.
    pub estimated_cost_usd: Option<f64>,
    /// Whether something of it is unknown.
    pub cost_is_partial: bool,
    /// Input tokens.
    pub total_input_tokens: u64,
    /// Output tokens.
    pub total_output_tokens: u64,
    /// The sessions, newest first.
    pub sessions: Vec<CostOfSession>,
}

/// What one session cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostOfSession {
    /// The session.
    pub session: SessionId,
    /// Its provider.
    pub provider: String,
    /// Its cost; unknown is null.
    pub cost_usd: Option<f64>,
    /// What it used.
    pub usage: Usage,
}
