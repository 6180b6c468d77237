//! The shapes of `/api/memory/`: the memory looked back on, as Loki Mode's clients ask for it.

use serde::{Deserialize, Serialize};

use crate::contract::learning::LearningStats;
use crate::contract::session::SessionView;

/// Answer of `GET /api/memory/summary`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySummary {
    /// Sessions that have ended.
    pub episodes: u64,
    /// When the last of them ended.
    pub latest_episode: Option<String>,
    /// Learnings by type and label.
    pub learnings: LearningStats,
}

/// Answer of `GET /api/memory/episodes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpisodeList {
    /// Sessions that have ended, the last first.
    pub episodes: Vec<SessionView>,
    /// How many there are in all.
    pub total: u64,
}

/// What an entry of the timeline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineKind {
    /// A session ended.
    Episode,
    /// Something was learned.
    Learning,
}

/// One entry of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When it happened (RFC 3339, UTC).
    pub timestamp: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: TimelineKind,
    /// Id of the session or learning.
    pub id: String,
    /// Path of its project; none means all projects.
    pub project: Option<String>,
    /// Name of the PRD, or the learning's first line.
    pub text: String,
}

/// Answer of `GET /api/memory/timeline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Entries, newest first.
    pub entries: Vec<TimelineEntry>,
}
