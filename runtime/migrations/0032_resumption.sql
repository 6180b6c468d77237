-- What a later run of the runtime needs to carry a session on, and who may write: the run with the
-- newest generation alone.
ALTER TABLE session ADD COLUMN readable TEXT;
ALTER TABLE session ADD COLUMN sandbox INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN allowed_paths TEXT;
ALTER TABLE session ADD COLUMN stop TEXT;
ALTER TABLE session ADD COLUMN resumptions INTEGER NOT NULL DEFAULT 0;

CREATE TABLE iteration (
    session INTEGER NOT NULL REFERENCES session (number) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;

-- What people said to the agent while it worked.
CREATE TABLE input (
    session INTEGER NOT NULL REFERENCES session (number) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;

INSERT INTO counter (name, value) VALUES ('generation', 0);

-- What was used, and what may be.
ALTER TABLE session ADD COLUMN usage TEXT NOT NULL DEFAULT '{}';
ALTER TABLE session ADD COLUMN budget_usd REAL;
ALTER TABLE session ADD COLUMN model TEXT;

-- Starts that may be asked for again with the same key.
CREATE TABLE start_key (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    session INTEGER NOT NULL REFERENCES session (number) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;
