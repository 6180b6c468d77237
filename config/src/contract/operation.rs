//! The operation table: the single list of everything that a caller can ask for.
//!
//! It holds only what is built. From it the gateway takes scopes and audit actions, the runtime
//! builds its router, and the tests derive the refusals that every operation owes. A path that is
//! not here is refused, never forwarded.

mod find;

use std::fmt;

use crate::contract::scope::Scope;

pub use find::{Found, find, methods_of, named};

/// Who carries an operation out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The gateway answers itself.
    Gateway,
    /// The request is forwarded to the runtime.
    Runtime,
}

/// What a caller needs for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// A credential with this scope.
    Scoped(Scope),
}

/// What the audit trail holds of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Counted in the metrics, not recorded: probes and scrapes.
    Counted,
    /// One record at the end.
    Read,
    /// A durable decision, a durable outcome, and an end.
    Mutation,
}

/// The HTTP methods that the table uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads; `HEAD` is answered for it too.
    Get,
    /// Changes.
    Post,
    /// Replaces.
    Put,
    /// Takes away.
    Delete,
}

impl Method {
    /// Returns the name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// One thing that a caller can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The name.
    pub name: &'static str,
    /// What the audit calls it: the name, unless another operation does the same.
    pub action: &'static str,
    /// The method.
    pub method: Method,
    /// The path; a segment in braces stands for one value.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// Kind of the thing acted on, as in the audit's `kind:id`.
    pub resource_kind: &'static str,
    /// Who carries it out.
    pub owner: Owner,
    /// What the audit holds of it.
    pub recorded: Recorded,
    /// Longest request body in bytes.
    pub body_bytes_max: u64,
    /// Whether asking twice does no more than asking once.
    pub idempotent: bool,
    /// Whether the answer may go on for hours: server-sent events, or a WebSocket if the caller asks
    /// for one and the runtime agrees.
    pub stream: bool,
    /// One sentence for people.
    pub summary: &'static str,
}

impl Operation {
    /// Returns whether the operation changes something.
    #[must_use]
    pub fn mutates(&self) -> bool {
        self.recorded == Recorded::Mutation
    }

    const fn read(name: &'static str, path: &'static str, scope: Scope) -> Self {
        Self {
            name,
            action: name,
            method: Method::Get,
            path,
            access: Access::Scoped(scope),
            resource_kind: "",
            owner: Owner::Runtime,
            recorded: Recorded::Read,
            body_bytes_max: 0,
            idempotent: true,
            stream: false,
            summary: "",
        }
    }

    const fn change(name: &'static str, path: &'static str, scope: Scope) -> Self {
        Self {
            method: Method::Post,
            recorded: Recorded::Mutation,
            body_bytes_max: 64 * 1024,
            idempotent: false,
            ..Self::read(name, path, scope)
        }
    }

    const fn removal(name: &'static str, path: &'static str, scope: Scope) -> Self {
        Self {
            method: Method::Delete,
            body_bytes_max: 0,
            ..Self::change(name, path, scope)
        }
    }

    const fn replacement(name: &'static str, path: &'static str, scope: Scope) -> Self {
        Self {
            method: Method::Put,
            idempotent: true,
            ..Self::change(name, path, scope)
        }
    }

    const fn probe(name: &'static str, path: &'static str) -> Self {
        Self {
            access: Access::Public,
            owner: Owner::Gateway,
            recorded: Recorded::Counted,
            ..Self::read(name, path, Scope::Read)
        }
    }

    const fn by_gateway(self) -> Self {
        Self {
            owner: Owner::Gateway,
            ..self
        }
    }

    const fn counted(self) -> Self {
        Self {
            recorded: Recorded::Counted,
            ..self
        }
    }

    const fn body(self, body_bytes_max: u64) -> Self {
        Self {
            body_bytes_max,
            ..self
        }
    }

    const fn streaming(self) -> Self {
        Self {
            stream: true,
            ..self
        }
    }

    const fn recorded_as(self, action: &'static str) -> Self {
        Self { action, ..self }
    }

    const fn idempotent(self) -> Self {
        Self {
            idempotent: true,
            ..self
        }
    }

    const fn on(self, resource_kind: &'static str, summary: &'static str) -> Self {
        Self {
            resource_kind,
            summary,
            ..self
        }
    }

    /// Returns the value of each segment in braces if `path` fits, in order.
    #[must_use]
    pub fn captures<'path>(&self, path: &'path str) -> Option<Vec<&'path str>> {
        let mut values = Vec::new();
        let mut wanted = self.path.split('/');
        let mut given = path.split('/');
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some(values),
                (Some(template), Some(value)) if template.starts_with('{') => {
                    if value.is_empty() {
                        return None;
                    }
                    values.push(value);
                }
                (Some(template), Some(value)) if template == value => {}
                (Some(_) | None, Some(_) | None) => return None,
            }
        }
    }

    fn fits(&self, path: &str) -> bool {
        if !self.path.contains('{') {
            return self.path == path;
        }
        self.captures(path).is_some()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method.name(), self.path)
    }
}

/// Longest accepted body of `POST /api/sessions`: a PRD of 1 MiB and room for JSON escapes.
const SESSION_BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Longest accepted body of an import: its most learnings at their longest, with JSON escapes.
const LEARNINGS_BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Every operation that is built.
pub static OPERATIONS: &[Operation] = &[
    Operation::probe("landing.show", "/").on("page", "Names the program."),
    Operation::probe("health.show", "/health").on("health", "Tells the state of both processes."),
    Operation::probe("health.live", "/health/live")
        .on("health", "Answers while the process lives."),
    Operation::probe("health.ready", "/health/ready").on(
        "health",
        "Answers 200 while requests are accepted, else 503.",
    ),
    Operation::probe("auth.info", "/api/auth/info")
        .on("authentication", "Tells how to authenticate."),
    Operation::probe("enterprise.status", "/api/enterprise/status")
        .on("enterprise", "Tells which enterprise features are on."),
    Operation::read("config.status", "/api/config/status", Scope::Control)
        .by_gateway()
        .on(
            "config",
            "Tells which settings are in use, and how the last reload went.",
        ),
    Operation::change("config.reload", "/api/config/reload", Scope::Control)
        .by_gateway()
        .body(0)
        .idempotent()
        .on("config", "Reads the settings anew and takes them into use."),
    Operation::read("metrics.show", "/metrics", Scope::Read)
        .by_gateway()
        .counted()
        .on("metrics", "Exports metrics in the Prometheus text format."),
    Operation::read("status.show", "/api/status", Scope::Read).on("runtime", "Tells what runs."),
    Operation::read("audit.query", "/api/enterprise/audit", Scope::Audit)
        .by_gateway()
        .on("audit", "Returns audit records, newest first."),
    Operation::read(
        "audit.summary",
        "/api/enterprise/audit/summary",
        Scope::Audit,
    )
    .by_gateway()
    .on("audit", "Counts audit records by action, user and outcome."),
    Operation::read("audit.verify", "/api/enterprise/audit/verify", Scope::Audit)
        .by_gateway()
        .on(
            "audit",
            "Proves that no audit record was changed or removed.",
        ),
    Operation::read("session.list", "/api/sessions", Scope::Read)
        .on("session", "Lists sessions, newest first."),
    Operation::change("session.start", "/api/sessions", Scope::Control)
        .body(SESSION_BODY_BYTES_MAX)
        .on("session", "Starts a session on a PRD text."),
    Operation::read("session.show", "/api/sessions/{id}", Scope::Read)
        .on("session", "Tells everything about one session."),
    Operation::removal("session.remove", "/api/sessions/{id}", Scope::Control)
        .on("session", "Removes an ended session."),
    Operation::read("session.events", "/api/sessions/{id}/events", Scope::Read)
        .streaming()
        .on("session", "Returns a session's events after a number."),
    Operation::change("session.stop", "/api/sessions/{id}/stop", Scope::Control)
        .idempotent()
        .on("session", "Stops one session and hands over its branch."),
    Operation::change("control.stop", "/api/control/stop", Scope::Control)
        .idempotent()
        .recorded_as("session.stop")
        .on("session", "Stops the only live session."),
    Operation::change("session.pause", "/api/sessions/{id}/pause", Scope::Control)
        .idempotent()
        .on("session", "Pauses one session: everything of it is frozen."),
    Operation::change(
        "session.resume",
        "/api/sessions/{id}/resume",
        Scope::Control,
    )
    .idempotent()
    .on(
        "session",
        "Approves what one session waits for, or lets it go on.",
    ),
    Operation::change("session.input", "/api/sessions/{id}/input", Scope::Control)
        .on("session", "Tells a session's agent something."),
    Operation::read("session.diff", "/api/sessions/{id}/diff", Scope::Read)
        .on("session", "Shows what a session's agent changed."),
    Operation::read("session.log", "/api/sessions/{id}/log", Scope::Read)
        .on("session", "Shows the end of what a session's agent wrote."),
    Operation::read("stream.open", "/ws", Scope::Read)
        .streaming()
        .on(
            "stream",
            "Opens a WebSocket with the events of all sessions.",
        ),
    Operation::read("agent.list", "/api/agents", Scope::Read)
        .on("agent", "Lists the agents of live sessions."),
    Operation::read("log.show", "/api/logs", Scope::Read)
        .on("log", "Shows the end of the newest session's log."),
    Operation::read("cost.show", "/api/cost", Scope::Read)
        .on("cost", "Tells what the kept sessions used and cost."),
    Operation::change("control.pause", "/api/control/pause", Scope::Control)
        .idempotent()
        .recorded_as("session.pause")
        .on("session", "Pauses the only session that works."),
    Operation::change("control.resume", "/api/control/resume", Scope::Control)
        .idempotent()
        .recorded_as("session.resume")
        .on(
            "session",
            "Resumes the only session that is paused or waits for a person.",
        ),
    Operation::read("project.list", "/api/registry/projects", Scope::Read)
        .on("project", "Lists the registered projects, by path."),
    Operation::change("project.register", "/api/registry/projects", Scope::Control)
        .idempotent()
        .on("project", "Registers a project below an allowed root."),
    Operation::read("project.show", "/api/registry/projects/{id}", Scope::Read)
        .on("project", "Tells everything about one project."),
    Operation::removal(
        "project.remove",
        "/api/registry/projects/{id}",
        Scope::Control,
    )
    .on(
        "project",
        "Takes a project out of the registry; its files stay.",
    ),
    Operation::read(
        "project.health",
        "/api/registry/projects/{id}/health",
        Scope::Read,
    )
    .on("project", "Checks one project's folder."),
    Operation::change(
        "project.access",
        "/api/registry/projects/{id}/access",
        Scope::Control,
    )
    .idempotent()
    .on("project", "Notes that a project was opened."),
    Operation::read("project.health_all", "/api/registry/health", Scope::Read)
        .on("project", "Checks the folders of all projects."),
    Operation::read("project.discover", "/api/registry/discover", Scope::Read)
        .on("project", "Finds folders that could be registered."),
    Operation::change("project.sync", "/api/registry/sync", Scope::Control)
        .idempotent()
        .on("project", "Brings the registry up to date with the disk."),
    Operation::read("board.list", "/api/tasks", Scope::Read)
        .on("task", "Lists the tasks of the board, most pressing first."),
    Operation::change("task.create", "/api/tasks", Scope::Write)
        .on("task", "Puts a task on the board."),
    Operation::read("task.show", "/api/tasks/{id}", Scope::Read)
        .on("task", "Tells everything about one task of the board."),
    Operation::replacement("task.update", "/api/tasks/{id}", Scope::Write)
        .on("task", "Changes what a task of the board says."),
    Operation::change("task.move", "/api/tasks/{id}/move", Scope::Write)
        .idempotent()
        .recorded_as("task.update")
        .on("task", "Moves a task of the board to another status."),
    Operation::removal("task.delete", "/api/tasks/{id}", Scope::Write)
        .on("task", "Takes a task off the board."),
    Operation::read("task.list", "/api/registry/tasks", Scope::Read)
        .on("task", "Lists tasks of all registered projects."),
    Operation::read("learning.list", "/api/registry/learnings", Scope::Read)
        .on("learning", "Lists or searches learnings."),
    Operation::change("learning.add", "/api/registry/learnings", Scope::Control).on(
        "learning",
        "Remembers a learning that a person vouches for.",
    ),
    Operation::read(
        "learning.stats",
        "/api/registry/learnings/stats",
        Scope::Read,
    )
    .on("learning", "Counts learnings by type and label."),
    Operation::change(
        "learning.import",
        "/api/registry/learnings/import",
        Scope::Control,
    )
    .body(LEARNINGS_BODY_BYTES_MAX)
    .idempotent()
    .on(
        "learning",
        "Remembers learnings of another memory, in quarantine.",
    ),
    Operation::read("learning.show", "/api/registry/learnings/{id}", Scope::Read)
        .on("learning", "Tells everything about one learning."),
    Operation::removal(
        "learning.forget",
        "/api/registry/learnings/{id}",
        Scope::Control,
    )
    .on("learning", "Forgets a learning."),
    Operation::change(
        "learning.trust",
        "/api/registry/learnings/{id}/trust",
        Scope::Control,
    )
    .idempotent()
    .on("learning", "Trusts a learning that a person has reviewed."),
    Operation::read("memory.summary", "/api/memory/summary", Scope::Read)
        .on("memory", "Counts ended sessions and learnings."),
    Operation::read("memory.episodes", "/api/memory/episodes", Scope::Read)
        .on("memory", "Lists sessions that have ended, the last first."),
    Operation::read("memory.episode", "/api/memory/episodes/{id}", Scope::Read).on(
        "session",
        "Tells everything about one session that has ended.",
    ),
    Operation::read("memory.patterns", "/api/memory/patterns", Scope::Read)
        .on("memory", "Lists learnings that are patterns, newest first."),
    Operation::read("memory.pattern", "/api/memory/patterns/{id}", Scope::Read)
        .on("learning", "Tells everything about one pattern."),
    Operation::read("memory.timeline", "/api/memory/timeline", Scope::Read).on(
        "memory",
        "Tells what happened last: ended sessions and learnings.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Access, Found, OPERATIONS, find, methods_of};

    #[test]
    fn unknown_paths_are_not_found() {
        for path in [
            "",
            "//",
            "/api",
            "/api/sessions/",
            "/api/sessions//stop",
            "/api/sessions/a/b/c",
            "/API/status",
            "/api/status/",
            "/internal/figures",
            "/api/status?x",
            "/metrics/..",
        ] {
            assert_eq!(find("GET", path), Found::Nothing, "{path:?}");
        }
    }

    #[test]
    fn another_method_is_told_apart() {
        for (method, path) in [
            ("POST", "/api/status"),
            ("POST", "/api/sessions/sess-1"),
            ("get", "/api/status"),
            ("GET", "/api/control/stop"),
        ] {
            assert_eq!(find(method, path), Found::OtherMethod, "{method} {path}");
        }
        assert_eq!(methods_of("/api/sessions"), ["GET", "HEAD", "POST"]);
    }

    #[test]
    fn names_and_routes_are_unique() {
        let names: BTreeSet<_> = OPERATIONS.iter().map(|row| row.name).collect();
        let routes: BTreeSet<_> = OPERATIONS.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), OPERATIONS.len());
        assert_eq!(routes.len(), OPERATIONS.len());
    }

    #[test]
    fn every_operation_is_found_and_described() {
        for row in OPERATIONS {
            let path = row.path.replace("{id}", "sess-1");
            assert_eq!(find(row.method.name(), &path), Found::Operation(row));
            assert!(row.summary.ends_with('.'), "{row}");
            assert!(!row.resource_kind.is_empty(), "{row}");
            assert!(!row.mutates() || row.access != Access::Public, "{row}");
        }
    }
}
