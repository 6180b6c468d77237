//! The shapes of the sessions API: what a caller sends, and what it sees.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::contract::id::SessionId;

/// Longest PRD text in bytes.
pub const PRD_BYTES_MAX: usize = 1024 * 1024;

/// Longest PRD name, provider name and model name in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// The body of `POST /api/sessions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSession {
    /// What is to be done.
    pub prd: Prd,
    /// Absolute path of the project: a git repository below an allowed root.
    pub project: String,
    /// Name of a provider of the runtime's settings; none means the runtime's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Name of a model, if the provider lets one choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// US dollars after which the session pauses and asks; none means the runtime's setting, more than
    /// that is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_usd: Option<f64>,
    /// Most iterations; none means the runtime's setting, more than that is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations_max: Option<u32>,
    /// Protections that the caller wants tighter than the runtime's settings.
    #[serde(default, skip_serializing_if = "Tightening::is_empty")]
    pub tighten: Tightening,
}

/// A product requirements document: the CLI reads the file, the runtime never opens a caller's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prd {
    /// File name without its folder.
    pub name: String,
    /// The text; at most [`PRD_BYTES_MAX`].
    pub text: String,
}

/// The caller's own session variables. They may only tighten; a loosening value is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tightening {
    /// `LOKI_SANDBOX_MODE`, `--sandbox`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<bool>,
    /// `LOKI_STAGED_AUTONOMY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged_autonomy: Option<bool>,
    /// `LOKI_AUTONOMY_MODE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autonomy_mode: Option<AutonomyMode>,
    /// `LOKI_ALLOWED_PATHS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_paths: Option<Vec<String>>,
    /// `LOKI_BLOCKED_COMMANDS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_commands: Option<Vec<String>>,
    /// `LOKI_BRANCH_PROTECTION`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch_protection: Option<bool>,
}

impl Tightening {
    /// Returns whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much an agent may do without being asked, loosest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AutonomyMode {
    /// Full autonomy.
    #[default]
    Perpetual,
    /// Approval at phase boundaries.
    Checkpoint,
    /// Approval for each operation.
    Supervised,
}

impl AutonomyMode {
    /// Returns the name as set.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Perpetual => "perpetual",
            Self::Checkpoint => "checkpoint",
            Self::Supervised => "supervised",
        }
    }
}

impl fmt::Display for AutonomyMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for AutonomyMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Perpetual, Self::Checkpoint, Self::Supervised]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| {
                format!("unknown autonomy mode {text:?}: use perpetual, checkpoint or supervised")
            })
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Accepted, nothing done yet.
    Created,
    /// The clone is being made.
    Preparing,
    /// The agent works.
    Running,
    /// Frozen.
    Paused,
    /// A person has to decide.
    WaitingApproval,
    /// The verify command runs, or the branch is being handed over.
    Verifying,
    /// Done.
    Completed,
    /// Given up; the reason says why.
    Failed,
    /// Stopped from outside.
    Stopped,
    /// Its time ran out.
    Expired,
}

impl SessionState {
    /// Returns whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Stopped | Self::Expired => true,
            Self::Created
            | Self::Preparing
            | Self::Running
            | Self::Paused
            | Self::WaitingApproval
            | Self::Verifying => false,
        }
    }

    /// Returns the name as written in answers and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::WaitingApproval => "waiting_approval",
            Self::Verifying => "verifying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Expired => "expired",
        }
    }

    /// Every state.
    pub const EVERY: [Self; 10] = [
        Self::Created,
        Self::Preparing,
        Self::Running,
        Self::Paused,
        Self::WaitingApproval,
        Self::Verifying,
        Self::Completed,
        Self::Failed,
        Self::Stopped,
        Self::Expired,
    ];
}

impl fmt::Display for SessionState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What became of the verify command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verification {
    /// Not run yet.
    #[default]
    Pending,
    /// Nothing to run: the result is unverified.
    Unverified,
    /// It ended with 0.
    Passed,
    /// It did not end with 0.
    Failed {
        /// Exit code; 128 + n after signal n.
        exit_code: i32,
        /// The end of its output.
        output: String,
    },
}

/// What became of the agent's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct HandOff {
    /// The branch with the agent's commits.
    pub branch: String,
    /// Where it stands: `project` (the branch is in the project), `project_head` (the project's
    /// current branch was moved forward), `runtime` (only in the runtime's own repository).
    pub place: HandOffPlace,
    /// The commit at its tip.
    pub commit: String,
    /// Commits beyond the base.
    pub commits: u32,
    /// Files changed since the base.
    pub files_changed: u32,
    /// Whether the project's remote has the branch.
    #[serde(default)]
    pub is_pushed: bool,
    /// Address of the pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
    /// What a person has to know or do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Where a handed-over branch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandOffPlace {
    /// The branch is in the project's repository.
    Project,
    /// The project's current branch was moved forward.
    ProjectHead,
    /// Only the runtime's own repository has it.
    Runtime,
}

/// Which layer enforces a promised control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    /// The kernel refuses.
    #[serde(rename = "kernel")]
    Kernel,
    /// The egress proxy refuses.
    #[serde(rename = "proxy")]
    Proxy,
    /// The runtime asks first and executes itself.
    #[serde(rename = "gate")]
    Gate,
    /// The runtime asks first, but the agent's program executes.
    #[serde(rename = "gate: request-bound")]
    GateRequestBound,
    /// Told to the agent, not enforced.
    #[serde(rename = "advisory")]
    Advisory,
    /// Not there.
    #[serde(rename = "unavailable")]
    Unavailable,
}

/// One promised control and what stands behind it in this session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforcement {
    /// The control, for example `writes outside the workspace`.
    pub control: String,
    /// The layer that enforces it.
    pub layer: Layer,
    /// Why it is not stronger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A session as callers see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// Where it stands.
    pub state: SessionState,
    /// Why it stands there, if that needs words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Absolute path of the project.
    pub project: String,
    /// Name of the PRD file.
    pub prd: String,
    /// Name of the provider.
    pub provider: String,
    /// Who started it, for people to read.
    pub started_by: String,
    /// How much it may do without being asked.
    #[serde(default)]
    pub autonomy_mode: AutonomyMode,
    /// Whether people are asked before its first run and before its hand-over.
    #[serde(default)]
    pub staged_autonomy: bool,
    /// Current iteration, from 1; 0 before the first.
    pub iteration: u32,
    /// Most iterations.
    pub iterations_max: u32,
    /// The session's branch.
    pub branch: String,
    /// What became of the verify command.
    pub verification: Verification,
    /// What became of the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_off: Option<HandOff>,
    /// For every promised control the layer that enforces it.
    pub effective_enforcement: Vec<Enforcement>,
    /// Estimated cost; unknown is null, never zero.
    pub cost_usd: Option<f64>,
    /// What the agent's work used.
    #[serde(default)]
    pub usage: Usage,
    /// US dollars after which the session pauses and asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_usd: Option<f64>,
    /// Name of the model, if one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When it was created (RFC 3339, UTC).
    pub created_at: String,
    /// When it reached a final state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// What an agent's work used, over all iterations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Those of them that were cached.
    pub cached_input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Calls of tools and commands.
    pub tool_calls: u64,
    /// Seconds during which the agent worked; pauses do not count.
    pub work_seconds: f64,
    /// Whether the cost of some iteration is unknown, so that the whole is more than what is said.
    pub cost_is_partial: bool,
    /// How often a person granted the budget anew.
    pub budgets_granted: u32,
    /// Whether the session is paused until a person grants the budget anew.
    pub budget_is_asked: bool,
}

/// The body of `POST /api/sessions/{id}/input`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What the agent is told; it reaches the next prompt.
    pub text: String,
}

/// The answer of `GET /api/sessions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionList {
    /// Sessions, newest first.
    pub sessions: Vec<SessionView>,
}

/// One numbered event of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionEvent {
    /// Rises by one within the session, from 1.
    pub seq: u64,
    /// When it was stored (RFC 3339, UTC).
    pub timestamp: String,
    /// What happened, for example `state`, `output`, `commit`, `verification`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The facts.
    pub data: serde_json::Value,
}

/// The answer of `GET /api/sessions/{id}/events?after=N&limit=M`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionEvents {
    /// Events after the given number, oldest first.
    pub events: Vec<SessionEvent>,
    /// Where the session stands now.
    pub state: SessionState,
}

/// The answer of `GET /api/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `stopped`, `paused` or `running`.
    pub status: String,
    /// Version of the runtime.
    pub version: String,
    /// Seconds since the runtime started.
    pub uptime_seconds: f64,
    /// Number of live sessions.
    pub active_sessions: u32,
    /// Number of agents at work.
    pub running_agents: u32,
    /// Number of tasks not begun.
    pub pending_tasks: u32,
    /// Whether the store answers.
    pub database_connected: bool,
    /// State of the most recently started live session.
    pub phase: String,
    /// Its iteration.
    pub iteration: u32,
    /// Its autonomy mode; without one, that of new sessions.
    pub mode: String,
    /// Its provider.
    pub provider: String,
    /// Its task: the PRD's name.
    pub current_task: String,
    /// Live sessions, newest first.
    pub sessions: Vec<SessionView>,
}
