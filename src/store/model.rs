//! What goes into the store and comes out of it.

use std::time::Duration;

use portway_bridges::api::{Condition, EventId, InboxId, Timestamp};

/// Which way an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From XMPP to a network.
    ToNetwork,
    /// From a network to XMPP.
    ToXmpp,
}

/// An event to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The network's id (`matrix`).
    pub network: String,
    /// Which way.
    pub direction: Direction,
    /// The key of the chat, which is also the key of its lane: minted by `route`, opaque here.
    pub chat: String,
    /// Who speaks, as an opaque key: part of the duplicate guard.
    pub sender: String,
    /// The key of the duplicate guard: an event of the same chat and sender with the same key is a duplicate. `None`:
    /// never a duplicate.
    pub dedupe: Option<String>,
    /// For how long the key counts, by the time at which things were said; `None`: for ever.
    pub dedupe_for: Option<Duration>,
    /// The ids by which later events may speak of this one (stanza id, origin-id, event id, Message-ID), the main one
    /// first. Looked up by [`Store::find_message`](super::Store::find_message) within the chat.
    pub ids: Vec<String>,
    /// For what is no message of its own (an edit, a reaction, a mark of reading): an id of the event that it speaks of,
    /// in the same chat.
    pub about: Option<String>,
    /// To whom a failure is told that comes to light after the body has gone; opaque here.
    pub reply_to: Option<String>,
    /// The event itself, as `route` wrote it.
    pub body: Vec<u8>,
    /// Whether the body stays after delivery, for the history of a room.
    pub archive: bool,
    /// When it was said.
    pub at: Timestamp,
    /// The wire item as it came, kept for the retention time.
    pub original: Option<Vec<u8>>,
    /// What it has to do with whether the chat's user wants to hear of the person.
    pub consent: Consent,
}

/// What an event has to do with whether the user of its chat wants to hear of the person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Consent {
    /// Nothing.
    #[default]
    Free,
    /// It shows that the user wants to: what was held of the chat is released before it.
    Given,
    /// A stranger speaks: held or turned away, unless the user has agreed meanwhile.
    Needed(Box<Holding>),
}

/// How an event of a stranger is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// What the keys of all chats of the user begin with.
    pub of_user: String,
    /// How many events of this chat may be held; further ones are turned away as [`Reason::Full`].
    pub most_of_chat: u32,
    /// How many events of all chats of the user may be held.
    pub most_of_user: u32,
    /// Not held at all: turned away as [`Reason::Refused`].
    pub refuse: bool,
    /// What asks the user; committed together with the first event that is held of the chat. `None`: the event alone is
    /// no reason to ask, and is left out where nothing is held before it.
    pub question: Option<Box<NewEvent>>,
}

/// Why what a stranger said is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The user, or the admin for all, does not want it.
    Refused,
    /// The user has not answered for too long.
    Expired,
    /// Too much is held already.
    Full,
    /// The user cannot be asked: their server does not know them, or takes nothing for them.
    Unreachable,
}

impl Reason {
    /// As it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Full => "full",
            Self::Unreachable => "unreachable",
        }
    }

    /// From how it is stored; what is not known is a refusal.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "expired" => Self::Expired,
            "full" => Self::Full,
            "unreachable" => Self::Unreachable,
            _ => Self::Refused,
        }
    }
}

/// What became of one [`NewEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its number, or that of the earlier one.
    pub id: EventId,
    /// Whether it was there before; then nothing was written.
    pub duplicate: bool,
}

/// What is committed in one transaction: all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewBatch {
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// `(network, name)`: if a batch of that name was committed before, nothing is done.
    pub once: Option<(String, String)>,
    /// An inbox item that is done with this.
    pub completes: Option<InboxId>,
    /// `(network, raw)` items for the inbox.
    pub inbox: Vec<(String, Vec<u8>)>,
    /// `(network, key, value)`; `None` removes.
    pub puts: Vec<(String, String, Option<Vec<u8>>)>,
}

/// What became of a [`NewBatch`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchResult {
    /// One per event, in order. Empty where `repeated`.
    pub events: Vec<Committed>,
    /// The numbers of the new inbox items.
    pub inbox: Vec<InboxId>,
    /// Whether the name in `once` was there before.
    pub repeated: bool,
    /// Whether something waits to go to XMPP besides these events: what was released, or a question to a user.
    pub more_to_xmpp: bool,
    /// Whether something was turned away, so that its sender is to be told.
    pub turned_away: bool,
}

/// An event that waits for delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its number; lanes deliver in this order.
    pub id: EventId,
    /// The key of its chat.
    pub chat: String,
    /// The event.
    pub body: Vec<u8>,
    /// When it was said.
    pub at: Timestamp,
    /// When it was committed, by our clock.
    pub committed: Timestamp,
    /// How many tries there have been.
    pub attempts: u32,
    /// Not before.
    pub next_try: Timestamp,
    /// The number of the first event of the batch that it was sealed into (see [`Settle::Seal`]).
    pub batch: Option<EventId>,
    /// How many `notices` of the network's descriptor have been sent.
    pub notices: u32,
}

/// A lane with work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingLane {
    /// The key of the chat.
    pub chat: String,
    /// Its oldest event.
    pub first: EventId,
    /// How many wait.
    pub count: u64,
}

/// What has become of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settle {
    /// The other side has it, under these ids. The body goes, unless it is archived.
    Done {
        /// Which.
        id: EventId,
        /// The ids that the other side gave to it and its parts; added to its ids for [`Store::find_message`](super::Store::find_message).
        ids: Vec<String>,
    },
    /// Try again.
    Retry {
        /// Which.
        id: EventId,
        /// How many tries there have been.
        attempts: u32,
        /// Not before.
        next_try: Timestamp,
        /// Why, for the admin; no bodies, no tokens.
        error: String,
        /// How many notices have been sent.
        notices: u32,
    },
    /// It will never arrive: kept as a dead letter with its body.
    Dead {
        /// Which.
        id: EventId,
        /// What sort of failure.
        condition: Condition,
        /// Why, for the admin; no bodies, no tokens.
        error: String,
    },
    /// These travel as one item from now on, also after a restart, as they are now: what was said of them before is
    /// worked in, and nothing is changed any more.
    Seal {
        /// In order; the first one gives the batch its number.
        ids: Vec<EventId>,
        /// Events that say something else now.
        bodies: Vec<(EventId, Vec<u8>)>,
        /// Events that are done with this: what was taken back, and what changed another one.
        gone: Vec<EventId>,
    },
}

/// An event found by one of its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number.
    pub id: EventId,
    /// Which way it went.
    pub direction: Direction,
    /// The key of its chat.
    pub chat: String,
    /// Who said it.
    pub sender: String,
    /// The ids that its own side gave to it, the main one first (as in [`NewEvent::ids`]).
    pub source_ids: Vec<String>,
    /// The ids that the other side gave to it (as in [`Settle::Done`]).
    pub remote_ids: Vec<String>,
    /// As in [`NewEvent::about`].
    pub about: Option<String>,
    /// As in [`NewEvent::reply_to`].
    pub reply_to: Option<String>,
    /// The event, where it is still there.
    pub body: Option<Vec<u8>>,
    /// When it was said.
    pub at: Timestamp,
}

/// What sort of thing an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// A person of the network: `localpart` is that of their JID.
    Person,
    /// A room of the network: `localpart` is that of its JID.
    Room,
    /// A user of ours: `localpart` is their bare JID, `remote` what the network calls them.
    User,
}

/// Who is who: an address on the XMPP side and an id on the network's side, unique both ways per network and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The network's id.
    pub network: String,
    /// What sort.
    pub kind: IdentityKind,
    /// The localpart of the JID (never a full JID), or for a user the bare JID.
    pub localpart: String,
    /// The id as the network writes it.
    pub remote: String,
    /// What they are called.
    pub display: Option<String>,
    /// When they were first seen.
    pub first_seen: Timestamp,
    /// When they were last seen.
    pub last_seen: Timestamp,
}

/// An occupant's session in a room: one full JID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OccupantRow {
    /// The network's id.
    pub network: String,
    /// The localpart of the room's canonical JID.
    pub room: String,
    /// The full JID.
    pub session: String,
    /// The nick.
    pub nick: String,
    /// The localpart of the room's JID as this session addressed it.
    pub face: String,
    /// When they joined.
    pub joined: Timestamp,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number: that of the event, or a number beyond all events for an inbox item. Pages go by it.
    pub id: i64,
    /// The network.
    pub network: String,
    /// Which way it was going; `None` for an inbox item.
    pub direction: Option<Direction>,
    /// The key of the chat; empty for an inbox item.
    pub chat: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// The condition's name; empty for an inbox item.
    pub condition: String,
    /// Why.
    pub error: String,
    /// What was to be delivered.
    pub body: Vec<u8>,
}

/// How much waits in one direction of one network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// The network.
    pub network: String,
    /// Which way: true to the network.
    pub to_network: bool,
    /// How many wait.
    pub count: u64,
    /// When the oldest of them was committed.
    pub oldest: Option<Timestamp>,
    /// How many dead letters are kept.
    pub dead: u64,
}

/// What became of one identity in [`Store::touch_identities`](super::Store::touch_identities).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TouchResult {
    /// It is new.
    New,
    /// It was there, and its name and time are up to date now.
    Known,
    /// The localpart or the remote id belongs to another one, which stays.
    Clash(Identity),
}

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Ids of messages that have arrived.
    pub ids: Duration,
    /// Names of submissions.
    pub once: Duration,
    /// Wire items as they came.
    pub originals: Duration,
    /// Bodies of rooms' histories.
    pub archive: Duration,
    /// How many pictures, those that were first known last.
    pub pictures: u32,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self { ids: days(180), once: days(30), originals: days(30), archive: days(30), pictures: 10_000 }
    }
}

/// How many rows a pass of [`Store::prune`](super::Store::prune) removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Events that had arrived.
    pub events: u64,
    /// Everything else.
    pub other: u64,
}

/// Why the store could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database says no (disk full, locked, broken).
    #[error("the database says: {0}")]
    Database(String),
    /// The file belongs to another program.
    #[error("{0} is a database of another program; choose another path in store.url")]
    Foreign(String),
    /// The file was written by a newer version.
    #[error("the database has schema {found}, this program knows up to {known}; run the newer version of Portway")]
    Newer {
        /// The schema found.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// The store has been shut down.
    #[error("the store has been shut down")]
    Closed,
}
