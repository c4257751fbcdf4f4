//! The operations by name.

use std::path::{Path, PathBuf};

use portway_bridges::api::{EventId, InboxId, Timestamp};
use rusqlite::params;

use super::{Sqlite, copy, limit, optional};
use crate::store::backend::{Backend, Copying, Outcome};
use crate::store::model::{
    BatchResult, Committed, DeadLetter, Direction, Identity, IdentityKind, Message, NewBatch, NewEvent, OccupantRow,
    PendingLane, Pruned, QueueDepth, Queued, Retention, Settle, StoreError, TouchResult,
};

impl Backend for Sqlite {
    fn begin(&mut self) -> Outcome<()> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    fn commit_transaction(&mut self) -> Outcome<()> {
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn rollback(&mut self) {
        self.chats.clear();
        // Where there is no transaction any more, SQLite has rolled back itself.
        let _ = self.db.execute_batch("ROLLBACK");
    }

    fn savepoint(&mut self) -> Outcome<()> {
        self.db.prepare_cached("SAVEPOINT operation")?.execute([])?;
        Ok(())
    }

    fn release(&mut self, keep: bool) -> Outcome<()> {
        if !keep {
            self.chats.clear();
            self.db.prepare_cached("ROLLBACK TO operation")?.execute([])?;
        }
        self.db.prepare_cached("RELEASE operation")?.execute([])?;
        Ok(())
    }

    fn commit(&mut self, batch: &NewBatch, now: Timestamp) -> Outcome<BatchResult> {
        self.commit_batch(batch, now)
    }

    fn settle(&mut self, settled: &[Settle], then: &[NewEvent], now: Timestamp) -> Outcome<Vec<Committed>> {
        self.settle_all(settled, then, now)
    }

    fn pending(
        &mut self,
        network: &str,
        direction: Direction,
        chat: Option<&str>,
        after: Option<EventId>,
        limit: usize,
    ) -> Outcome<Vec<Queued>> {
        self.waiting(network, direction, chat, after, limit)
    }

    fn pending_lanes(
        &mut self,
        network: &str,
        direction: Direction,
        after_chat: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<PendingLane>> {
        self.lanes(network, direction, after_chat, limit)
    }

    fn find_message(&mut self, network: &str, chat: &str, id: &str) -> Outcome<Option<Message>> {
        self.message_by_id(network, chat, id)
    }

    fn withdraw(&mut self, network: &str, chat: &str, id: &str) -> Outcome<()> {
        self.withdraw_from_archive(network, chat, id)
    }

    fn last_said(
        &mut self,
        network: &str,
        chat: &str,
        direction: Direction,
        up_to: EventId,
    ) -> Outcome<Option<Message>> {
        self.said(network, chat, direction, up_to)
    }

    fn message(&mut self, id: EventId) -> Outcome<Option<Message>> {
        self.message_by_number(id)
    }

    fn history(&mut self, network: &str, chat: &str, direction: Direction, limit: usize) -> Outcome<Vec<Message>> {
        self.archived(network, chat, direction, limit)
    }

    fn depth(&mut self) -> Outcome<Vec<QueueDepth>> {
        self.depths()
    }

    fn identity_counts(&mut self) -> Outcome<Vec<(String, IdentityKind, u64)>> {
        self.counts_of_identities()
    }

    fn dead_letters(&mut self, network: Option<&str>, after: Option<i64>, limit: usize) -> Outcome<Vec<DeadLetter>> {
        self.letters(network, after, limit)
    }

    fn chats(&mut self, network: &str, prefix: &str, after: Option<&str>, most: usize) -> Outcome<Vec<String>> {
        // No key holds the largest character, so every key with the prefix lies before the prefix with it.
        let end = format!("{prefix}\u{10ffff}");
        let rows = self
            .db
            .prepare_cached(
                "SELECT key FROM chats WHERE network = ?1 AND key >= ?2 AND key < ?3 AND key > ?4 ORDER BY key LIMIT ?5",
            )?
            .query_map(params![network, prefix, end, after.unwrap_or_default(), limit(most)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    fn end_letter(&mut self, id: EventId) -> Outcome<bool> {
        let ended = self
            .db
            .prepare_cached("UPDATE events SET state = 1, dedupe = NULL, body = NULL WHERE id = ?1 AND state = 2")?
            .execute([id.0])?;
        Ok(ended > 0)
    }

    fn original(&mut self, event: EventId) -> Outcome<Option<Vec<u8>>> {
        optional(
            self.db
                .prepare_cached("SELECT raw FROM originals WHERE event = ?1")?
                .query_row([event.0], |row| row.get(0)),
        )
    }

    fn inbox(&mut self, network: &str, after: Option<InboxId>, most: usize) -> Outcome<Vec<(InboxId, Vec<u8>)>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT id, raw FROM inbox WHERE network = ?1 AND dead IS NULL AND id > ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![network, after.map_or(0, |after| after.0), limit(most)], |row| {
                Ok((InboxId(row.get(0)?), row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    fn bury(&mut self, network: &str, item: InboxId, reason: &str) -> Outcome<()> {
        self.db
            .prepare_cached("UPDATE inbox SET dead = ?3 WHERE id = ?2 AND network = ?1")?
            .execute(params![network, item.0, reason])?;
        Ok(())
    }

    fn kv_get(&mut self, network: &str, key: &str) -> Outcome<Option<Vec<u8>>> {
        optional(
            self.db
                .prepare_cached("SELECT value FROM kv WHERE network = ?1 AND key = ?2")?
                .query_row((network, key), |row| row.get(0)),
        )
    }

    fn kv_put(&mut self, network: &str, key: &str, value: Option<&[u8]>) -> Outcome<()> {
        self.put_value(network, key, value)
    }

    fn kv_scan(
        &mut self,
        network: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<(String, Vec<u8>)>> {
        self.scan_values(network, prefix, after, limit)
    }

    fn touch_identity(&mut self, identity: &Identity) -> Outcome<TouchResult> {
        self.touch(identity)
    }

    fn identity_by_localpart(
        &mut self,
        network: &str,
        kind: IdentityKind,
        localpart: &str,
    ) -> Outcome<Option<Identity>> {
        self.identity(kind, network, "localpart", localpart)
    }

    fn identity_by_remote(&mut self, network: &str, kind: IdentityKind, remote: &str) -> Outcome<Option<Identity>> {
        self.identity(kind, network, "remote", remote)
    }

    fn face(&mut self, network: &str, user: &str, target: &str) -> Outcome<Option<String>> {
        optional(
            self.db
                .prepare_cached("SELECT face FROM faces WHERE network = ?1 AND user = ?2 AND target = ?3")?
                .query_row((network, user, target), |row| row.get(0)),
        )
    }

    fn put_face(&mut self, network: &str, user: &str, target: &str, face: &str) -> Outcome<String> {
        self.db
            .prepare_cached(
                "INSERT INTO faces (network, user, target, face) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute((network, user, target, face))?;
        Ok(self.face(network, user, target)?.unwrap_or_else(|| face.to_owned()))
    }

    fn occupants(&mut self, network: &str) -> Outcome<Vec<OccupantRow>> {
        self.rows_of_occupants(network)
    }

    fn put_occupants(&mut self, rows: &[OccupantRow]) -> Outcome<()> {
        self.put_rows_of_occupants(rows)
    }

    fn remove_occupants(&mut self, network: &str, room: Option<&str>, sessions: &[String]) -> Outcome<()> {
        self.remove_rows_of_occupants(network, room, sessions)
    }

    fn prune(&mut self, keep: Retention, now: Timestamp) -> Outcome<Pruned> {
        self.prune_step(keep, now)
    }

    fn meta(&mut self, key: &str, new: &[u8]) -> Outcome<Vec<u8>> {
        self.db
            .prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute((key, new))?;
        Ok(self.db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0))?)
    }

    fn backup(&mut self, to: &Path) -> Outcome<Copying> {
        let (to, Some(from)) = (to.to_owned(), self.db.path().filter(|path| !path.is_empty()).map(PathBuf::from))
        else {
            return Err(StoreError::Database("a store in memory cannot be copied".to_owned()));
        };
        Ok(Box::new(move || copy(&from, &to)))
    }
}
