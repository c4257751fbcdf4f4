//! SQLite: the embedded engine. Write-ahead log, `synchronous=FULL`: what was committed survives a power failure.

mod backend;
mod people;
mod queue;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::backend::Outcome;
use super::model::StoreError;

/// Marks our files: "pway" in ASCII.
const APPLICATION_ID: i64 = 0x7077_6179;

/// The migrations; the version of the schema is the number of those that were run.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/01_first.sql")];

/// How many chat keys are kept in memory.
const CHATS: usize = 16_384;

/// One connection.
pub struct Sqlite {
    db: Connection,
    chats: HashMap<(String, String), i64>,
}

impl Sqlite {
    /// Opens a file for writing; creates and migrates it.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] and [`StoreError::Newer`] without touching the file; [`StoreError::Database`].
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
        let application: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if application != APPLICATION_ID && (application != 0 || tables > 0) {
            return Err(StoreError::Foreign(name.to_owned()));
        }
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if version > known {
            return Err(StoreError::Newer { found: version, known });
        }
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

    /// The number of a chat, which is made where there is none.
    fn chat(&mut self, network: &str, key: &str) -> Outcome<i64> {
        let name = (network.to_owned(), key.to_owned());
        if let Some(id) = self.chats.get(&name) {
            return Ok(*id);
        }
        let id = match self.known_chat(network, key)? {
            Some(id) => id,
            None => {
                self.db.prepare_cached("INSERT INTO chats (network, key) VALUES (?1, ?2)")?.execute((network, key))?;
                self.db.last_insert_rowid()
            }
        };
        if self.chats.len() >= CHATS {
            self.chats.clear();
        }
        self.chats.insert(name, id);
        Ok(id)
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
    let application: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Err(StoreError::Foreign(path.display().to_string()));
    }
    let found: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Database(format!("{}: {found}", path.display()))) }
}

/// Creates the file so that only its owner can read it.
fn create_private(path: &Path) -> Outcome<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
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
