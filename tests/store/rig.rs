//! Where a case of the suite runs: a store, a clock that the case sets, and what it puts in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use portway::clock::Clock;
use portway::store::{BatchResult, Consent, Direction, NewBatch, NewEvent, Queued, Settle, Store};
use portway_bridges::api::{EventId, Timestamp};

/// The network of most cases.
pub const NET: &str = "loopback";

/// The time at which each case begins.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// A backend under test.
pub struct Rig {
    url: &'static str,
    scratch: Scratch,
    now: Arc<AtomicI64>,
}

impl Rig {
    /// SQLite without a file.
    pub fn memory() -> Self {
        Self::new("sqlite::memory:")
    }

    /// SQLite with a file in a directory of its own.
    pub fn file() -> Self {
        Self::new("sqlite:portway.db")
    }

    fn new(url: &'static str) -> Self {
        Self { url, scratch: Scratch::new(), now: Arc::new(AtomicI64::new(START.0)) }
    }

    /// Opens the store; a file may be opened again after it was closed.
    pub async fn open(&self) -> Store {
        Store::open(self.url, self.scratch.path(), self.clock()).await.expect("the store opens")
    }

    /// The clock of the case.
    pub fn clock(&self) -> Clock {
        let now = self.now.clone();
        Clock::new(move || Timestamp(now.load(Ordering::SeqCst)))
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.now.fetch_add(i64::try_from(time.as_millis()).expect("a short time"), Ordering::SeqCst);
    }

    /// The directory of the case.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// The database's file.
    pub fn database(&self) -> PathBuf {
        self.dir().join("portway.db")
    }

    /// A connection of its own, for faults and for other programs' files.
    pub fn sql(&self) -> rusqlite::Connection {
        let sql = rusqlite::Connection::open(self.database()).expect("the file opens");
        sql.busy_timeout(Duration::from_secs(10)).expect("a timeout");
        sql
    }
}

/// A directory that goes with the case.
pub struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("portway-store-{}-{n}", std::process::id()));
        // A killed run may have left one behind under a number that comes round again.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An event to the network, without a key of the duplicate guard, with one id.
pub fn event(chat: &str, id: &str) -> NewEvent {
    NewEvent {
        network: NET.to_owned(),
        direction: Direction::ToNetwork,
        chat: chat.to_owned(),
        sender: "juliet".to_owned(),
        dedupe: None,
        dedupe_for: None,
        ids: vec![id.to_owned()],
        about: None,
        reply_to: None,
        body: format!("body of {id}").into_bytes(),
        archive: false,
        at: START,
        original: None,
        consent: Consent::Free,
    }
}

/// The same with its id as the key of the duplicate guard.
pub fn guarded(chat: &str, id: &str) -> NewEvent {
    NewEvent { dedupe: Some(id.to_owned()), ..event(chat, id) }
}

/// A batch of events only.
pub fn batch(events: Vec<NewEvent>) -> NewBatch {
    NewBatch { events, ..NewBatch::default() }
}

/// Commits events and returns their numbers.
pub async fn put(store: &Store, events: Vec<NewEvent>) -> Vec<EventId> {
    numbers(&store.commit(batch(events)).await.expect("a commit"))
}

/// The numbers in a result.
pub fn numbers(result: &BatchResult) -> Vec<EventId> {
    result.events.iter().map(|event| event.id).collect()
}

/// What has arrived, without ids of the other side.
pub fn done(id: EventId) -> Settle {
    Settle::Done { id, ids: Vec::new() }
}

/// Seals events as they are.
pub fn seal(ids: Vec<EventId>) -> Settle {
    Settle::Seal { ids, bodies: Vec::new(), gone: Vec::new() }
}

/// Settles, with nothing that follows from it.
pub async fn settle(store: &Store, settled: Vec<Settle>) {
    store.settle(settled, Vec::new()).await.expect("a settlement");
}

/// What waits to go to the network.
pub async fn pending(store: &Store, chat: Option<&str>) -> Vec<Queued> {
    store.pending(NET, Direction::ToNetwork, chat, None, 1000).await.expect("what waits")
}

/// Its numbers.
pub async fn waiting(store: &Store) -> Vec<EventId> {
    pending(store, None).await.iter().map(|queued| queued.id).collect()
}
