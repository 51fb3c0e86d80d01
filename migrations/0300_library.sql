-- A job belongs to a lesson's people, or to the person who caused it.
ALTER TABLE jobs ADD COLUMN person_id TEXT REFERENCES people (id);

-- What a school wants of its shelf.
CREATE TABLE library_schools (
    school_id TEXT PRIMARY KEY REFERENCES schools (id) ON DELETE CASCADE,
    -- 1: others see a resource only after a reviewer approved it.
    reviews BIGINT NOT NULL
);

CREATE TABLE library_reviewers (
    school_id TEXT NOT NULL REFERENCES schools (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    PRIMARY KEY (school_id, person_id)
);
CREATE INDEX library_reviewers_by_person ON library_reviewers (person_id);

-- Content by its SHA-256 in hexadecimal digits, and what has been understood of it. The bytes are in the object store.
CREATE TABLE blobs (
    hash TEXT PRIMARY KEY,
    size_bytes BIGINT NOT NULL,
    -- By its own bytes: docx, pptx, pdf, video …
    type TEXT NOT NULL,
    mime TEXT NOT NULL,
    state TEXT NOT NULL,
    -- Why it could not be understood: a code, and a sentence of the program that tried.
    problem TEXT,
    problem_text TEXT,
    title TEXT,
    author TEXT,
    -- What there is to show besides pages, as JSON: outline, entries, media, picture, notes.
    facts TEXT NOT NULL,
    pages BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Since when no version has it.
    unused_since BIGINT
);
CREATE INDEX blobs_by_unused ON blobs (unused_since);

CREATE TABLE blob_texts (
    hash TEXT PRIMARY KEY REFERENCES blobs (hash) ON DELETE CASCADE,
    body TEXT NOT NULL
);

CREATE TABLE blob_pages (
    hash TEXT NOT NULL REFERENCES blobs (hash) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    -- 0: its picture could not be drawn; its text is there.
    drawn BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (hash, number)
);

-- A shelf entry. `asked_visibility` is what its owner wants; `visibility` is what holds (they differ while a review is pending).
CREATE TABLE resources (
    id TEXT PRIMARY KEY,
    owner_id TEXT NOT NULL REFERENCES people (id),
    school_id TEXT REFERENCES schools (id),
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    kind TEXT NOT NULL,
    stage TEXT NOT NULL,
    grade TEXT NOT NULL,
    subject TEXT NOT NULL,
    edition TEXT NOT NULL,
    volume TEXT NOT NULL,
    unit TEXT NOT NULL,
    period TEXT NOT NULL,
    -- JSON lists of texts: keywords, and the fields that were filled in by suggestion and not confirmed.
    keywords TEXT NOT NULL,
    suggested TEXT NOT NULL,
    licence TEXT NOT NULL,
    source TEXT NOT NULL,
    visibility TEXT NOT NULL,
    asked_visibility TEXT NOT NULL,
    review TEXT NOT NULL,
    review_note TEXT NOT NULL,
    reviewer_id TEXT REFERENCES people (id),
    -- Numbers of versions: the newest, and the one that others see (0: none yet).
    latest BIGINT NOT NULL,
    published BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    rating_sum BIGINT NOT NULL,
    ratings BIGINT NOT NULL,
    comments BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    removed_at BIGINT
);
CREATE INDEX resources_by_owner ON resources (owner_id, updated_at);
CREATE INDEX resources_by_school ON resources (school_id, updated_at);
CREATE INDEX resources_by_update ON resources (updated_at);
CREATE INDEX resources_by_review ON resources (review, school_id);

CREATE TABLE resource_versions (
    resource_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    hash TEXT NOT NULL REFERENCES blobs (hash),
    file_name TEXT NOT NULL,
    -- The folder that it lay in when it was uploaded.
    folder TEXT NOT NULL,
    -- What changed, in the words of who changed it.
    changes TEXT NOT NULL,
    person_id TEXT NOT NULL REFERENCES people (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (resource_id, number)
);
CREATE INDEX resource_versions_by_hash ON resource_versions (hash);

-- An upload under way. `received` bytes are on disk; `hasher` is the state of the SHA-256 over exactly them.
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    person_id TEXT NOT NULL REFERENCES people (id),
    file_name TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    received BIGINT NOT NULL,
    hasher TEXT NOT NULL,
    -- What is to become of it, as JSON.
    wish TEXT NOT NULL,
    -- Set in the transaction that makes the version.
    resource_id TEXT REFERENCES resources (id) ON DELETE CASCADE,
    version BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX uploads_by_person ON uploads (person_id);
CREATE INDEX uploads_by_expiry ON uploads (expires_at);

CREATE TABLE resource_ratings (
    resource_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id),
    stars BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (resource_id, person_id)
);

CREATE TABLE resource_comments (
    id TEXT PRIMARY KEY,
    resource_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id),
    -- The page that it is about.
    page BIGINT,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX resource_comments_by_resource ON resource_comments (resource_id, created_at);

-- Who made use of a resource, and how; each person counts once for each way.
CREATE TABLE resource_uses (
    resource_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id),
    way TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    PRIMARY KEY (resource_id, person_id, way)
);

-- Two resources that belong together (a lesson plan and its deck); each pair has a row for either side.
CREATE TABLE resource_pairs (
    resource_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    other_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (resource_id, other_id)
);

-- The lessons that a resource is taught in; a recording is its lesson's.
CREATE TABLE resource_lessons (
    resource_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    lesson_id TEXT NOT NULL REFERENCES lessons (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (resource_id, lesson_id)
);
CREATE INDEX resource_lessons_by_lesson ON resource_lessons (lesson_id);

CREATE TABLE collections (
    id TEXT PRIMARY KEY,
    owner_id TEXT NOT NULL REFERENCES people (id),
    school_id TEXT REFERENCES schools (id),
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    visibility TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    removed_at BIGINT
);
CREATE INDEX collections_by_owner ON collections (owner_id, updated_at);

CREATE TABLE collection_items (
    collection_id TEXT NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    resource_id TEXT NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    PRIMARY KEY (collection_id, resource_id)
);
CREATE INDEX collection_items_by_resource ON collection_items (resource_id);

-- Decks put into a lesson, each as the version that it was then: rooms load its pages ahead, and the replay shows them, whatever
-- becomes of the resource.
CREATE TABLE lesson_decks (
    id TEXT PRIMARY KEY,
    lesson_id TEXT NOT NULL REFERENCES lessons (id) ON DELETE CASCADE,
    -- Without a reference: a resource may go before its lesson does.
    resource_id TEXT NOT NULL,
    hash TEXT NOT NULL REFERENCES blobs (hash),
    title TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (lesson_id, resource_id, hash)
);
CREATE INDEX lesson_decks_by_hash ON lesson_decks (hash);
