-- What is asked often costs the same with many sessions: the newest of a project, and what all of them
-- cost. The sum is kept in millionths of a US dollar, so that adding and taking away leave no rest; of one
-- session nothing below zero and no more than a million US dollars count, so that the sum cannot overflow.
CREATE INDEX session_newest ON session (project, number);

CREATE TABLE spending (
    microdollars INTEGER NOT NULL
) STRICT;

INSERT INTO spending (microdollars)
SELECT coalesce(sum(CAST(round(max(0, min(cost_usd, 1e6)) * 1e6) AS INTEGER)), 0) FROM session;

CREATE TRIGGER session_costs_at_first AFTER INSERT ON session WHEN new.cost_usd IS NOT NULL
BEGIN
    UPDATE spending SET microdollars = microdollars + CAST(round(max(0, min(new.cost_usd, 1e6)) * 1e6) AS INTEGER);
END;

CREATE TRIGGER session_costs_more AFTER UPDATE OF cost_usd ON session WHEN new.cost_usd IS NOT old.cost_usd
BEGIN
    UPDATE spending SET microdollars = microdollars
        + CAST(round(max(0, min(coalesce(new.cost_usd, 0), 1e6)) * 1e6) AS INTEGER)
        - CAST(round(max(0, min(coalesce(old.cost_usd, 0), 1e6)) * 1e6) AS INTEGER);
END;

CREATE TRIGGER session_cost AFTER DELETE ON session WHEN old.cost_usd IS NOT NULL
BEGIN
    UPDATE spending SET microdollars = microdollars - CAST(round(max(0, min(old.cost_usd, 1e6)) * 1e6) AS INTEGER);
END;
