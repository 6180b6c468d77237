//! The shapes of the task board `/api/tasks`: what people and bots want done, beside the sessions.

use serde::{Deserialize, Serialize};

use crate::contract::id::TaskId;
use crate::contract::registry::TaskStatus;

/// The body of `POST /api/tasks` and, with all that it is to be, of `PUT /api/tasks/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// What is to be done, in a line.
    pub title: String,
    /// The details.
    #[serde(default)]
    pub description: String,
    /// Absolute path of the project, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The higher, the more pressing.
    #[serde(default)]
    pub priority: i32,
}

/// The body of `POST /api/tasks/{id}/move`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveTask {
    /// Where it is to stand.
    pub status: TaskStatus,
}

/// One task of the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardTask {
    /// Its id.
    pub id: TaskId,
    /// What is to be done, in a line.
    pub title: String,
    /// The details.
    pub description: String,
    /// Absolute path of the project, if it is about one.
    pub project: Option<String>,
    /// The higher, the more pressing.
    pub priority: i32,
    /// Where it stands.
    pub status: TaskStatus,
    /// Who made it, for people to read.
    pub created_by: String,
    /// When it was made (RFC 3339, UTC).
    pub created_at: String,
    /// When it was changed last.
    pub updated_at: String,
}
