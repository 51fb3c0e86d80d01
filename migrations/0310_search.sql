-- What the search index has not caught up with. The index itself is derived data: a folder, not a table.
CREATE TABLE search_pending (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    -- Another one with every change: a row that changed again while it was read is not done.
    stamp TEXT NOT NULL,
    -- 1: not to be shown from now on, whatever the index still says.
    hidden BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    -- Why its last try failed.
    error TEXT,
    PRIMARY KEY (kind, id)
);
CREATE INDEX search_pending_by_due ON search_pending (due_at);
CREATE INDEX search_pending_hidden ON search_pending (hidden) WHERE hidden = 1;

-- Orders to build the index anew; gone when it is done.
CREATE TABLE search_rebuilds (
    id TEXT PRIMARY KEY,
    requested_at BIGINT NOT NULL,
    -- Documents in the new index so far; NULL until it is begun.
    done BIGINT
);
