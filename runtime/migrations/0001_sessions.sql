-- Sessions, their numbered events, the processes that work for them, and counters that never fall.
CREATE TABLE session (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    reason TEXT,
    project TEXT NOT NULL,
    prd_name TEXT NOT NULL,
    prd_text TEXT NOT NULL,
    provider TEXT NOT NULL,
    branch TEXT NOT NULL,
    branch_protection INTEGER NOT NULL,
    started_by TEXT NOT NULL,
    principal TEXT NOT NULL,
    request_id TEXT NOT NULL,
    iteration INTEGER NOT NULL,
    iterations_max INTEGER NOT NULL,
    verification TEXT NOT NULL,
    hand_off TEXT,
    enforcement TEXT NOT NULL,
    cost_usd REAL,
    events INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    ended_at TEXT
) STRICT;

CREATE INDEX session_unfinished ON session (number)
WHERE state NOT IN ('completed', 'failed', 'stopped', 'expired');

CREATE TABLE event (
    session INTEGER NOT NULL REFERENCES session (number) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    timestamp TEXT NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

-- A process is told apart from a later one of the same number by its start time in clock ticks.
CREATE TABLE process (
    session INTEGER NOT NULL REFERENCES session (number) ON DELETE CASCADE,
    pid INTEGER NOT NULL,
    started INTEGER NOT NULL,
    PRIMARY KEY (session, pid, started)
) STRICT, WITHOUT ROWID;

CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counter (name, value) VALUES ('events', 0);
