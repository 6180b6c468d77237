-- What was learned, and an index of its words. The index's labels stand for what a search is narrowed
-- by, so that a narrow search for a common word reads no more than it answers.
CREATE TABLE learning (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL,
    kind TEXT NOT NULL,
    trust TEXT NOT NULL,
    source TEXT NOT NULL,
    project TEXT,
    session TEXT,
    author TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    digest BLOB NOT NULL UNIQUE,
    labels TEXT NOT NULL
) STRICT;

CREATE INDEX learning_narrowed ON learning (project, kind, trust, number);
CREATE INDEX learning_kind ON learning (kind, trust, number);
CREATE INDEX learning_expiring ON learning (expires_at) WHERE expires_at IS NOT NULL;

CREATE VIRTUAL TABLE learning_words USING fts5 (
    text, labels, content = 'learning', content_rowid = 'number',
    tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TRIGGER learning_added AFTER INSERT ON learning BEGIN
    INSERT INTO learning_words (rowid, text, labels) VALUES (new.number, new.text, new.labels);
END;

CREATE TRIGGER learning_forgotten AFTER DELETE ON learning BEGIN
    INSERT INTO learning_words (learning_words, rowid, text, labels)
    VALUES ('delete', old.number, old.text, old.labels);
END;
