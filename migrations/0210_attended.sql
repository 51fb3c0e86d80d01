-- When somebody was last known to be in a lesson that is on, to the minute: what tells, after the server died, whether the lesson goes on
-- or was over long ago. NULL before it begins.
ALTER TABLE lessons ADD COLUMN attended_at BIGINT;
UPDATE lessons SET attended_at = began_at WHERE began_at IS NOT NULL;
