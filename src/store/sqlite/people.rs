//! Who is who, who is where, and the networks' own small storage.

use portway_bridges::api::Timestamp;
use rusqlite::{Row, params};

use super::{Sqlite, limit, optional};
use crate::store::backend::Outcome;
use crate::store::model::{Identity, IdentityKind, OccupantRow, TouchResult};

const IDENTITY: &str = "network, kind, localpart, remote, display, first_seen, last_seen";

impl Sqlite {
    pub(super) fn put_value(&mut self, network: &str, key: &str, value: Option<&[u8]>) -> Outcome<()> {
        match value {
            Some(value) => self
                .db
                .prepare_cached(
                    "INSERT INTO kv (network, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (network, key) DO UPDATE SET value = excluded.value",
                )?
                .execute((network, key, value))?,
            None => {
                self.db.prepare_cached("DELETE FROM kv WHERE network = ?1 AND key = ?2")?.execute((network, key))?
            }
        };
        Ok(())
    }

    pub(super) fn scan_values(
        &mut self,
        network: &str,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Outcome<Vec<(String, Vec<u8>)>> {
        let after = after.filter(|after| *after >= prefix);
        let mut statement = self.db.prepare_cached(
            "SELECT key, value FROM kv WHERE network = ?1 AND key >= ?2 AND (?3 IS NULL OR key > ?3) ORDER BY key LIMIT ?4",
        )?;
        let rows =
            statement.query_map(params![network, prefix, after, limit(most)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut found = Vec::new();
        for row in rows {
            let (key, value): (String, Vec<u8>) = row?;
            if !key.starts_with(prefix) {
                break;
            }
            found.push((key, value));
        }
        Ok(found)
    }

    pub(super) fn touch(&mut self, new: &Identity) -> Outcome<TouchResult> {
        let by_localpart = self.identity(new.kind, &new.network, "localpart", &new.localpart)?;
        let by_remote = self.identity(new.kind, &new.network, "remote", &new.remote)?;
        match (by_localpart, by_remote) {
            (None, None) => {
                self.db
                    .prepare_cached(&format!(
                        "INSERT INTO identities ({IDENTITY}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                    ))?
                    .execute(params![
                        new.network,
                        new.kind as i64,
                        new.localpart,
                        new.remote,
                        new.display,
                        new.first_seen.0,
                        new.last_seen.0
                    ])?;
                Ok(TouchResult::New)
            }
            (Some(known), Some(same)) if known == same => {
                self.db
                    .prepare_cached(
                        "UPDATE identities SET display = coalesce(?4, display), last_seen = max(last_seen, ?5)
                         WHERE network = ?1 AND kind = ?2 AND localpart = ?3",
                    )?
                    .execute(params![new.network, new.kind as i64, new.localpart, new.display, new.last_seen.0])?;
                Ok(TouchResult::Known)
            }
            (Some(other), _) | (None, Some(other)) => Ok(TouchResult::Clash(other)),
        }
    }

    pub(super) fn identity(
        &mut self,
        kind: IdentityKind,
        network: &str,
        column: &'static str,
        value: &str,
    ) -> Outcome<Option<Identity>> {
        optional(
            self.db
                .prepare_cached(&format!(
                    "SELECT {IDENTITY} FROM identities WHERE network = ?1 AND kind = ?2 AND {column} = ?3"
                ))?
                .query_row(params![network, kind as i64, value], identity),
        )
    }

    /// Reads the index of addresses, not the table.
    pub(super) fn counts_of_identities(&mut self) -> Outcome<Vec<(String, IdentityKind, u64)>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT network, kind, COUNT(*) FROM identities GROUP BY network, kind ORDER BY network, kind",
            )?
            .query_map([], |row| {
                let count = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
                Ok((row.get(0)?, kind(row.get(1)?), count))
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    pub(super) fn rows_of_occupants(&mut self, network: &str) -> Outcome<Vec<OccupantRow>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT network, room, session, nick, face, joined FROM occupants WHERE network = ?1 ORDER BY room, joined",
            )?
            .query_map([network], |row| {
                Ok(OccupantRow {
                    network: row.get(0)?,
                    room: row.get(1)?,
                    session: row.get(2)?,
                    nick: row.get(3)?,
                    face: row.get(4)?,
                    joined: Timestamp(row.get(5)?),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    pub(super) fn put_rows_of_occupants(&mut self, rows: &[OccupantRow]) -> Outcome<()> {
        for row in rows {
            self.db
                .prepare_cached(
                    "INSERT OR REPLACE INTO occupants (network, room, session, nick, face, joined)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![row.network, row.room, row.session, row.nick, row.face, row.joined.0])?;
        }
        Ok(())
    }

    pub(super) fn remove_rows_of_occupants(
        &mut self,
        network: &str,
        room: Option<&str>,
        sessions: &[String],
    ) -> Outcome<()> {
        for session in sessions {
            self.db
                .prepare_cached(
                    "DELETE FROM occupants WHERE network = ?1 AND (?2 IS NULL OR room = ?2) AND session = ?3",
                )?
                .execute(params![network, room, session])?;
        }
        Ok(())
    }
}

fn kind(number: i64) -> IdentityKind {
    match number {
        0 => IdentityKind::Person,
        1 => IdentityKind::Room,
        _ => IdentityKind::User,
    }
}

fn identity(row: &Row<'_>) -> rusqlite::Result<Identity> {
    Ok(Identity {
        network: row.get(0)?,
        kind: kind(row.get(1)?),
        localpart: row.get(2)?,
        remote: row.get(3)?,
        display: row.get(4)?,
        first_seen: Timestamp(row.get(5)?),
        last_seen: Timestamp(row.get(6)?),
    })
}
