//! What is removed when it has been kept long enough.

use std::time::Duration;

use portway_bridges::api::Timestamp;
use rusqlite::params;

use super::Sqlite;
use crate::store::backend::Outcome;
use crate::store::model::{Pruned, Retention};

/// How many rows of a kind one step removes: few, for nobody else writes meanwhile.
const STEP: i64 = 500;

pub(super) const ARRIVED: &str = "SELECT id FROM events INDEXED BY events_arrived
    WHERE state = 1 AND committed < ?1 ORDER BY committed LIMIT ?2";

pub(super) const ARCHIVED: &str = "UPDATE events SET body = NULL, archive = 0 WHERE id IN
    (SELECT id FROM events INDEXED BY events_archived WHERE archive = 1 AND state = 1 AND committed < ?1 LIMIT ?2)";

pub(super) const ONCE: &str =
    "DELETE FROM once WHERE (network, name) IN (SELECT network, name FROM once WHERE at < ?1 LIMIT ?2)";

pub(super) const ORIGINALS: &str =
    "DELETE FROM originals WHERE event IN (SELECT event FROM originals WHERE at < ?1 LIMIT ?2)";

/// Row ids rise: a picture that is replaced keeps its own.
pub(super) const PICTURES: &str = "DELETE FROM avatars WHERE rowid IN (SELECT rowid FROM avatars
    WHERE rowid <= (SELECT max(rowid) FROM avatars) - ?1 LIMIT ?2)";

impl Sqlite {
    /// One step: what is old, at most [`STEP`] rows of each kind. What waits is never touched.
    pub(super) fn prune_step(&mut self, keep: Retention, now: Timestamp) -> Outcome<Pruned> {
        let before = |age: Duration| now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let mut pruned = Pruned::default();
        let old: Vec<i64> = self
            .db
            .prepare_cached(ARRIVED)?
            .query_map(params![before(keep.ids), STEP], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in old {
            self.db.prepare_cached("DELETE FROM event_ids WHERE event = ?1")?.execute([id])?;
            self.db.prepare_cached("DELETE FROM originals WHERE event = ?1")?.execute([id])?;
            self.db.prepare_cached("DELETE FROM events WHERE id = ?1 AND state = 1")?.execute([id])?;
            pruned.events += 1;
        }
        for (statement, age) in [(ONCE, keep.once), (ORIGINALS, keep.originals), (ARCHIVED, keep.archive)] {
            let rows = self.db.prepare_cached(statement)?.execute(params![before(age), STEP])?;
            pruned.other += u64::try_from(rows).unwrap_or(0);
        }
        let rows = self.db.prepare_cached(PICTURES)?.execute(params![keep.pictures, STEP])?;
        pruned.other += u64::try_from(rows).unwrap_or(0);
        Ok(pruned)
    }
}
