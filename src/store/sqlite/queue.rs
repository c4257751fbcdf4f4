//! Events: the queue, the map of ids, the history, the dead letters.

use portway_bridges::api::{EventId, InboxId, Timestamp};
use rusqlite::{Row, params};

use super::strangers::Fate;
use super::{Sqlite, limit, optional};
use crate::store::backend::Outcome;
use crate::store::model::{
    BatchResult, Committed, Consent, DeadLetter, Direction, Message, NewBatch, NewEvent, PendingLane, QueueDepth,
    Queued, Reason, Settle,
};

/// The columns that [`queued`] reads.
macro_rules! queued_columns {
    () => {
        "e.id, c.key, e.body, e.at, e.committed, e.attempts, e.next_try, e.batch, e.notices"
    };
}

pub(super) const WAITING: &str = concat!(
    "SELECT ",
    queued_columns!(),
    " FROM events e INDEXED BY events_waiting JOIN chats c ON c.id = e.chat
     WHERE e.state = 0 AND e.id > ?3 AND e.direction = ?2 AND c.network = ?1 ORDER BY e.id LIMIT ?4"
);

pub(super) const WAITING_OF_CHAT: &str = concat!(
    "SELECT ",
    queued_columns!(),
    " FROM events e INDEXED BY events_waiting_of_chat JOIN chats c ON c.id = e.chat
     WHERE e.state = 0 AND e.chat = ?1 AND e.direction = ?2 AND e.id > ?3 ORDER BY e.id LIMIT ?4"
);

pub(super) const LANES: &str = "SELECT c.key, min(e.id), count(*)
    FROM events e INDEXED BY events_waiting_of_chat JOIN chats c ON c.id = e.chat
    WHERE e.state = 0 AND e.direction = ?2 AND c.network = ?1 AND c.key > ?3
    GROUP BY c.key ORDER BY c.key LIMIT ?4";

pub(super) const FIND: &str = "SELECT max(id) FROM (SELECT id FROM events WHERE chat = ?1 AND source_id = ?2
    UNION ALL SELECT event FROM event_ids WHERE chat = ?1 AND value = ?2)";

pub(super) const DEPTH: &str = "SELECT c.network, e.direction, sum(e.waits), min(e.oldest), sum(e.dead)
    FROM (SELECT chat, direction, count(*) AS waits, min(committed) AS oldest, 0 AS dead
          FROM events INDEXED BY events_waiting_of_chat WHERE state = 0 GROUP BY chat, direction
          UNION ALL SELECT chat, direction, 0, NULL, count(*)
          FROM events INDEXED BY events_dead WHERE state = 2 GROUP BY chat, direction) e
    JOIN chats c ON c.id = e.chat GROUP BY c.network, e.direction ORDER BY c.network, e.direction";

pub(super) const LETTERS: &str = "SELECT e.id, c.network, e.direction, c.key, e.committed, e.condition, e.error, e.body
    FROM events e INDEXED BY events_dead JOIN chats c ON c.id = e.chat
    WHERE e.state = 2 AND e.id > ?2 AND (?1 IS NULL OR c.network = ?1) ORDER BY e.id LIMIT ?3";

/// What is added to the number of an inbox item to number its dead letter: those come behind all events, so that pages by
/// number meet each letter once.
const INBOX_LETTERS: i64 = 1_000_000_000_000_000;

pub(super) const SAID: &str = "SELECT max(id) FROM events INDEXED BY events_said
    WHERE chat = ?1 AND direction = ?2 AND id <= ?3 AND about IS NULL AND source_id IS NOT NULL";

pub(super) const WITHDRAW: &str = "UPDATE events SET archive = 0, body = CASE state WHEN 1 THEN NULL ELSE body END
    WHERE id IN (SELECT id FROM events INDEXED BY events_source WHERE chat = ?1 AND source_id = ?2 AND archive = 1
                 UNION ALL SELECT id FROM events INDEXED BY events_archive
                 WHERE archive = 1 AND chat = ?1 AND direction = ?3 AND about = ?2)";

const MESSAGE: &str = "e.id, e.direction, c.key, e.sender, e.source_id, e.reply_to, e.body, e.at, e.about";

impl Sqlite {
    pub(super) fn commit_batch(&mut self, batch: &NewBatch, now: Timestamp) -> Outcome<BatchResult> {
        let mut result = BatchResult::default();
        if let Some((network, name)) = &batch.once {
            let new = self
                .db
                .prepare_cached("INSERT INTO once (network, name, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                .execute((network, name, now.0))?;
            if new == 0 {
                result.repeated = true;
                return Ok(result);
            }
        }
        for event in &batch.events {
            let committed = self.insert_event(event, now, &mut result)?;
            result.events.push(committed);
        }
        for (network, raw) in &batch.inbox {
            self.db
                .prepare_cached("INSERT INTO inbox (network, at, raw) VALUES (?1, ?2, ?3)")?
                .execute((network, now.0, raw))?;
            result.inbox.push(InboxId(self.db.last_insert_rowid()));
        }
        if let Some(done) = batch.completes {
            self.db.prepare_cached("DELETE FROM inbox WHERE id = ?1")?.execute([done.0])?;
        }
        for (network, key, value) in &batch.puts {
            self.put_value(network, key, value.as_deref())?;
        }
        Ok(result)
    }

    pub(super) fn insert_event(
        &mut self,
        event: &NewEvent,
        now: Timestamp,
        result: &mut BatchResult,
    ) -> Outcome<Committed> {
        let by_user = event.direction == Direction::ToNetwork && event.consent == Consent::Given;
        let chat = self.chat(&event.network, &event.chat, by_user.then_some(now.0))?;
        let fate = self.fate(event, chat, now, result)?;
        let chat = chat.id;
        let new = self
            .db
            .prepare_cached(
                "INSERT INTO events (chat, direction, sender, dedupe, source_id, reply_to, archive, body, at, committed,
                     state, condition, about)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                 ON CONFLICT (chat, sender, dedupe) WHERE dedupe IS NOT NULL DO NOTHING",
            )?
            .execute(params![
                chat,
                event.direction as i64,
                event.sender,
                event.dedupe,
                event.ids.first(),
                event.reply_to,
                event.archive,
                (!matches!(fate, Fate::LeftOut)).then_some(&event.body),
                event.at.0,
                now.0,
                fate.state(),
                fate.reason().map(Reason::name),
                event.about
            ])?;
        if new == 0 {
            let (id, at) = self
                .db
                .prepare_cached("SELECT id, at FROM events WHERE chat = ?1 AND sender = ?2 AND dedupe = ?3")?
                .query_row(params![chat, event.sender, event.dedupe], |row| {
                    Ok((row.get(0)?, Timestamp(row.get(1)?)))
                })?;
            if event.dedupe_for.is_none_or(|window| event.at.since(at) <= window) {
                return Ok(Committed { id: EventId(id), duplicate: true });
            }
            // The other one is too long ago to be the same; from now on the key stands for this one.
            self.db.prepare_cached("UPDATE events SET dedupe = NULL WHERE id = ?1")?.execute([id])?;
            return self.insert_event(event, now, result);
        }
        let id = self.db.last_insert_rowid();
        for (part, value) in event.ids.iter().enumerate().skip(1) {
            self.db
                .prepare_cached("INSERT INTO event_ids (event, side, part, chat, value) VALUES (?1, 0, ?2, ?3, ?4)")?
                .execute(params![id, limit(part), chat, value])?;
        }
        if let Some(raw) = &event.original {
            self.db
                .prepare_cached("INSERT INTO originals (event, at, raw) VALUES (?1, ?2, ?3)")?
                .execute(params![id, now.0, raw])?;
        }
        self.follow(event, fate, now, result)?;
        Ok(Committed { id: EventId(id), duplicate: false })
    }

    pub(super) fn settle_all(
        &mut self,
        settled: &[Settle],
        then: &[NewEvent],
        now: Timestamp,
    ) -> Outcome<Vec<Committed>> {
        for outcome in settled {
            match outcome {
                Settle::Done { id, ids } => {
                    self.done(*id)?;
                    for (part, value) in ids.iter().enumerate() {
                        self.db
                            .prepare_cached(
                                "INSERT OR IGNORE INTO event_ids (event, side, part, chat, value)
                                 SELECT id, 1, ?2, chat, ?3 FROM events WHERE id = ?1",
                            )?
                            .execute(params![id.0, limit(part), value])?;
                    }
                }
                Settle::Retry { id, attempts, next_try, error, notices } => {
                    self.db
                        .prepare_cached(
                            "UPDATE events SET attempts = ?2, next_try = ?3, error = ?4, notices = ?5
                             WHERE id = ?1 AND state = 0",
                        )?
                        .execute(params![id.0, attempts, next_try.0, error, notices])?;
                }
                Settle::Dead { id, condition, error } => {
                    self.db
                        .prepare_cached(
                            "UPDATE events SET state = 2, condition = ?2, error = ?3 WHERE id = ?1 AND state = 0",
                        )?
                        .execute(params![id.0, condition.name(), error])?;
                }
                Settle::Seal { ids, bodies, gone } => {
                    for (id, body) in bodies {
                        self.db
                            .prepare_cached("UPDATE events SET body = ?2 WHERE id = ?1 AND state = 0")?
                            .execute(params![id.0, body])?;
                    }
                    for id in gone {
                        self.done(*id)?;
                    }
                    for id in ids {
                        self.db
                            .prepare_cached("UPDATE events SET batch = ?2 WHERE id = ?1 AND state = 0")?
                            .execute(params![id.0, ids.first().map(|first| first.0)])?;
                    }
                }
            }
        }
        then.iter().map(|event| self.insert_event(event, now, &mut BatchResult::default())).collect()
    }

    fn done(&mut self, id: EventId) -> Outcome<()> {
        self.db
            .prepare_cached(
                "UPDATE events SET state = 1, error = NULL, body = CASE archive WHEN 1 THEN body END
                 WHERE id = ?1 AND state = 0",
            )?
            .execute([id.0])?;
        Ok(())
    }

    pub(super) fn waiting(
        &mut self,
        network: &str,
        direction: Direction,
        chat: Option<&str>,
        after: Option<EventId>,
        most: usize,
    ) -> Outcome<Vec<Queued>> {
        let after = after.map_or(0, |id| id.0);
        let rows = match chat {
            None => self
                .db
                .prepare_cached(WAITING)?
                .query_map(params![network, direction as i64, after, limit(most)], queued)?
                .collect::<rusqlite::Result<_>>()?,
            Some(chat) => {
                let Some(chat) = self.known_chat(network, chat)? else { return Ok(Vec::new()) };
                self.db
                    .prepare_cached(WAITING_OF_CHAT)?
                    .query_map(params![chat, direction as i64, after, limit(most)], queued)?
                    .collect::<rusqlite::Result<_>>()?
            }
        };
        Ok(rows)
    }

    pub(super) fn lanes(
        &mut self,
        network: &str,
        direction: Direction,
        after: Option<&str>,
        most: usize,
    ) -> Outcome<Vec<PendingLane>> {
        let rows = self
            .db
            .prepare_cached(LANES)?
            .query_map(params![network, direction as i64, after.unwrap_or_default(), limit(most)], |row| {
                Ok(PendingLane {
                    chat: row.get(0)?,
                    first: EventId(row.get(1)?),
                    count: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    pub(super) fn message_by_id(&mut self, network: &str, chat: &str, id: &str) -> Outcome<Option<Message>> {
        let Some(chat) = self.known_chat(network, chat)? else { return Ok(None) };
        let found: Option<i64> = self.db.prepare_cached(FIND)?.query_row(params![chat, id], |row| row.get(0))?;
        match found {
            Some(id) => self.message_by_number(EventId(id)),
            None => Ok(None),
        }
    }

    pub(super) fn said(
        &mut self,
        network: &str,
        chat: &str,
        direction: Direction,
        up_to: EventId,
    ) -> Outcome<Option<Message>> {
        let Some(chat) = self.known_chat(network, chat)? else { return Ok(None) };
        let found: Option<i64> =
            self.db.prepare_cached(SAID)?.query_row(params![chat, direction as i64, up_to.0], |row| row.get(0))?;
        found.map_or(Ok(None), |id| self.message_by_number(EventId(id)))
    }

    pub(super) fn withdraw_from_archive(&mut self, network: &str, chat: &str, id: &str) -> Outcome<()> {
        if let Some(chat) = self.known_chat(network, chat)? {
            self.db.prepare_cached(WITHDRAW)?.execute(params![chat, id, Direction::ToXmpp as i64])?;
        }
        Ok(())
    }

    pub(super) fn message_by_number(&mut self, id: EventId) -> Outcome<Option<Message>> {
        let found = optional(
            self.db
                .prepare_cached(&format!(
                    "SELECT {MESSAGE} FROM events e JOIN chats c ON c.id = e.chat WHERE e.id = ?1"
                ))?
                .query_row([id.0], message),
        )?;
        found.map(|message| self.with_ids(message)).transpose()
    }

    fn with_ids(&mut self, mut message: Message) -> Outcome<Message> {
        let mut statement =
            self.db.prepare_cached("SELECT side, value FROM event_ids WHERE event = ?1 ORDER BY side, part")?;
        let mut rows = statement.query([message.id.0])?;
        while let Some(row) = rows.next()? {
            let value: String = row.get(1)?;
            match row.get::<_, i64>(0)? {
                0 => message.source_ids.push(value),
                _ => message.remote_ids.push(value),
            }
        }
        Ok(message)
    }

    pub(super) fn archived(
        &mut self,
        network: &str,
        chat: &str,
        direction: Direction,
        most: usize,
    ) -> Outcome<Vec<Message>> {
        let Some(chat) = self.known_chat(network, chat)? else { return Ok(Vec::new()) };
        let mut rows: Vec<Message> = self
            .db
            .prepare_cached(&format!(
                "SELECT {MESSAGE} FROM events e JOIN chats c ON c.id = e.chat
                 WHERE e.archive = 1 AND e.chat = ?1 AND e.direction = ?2 AND e.body IS NOT NULL
                 ORDER BY e.id DESC LIMIT ?3"
            ))?
            .query_map(params![chat, direction as i64, limit(most)], message)?
            .collect::<rusqlite::Result<_>>()?;
        rows.reverse();
        rows.into_iter().map(|message| self.with_ids(message)).collect()
    }

    pub(super) fn depths(&mut self) -> Outcome<Vec<QueueDepth>> {
        let rows = self
            .db
            .prepare_cached(DEPTH)?
            .query_map([], |row| {
                let count = |n: i64| u64::try_from(n).unwrap_or(0);
                Ok(QueueDepth {
                    network: row.get(0)?,
                    to_network: row.get::<_, i64>(1)? == Direction::ToNetwork as i64,
                    count: count(row.get(2)?),
                    oldest: row.get::<_, Option<i64>>(3)?.map(Timestamp),
                    dead: count(row.get(4)?),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(rows)
    }

    pub(super) fn letters(
        &mut self,
        network: Option<&str>,
        after: Option<i64>,
        most: usize,
    ) -> Outcome<Vec<DeadLetter>> {
        let mut rows: Vec<DeadLetter> = self
            .db
            .prepare_cached(LETTERS)?
            .query_map(params![network, after.unwrap_or(0), limit(most)], |row| {
                Ok(DeadLetter {
                    id: row.get(0)?,
                    network: row.get(1)?,
                    direction: Some(direction(row.get(2)?)),
                    chat: row.get(3)?,
                    at: Timestamp(row.get(4)?),
                    condition: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
                    error: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
                    body: row.get::<_, Option<Vec<u8>>>(7)?.unwrap_or_default(),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        if rows.len() < most {
            let more: Vec<DeadLetter> = self
                .db
                .prepare_cached(
                    "SELECT id, network, at, dead, raw FROM inbox
                     WHERE dead IS NOT NULL AND id > ?2 AND (?1 IS NULL OR network = ?1) ORDER BY id LIMIT ?3",
                )?
                .query_map(
                    params![network, after.unwrap_or(0).saturating_sub(INBOX_LETTERS), limit(most - rows.len())],
                    |row| {
                        Ok(DeadLetter {
                            id: row.get::<_, i64>(0)?.saturating_add(INBOX_LETTERS),
                            network: row.get(1)?,
                            direction: None,
                            chat: String::new(),
                            at: Timestamp(row.get(2)?),
                            condition: String::new(),
                            error: row.get(3)?,
                            body: row.get(4)?,
                        })
                    },
                )?
                .collect::<rusqlite::Result<_>>()?;
            rows.extend(more);
        }
        Ok(rows)
    }
}

fn queued(row: &Row<'_>) -> rusqlite::Result<Queued> {
    Ok(Queued {
        id: EventId(row.get(0)?),
        chat: row.get(1)?,
        body: row.get::<_, Option<Vec<u8>>>(2)?.unwrap_or_default(),
        at: Timestamp(row.get(3)?),
        committed: Timestamp(row.get(4)?),
        attempts: row.get(5)?,
        next_try: Timestamp(row.get(6)?),
        batch: row.get::<_, Option<i64>>(7)?.map(EventId),
        notices: row.get(8)?,
    })
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: EventId(row.get(0)?),
        direction: direction(row.get(1)?),
        chat: row.get(2)?,
        sender: row.get(3)?,
        source_ids: row.get::<_, Option<String>>(4)?.into_iter().collect(),
        remote_ids: Vec::new(),
        reply_to: row.get(5)?,
        body: row.get(6)?,
        at: Timestamp(row.get(7)?),
        about: row.get(8)?,
    })
}

fn direction(number: i64) -> Direction {
    if number == Direction::ToNetwork as i64 { Direction::ToNetwork } else { Direction::ToXmpp }
}
