//! What an adapter may ask of the gateway.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::availability::Availability;
use super::event::{Chat, Kind};
use super::failure::{Condition, Failure};
use super::id::{EventId, ItemId, PersonId, RoomId, Timestamp, UserId};
use super::media::Content;
use super::sentence::Sentence;

/// An event on its way from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The network's id. Together with chat and sender it is the key of the duplicate guard; an event without id is
    /// never taken for a duplicate.
    pub id: Option<ItemId>,
    /// Further ids of the same item (the Message-ID beside an event's id).
    pub other_ids: Vec<ItemId>,
    /// Where it was said.
    pub chat: Chat,
    /// Who said it; in the canonical spelling.
    pub sender: PersonId,
    /// Another spelling of the sender which is shown where a conversation starts with them.
    pub sender_name: Option<String>,
    /// When it was said, by the network's own clock.
    pub at: Timestamp,
    /// What. `Target`s hold ids of this network.
    pub kind: Kind,
}

/// What an adapter commits in one transaction: all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// The events, in order.
    pub events: Vec<Inbound>,
    /// A name for the whole submission: if it was committed before, nothing is done and [`Accepted::repeated`] is set.
    pub once: Option<String>,
    /// The inbox item that is done with this.
    pub completes: Option<InboxId>,
    /// Raw wire items that are to be worked on later, in order (see [`Core::inbox`]).
    pub inbox: Vec<Vec<u8>>,
    /// Changes of the adapter's own small storage: `None` removes.
    pub puts: Vec<(String, Option<Vec<u8>>)>,
    /// The wire item as it came, to be kept for the retention time so that nothing that was left out is lost.
    pub original: Option<Vec<u8>>,
}

/// The submission is durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// One number per event; the earlier one where the event was there before.
    pub events: Vec<EventId>,
    /// Whether the whole submission had been committed before.
    pub repeated: bool,
}

/// The store cannot take it now: answer upstream with a temporary error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot take it: {0}")]
pub struct Closed(pub String);

/// The number of a raw item in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboxId(pub i64);

/// A raw wire item that was committed and is not yet done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    /// Its number; items are worked on in this order.
    pub id: InboxId,
    /// The item as the adapter gave it.
    pub raw: Vec<u8>,
}

/// A key and a value of the adapter's own small storage.
pub type Entry = (String, Vec<u8>);

/// The gateway as one adapter sees it. Cheap to clone.
#[derive(Clone)]
pub struct Core(Arc<dyn CorePort>);

impl Core {
    /// Wraps the gateway's side.
    #[must_use]
    pub fn new(port: Arc<dyn CorePort>) -> Self {
        Self(port)
    }
}

impl std::ops::Deref for Core {
    type Target = dyn CorePort;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// The gateway's side of [`Core`].
pub trait CorePort: Send + Sync {
    /// Commits. `Ok` means that it is on disk; only then may the adapter acknowledge upstream.
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Accepted, Closed>>;

    /// Passes on what is not worth storing (typing, presence). Dropped where it cannot be passed on at once.
    fn signal(&self, event: Inbound);

    /// Says how somebody (in the canonical spelling) is doing. Not stored; whoever may see it is told, not too often.
    fn available(&self, _person: &PersonId, _availability: Availability) {}

    /// Raw items with a number greater than `after`, oldest first, at most `limit`.
    fn inbox(&self, after: Option<InboxId>, limit: usize) -> BoxFuture<'_, Result<Vec<InboxItem>, Closed>>;

    /// Gives an inbox item up: it is kept as a dead letter with the reason and counted as a loss.
    fn bury(&self, item: InboxId, reason: &str) -> BoxFuture<'_, Result<(), Closed>>;

    /// Reads a value of the adapter's own small storage.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, Closed>>;

    /// Writes (or with `None` removes) a value of the adapter's own small storage.
    fn put<'a>(&'a self, key: &'a str, value: Option<Vec<u8>>) -> BoxFuture<'a, Result<(), Closed>>;

    /// Keys and values whose key starts with `prefix` and is greater than `after`, in order, at most `limit`.
    fn scan<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, Closed>>;

    /// The event by one of its ids on this network in this chat.
    fn find<'a>(&'a self, chat: &'a Chat, id: &'a ItemId) -> BoxFuture<'a, Result<Option<EventId>, Closed>>;

    /// The chat of an event, by its number, while it is remembered.
    fn chat_of(&self, event: EventId) -> BoxFuture<'_, Result<Option<Chat>, Closed>>;

    /// The wire item of an event as it came ([`Submission::original`]), while it is kept.
    fn original(&self, event: EventId) -> BoxFuture<'_, Result<Option<Vec<u8>>, Closed>>;

    /// Fetches a file that a user has put on the web: `https:`, or `aesgcm:` with its key (XEP-0454), which is taken off on the
    /// way. Nothing of this machine or its own network is reached, unless the admin allows it. The size of what comes is always
    /// known.
    ///
    /// # Errors
    /// [`Failure`]: `Permanent` where it is refused, gone or too large.
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Content, Failure>> {
        let _ = url;
        Box::pin(async {
            Err(Failure::permanent(Condition::ItemNotFound, Sentence::new("core.no-file"), "nothing is fetched here"))
        })
    }

    /// Whether this user may be reached from and may use the network (the list `gateway.allow`).
    fn allows(&self, user: &UserId) -> bool;

    /// Whether nothing stands between a person and a user: rules of the admin and of the user. Ask it before any work is
    /// done for the person; what is submitted all the same is left out.
    fn may_reach<'a>(&'a self, person: &'a PersonId, user: &'a UserId) -> BoxFuture<'a, bool> {
        let _ = (person, user);
        Box::pin(async { true })
    }

    /// Whether this person is this user, by a link that was proved: what they say in a chat of two that the user has with
    /// somebody else is said by the user. Submit it to that chat, with them as its sender.
    fn is_user<'a>(&'a self, person: &'a PersonId, user: &'a UserId) -> BoxFuture<'a, bool> {
        let _ = (person, user);
        Box::pin(async { false })
    }

    /// The hosts of `gateway.allow`: where there is exactly one, a network may leave it out of what it prints.
    fn hosts(&self) -> Vec<String>;

    /// Notes that a person or a room was seen, and what they are called now.
    fn seen(&self, who: Result<PersonId, RoomId>, name: Option<String>);

    /// Notes that a person may have another picture now: where anybody sees them, [`super::Adapter::avatar_source`] is
    /// asked again.
    fn pictured(&self, person: PersonId) {
        let _ = person;
    }

    /// A random name of this store, which never changes: part of every idempotence key. ASCII letters and digits.
    fn install_id(&self) -> String;

    /// A key for the HMACs of one purpose, derived from the store's own secret.
    fn key(&self, purpose: &str) -> [u8; 32];

    /// The text of a sentence in a language (English where there is no other).
    fn text(&self, sentence: &Sentence, lang: Option<&str>) -> String;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Counts a loss of a kind, such as `charset` or `attachment`, for the metrics.
    fn loss(&self, kind: &'static str);
}
