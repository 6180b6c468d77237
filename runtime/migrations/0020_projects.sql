-- The projects that the runtime knows, and what the list of tasks is read from.
CREATE TABLE project (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    alias TEXT UNIQUE,
    status TEXT NOT NULL,
    registered_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- Projects with sessions from before there was a registry.
INSERT INTO project (id, path, name, status, registered_at, updated_at)
SELECT 'proj-' || substr(lower(hex(randomblob(6))), 1, 12), project,
    coalesce(nullif(replace(project, rtrim(project, replace(project, '/', '')), ''), ''), project),
    'active', min(created_at), min(created_at)
FROM session GROUP BY project;

CREATE INDEX session_project ON session (project, state, number);
