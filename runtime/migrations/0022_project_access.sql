-- When a project was last worked on or opened, and sessions by their end.
ALTER TABLE project ADD COLUMN last_accessed TEXT;

UPDATE project SET last_accessed = (
    SELECT max(created_at) FROM session WHERE session.project = project.path
);

CREATE INDEX session_ended ON session (ended_at) WHERE ended_at IS NOT NULL;
