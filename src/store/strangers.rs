//! What strangers said and what is held until the user agrees to hear of them: rows of the queue in states of their own,
//! which nothing delivers.
//!
//! A chat of two is known once its user has agreed to it ([`super::Consent::Given`], [`Store::welcome`]); what was held of it
//! is released in the same step, in order, behind everything that waits. What is turned away stays until its sender is told.

use portway_bridges::api::{EventId, Timestamp};

use super::Store;
use super::backend::Outcome;
use super::model::{NewEvent, Reason};

/// A chat of which something is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldChat {
    /// Its key.
    pub chat: String,
    /// How many events are held.
    pub count: u64,
    /// When the first of them was committed.
    pub since: Timestamp,
    /// The first of them.
    pub body: Vec<u8>,
}

/// An event that was turned away, whose sender is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// Its number.
    pub id: EventId,
    /// The event.
    pub body: Vec<u8>,
    /// Why.
    pub reason: Reason,
}

/// What a database engine implements of this; see the methods of [`Store`] with the same names.
#[expect(missing_docs, reason = "the methods of `Store` say it")]
pub trait Strangers {
    fn is_known(&mut self, network: &str, chat: &str) -> Outcome<bool>;
    fn welcome(&mut self, network: &str, chat: &str, now: Timestamp) -> Outcome<u64>;
    fn held(&mut self, network: &str, prefix: &str, after: Option<&str>, limit: usize) -> Outcome<Vec<HeldChat>>;
    fn turn_away(&mut self, network: &str, prefix: &str, chat: Option<&str>, reason: Reason) -> Outcome<u64>;
    fn expire(&mut self, network: &str, before: Timestamp) -> Outcome<u64>;
    fn turned_away(&mut self, network: &str, limit: usize) -> Outcome<Vec<TurnedAway>>;
    fn told(&mut self, id: EventId) -> Outcome<bool>;
    fn has_chat(&mut self, network: &str, chat: &str) -> Outcome<bool>;
    fn opened(&mut self, network: &str, prefix: &str, since: Timestamp) -> Outcome<Vec<Timestamp>>;
}

impl Store {
    /// Whether the user of a chat of two has agreed to it.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn is_known(&self, network: &str, chat: &str) -> Outcome<bool> {
        let (network, chat) = (network.to_owned(), chat.to_owned());
        self.read(move |db| db.is_known(&network, &chat)).await
    }

    /// The user of a chat of two agrees to it: what was held of it waits to go to XMPP from now on, under new numbers, in
    /// order, with the time at which it was said. Says how many events that were. A chat in which nothing was said yet stays
    /// as it is.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn welcome(&self, network: &str, chat: &str) -> Outcome<u64> {
        let (network, chat, now) = (network.to_owned(), chat.to_owned(), self.now());
        self.write(move |db| db.welcome(&network, &chat, now)).await
    }

    /// Chats of which something is held and whose keys begin with `prefix`, behind the key `after`, by key, at most `limit`.
    /// Read behind all writes that were asked for before.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn held(&self, network: &str, prefix: &str, after: Option<&str>, limit: usize) -> Outcome<Vec<HeldChat>> {
        let (network, prefix, after) = (network.to_owned(), prefix.to_owned(), after.map(str::to_owned));
        self.write(move |db| db.held(&network, &prefix, after.as_deref(), limit)).await
    }

    /// Turns away what is held of a chat, or (`None`) of all chats whose keys begin with `prefix`. Says how many events that
    /// were.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn turn_away(&self, network: &str, prefix: &str, chat: Option<&str>, reason: Reason) -> Outcome<u64> {
        let (network, prefix, chat) = (network.to_owned(), prefix.to_owned(), chat.map(str::to_owned));
        self.write(move |db| db.turn_away(&network, &prefix, chat.as_deref(), reason)).await
    }

    /// Turns away what was held before a time, as [`Reason::Expired`]. Says how many events that were.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn expire(&self, network: &str, before: Timestamp) -> Outcome<u64> {
        let network = network.to_owned();
        self.write(move |db| db.expire(&network, before)).await
    }

    /// Events that were turned away and whose senders are to be told, oldest first, at most `limit`. Read behind all writes
    /// that were asked for before.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn turned_away(&self, network: &str, limit: usize) -> Outcome<Vec<TurnedAway>> {
        let network = network.to_owned();
        self.write(move |db| db.turned_away(&network, limit)).await
    }

    /// Ends an event that was turned away, and commits in the same step what tells its sender, if anything does. Nothing is
    /// written where it was ended before. Says whether it was not.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn told(&self, id: EventId, word: Option<NewEvent>) -> Outcome<bool> {
        let now = self.now();
        self.write(move |db| {
            let ended = db.told(id)?;
            if ended && let Some(word) = word {
                db.commit(&super::NewBatch { events: vec![word], ..super::NewBatch::default() }, now)?;
            }
            Ok(ended)
        })
        .await
    }

    /// Whether there is a chat with this key: something was said in it once, one way or the other.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn has_chat(&self, network: &str, chat: &str) -> Outcome<bool> {
        let (network, chat) = (network.to_owned(), chat.to_owned());
        self.read(move |db| db.has_chat(&network, &chat)).await
    }

    /// When the chats whose keys begin with `prefix` were opened by their user, as far as that was after `since`, in order.
    /// Chats that the other side began count as opened never.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn opened(&self, network: &str, prefix: &str, since: Timestamp) -> Outcome<Vec<Timestamp>> {
        let (network, prefix) = (network.to_owned(), prefix.to_owned());
        self.read(move |db| db.opened(&network, &prefix, since)).await
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }
}
