//! SQLite: the embedded engine. Write-ahead log, `synchronous=FULL`: what was committed survives a power failure.

mod accounts;
mod backend;
mod people;
#[cfg(test)]
mod plans;
mod prune;
mod queue;
mod strangers;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::backend::Outcome;
use super::model::StoreError;

/// Marks our files: "pway" in ASCII.
const APPLICATION_ID: i64 = 0x7077_6179;

/// The migrations; the version of the schema is the number of those that were run.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/01_first.sql"),
    include_str!("../migrations/02_ages.sql"),
    include_str!("../migrations/03_accounts.sql"),
    include_str!("../migrations/04_strangers.sql"),
    include_str!("../migrations/05_about.sql"),
];

/// How many chat keys are kept in memory.
const CHATS: usize = 16_384;

/// One connection.
pub struct Sqlite {
    db: Connection,
    chats: HashMap<(String, String), Chat>,
}

/// The number of a chat, and whether it was seen that its user has agreed to it.
#[derive(Debug, Clone, Copy)]
struct Chat {
    id: i64,
    known: bool,
}

impl Sqlite {
    /// Opens a file for writing; creates and migrates it.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] and [`StoreError::Newer`] without changing the file; [`StoreError::Database`].
    pub fn open(path: &Path) -> Outcome<Self> {
        create_private(path)?;
        let db =
            Connection::open(path).map_err(|error| StoreError::Database(format!("{}: {error}", path.display())))?;
        Self::prepare(db, &path.display().to_string())
    }

    /// A store that lives in memory, for tests.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn in_memory() -> Outcome<Self> {
        Self::prepare(Connection::open_in_memory()?, ":memory:")
    }

    /// Opens a file for reading beside a writer.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn open_read_only(path: &Path) -> Outcome<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_secs(10))?;
        db.pragma_update(None, "query_only", true)?;
        db.set_prepared_statement_cache_capacity(64);
        Ok(Self { db, chats: HashMap::new() })
    }

    fn prepare(mut db: Connection, name: &str) -> Outcome<Self> {
        db.busy_timeout(Duration::from_secs(10))?;
        let version = match schema(&db, name)? {
            Schema::Empty => 0,
            Schema::Ours(version) => version,
        };
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        db.pragma_update(None, "foreign_keys", false)?;
        db.pragma_update(None, "temp_store", "memory")?;
        db.set_prepared_statement_cache_capacity(128);
        for (n, migration) in MIGRATIONS.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
            let transaction = db.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", n + 1)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.commit()?;
        }
        Ok(Self { db, chats: HashMap::new() })
    }

    /// A chat, which is made where there is none. `opened`: when its user opened it, if it is made by them.
    fn chat(&mut self, network: &str, key: &str, opened: Option<i64>) -> Outcome<Chat> {
        let name = (network.to_owned(), key.to_owned());
        if let Some(chat) = self.chats.get(&name) {
            return Ok(*chat);
        }
        let id = match self.known_chat(network, key)? {
            Some(id) => id,
            None => {
                self.db
                    .prepare_cached("INSERT INTO chats (network, key, opened) VALUES (?1, ?2, ?3)")?
                    .execute((network, key, opened))?;
                self.db.last_insert_rowid()
            }
        };
        let chat = Chat { id, known: false };
        self.remember_chat(name, chat);
        Ok(chat)
    }

    fn remember_chat(&mut self, name: (String, String), chat: Chat) {
        if self.chats.len() >= CHATS {
            self.chats.clear();
        }
        self.chats.insert(name, chat);
    }

    fn known_chat(&self, network: &str, key: &str) -> Outcome<Option<i64>> {
        optional(
            self.db
                .prepare_cached("SELECT id FROM chats WHERE network = ?1 AND key = ?2")?
                .query_row((network, key), |row| row.get(0)),
        )
    }
}

/// Checks a file: that it is ours, and whole.
///
/// # Errors
/// What is wrong with it.
pub fn verify(path: &Path) -> Outcome<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    let name = path.display().to_string();
    if let Schema::Empty = schema(&db, &name)? {
        return Err(StoreError::Foreign(name));
    }
    let found: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Database(format!("{name}: {found}"))) }
}

/// What a file that may be ours holds.
enum Schema {
    /// Nothing yet.
    Empty,
    /// Our tables, in the version of the schema.
    Ours(i64),
}

/// Looks at a file without changing it.
///
/// # Errors
/// [`StoreError::Foreign`] and [`StoreError::Newer`] where we must not touch it; [`StoreError::Database`].
fn schema(db: &Connection, name: &str) -> Outcome<Schema> {
    let application: i64 = match db.pragma_query_value(None, "application_id", |row| row.get(0)) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(StoreError::Foreign(name.to_owned()));
        }
        other => other?,
    };
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match application {
        APPLICATION_ID => {}
        0 if tables == 0 => return Ok(Schema::Empty),
        _ => return Err(StoreError::Foreign(name.to_owned())),
    }
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known { Err(StoreError::Newer { found, known }) } else { Ok(Schema::Ours(found)) }
}

/// Copies the file `from` to the new file `to`, as it is at one moment; others may write meanwhile. The copy is on disk when
/// this returns.
///
/// # Errors
/// [`StoreError::Database`]: `to` exists, or cannot be written. Then it is as it was.
fn copy(from: &Path, to: &Path) -> Outcome<()> {
    // The copy holds messages and our secret; SQLite itself would let everybody read it.
    if !create_private(to)? {
        return Err(StoreError::Database(format!("{} exists already", to.display())));
    }
    let write = || -> Outcome<()> {
        let db = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(Duration::from_secs(10))?;
        let name = to.to_str().ok_or_else(|| StoreError::Database(format!("{} is not UTF-8", to.display())))?;
        // One read transaction: the incremental copy begins again with every write of others, and under load never ends.
        db.execute("VACUUM INTO ?1", [name])?;
        let synced = std::fs::File::open(to).and_then(|file| file.sync_all());
        synced.map_err(|error| StoreError::Database(format!("{}: {error}", to.display())))
    };
    let written = write();
    if written.is_err() {
        let _ = std::fs::remove_file(to);
    }
    written
}

/// Creates the file so that only its owner can read it; false if it is there already.
fn create_private(path: &Path) -> Outcome<bool> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(StoreError::Database(format!("{} cannot be created: {error}", path.display()))),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// No row is not an error.
fn optional<T>(result: rusqlite::Result<T>) -> Outcome<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A limit as SQL takes it.
fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
