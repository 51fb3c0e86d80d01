-- Communities, schools and the people and rooms in them. `removed_at`: what took part in a lesson is kept, and shown no more.
CREATE TABLE communities (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    county TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE schools (
    id TEXT PRIMARY KEY,
    community_id TEXT REFERENCES communities (id),
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    membership TEXT,
    created_at BIGINT NOT NULL,
    removed_at BIGINT
);
CREATE INDEX schools_by_community ON schools (community_id);

CREATE TABLE people (
    id TEXT PRIMARY KEY,
    school_id TEXT REFERENCES schools (id),
    name TEXT NOT NULL,
    -- In lower case. NULL once removed, so that the name can be given again.
    login TEXT UNIQUE,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    removed_at BIGINT
);
CREATE INDEX people_by_school ON people (school_id);

CREATE TABLE classrooms (
    id TEXT PRIMARY KEY,
    school_id TEXT NOT NULL REFERENCES schools (id),
    name TEXT NOT NULL,
    -- SHA-256 of the classroom's pass; NULL while it has none.
    pass_hash TEXT UNIQUE,
    pass_made_at BIGINT,
    created_at BIGINT NOT NULL,
    removed_at BIGINT
);
CREATE INDEX classrooms_by_school ON classrooms (school_id);

-- A signed-in page: of a person or of a classroom's device.
CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY,
    person_id TEXT REFERENCES people (id) ON DELETE CASCADE,
    classroom_id TEXT REFERENCES classrooms (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_person ON sessions (person_id);
CREATE INDEX sessions_by_classroom ON sessions (classroom_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- One-time links that make the first administrator.
CREATE TABLE setup_links (
    token_hash TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- The timetable. Dates are YYYY-MM-DD and times HH:MM in the server's time zone.
CREATE TABLE terms (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    starts_on TEXT NOT NULL,
    ends_on TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE periods (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    starts TEXT NOT NULL,
    ends TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE series (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    grade TEXT NOT NULL,
    term_id TEXT NOT NULL REFERENCES terms (id),
    -- 1 Monday … 7 Sunday.
    weekday BIGINT NOT NULL,
    period_id TEXT NOT NULL REFERENCES periods (id),
    lead_id TEXT NOT NULL REFERENCES people (id),
    lead_classroom_id TEXT REFERENCES classrooms (id),
    created_at BIGINT NOT NULL
);

CREATE TABLE lessons (
    id TEXT PRIMARY KEY,
    series_id TEXT REFERENCES series (id) ON DELETE SET NULL,
    title TEXT NOT NULL,
    subject TEXT NOT NULL,
    grade TEXT NOT NULL,
    -- Name of its period when it was planned.
    period TEXT,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    phase TEXT NOT NULL,
    -- When it really began and ended.
    began_at BIGINT,
    ended_at BIGINT,
    recording TEXT NOT NULL,
    lead_id TEXT NOT NULL REFERENCES people (id),
    lead_classroom_id TEXT REFERENCES classrooms (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX lessons_by_start ON lessons (starts_at);
CREATE INDEX lessons_by_lead ON lessons (lead_id, starts_at);
CREATE INDEX lessons_by_series ON lessons (series_id);
CREATE INDEX lessons_by_phase ON lessons (phase);

-- `place` keeps the order in which they were named.
CREATE TABLE lesson_assistants (
    lesson_id TEXT NOT NULL REFERENCES lessons (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id),
    place BIGINT NOT NULL,
    PRIMARY KEY (lesson_id, person_id)
);
CREATE INDEX lesson_assistants_by_person ON lesson_assistants (person_id);

CREATE TABLE lesson_classrooms (
    lesson_id TEXT NOT NULL REFERENCES lessons (id) ON DELETE CASCADE,
    classroom_id TEXT NOT NULL REFERENCES classrooms (id),
    place BIGINT NOT NULL,
    PRIMARY KEY (lesson_id, classroom_id)
);
CREATE INDEX lesson_classrooms_by_classroom ON lesson_classrooms (classroom_id);

CREATE TABLE series_assistants (
    series_id TEXT NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id),
    place BIGINT NOT NULL,
    PRIMARY KEY (series_id, person_id)
);

CREATE TABLE series_classrooms (
    series_id TEXT NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    classroom_id TEXT NOT NULL REFERENCES classrooms (id),
    place BIGINT NOT NULL,
    PRIMARY KEY (series_id, classroom_id)
);

-- Work that outlives a request and a crash.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    -- What makes submitting it twice the same job.
    key TEXT NOT NULL UNIQUE,
    lesson_id TEXT REFERENCES lessons (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    progress DOUBLE PRECISION NOT NULL,
    attempts BIGINT NOT NULL,
    -- A queued job is not tried before this.
    due_at BIGINT NOT NULL,
    error TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX jobs_by_due ON jobs (state, due_at);
CREATE INDEX jobs_by_lesson ON jobs (lesson_id);
