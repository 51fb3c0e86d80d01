-- 1 once a job has mixed all voices into one track for the main programme.
ALTER TABLE recordings ADD COLUMN has_voices BIGINT NOT NULL DEFAULT 0;
