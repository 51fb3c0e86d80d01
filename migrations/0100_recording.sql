-- Recordings. A row is written only after the bytes it names are on disk; `lessons.recording` mirrors `state` for lists.
-- Times of media are microseconds since the lesson began, times of events milliseconds since then.
CREATE TABLE recordings (
    lesson_id TEXT PRIMARY KEY REFERENCES lessons (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    -- NULL while the lesson is on.
    duration_ms BIGINT,
    has_poster BIGINT NOT NULL,
    -- 1 once a job has mixed all voices into one track for the main programme.
    has_voices BIGINT NOT NULL,
    -- NULL until the MP4 is made.
    mp4_bytes BIGINT
);
CREATE INDEX recordings_by_state ON recordings (state);

CREATE TABLE recording_tracks (
    id TEXT PRIMARY KEY,
    lesson_id TEXT NOT NULL REFERENCES recordings (lesson_id) ON DELETE CASCADE,
    participant_id TEXT NOT NULL,
    participant_name TEXT NOT NULL,
    participant_kind TEXT NOT NULL,
    purpose TEXT NOT NULL,
    kind TEXT NOT NULL,
    codec TEXT NOT NULL,
    from_ms BIGINT NOT NULL,
    -- NULL while it is being recorded.
    to_ms BIGINT
);
CREATE INDEX recording_tracks_by_lesson ON recording_tracks (lesson_id);

-- What a decoder must know; a segment names its own by `number`.
CREATE TABLE recording_inits (
    track_id TEXT NOT NULL REFERENCES recording_tracks (id) ON DELETE CASCADE,
    layer BIGINT NOT NULL,
    number BIGINT NOT NULL,
    codec TEXT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    -- 1 when HLS can carry it.
    playable BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    PRIMARY KEY (track_id, layer, number)
);

CREATE TABLE recording_segments (
    track_id TEXT NOT NULL REFERENCES recording_tracks (id) ON DELETE CASCADE,
    layer BIGINT NOT NULL,
    number BIGINT NOT NULL,
    init BIGINT NOT NULL,
    start_us BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    keyframe BIGINT NOT NULL,
    -- 0 while only the spool has it.
    stored BIGINT NOT NULL,
    PRIMARY KEY (track_id, layer, number)
);

CREATE TABLE recording_gaps (
    track_id TEXT NOT NULL REFERENCES recording_tracks (id) ON DELETE CASCADE,
    layer BIGINT NOT NULL,
    from_ms BIGINT NOT NULL,
    to_ms BIGINT NOT NULL,
    PRIMARY KEY (track_id, layer, from_ms)
);

CREATE TABLE timeline_events (
    lesson_id TEXT NOT NULL REFERENCES recordings (lesson_id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (lesson_id, number)
);
