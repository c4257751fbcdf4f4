//! The durable memory: what was accepted and has not yet arrived, which id is which, who is who.
//!
//! [`Store`] is what the rest of the gateway calls: each method is one domain operation, atomic, and returns when it is
//! on disk. [`backend::Backend`] is what a database engine implements; [`sqlite`] is the one there is. [`worker`] runs
//! many operations in one transaction. [`accounts`] is the part about users and what belongs to them, [`strangers`] the one
//! about what is held until a user agrees to it.

pub mod accounts;
pub mod backend;
pub mod model;
pub mod sqlite;
pub mod strangers;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use hmac::{Hmac, Mac};
use portway_bridges::api::{EventId, InboxId};
use rand::Rng as _;
use sha2::Sha256;

pub use self::accounts::{AvatarRow, Forgotten, LinkRow, Linked, Proof, Rule, Subscription, UserRow};
use self::backend::{Backend, Outcome};
pub use self::model::*;
use self::sqlite::Sqlite;
pub use self::strangers::{HeldChat, TurnedAway};
use self::worker::{Counters, Worker};
use crate::clock::Clock;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: Worker,
    reader: Worker,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    install_id: String,
    secret: Vec<u8>,
    counters: Arc<Counters>,
    /// The reader's, where there is one, and the writer's.
    threads: Mutex<(Option<JoinHandle<()>>, JoinHandle<()>)>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.shared.install_id)
    }
}

impl Store {
    /// Opens `sqlite:FILE` (relative to `data_dir`) or `sqlite::memory:`; creates and migrates it.
    ///
    /// # Errors
    /// [`StoreError::Foreign`], [`StoreError::Newer`], [`StoreError::Database`].
    pub async fn open(url: &str, data_dir: &Path, clock: Clock) -> Result<Self, StoreError> {
        let name = url
            .strip_prefix("sqlite:")
            .ok_or_else(|| StoreError::Database(format!("“{url}” is not a store; write it as sqlite:FILE")))?;
        if name == ":memory:" {
            return Self::start(Box::new(Sqlite::in_memory()?), None, clock).await;
        }
        let path: PathBuf = data_dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| StoreError::Database(format!("{} cannot be created: {error}", parent.display())))?;
        }
        let opened = path.clone();
        let backend = tokio::task::spawn_blocking(move || Sqlite::open(&opened))
            .await
            .map_err(|error| StoreError::Database(error.to_string()))??;
        let reader = Sqlite::open_read_only(&path)?;
        Self::start(Box::new(backend), Some(Box::new(reader)), clock).await
    }

    /// Starts the threads. Without a reader of its own, reading is done by the writer.
    ///
    /// # Errors
    /// [`StoreError`] where a thread cannot be started or the first operation fails.
    pub async fn start(
        mut writer: Box<dyn Backend>,
        reader: Option<Box<dyn Backend>>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let io = |error: std::io::Error| StoreError::Database(error.to_string());
        let mut random = [0u8; 32];
        rand::rng().fill(&mut random);
        let name: String = random[..5].iter().map(|byte| format!("{byte:02x}")).collect();
        writer.begin()?;
        let install_id = String::from_utf8_lossy(&writer.meta("install_id", name.as_bytes())?).into_owned();
        rand::rng().fill(&mut random);
        let secret = writer.meta("secret", &random)?;
        writer.commit_transaction()?;
        let counters = Arc::new(Counters::default());
        let (writer, thread) = Worker::writer(writer, counters.clone()).map_err(io)?;
        let (reader, reading) = match reader {
            Some(reader) => {
                let (reader, thread) = Worker::reader(reader).map_err(io)?;
                (reader, Some(thread))
            }
            None => (writer.clone(), None),
        };
        let shared = Shared { clock, install_id, secret, counters, threads: Mutex::new((reading, thread)) };
        Ok(Self { writer, reader, shared: Arc::new(shared) })
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut dyn Backend) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        self.writer.run(operation).await
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut dyn Backend) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        self.reader.run(operation).await
    }

    /// Commits a batch: all of it or nothing. Events whose key of the duplicate guard is known are left out and their
    /// earlier number is returned.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn commit(&self, batch: NewBatch) -> Outcome<BatchResult> {
        let now = self.shared.clock.now();
        self.write(move |db| db.commit(&batch, now)).await
    }

    /// Writes down outcomes and the events that follow from them, in one transaction. Settling twice changes nothing;
    /// an unknown number is passed over.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn settle(&self, settled: Vec<Settle>, then: Vec<NewEvent>) -> Outcome<Vec<Committed>> {
        let now = self.shared.clock.now();
        self.write(move |db| db.settle(&settled, &then, now)).await
    }

    /// Events that wait, oldest first: of a network or of one chat, with a number greater than `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pending(
        &self,
        network: &str,
        direction: Direction,
        chat: Option<&str>,
        after: Option<EventId>,
        limit: usize,
    ) -> Outcome<Vec<Queued>> {
        let (network, chat) = (network.to_owned(), chat.map(str::to_owned));
        self.read(move |db| db.pending(&network, direction, chat.as_deref(), after, limit)).await
    }

    /// Chats in which events wait, by key, behind `after_chat`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pending_lanes(
        &self,
        network: &str,
        direction: Direction,
        after_chat: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<PendingLane>> {
        let (network, after) = (network.to_owned(), after_chat.map(str::to_owned));
        self.read(move |db| db.pending_lanes(&network, direction, after.as_deref(), limit)).await
    }

    /// The newest event with this id in this chat, whichever side gave it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_message(&self, network: &str, chat: &str, id: &str) -> Outcome<Option<Message>> {
        let (network, chat, id) = (network.to_owned(), chat.to_owned(), id.to_owned());
        self.read(move |db| db.find_message(&network, &chat, &id)).await
    }

    /// What was said under this id in a room, or stands there for it, is shown to no newcomer any more: it was taken back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn withdraw(&self, network: &str, chat: &str, id: &str) -> Outcome<()> {
        let (network, chat, id) = (network.to_owned(), chat.to_owned(), id.to_owned());
        self.write(move |db| db.withdraw(&network, &chat, &id)).await
    }

    /// The newest event of one way in a chat, up to the one with this number, that is a message of its own
    /// ([`NewEvent::about`] is none) and has an id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_said(
        &self,
        network: &str,
        chat: &str,
        direction: Direction,
        up_to: EventId,
    ) -> Outcome<Option<Message>> {
        let (network, chat) = (network.to_owned(), chat.to_owned());
        self.read(move |db| db.last_said(&network, &chat, direction, up_to)).await
    }

    /// An event by its number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn message(&self, id: EventId) -> Outcome<Option<Message>> {
        self.read(move |db| db.message(id)).await
    }

    /// The newest archived events of a chat, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn history(
        &self,
        network: &str,
        chat: &str,
        direction: Direction,
        limit: usize,
    ) -> Outcome<Vec<Message>> {
        let (network, chat) = (network.to_owned(), chat.to_owned());
        self.read(move |db| db.history(&network, &chat, direction, limit)).await
    }

    /// How much waits, by network and direction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn depth(&self) -> Outcome<Vec<QueueDepth>> {
        self.read(|db| db.depth()).await
    }

    /// How many identities of each kind are known, by network.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn identity_counts(&self) -> Outcome<Vec<(String, IdentityKind, u64)>> {
        self.read(|db| db.identity_counts()).await
    }

    /// Dead letters of a network or of all, behind the number `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn dead_letters(
        &self,
        network: Option<&str>,
        after: Option<i64>,
        limit: usize,
    ) -> Outcome<Vec<DeadLetter>> {
        let network = network.map(str::to_owned);
        self.read(move |db| db.dead_letters(network.as_deref(), after, limit)).await
    }

    /// The keys of chats that begin with `prefix`, behind the key `after`, by key, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn chats(&self, network: &str, prefix: &str, after: Option<&str>, limit: usize) -> Outcome<Vec<String>> {
        let (network, prefix, after) = (network.to_owned(), prefix.to_owned(), after.map(str::to_owned));
        self.read(move |db| db.chats(&network, &prefix, after.as_deref(), limit)).await
    }

    /// Takes the dead letter of an event out of the list, and commits in the same step what takes its place. Says whether
    /// there was one; where there was none, nothing is written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_letter(&self, id: EventId, instead: Option<NewEvent>) -> Outcome<bool> {
        let now = self.shared.clock.now();
        self.write(move |db| {
            if !db.end_letter(id)? {
                return Ok(false);
            }
            db.commit(&NewBatch { events: instead.into_iter().collect(), ..NewBatch::default() }, now)?;
            Ok(true)
        })
        .await
    }

    /// The wire item of an event as it came, while it is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn original(&self, event: EventId) -> Outcome<Option<Vec<u8>>> {
        self.read(move |db| db.original(event)).await
    }

    /// Raw items behind the number `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inbox(&self, network: &str, after: Option<InboxId>, limit: usize) -> Outcome<Vec<(InboxId, Vec<u8>)>> {
        let network = network.to_owned();
        self.read(move |db| db.inbox(&network, after, limit)).await
    }

    /// Gives a raw item up; it stays as a dead letter.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bury(&self, network: &str, item: InboxId, reason: &str) -> Outcome<()> {
        let (network, reason) = (network.to_owned(), reason.to_owned());
        self.write(move |db| db.bury(&network, item, &reason)).await
    }

    /// A value of a network's own small storage.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn kv_get(&self, network: &str, key: &str) -> Outcome<Option<Vec<u8>>> {
        let (network, key) = (network.to_owned(), key.to_owned());
        self.read(move |db| db.kv_get(&network, &key)).await
    }

    /// Sets a value of a network's own small storage; `None` removes it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn kv_put(&self, network: &str, key: &str, value: Option<Vec<u8>>) -> Outcome<()> {
        let (network, key) = (network.to_owned(), key.to_owned());
        self.write(move |db| db.kv_put(&network, &key, value.as_deref())).await
    }

    /// Removes a value of a network's own small storage if it is this one yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn kv_remove(&self, network: &str, key: &str, value: &[u8]) -> Outcome<()> {
        let (network, key, value) = (network.to_owned(), key.to_owned(), value.to_owned());
        self.write(move |db| match db.kv_get(&network, &key)? {
            Some(found) if found == value => db.kv_put(&network, &key, None),
            _ => Ok(()),
        })
        .await
    }

    /// Values whose key starts with `prefix` and is greater than `after`, by key, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn kv_scan(
        &self,
        network: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<(String, Vec<u8>)>> {
        let (network, prefix, after) = (network.to_owned(), prefix.to_owned(), after.map(str::to_owned));
        self.read(move |db| db.kv_scan(&network, &prefix, after.as_deref(), limit)).await
    }

    /// Inserts identities, or brings their names and times up to date. Localpart and remote id are unique per network
    /// and kind: a clash is a result, not an error, and changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch_identities(&self, identities: Vec<Identity>) -> Outcome<Vec<TouchResult>> {
        self.write(move |db| identities.iter().map(|identity| db.touch_identity(identity)).collect()).await
    }

    /// An identity by the localpart of its JID (a user: by its bare JID).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn identity_by_localpart(
        &self,
        network: &str,
        kind: IdentityKind,
        localpart: &str,
    ) -> Outcome<Option<Identity>> {
        let (network, localpart) = (network.to_owned(), localpart.to_owned());
        self.read(move |db| db.identity_by_localpart(&network, kind, &localpart)).await
    }

    /// An identity by the id that its network writes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn identity_by_remote(
        &self,
        network: &str,
        kind: IdentityKind,
        remote: &str,
    ) -> Outcome<Option<Identity>> {
        let (network, remote) = (network.to_owned(), remote.to_owned());
        self.read(move |db| db.identity_by_remote(&network, kind, &remote)).await
    }

    /// Under which localpart a user knows a contact or room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn face(&self, network: &str, user: &str, target: &str) -> Outcome<Option<String>> {
        let (network, user, target) = (network.to_owned(), user.to_owned(), target.to_owned());
        self.read(move |db| db.face(&network, &user, &target)).await
    }

    /// Notes under which localpart a user knows a contact or room, if that is not known yet; returns the one that holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_face(&self, network: &str, user: &str, target: &str, face: &str) -> Outcome<String> {
        let (network, user) = (network.to_owned(), user.to_owned());
        let (target, face) = (target.to_owned(), face.to_owned());
        self.write(move |db| db.put_face(&network, &user, &target, &face)).await
    }

    /// All sessions in rooms of a network.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn occupants(&self, network: &str) -> Outcome<Vec<OccupantRow>> {
        let network = network.to_owned();
        self.read(move |db| db.occupants(&network)).await
    }

    /// Notes sessions in rooms.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_occupants(&self, rows: Vec<OccupantRow>) -> Outcome<()> {
        self.write(move |db| db.put_occupants(&rows)).await
    }

    /// Removes sessions from a room, or from all rooms.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_occupants(&self, network: &str, room: Option<&str>, sessions: Vec<String>) -> Outcome<()> {
        let (network, room) = (network.to_owned(), room.map(str::to_owned));
        self.write(move |db| db.remove_occupants(&network, room.as_deref(), &sessions)).await
    }

    /// Removes what is older than it is to be kept, in steps between which others may write. What waits is never
    /// removed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prune(&self, keep: Retention) -> Outcome<Pruned> {
        let mut total = Pruned::default();
        loop {
            let now = self.shared.clock.now();
            let step = self.write(move |db| db.prune(keep, now)).await?;
            if step == Pruned::default() {
                return Ok(total);
            }
            total.events += step.events;
            total.other += step.other;
        }
    }

    /// A random name of this store, which never changes: ASCII letters and digits.
    #[must_use]
    pub fn install_id(&self) -> &str {
        &self.shared.install_id
    }

    /// A key for one purpose, derived from the store's own secret (HMAC-SHA-256).
    #[must_use]
    pub fn key(&self, purpose: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.shared.secret).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Whether something can be written now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check_writable(&self) -> Outcome<()> {
        let now = self.shared.clock.now().0.to_be_bytes();
        self.write(move |db| db.kv_put("", "written", Some(&now))).await
    }

    /// Writes a consistent copy to a file that must not exist, readable by its owner only. Others may read and write
    /// meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]; no file was made then. A store in memory cannot be copied.
    pub async fn backup(&self, to: &Path) -> Outcome<()> {
        let to = to.to_owned();
        let copying = self.read(move |db| db.backup(&to)).await?;
        tokio::task::spawn_blocking(copying).await.map_err(|error| StoreError::Database(error.to_string()))?
    }

    /// Checks a file: that it is ours, that this version can read it, and that it is whole.
    ///
    /// # Errors
    /// [`StoreError::Foreign`], [`StoreError::Newer`], or [`StoreError::Database`] with what is wrong.
    pub async fn verify(path: &Path) -> Outcome<()> {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || sqlite::verify(&path))
            .await
            .map_err(|error| StoreError::Database(error.to_string()))?
    }

    /// Transactions and operations so far.
    #[must_use]
    pub fn stats(&self) -> (u64, u64) {
        use std::sync::atomic::Ordering;
        let counters = &self.shared.counters;
        (counters.transactions.load(Ordering::Relaxed), counters.operations.load(Ordering::Relaxed))
    }

    /// Ends this handle; where it is the last one, waits until everything is written and the database is closed. The file
    /// may be replaced then, and not before: the connection that closes last removes the write-ahead log by its name.
    pub async fn close(self) {
        let Self { writer, reader, shared } = self;
        let Some(shared) = Arc::into_inner(shared) else { return };
        let (reading, writing) = shared.threads.into_inner().unwrap_or_else(PoisonError::into_inner);
        // One after the other: of two that close at once neither is the last, and the log would stay.
        let close = move || {
            drop(reader);
            let _ = reading.map(JoinHandle::join);
            drop(writer);
            let _ = writing.join();
        };
        let _ = tokio::task::spawn_blocking(close).await;
    }
}
