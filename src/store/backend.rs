//! What a database engine implements: one synchronous method per domain operation. The front ([`super::Store`]) calls
//! them on its own threads, many in one transaction.

use std::path::Path;

use portway_bridges::api::{EventId, InboxId, Timestamp};

use super::accounts::Accounts;
use super::model::{
    BatchResult, Committed, DeadLetter, Direction, Identity, IdentityKind, Message, NewBatch, NewEvent, OccupantRow,
    PendingLane, Pruned, QueueDepth, Queued, Retention, Settle, StoreError, TouchResult,
};
use super::strangers::Strangers;

/// The result of an operation.
pub type Outcome<T> = Result<T, StoreError>;

/// A copy that is yet to be made.
pub type Copying = Box<dyn FnOnce() -> Outcome<()> + Send>;

/// A database engine. Methods that write are called inside a transaction, each within a savepoint of its own.
pub trait Backend: Accounts + Strangers + Send {
    /// Begins a transaction.
    fn begin(&mut self) -> Outcome<()>;
    /// Commits it: when this returns, it is on disk.
    fn commit_transaction(&mut self) -> Outcome<()>;
    /// Rolls it back.
    fn rollback(&mut self);
    /// Begins an operation inside the transaction.
    fn savepoint(&mut self) -> Outcome<()>;
    /// Ends the operation and keeps what it did, or takes it back.
    fn release(&mut self, keep: bool) -> Outcome<()>;

    /// See [`super::Store::commit`].
    fn commit(&mut self, batch: &NewBatch, now: Timestamp) -> Outcome<BatchResult>;
    /// See [`super::Store::settle`].
    fn settle(&mut self, settled: &[Settle], then: &[NewEvent], now: Timestamp) -> Outcome<Vec<Committed>>;
    /// See [`super::Store::pending`].
    fn pending(
        &mut self,
        network: &str,
        direction: Direction,
        chat: Option<&str>,
        after: Option<EventId>,
        limit: usize,
    ) -> Outcome<Vec<Queued>>;
    /// See [`super::Store::pending_lanes`].
    fn pending_lanes(
        &mut self,
        network: &str,
        direction: Direction,
        after_chat: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<PendingLane>>;
    /// See [`super::Store::find_message`].
    fn find_message(&mut self, network: &str, chat: &str, id: &str) -> Outcome<Option<Message>>;
    /// See [`super::Store::withdraw`].
    fn withdraw(&mut self, network: &str, chat: &str, id: &str) -> Outcome<()>;
    /// See [`super::Store::last_said`].
    fn last_said(
        &mut self,
        network: &str,
        chat: &str,
        direction: Direction,
        up_to: EventId,
    ) -> Outcome<Option<Message>>;
    /// See [`super::Store::message`].
    fn message(&mut self, id: EventId) -> Outcome<Option<Message>>;
    /// See [`super::Store::history`].
    fn history(&mut self, network: &str, chat: &str, direction: Direction, limit: usize) -> Outcome<Vec<Message>>;
    /// See [`super::Store::depth`].
    fn depth(&mut self) -> Outcome<Vec<QueueDepth>>;
    /// See [`super::Store::identity_counts`].
    fn identity_counts(&mut self) -> Outcome<Vec<(String, IdentityKind, u64)>>;
    /// See [`super::Store::dead_letters`].
    fn dead_letters(&mut self, network: Option<&str>, after: Option<i64>, limit: usize) -> Outcome<Vec<DeadLetter>>;
    /// See [`super::Store::chats`].
    fn chats(&mut self, network: &str, prefix: &str, after: Option<&str>, limit: usize) -> Outcome<Vec<String>>;
    /// Takes a dead letter out of the list; says whether there was one. See [`super::Store::end_letter`].
    fn end_letter(&mut self, id: EventId) -> Outcome<bool>;
    /// See [`super::Store::original`].
    fn original(&mut self, event: EventId) -> Outcome<Option<Vec<u8>>>;

    /// See [`super::Store::inbox`].
    fn inbox(&mut self, network: &str, after: Option<InboxId>, limit: usize) -> Outcome<Vec<(InboxId, Vec<u8>)>>;
    /// See [`super::Store::bury`].
    fn bury(&mut self, network: &str, item: InboxId, reason: &str) -> Outcome<()>;
    /// See [`super::Store::kv_get`].
    fn kv_get(&mut self, network: &str, key: &str) -> Outcome<Option<Vec<u8>>>;
    /// See [`super::Store::kv_put`].
    fn kv_put(&mut self, network: &str, key: &str, value: Option<&[u8]>) -> Outcome<()>;
    /// See [`super::Store::kv_scan`].
    fn kv_scan(
        &mut self,
        network: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<(String, Vec<u8>)>>;

    /// See [`super::Store::touch_identities`].
    fn touch_identity(&mut self, identity: &Identity) -> Outcome<TouchResult>;
    /// See [`super::Store::identity_by_localpart`].
    fn identity_by_localpart(
        &mut self,
        network: &str,
        kind: IdentityKind,
        localpart: &str,
    ) -> Outcome<Option<Identity>>;
    /// See [`super::Store::identity_by_remote`].
    fn identity_by_remote(&mut self, network: &str, kind: IdentityKind, remote: &str) -> Outcome<Option<Identity>>;
    /// See [`super::Store::face`].
    fn face(&mut self, network: &str, user: &str, target: &str) -> Outcome<Option<String>>;
    /// See [`super::Store::put_face`].
    fn put_face(&mut self, network: &str, user: &str, target: &str, face: &str) -> Outcome<String>;
    /// See [`super::Store::occupants`].
    fn occupants(&mut self, network: &str) -> Outcome<Vec<OccupantRow>>;
    /// See [`super::Store::put_occupants`].
    fn put_occupants(&mut self, rows: &[OccupantRow]) -> Outcome<()>;
    /// See [`super::Store::remove_occupants`].
    fn remove_occupants(&mut self, network: &str, room: Option<&str>, sessions: &[String]) -> Outcome<()>;

    /// One bounded step of [`super::Store::prune`].
    fn prune(&mut self, keep: Retention, now: Timestamp) -> Outcome<Pruned>;
    /// A value that is the same for the life of the store; made by `new` the first time.
    fn meta(&mut self, key: &str, new: &[u8]) -> Outcome<Vec<u8>>;
    /// Prepares [`super::Store::backup`]. What it returns does the work, on a thread of its own: it may take minutes.
    fn backup(&mut self, to: &Path) -> Outcome<Copying>;
}
