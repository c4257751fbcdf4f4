//! What is held until a user agrees, and what was turned away.

use portway_bridges::api::{EventId, Timestamp};
use rusqlite::params;

use super::{Chat, Sqlite, limit, optional};
use crate::store::backend::Outcome;
use crate::store::model::{BatchResult, Consent, Holding, NewEvent, Reason};
use crate::store::strangers::{HeldChat, Strangers, TurnedAway};

pub(super) const HELD_OF_CHAT: &str =
    "SELECT id, dedupe FROM events INDEXED BY events_held WHERE state = 3 AND chat = ?1 ORDER BY id";

pub(super) const HELD_CHATS: &str = "SELECT c.key, count(*), min(e.committed), min(e.id)
    FROM events e INDEXED BY events_held JOIN chats c ON c.id = e.chat
    WHERE e.state = 3 AND c.network = ?1 AND c.key >= ?2 AND c.key < ?3 AND c.key > ?4
    GROUP BY c.key ORDER BY c.key LIMIT ?5";

pub(super) const HELD_OF_USER: &str =
    "SELECT count(*) FROM events e INDEXED BY events_held JOIN chats c ON c.id = e.chat
    WHERE e.state = 3 AND c.network = ?1 AND c.key >= ?2 AND c.key < ?3";

pub(super) const EXPIRE: &str = "UPDATE events SET state = 4, condition = ?3 WHERE id IN
    (SELECT e.id FROM events e INDEXED BY events_held JOIN chats c ON c.id = e.chat
     WHERE e.state = 3 AND c.network = ?1 AND e.committed < ?2)";

pub(super) const TURNED_AWAY: &str = "SELECT e.id, e.body, e.condition
    FROM events e INDEXED BY events_turned JOIN chats c ON c.id = e.chat
    WHERE e.state = 4 AND c.network = ?1 ORDER BY e.id LIMIT ?2";

/// What becomes of an event on its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits for its delivery.
    Waits,
    /// It is held; whether it is the first one of its chat.
    Held(bool),
    /// Its sender is told that it goes no further.
    Turned(Reason),
    /// It says nothing to anybody who does not know its sender; only that it was there is kept.
    LeftOut,
}

impl Fate {
    /// As it is stored.
    pub(super) fn state(self) -> i64 {
        match self {
            Self::Waits => 0,
            Self::Held(_) => 3,
            Self::Turned(_) => 4,
            Self::LeftOut => 1,
        }
    }

    pub(super) fn reason(self) -> Option<Reason> {
        match self {
            Self::Turned(reason) => Some(reason),
            _ => None,
        }
    }
}

/// No key holds the largest character, so every key with a prefix lies before the prefix with it.
fn behind(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

impl Sqlite {
    /// What becomes of an event. Where it shows that its user agrees to the chat, what was held goes before it.
    pub(super) fn fate(
        &mut self,
        event: &NewEvent,
        chat: Chat,
        now: Timestamp,
        result: &mut BatchResult,
    ) -> Outcome<Fate> {
        match &event.consent {
            Consent::Given if !chat.known => {
                result.more_to_xmpp |= self.welcome(&event.network, &event.chat, now)? > 0;
                Ok(Fate::Waits)
            }
            Consent::Free | Consent::Given => Ok(Fate::Waits),
            Consent::Needed(holding) => self.held_or_not(event, chat, holding),
        }
    }

    fn held_or_not(&mut self, event: &NewEvent, chat: Chat, holding: &Holding) -> Outcome<Fate> {
        let known: bool =
            self.db.prepare_cached("SELECT known FROM chats WHERE id = ?1")?.query_row([chat.id], |row| row.get(0))?;
        if known {
            return Ok(Fate::Waits);
        }
        let of_chat: u32 = self
            .db
            .prepare_cached("SELECT count(*) FROM events INDEXED BY events_held WHERE state = 3 AND chat = ?1")?
            .query_row([chat.id], |row| row.get(0))?;
        if of_chat == 0 && holding.question.is_none() {
            return Ok(Fate::LeftOut);
        }
        if holding.refuse {
            return Ok(Fate::Turned(Reason::Refused));
        }
        let of_user: u32 = self
            .db
            .prepare_cached(HELD_OF_USER)?
            .query_row(params![event.network, holding.of_user, behind(&holding.of_user)], |row| row.get(0))?;
        if of_chat >= holding.most_of_chat || of_user >= holding.most_of_user {
            return Ok(Fate::Turned(Reason::Full));
        }
        Ok(Fate::Held(of_chat == 0))
    }

    /// What goes with an event that was committed.
    pub(super) fn follow(
        &mut self,
        event: &NewEvent,
        fate: Fate,
        now: Timestamp,
        result: &mut BatchResult,
    ) -> Outcome<()> {
        match fate {
            Fate::Held(true) => {
                if let Consent::Needed(holding) = &event.consent
                    && let Some(question) = &holding.question
                {
                    self.insert_event(question, now, result)?;
                    result.more_to_xmpp = true;
                }
            }
            Fate::Turned(_) => result.turned_away = true,
            Fate::Held(false) | Fate::Waits | Fate::LeftOut => {}
        }
        Ok(())
    }

    /// Gives a held event a new number, behind everything that waits: what was read by number before is not read again.
    fn release(&mut self, id: i64, dedupe: Option<&str>, now: Timestamp) -> Outcome<()> {
        self.db
            .prepare_cached(
                "INSERT INTO events (chat, direction, sender, source_id, reply_to, archive, body, at, committed)
                 SELECT chat, direction, sender, source_id, reply_to, archive, body, at, ?2 FROM events WHERE id = ?1",
            )?
            .execute((id, now.0))?;
        let new = self.db.last_insert_rowid();
        for statement in
            ["UPDATE event_ids SET event = ?2 WHERE event = ?1", "UPDATE originals SET event = ?2 WHERE event = ?1"]
        {
            self.db.prepare_cached(statement)?.execute((id, new))?;
        }
        self.db.prepare_cached("DELETE FROM events WHERE id = ?1")?.execute([id])?;
        self.db.prepare_cached("UPDATE events SET dedupe = ?2 WHERE id = ?1")?.execute((new, dedupe))?;
        Ok(())
    }
}

impl Strangers for Sqlite {
    fn is_known(&mut self, network: &str, chat: &str) -> Outcome<bool> {
        let known = optional(
            self.db
                .prepare_cached("SELECT known FROM chats WHERE network = ?1 AND key = ?2")?
                .query_row((network, chat), |row| row.get(0)),
        )?;
        Ok(known.unwrap_or(false))
    }

    fn welcome(&mut self, network: &str, key: &str, now: Timestamp) -> Outcome<u64> {
        // Where nothing was ever said there is nothing to be agreed to yet.
        let Some(id) = self.known_chat(network, key)? else { return Ok(0) };
        self.db.prepare_cached("UPDATE chats SET known = 1 WHERE id = ?1 AND known = 0")?.execute([id])?;
        let held: Vec<(i64, Option<String>)> = self
            .db
            .prepare_cached(HELD_OF_CHAT)?
            .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (id, dedupe) in &held {
            self.release(*id, dedupe.as_deref(), now)?;
        }
        self.remember_chat((network.to_owned(), key.to_owned()), Chat { id, known: true });
        Ok(count(held.len()))
    }

    fn held(&mut self, network: &str, prefix: &str, after: Option<&str>, most: usize) -> Outcome<Vec<HeldChat>> {
        let chats: Vec<(String, i64, i64, i64)> = self
            .db
            .prepare_cached(HELD_CHATS)?
            .query_map(params![network, prefix, behind(prefix), after.unwrap_or_default(), limit(most)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        chats
            .into_iter()
            .map(|(chat, many, since, first)| {
                let body: Option<Vec<u8>> = self
                    .db
                    .prepare_cached("SELECT body FROM events WHERE id = ?1")?
                    .query_row([first], |row| row.get(0))?;
                let many = u64::try_from(many).unwrap_or(0);
                Ok(HeldChat { chat, count: many, since: Timestamp(since), body: body.unwrap_or_default() })
            })
            .collect()
    }

    fn turn_away(&mut self, network: &str, prefix: &str, chat: Option<&str>, reason: Reason) -> Outcome<u64> {
        let rows = self
            .db
            .prepare_cached(
                "UPDATE events SET state = 4, condition = ?5 WHERE id IN
                 (SELECT e.id FROM events e INDEXED BY events_held JOIN chats c ON c.id = e.chat
                  WHERE e.state = 3 AND c.network = ?1 AND c.key >= ?2 AND c.key < ?3 AND (?4 IS NULL OR c.key = ?4))",
            )?
            .execute(params![network, prefix, behind(prefix), chat, reason.name()])?;
        Ok(count(rows))
    }

    fn expire(&mut self, network: &str, before: Timestamp) -> Outcome<u64> {
        let rows = self.db.prepare_cached(EXPIRE)?.execute(params![network, before.0, Reason::Expired.name()])?;
        Ok(count(rows))
    }

    fn turned_away(&mut self, network: &str, most: usize) -> Outcome<Vec<TurnedAway>> {
        let rows = self
            .db
            .prepare_cached(TURNED_AWAY)?
            .query_map(params![network, limit(most)], |row| {
                Ok(TurnedAway {
                    id: EventId(row.get(0)?),
                    body: row.get::<_, Option<Vec<u8>>>(1)?.unwrap_or_default(),
                    reason: Reason::from_name(&row.get::<_, Option<String>>(2)?.unwrap_or_default()),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    fn told(&mut self, id: EventId) -> Outcome<bool> {
        let rows = self
            .db
            .prepare_cached("UPDATE events SET state = 1, body = NULL, archive = 0 WHERE id = ?1 AND state = 4")?
            .execute([id.0])?;
        Ok(rows > 0)
    }

    fn has_chat(&mut self, network: &str, chat: &str) -> Outcome<bool> {
        Ok(self.known_chat(network, chat)?.is_some())
    }

    fn opened(&mut self, network: &str, prefix: &str, since: Timestamp) -> Outcome<Vec<Timestamp>> {
        let rows = self
            .db
            .prepare_cached(
                "SELECT opened FROM chats WHERE network = ?1 AND key >= ?2 AND key < ?3 AND opened > ?4 ORDER BY opened",
            )?
            .query_map(params![network, prefix, behind(prefix), since.0], |row| Ok(Timestamp(row.get(0)?)))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }
}
