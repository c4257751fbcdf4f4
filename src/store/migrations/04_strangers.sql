-- known: whether the user of a chat of two has agreed to hear of the person, by writing to them or otherwise; who has
-- written with whom before there was such a question knows them.
-- opened: when the user wrote to somebody from whom nothing had come yet.
ALTER TABLE chats ADD COLUMN known INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chats ADD COLUMN opened INTEGER;
UPDATE chats SET known = 1;

-- Two more states of events. 3: held until its user agrees. 4: turned away, and its sender is yet to be told; the reason is
-- in `condition`.
CREATE INDEX events_held ON events (chat, id, committed) WHERE state = 3;
CREATE INDEX events_turned ON events (id) WHERE state = 4;
