-- Pruning finds what is old without reading what is not.
CREATE INDEX events_arrived ON events (committed) WHERE state = 1;
CREATE INDEX events_archived ON events (committed) WHERE archive = 1 AND state = 1;
CREATE INDEX originals_at ON originals (at);
CREATE INDEX once_at ON once (at);

-- What the queue's depth asks for is in the index itself, so that a long queue is counted without reading its rows.
DROP INDEX events_waiting_of_chat;
CREATE INDEX events_waiting_of_chat ON events (chat, direction, id, committed) WHERE state = 0;
DROP INDEX events_dead;
CREATE INDEX events_dead ON events (id, chat, direction) WHERE state = 2;

-- Inbox items that were given up stay, among those to be worked on.
CREATE INDEX inbox_dead ON inbox (id) WHERE dead IS NOT NULL;
