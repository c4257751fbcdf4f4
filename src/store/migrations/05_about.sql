-- For what is no message of its own (an edit, a reaction, a mark of reading): the id of the event that it speaks of.
ALTER TABLE events ADD COLUMN about TEXT;

-- The last thing said up to an event.
CREATE INDEX events_said ON events (chat, direction, id) WHERE about IS NULL AND source_id IS NOT NULL;
