-- What is the same for the life of the store.
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- Keys of chats, which are long, as numbers.
CREATE TABLE chats (
    id      INTEGER PRIMARY KEY,
    network TEXT NOT NULL,
    key     TEXT NOT NULL,
    UNIQUE (network, key)
);

-- Events: the queue, the map of ids, and the history of rooms.
-- state: 0 waits, 1 has arrived, 2 is a dead letter.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    chat       INTEGER NOT NULL REFERENCES chats (id),
    direction  INTEGER NOT NULL,
    sender     TEXT NOT NULL,
    dedupe     TEXT,
    source_id  TEXT,
    reply_to   TEXT,
    state      INTEGER NOT NULL DEFAULT 0,
    archive    INTEGER NOT NULL,
    body       BLOB,
    at         INTEGER NOT NULL,
    committed  INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    next_try   INTEGER NOT NULL DEFAULT 0,
    batch      INTEGER,
    notices    INTEGER NOT NULL DEFAULT 0,
    condition  TEXT,
    error      TEXT
);
CREATE UNIQUE INDEX events_dedupe ON events (chat, sender, dedupe) WHERE dedupe IS NOT NULL;
CREATE INDEX events_source ON events (chat, source_id) WHERE source_id IS NOT NULL;
CREATE INDEX events_waiting ON events (id) WHERE state = 0;
CREATE INDEX events_waiting_of_chat ON events (chat, direction, id) WHERE state = 0;
CREATE INDEX events_dead ON events (id) WHERE state = 2;
CREATE INDEX events_archive ON events (chat, direction, id) WHERE archive = 1;

-- Further ids of events. side: 0 given by their own side, 1 given by the other side.
CREATE TABLE event_ids (
    event INTEGER NOT NULL REFERENCES events (id),
    side  INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    chat  INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (event, side, part)
) WITHOUT ROWID;
CREATE INDEX event_ids_value ON event_ids (chat, value);

-- Wire items as they came.
CREATE TABLE originals (event INTEGER PRIMARY KEY REFERENCES events (id), at INTEGER NOT NULL, raw BLOB NOT NULL);

-- Names of batches that were committed.
CREATE TABLE once (
    network TEXT NOT NULL,
    name    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (network, name)
) WITHOUT ROWID;

-- Raw wire items to be worked on. dead: why one was given up.
CREATE TABLE inbox (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL,
    at      INTEGER NOT NULL,
    raw     BLOB NOT NULL,
    dead    TEXT
);

-- The networks' own small storage.
CREATE TABLE kv (
    network TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   BLOB NOT NULL,
    PRIMARY KEY (network, key)
) WITHOUT ROWID;

-- Who is who.
CREATE TABLE identities (
    id         INTEGER PRIMARY KEY,
    network    TEXT NOT NULL,
    kind       INTEGER NOT NULL,
    localpart  TEXT NOT NULL,
    remote     TEXT NOT NULL,
    display    TEXT,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    UNIQUE (network, kind, localpart),
    UNIQUE (network, kind, remote)
);

-- Under which localpart a user knows a contact or a room.
CREATE TABLE faces (
    network TEXT NOT NULL,
    user    TEXT NOT NULL,
    target  TEXT NOT NULL,
    face    TEXT NOT NULL,
    PRIMARY KEY (network, user, target)
) WITHOUT ROWID;

-- Who is in which room.
CREATE TABLE occupants (
    network TEXT NOT NULL,
    room    TEXT NOT NULL,
    session TEXT NOT NULL,
    nick    TEXT NOT NULL,
    face    TEXT NOT NULL,
    joined  INTEGER NOT NULL,
    PRIMARY KEY (network, room, session)
) WITHOUT ROWID;
