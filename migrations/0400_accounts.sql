-- Set while the password is one that somebody else has seen: its owner must replace it before anything else.
ALTER TABLE people ADD COLUMN must_change_password BIGINT NOT NULL DEFAULT 0;

-- For the list of a person's sessions. NULL in sessions that are older than these columns.
ALTER TABLE sessions ADD COLUMN used_at BIGINT;
ALTER TABLE sessions ADD COLUMN address TEXT;
ALTER TABLE sessions ADD COLUMN user_agent TEXT;

-- Browsers on which a person has signed in: the failed sign-ins of others do not lock them out.
CREATE TABLE known_devices (
    token_hash TEXT PRIMARY KEY,
    person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    used_at BIGINT NOT NULL
);
CREATE INDEX known_devices_by_person ON known_devices (person_id, used_at);

-- One server at a time works on a database; its holder renews the row while it runs.
CREATE TABLE server_lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Append-only: rows are inserted, and deleted when they are older than `[audit] keep_days`.
CREATE TABLE audit_log (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    -- person, classroom; NULL for somebody who is not signed in.
    actor_kind TEXT,
    actor_id TEXT,
    actor_name TEXT,
    address TEXT NOT NULL,
    method TEXT NOT NULL,
    -- The route's pattern, and the path with its ids.
    route TEXT NOT NULL,
    path TEXT NOT NULL,
    status BIGINT NOT NULL,
    -- JSON object with what the route adds: login, role before and after.
    detail TEXT NOT NULL
);
CREATE INDEX audit_log_by_time ON audit_log (at, id);
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, at);
