-- Long-lived sandboxes: those that run, and those whose work is kept.
CREATE TABLE sandbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    view TEXT NOT NULL
) STRICT;
