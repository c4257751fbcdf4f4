-- Users who have registered with a network's gateway. choices: a JSON object of what they have set.
CREATE TABLE users (
    network TEXT NOT NULL,
    user    TEXT NOT NULL,
    since   INTEGER NOT NULL,
    choices TEXT NOT NULL,
    PRIMARY KEY (network, user)
) WITHOUT ROWID;

-- The state of presence subscriptions between a user and a contact (RFC 6121, appendix A), as the contact's server keeps
-- it. state: bits, see `Subscription`.
CREATE TABLE subscriptions (
    network TEXT NOT NULL,
    user    TEXT NOT NULL,
    contact TEXT NOT NULL,
    state   INTEGER NOT NULL,
    PRIMARY KEY (network, user, contact)
) WITHOUT ROWID;
CREATE INDEX subscriptions_contact ON subscriptions (network, contact, user);

-- Who may reach whom. user: a bare JID, or empty for everybody. pattern: a glob over what a person or a user is called.
CREATE TABLE rules (
    network TEXT NOT NULL,
    user    TEXT NOT NULL,
    pattern TEXT NOT NULL,
    allow   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (network, user, pattern)
) WITHOUT ROWID;

-- People of a network who are users of ours: proved by a code.
CREATE TABLE links (
    network TEXT NOT NULL,
    remote  TEXT NOT NULL,
    user    TEXT NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (network, remote)
) WITHOUT ROWID;
CREATE INDEX links_user ON links (network, user);

-- Proofs under way: one per user and network. code: a keyed hash of it.
CREATE TABLE proofs (
    network TEXT NOT NULL,
    user    TEXT NOT NULL,
    remote  TEXT NOT NULL,
    code    BLOB NOT NULL,
    expires INTEGER NOT NULL,
    tries   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (network, user)
) WITHOUT ROWID;

-- Pictures of people and rooms, ready for XMPP. who: the localpart of the JID. source: what the network calls the picture.
CREATE TABLE avatars (
    network    TEXT NOT NULL,
    who        TEXT NOT NULL,
    source     TEXT NOT NULL,
    hash       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes      BLOB NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (network, who)
);
