//! The shapes of approvals: what waits for a person, and what was decided.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::contract::id::{ApprovalId, SessionId};

/// Longest reason of a decision in bytes.
pub const REASON_BYTES_MAX: usize = 4 * 1024;

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// A person has to decide.
    Requested,
    /// A person said yes; not used yet.
    Approved,
    /// A person said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Its session ended before a decision.
    Cancelled,
    /// What was asked for is no longer what would be done.
    Superseded,
    /// Used: the action was let through, once.
    Consumed,
    /// Approved, but not used in time.
    Lapsed,
}

impl ApprovalState {
    /// Every state.
    pub const EVERY: [Self; 8] = [
        Self::Requested,
        Self::Approved,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Superseded,
        Self::Consumed,
        Self::Lapsed,
    ];

    /// Returns the name as written in answers and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Consumed => "consumed",
            Self::Lapsed => "lapsed",
        }
    }
}

impl fmt::Display for ApprovalState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What became of an action that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The session went on after it.
    Done,
    /// The runtime ended while it was under way: a person has to look.
    Indeterminate,
}

/// An approval as callers see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Its id.
    pub id: ApprovalId,
    /// Where it stands.
    pub state: ApprovalState,
    /// The session that waits.
    pub session: SessionId,
    /// The session's project.
    pub project: String,
    /// Where the session stands: `first_run`, `operation`, `iteration_end`, `budget`, `hand_over`,
    /// `push`, `pull_request` or `protected_files`.
    pub gate: String,
    /// The session's iteration.
    pub iteration: u32,
    /// One line for people.
    pub summary: String,
    /// Why a person is asked.
    pub why: String,
    /// SHA-256 of exactly what will be done.
    pub digest: String,
    /// Exactly what will be done.
    pub action: serde_json::Value,
    /// When it was asked for (RFC 3339, UTC).
    pub requested_at: String,
    /// When it expires.
    pub deadline: String,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<String>,
    /// Who decided, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Whether who decided is who started the session.
    #[serde(default)]
    pub self_decided: bool,
    /// Why it was decided so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_at: Option<String>,
    /// What became of the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// The answer of `GET /api/approvals`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApprovalList {
    /// Approvals, newest first.
    pub approvals: Vec<ApprovalView>,
}

/// The body of `POST /api/approvals/{id}/approve`; may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Approve {
    /// The digest that was looked at; another one is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of `POST /api/sessions/{id}/resume` and `POST /api/control/resume`: what the person looked
/// at. A session that waits for an approval goes on with it alone; a paused one takes none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The approval.
    pub approval: ApprovalId,
    /// Its digest.
    pub digest: String,
}

/// The body of `POST /api/approvals/{id}/reject`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Why; reaches the agent.
    pub reason: String,
}
