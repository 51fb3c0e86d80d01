-- JSON list of the fields about which a person has had their say: nothing is suggested for them any more, empty or not.
ALTER TABLE resources ADD COLUMN settled TEXT NOT NULL DEFAULT '[]';

-- A resource's page shows the lessons that were taught with it.
CREATE INDEX lesson_decks_by_resource ON lesson_decks (resource_id);
