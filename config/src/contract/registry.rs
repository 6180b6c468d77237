//! The shapes of the project registry's API: projects, their health, and the tasks in them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::contract::id::ProjectId;

/// Longest project name and alias in bytes.
pub const NAME_BYTES_MAX: usize = 100;

/// Deepest search below an allowed root.
pub const DISCOVER_DEPTH_MAX: u32 = 10;

/// The body of `POST /api/registry/projects`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterProject {
    /// Absolute path of the folder, below an allowed root.
    pub path: String,
    /// Name for people; none means the folder's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Short name in place of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// Whether a project's folder was there when it was last looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectStatus {
    /// It was there.
    Active,
    /// It was gone, or lies outside the allowed folders by now.
    Missing,
}

impl ProjectStatus {
    /// Every status.
    pub const EVERY: [Self; 2] = [Self::Active, Self::Missing];

    /// Returns the name as written in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Missing => "missing",
        }
    }
}

/// A registered project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectView {
    /// Its id.
    pub id: ProjectId,
    /// Canonical absolute path; no two projects have the same.
    pub path: String,
    /// Name for people.
    pub name: String,
    /// Short name in place of the id.
    pub alias: Option<String>,
    /// Whether its folder was there.
    pub status: ProjectStatus,
    /// When it was registered (RFC 3339, UTC).
    pub registered_at: String,
    /// When the entry last changed.
    pub updated_at: String,
    /// When a session last started there, or somebody opened it.
    pub last_accessed: Option<String>,
}

/// Answer of `GET /api/registry/projects`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectList {
    /// The page, by path.
    pub projects: Vec<ProjectView>,
    /// How many there are in all.
    pub total: u64,
}

/// What a look at a project's folder found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// A session is at work.
    Active,
    /// Everything is there, nothing is at work.
    Idle,
    /// No agent has ever worked there: there is no `.loki` folder and was no session.
    Uninitialized,
    /// The folder is gone, or lies outside the allowed folders by now.
    Missing,
}

impl Health {
    /// Returns the name as written in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Uninitialized => "uninitialized",
            Self::Missing => "missing",
        }
    }
}

/// The single looks of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one check of the documented answer"
)]
pub struct HealthChecks {
    /// The folder is there and below an allowed root.
    pub path_exists: bool,
    /// It has a `.git` folder, without which no session can work.
    pub git_exists: bool,
    /// It has a `.loki` folder.
    pub loki_dir_exists: bool,
    /// It has a PRD where `loki start` looks for one.
    pub prd_exists: bool,
}

/// Answer of `GET /api/registry/projects/{id}/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectHealth {
    /// The project.
    pub id: ProjectId,
    /// Its path.
    pub path: String,
    /// Its name.
    pub name: String,
    /// The sum of the checks.
    pub status: Health,
    /// Sessions that have not ended.
    pub live_sessions: u64,
    /// The single looks.
    pub checks: HealthChecks,
    /// Why the folder cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Answer of `GET /api/registry/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthList {
    /// All projects that the caller may see, by path.
    pub projects: Vec<ProjectHealth>,
}

/// A folder that could be registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    /// Canonical absolute path.
    pub path: String,
    /// The folder's name.
    pub name: String,
    /// Whether it is registered already.
    pub registered: bool,
    /// Whether it has a `.loki` folder.
    pub has_state: bool,
    /// Whether it has a PRD where `loki start` looks for one.
    pub has_prd: bool,
}

/// Answer of `GET /api/registry/discover`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveredList {
    /// What was found, by path.
    pub projects: Vec<Discovered>,
    /// Whether the search ended at one of its bounds and may have left some out.
    pub cut: bool,
}

/// Answer of `POST /api/registry/sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncReport {
    /// Projects that are new in the registry.
    pub added: u64,
    /// Projects whose entry changed.
    pub updated: u64,
    /// Projects whose folder is gone or no longer allowed.
    pub missing: u64,
    /// Projects in the registry.
    pub total: u64,
    /// Entries of another registry that were not taken over, and why; the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Nothing done yet.
    Pending,
    /// Under way, or waiting for a person.
    InProgress,
    /// Done.
    Completed,
    /// Given up, stopped or expired.
    Failed,
}

impl TaskStatus {
    /// Every status.
    pub const EVERY: [Self; 4] = [
        Self::Pending,
        Self::InProgress,
        Self::Completed,
        Self::Failed,
    ];

    /// Returns the name as written in questions and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Where a task is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskSource {
    /// A session of this runtime.
    Session,
    /// A queue file of the project.
    Queue,
}

/// A task of a registered project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// The session's id, or the project's id and the task's own; it stays the same.
    pub id: String,
    /// What is to be done, in a line.
    pub title: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// Where it is kept.
    pub source: TaskSource,
    /// Kind of task, as the queue has it; `session` for a session.
    #[serde(rename = "type")]
    pub kind: String,
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    pub project_name: String,
    /// Its path.
    pub project_path: String,
    /// When it was created or started, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended, if it did and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// Answer of `GET /api/registry/tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskList {
    /// The page: sessions newest first, then queued tasks by project.
    pub tasks: Vec<TaskView>,
    /// How many fit the question in all.
    pub total: u64,
    /// Queue files that were left out, and why; the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}
