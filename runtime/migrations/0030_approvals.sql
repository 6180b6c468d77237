-- What waits for a person, what was decided, and what was let through; how much each session may do.
CREATE TABLE approval (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL,
    project TEXT NOT NULL,
    principal TEXT NOT NULL,
    gate TEXT NOT NULL,
    iteration INTEGER NOT NULL,
    summary TEXT NOT NULL,
    why TEXT NOT NULL,
    digest TEXT NOT NULL,
    action TEXT NOT NULL,
    state TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT,
    decided_principal TEXT,
    reason TEXT,
    consumed_at INTEGER,
    outcome TEXT
) STRICT;

CREATE INDEX approval_session ON approval (session, gate, iteration);
CREATE INDEX approval_open ON approval (number) WHERE state IN ('requested', 'approved');

ALTER TABLE session ADD COLUMN autonomy_mode TEXT NOT NULL DEFAULT 'perpetual';
ALTER TABLE session ADD COLUMN staged_autonomy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN blocked_commands TEXT NOT NULL DEFAULT '[]';
