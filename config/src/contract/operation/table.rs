//! Every operation that is built, one row each.

use super::Operation;
use crate::contract::scope::Scope;

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
    Operation::read("auth.whoami", "/api/auth/whoami", Scope::Read)
        .by_gateway()
        .on(
            "authentication",
            "Tells a caller who it is and what it may do.",
        ),
    Operation::submission("auth.exchange", "/api/auth/exchange").on(
        "token",
        "Exchanges another issuer's token for a short-lived one (RFC 8693).",
    ),
    Operation::submission("auth.report_leak", "/api/auth/report-leak").on(
        "token",
        "Revokes the token in the body, whoever found it; tells nothing.",
    ),
    Operation::probe("enterprise.status", "/api/enterprise/status")
        .on("enterprise", "Tells which enterprise features are on."),
    Operation::change("token.generate", "/api/enterprise/tokens", Scope::All)
        .by_gateway()
        .on(
            "token",
            "Makes a token no wider than the caller's own; shown once.",
        ),
    Operation::read("token.list", "/api/enterprise/tokens", Scope::All)
        .by_gateway()
        .on("token", "Lists tokens, oldest first."),
    Operation::change(
        "token.revoke_many",
        "/api/enterprise/tokens/revoke",
        Scope::All,
    )
    .by_gateway()
    .idempotent()
    .recorded_as("token.revoke")
    .on(
        "token",
        "Withdraws all credentials of an issuer, subject, role or time.",
    ),
    Operation::read("token.show", "/api/enterprise/tokens/{id}", Scope::All)
        .by_gateway()
        .on("token", "Tells everything that is kept of one token."),
    Operation::removal("token.revoke", "/api/enterprise/tokens/{id}", Scope::All)
        .by_gateway()
        .on(
            "token",
            "Revokes a token; with permanent=true deletes its record.",
        ),
    Operation::change(
        "token.rotate",
        "/api/enterprise/tokens/{id}/rotate",
        Scope::All,
    )
    .by_gateway()
    .on(
        "token",
        "Makes a token in another's place, which goes on for a grace.",
    ),
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
        .on(
            "metrics",
            "Exports metrics in the OpenMetrics or the Prometheus text format.",
        ),
    Operation::read("openapi.show", "/api/openapi.json", Scope::Read)
        .by_gateway()
        .on("document", "Describes every operation as OpenAPI 3.1."),
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
    Operation::read("audit.export", "/api/enterprise/audit/export", Scope::Audit)
        .by_gateway()
        .on(
            "audit",
            "Writes all audit records that fit, oldest first, as JSON lines or CSV.",
        ),
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
    // A repeated resume could approve the next thing that the session asks.
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
        .recorded_as("session.resume")
        .on(
            "session",
            "Resumes the only session that is paused or waits for a person.",
        ),
    Operation::read("approval.list", "/api/approvals", Scope::Read)
        .on("approval", "Lists what waits for a person, newest first."),
    Operation::read("approval.show", "/api/approvals/{id}", Scope::Read)
        .on("approval", "Tells everything about one approval."),
    Operation::change(
        "approval.approve",
        "/api/approvals/{id}/approve",
        Scope::Approve,
    )
    .idempotent()
    .on("approval", "Approves exactly what was asked for."),
    Operation::change(
        "approval.reject",
        "/api/approvals/{id}/reject",
        Scope::Approve,
    )
    .idempotent()
    .on("approval", "Rejects; the reason reaches the agent."),
    Operation::question("policy.check", "/api/policy/check", Scope::Read).on(
        "command",
        "Tells what the command policy says of a command.",
    ),
    Operation::read("sandbox.list", "/api/sandboxes", Scope::Read).on(
        "sandbox",
        "Lists long-lived sandboxes, the last made first.",
    ),
    Operation::change("sandbox.start", "/api/sandboxes", Scope::Control)
        .on("sandbox", "Starts a long-lived sandbox of a project."),
    Operation::read("sandbox.show", "/api/sandboxes/{id}", Scope::Read)
        .on("sandbox", "Tells everything about one sandbox."),
    Operation::removal("sandbox.remove", "/api/sandboxes/{id}", Scope::Control).on(
        "sandbox",
        "Removes an ended sandbox and what is kept of it.",
    ),
    Operation::read("sandbox.log", "/api/sandboxes/{id}/log", Scope::Read)
        .on("sandbox", "Shows what a sandbox's programs wrote."),
    Operation::change("sandbox.stop", "/api/sandboxes/{id}/stop", Scope::Control)
        .idempotent()
        .on("sandbox", "Ends a sandbox and hands its work over."),
    Operation::read("sandbox.shell", "/api/sandboxes/{id}/shell", Scope::All)
        .as_change()
        .streaming()
        .on("sandbox", "Opens a shell in a sandbox, as a WebSocket."),
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
