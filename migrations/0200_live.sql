-- Keys of foreign programs: an encoder (whip) or a player (whep) of one lesson. Only the hash of a token is kept.
CREATE TABLE media_tokens (
    id TEXT PRIMARY KEY,
    lesson_id TEXT NOT NULL REFERENCES lessons (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    -- What people call the program: 录播主机, 大屏.
    label TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX media_tokens_by_lesson ON media_tokens (lesson_id);
