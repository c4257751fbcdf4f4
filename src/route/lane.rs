//! Lanes to a network: one per chat, in order. A stuck chat stops no other.
//!
//! A feeder reads committed rows in the order of their numbers and hands each to the lane of its chat. A lane holds few
//! rows; what does not fit stays in the store and the lane reads it there when its turn comes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use portway_bridges::api::{Batch, EventId, Stop, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tracing::{debug, warn};

use super::deliver::{Delivery, Verdict};
use crate::store::{Direction, Queued, Store};

/// How many rows a lane holds in memory.
const LANE_ROWS: usize = 64;

/// How many lanes may be at work; further chats wait in the store.
const MAX_LANES: usize = 4096;

/// How many deliveries may run at the same time.
const PARALLEL: usize = 64;

/// How many rows the feeder reads at once.
const READ: usize = 512;

/// How long a file waits for further ones.
const FILES: Duration = Duration::from_secs(3);

/// How far behind a batch it is looked for what changes it, in rows of its chat.
const BEHIND: usize = 8192;

/// How long it is remembered that a user went away: longer than a line takes to its lane.
const LEFT: Duration = Duration::from_secs(30);

/// For how many chats such things are remembered at most; in a chat beyond that the usual silence is waited for.
const MAX_HINTS: usize = 4096;

/// How long a store that refuses is left alone before the next try.
const PAUSE: Duration = Duration::from_secs(1);

/// All lanes of one network.
pub struct Lanes {
    network: Arc<str>,
    store: Store,
    delivery: Delivery,
    lanes: Mutex<Map>,
    permits: Semaphore,
    committed: Notify,
    ended: Notify,
    stop: Stop,
}

#[derive(Default)]
struct Map {
    lanes: HashMap<String, Arc<Lane>>,
    /// What users do beside their lines, by chat. Not in the lane: a line may be on its way to its lane when they do it.
    hints: HashMap<String, Hint>,
    /// The newest row that was fed. A lane reads no row beyond it, so that no row is both read by a lane and fed to the
    /// next lane of the same chat.
    fed: Option<EventId>,
    /// Chats that are emptied on an admin's word.
    emptied: HashMap<String, Emptied>,
}

/// An admin's word about a chat: what was committed until then does not go out.
#[derive(Clone)]
struct Emptied {
    until: Timestamp,
    by: String,
}

/// What a user does beside their lines.
#[derive(Clone, Copy)]
struct Hint {
    /// When they went away.
    left: Option<Timestamp>,
    /// Until when they are taken to be still writing.
    writing_until: Option<Timestamp>,
}

impl Hint {
    fn matters(&self, now: Timestamp) -> bool {
        self.left.is_some_and(|left| now.since(left) < LEFT) || self.writing_until.is_some_and(|until| until > now)
    }
}

/// The rows of one chat that are in memory.
#[derive(Default)]
struct Lane {
    rows: Mutex<Rows>,
    arrived: Notify,
    /// What waits for its next try, or for further lines, goes out now.
    hurry: Notify,
}

#[derive(Default)]
struct Rows {
    queue: VecDeque<Queued>,
    /// The newest row that this lane has had in memory.
    last: Option<EventId>,
    /// Whether there are newer rows in the store.
    more: bool,
}

impl Lane {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Lanes {
    /// The lanes of a network, not yet running.
    pub fn new(network: Arc<str>, store: Store, delivery: Delivery, stop: Stop) -> Arc<Self> {
        Arc::new(Self {
            network,
            store,
            delivery,
            lanes: Mutex::default(),
            permits: Semaphore::new(PARALLEL),
            committed: Notify::new(),
            ended: Notify::new(),
            stop,
        })
    }

    /// Says that rows were committed.
    pub fn wake(&self) {
        self.committed.notify_one();
    }

    /// Says that the user is still writing in a chat, or (with `until` now) no longer: lines that wait for one another
    /// wait on.
    pub fn writing(&self, chat: &str, now: Timestamp, until: Timestamp) {
        self.hint(chat, now, Hint { left: None, writing_until: Some(until) });
    }

    /// Says that a line was sent in a chat: whoever was still writing is so until `until` at most.
    pub fn said(&self, chat: &str, now: Timestamp, until: Timestamp) {
        let writing = self.map().hints.get(chat).and_then(|hint| hint.writing_until);
        if let Some(writing) = writing {
            self.writing(chat, now, writing.min(until));
        }
    }

    /// Says that the user of a chat went away: what they said before waits for nothing more.
    pub fn left(&self, chat: &str, now: Timestamp) {
        self.hint(chat, now, Hint { left: Some(now), writing_until: None });
    }

    fn hint(&self, chat: &str, now: Timestamp, hint: Hint) {
        let mut map = self.map();
        map.hints.remove(chat);
        if map.hints.len() >= MAX_HINTS {
            map.hints.retain(|_, hint| hint.matters(now));
        }
        if hint.matters(now) && map.hints.len() < MAX_HINTS {
            map.hints.insert(chat.to_owned(), hint);
        }
        let lane = map.lanes.get(chat).cloned();
        drop(map);
        if let Some(lane) = lane {
            lane.arrived.notify_one();
        }
    }

    /// Sends now what waits in a chat for its next try, or for further lines. False where nothing of it is under way.
    pub fn hurry(&self, chat: &str) -> bool {
        let lane = self.map().lanes.get(chat).cloned();
        lane.inspect(|lane| lane.hurry.notify_one()).is_some()
    }

    /// Takes out of a chat what waits in it: each sender is told, and the events become dead letters with the name of
    /// whoever wanted it so. What the network is being given at this moment is not called back. False where too many chats
    /// are being emptied already.
    pub fn empty(&self, chat: &str, now: Timestamp, by: &str) -> bool {
        {
            let mut map = self.map();
            let Map { emptied, lanes, .. } = &mut *map;
            if emptied.len() >= MAX_HINTS {
                emptied.retain(|chat, _| lanes.contains_key(chat));
            }
            if map.emptied.len() >= MAX_HINTS && !map.emptied.contains_key(chat) {
                return false;
            }
            map.emptied.insert(chat.to_owned(), Emptied { until: now, by: by.to_owned() });
            if let Some(lane) = map.lanes.get(chat) {
                lane.arrived.notify_one();
                lane.hurry.notify_one();
            }
        }
        self.wake();
        true
    }

    /// Who has had these rows taken out. A row that came later ends it.
    fn emptied(&self, chat: &str, rows: &[Queued]) -> Option<String> {
        let mut map = self.map();
        let emptied = map.emptied.get(chat)?;
        if rows.first().is_some_and(|row| row.committed <= emptied.until) {
            return Some(emptied.by.clone());
        }
        map.emptied.remove(chat);
        None
    }

    /// Feeds the lanes until the stop signal, first with what was left by an earlier run.
    pub async fn run(self: Arc<Self>) {
        let mut cursor = None;
        loop {
            match self.store.pending(&self.network, Direction::ToNetwork, None, cursor, READ).await {
                Ok(rows) => {
                    let Some(last) = rows.last() else {
                        tokio::select! {
                            () = self.committed.notified() => continue,
                            () = self.stop.cancelled() => return,
                        }
                    };
                    cursor = Some(last.id);
                    for row in rows {
                        if !self.feed(row).await {
                            return;
                        }
                    }
                }
                Err(error) => {
                    warn!(network = %self.network, %error, "the queue cannot be read, trying again");
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = self.stop.cancelled() => return,
                    }
                }
            }
        }
    }

    /// Hands one row to its lane; starts the lane where there is none. False at the stop signal.
    async fn feed(self: &Arc<Self>, row: Queued) -> bool {
        loop {
            {
                let mut map = self.map();
                if let Some(lane) = map.lanes.get(&row.chat).cloned() {
                    map.fed = Some(row.id);
                    let mut rows = lane.rows();
                    if rows.more || rows.queue.len() >= LANE_ROWS {
                        rows.more = true;
                    } else if rows.last.is_none_or(|last| last < row.id) {
                        rows.last = Some(row.id);
                        rows.queue.push_back(row);
                    }
                    drop(rows);
                    lane.arrived.notify_one();
                    return true;
                }
                if map.lanes.len() < MAX_LANES {
                    map.fed = Some(row.id);
                    let lane = Arc::new(Lane::default());
                    let chat = row.chat.clone();
                    {
                        let mut rows = lane.rows();
                        rows.last = Some(row.id);
                        rows.queue.push_back(row);
                    }
                    map.lanes.insert(chat.clone(), lane.clone());
                    tokio::spawn(self.clone().work(chat, lane));
                    return true;
                }
            }
            tokio::select! {
                () = self.ended.notified() => {}
                () = self.stop.cancelled() => return false,
            }
        }
    }

    /// The life of a lane: deliver in order until nothing is left.
    async fn work(self: Arc<Self>, chat: String, lane: Arc<Lane>) {
        while !self.stop.is_cancelled() {
            let Some(first) = self.next(&chat, &lane).await else { break };
            let batch = match self.delivery.batch() {
                Some(batch) => self.collect(&chat, first, batch, &lane).await,
                None => vec![first],
            };
            if self.stop.is_cancelled() || (!batch.is_empty() && !self.deliver(batch, &chat, &lane).await) {
                break;
            }
        }
        let mut map = self.map();
        if map.lanes.get(&chat).is_some_and(|now| Arc::ptr_eq(now, &lane)) {
            map.lanes.remove(&chat);
        }
        drop(map);
        self.ended.notify_one();
    }

    /// The oldest row, from memory or from the store. `None` where there is none; the lane has then been taken out of
    /// the map in the same step, so that no row can slip in between.
    async fn next(&self, chat: &str, lane: &Arc<Lane>) -> Option<Queued> {
        loop {
            {
                let mut map = self.map();
                let mut rows = lane.rows();
                if let Some(row) = rows.queue.pop_front() {
                    return Some(row);
                }
                if !rows.more {
                    map.lanes.remove(chat);
                    map.emptied.remove(chat);
                    return None;
                }
            }
            if !self.refill(chat, lane).await {
                return None;
            }
        }
    }

    /// Reads rows for a lane that has none in memory and more in the store. False at the stop signal.
    async fn refill(&self, chat: &str, lane: &Arc<Lane>) -> bool {
        loop {
            let (after, until) = {
                let map = self.map();
                let mut rows = lane.rows();
                rows.more = false;
                (rows.last, map.fed)
            };
            match self.store.pending(&self.network, Direction::ToNetwork, Some(chat), after, LANE_ROWS).await {
                Ok(mut read) => {
                    let full = read.len() == LANE_ROWS;
                    read.retain(|row| until.is_some_and(|until| row.id <= until));
                    let mut rows = lane.rows();
                    // Rows that were fed while we read are newer than these, or the same.
                    let newest = read.last().map(|row| row.id);
                    let fed: Vec<Queued> =
                        rows.queue.drain(..).filter(|row| newest.is_none_or(|id| row.id > id)).collect();
                    rows.more |= full;
                    let more = rows.more;
                    rows.queue.extend(read);
                    if !more {
                        rows.queue.extend(fed);
                    }
                    // Not `rows.last`: the feeder may have moved it past rows that were just left out.
                    rows.last = rows.queue.back().map(|row| row.id).or(after);
                    return true;
                }
                Err(error) => {
                    warn!(network = %self.network, %error, "the queue cannot be read, trying again");
                    lane.rows().more = true;
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = self.stop.cancelled() => return false,
                    }
                }
            }
        }
    }

    /// Collects the lines that travel together, waiting for the silence after the last one. What is said of them meanwhile
    /// is worked in when the waiting ends. The batch is sealed in the store before it goes out, so that a retry after a crash
    /// sends the same lines under the same id. Empty where nothing is left to go out.
    async fn collect(&self, chat: &str, first: Queued, batch: Batch, lane: &Arc<Lane>) -> Vec<Queued> {
        if let Some(sealed) = first.batch {
            if sealed != first.id && self.delivery.spent(&first).await {
                // It went with the first of its batch.
                return Vec::new();
            }
            // What an earlier run sealed stays together and is not waited for.
            let Some(rest) = self.behind(chat, first.id).await else { return Vec::new() };
            return std::iter::once(first).chain(rest.into_iter().filter(|row| row.batch == Some(sealed))).collect();
        }
        if !self.delivery.is_line(&first) || first.attempts > 0 {
            return vec![first];
        }
        let mut spoken = first.committed;
        let mut rows = vec![first];
        // What was said of the lines: it stays in the store until the waiting ends.
        let mut changes = Vec::new();
        loop {
            let mut closed = self.emptied(chat, &rows).is_some();
            let mut other = None;
            let mut refill = false;
            {
                let mut held = lane.rows();
                while rows.len() < batch.max_lines && changes.len() < batch.max_lines && !closed {
                    let Some(row) = held.queue.front() else {
                        refill = held.more;
                        break;
                    };
                    if row.batch.is_none() && self.delivery.joins(&rows[0], row) {
                        spoken = row.committed;
                        rows.extend(held.queue.pop_front());
                    } else if let Some(order) =
                        self.delivery.changes(&rows, row).or(self.delivery.changes(&changes, row))
                    {
                        spoken = row.committed;
                        changes.extend(held.queue.pop_front());
                        closed = order;
                    } else {
                        other = Some(row.clone());
                        break;
                    }
                }
            }
            if refill {
                // There is more than fits into memory, which ends no waiting.
                if !self.refill(chat, lane).await {
                    return Vec::new();
                }
                continue;
            }
            if let Some(other) = other {
                if self.delivery.is_change(&other) && self.delivery.spent(&other).await {
                    // It was worked into an earlier batch after this copy had been read.
                    lane.rows().queue.pop_front();
                    continue;
                }
                closed = true;
            }
            let hint = self.map().hints.get(chat).copied();
            let writing = hint.and_then(|hint| hint.writing_until);
            closed |= hint
                .and_then(|hint| hint.left)
                .is_some_and(|left| rows.last().and_then(|row| self.delivery.said(row)) <= Some(left));
            let now = self.delivery.now();
            let latest = rows[0].committed.after(batch.max_wait);
            let due = if rows.last().is_some_and(|row| self.delivery.is_file(row)) {
                // A file ends the waiting, except for others that are sent in one go.
                spoken.after(batch.silence.min(FILES))
            } else {
                let silent = spoken.after(batch.silence);
                writing.map_or(silent, |until| silent.max(until))
            };
            let due = due.min(latest);
            let full = rows.len() >= batch.max_lines || changes.len() >= batch.max_lines;
            if closed || full || due <= now {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(due.since(now)) => {}
                () = lane.arrived.notified() => {}
                () = lane.hurry.notified() => break,
                () = self.stop.cancelled() => return Vec::new(),
            }
        }
        // What was committed up to here counts, whether this lane has been handed it or not: a retraction that is on disk
        // before its line leaves holds, whatever a crash makes of the memory.
        let Some(later) = self.behind(chat, rows[0].id).await else { return Vec::new() };
        let sealed = self.delivery.seal(rows, &later).await;
        let mut held = lane.rows();
        let left = changes.into_iter().filter(|row| !sealed.gone.contains(&row.id));
        for row in sealed.orders.into_iter().chain(left).rev() {
            held.queue.push_front(row);
        }
        sealed.lines
    }

    /// Everything that waits in a chat behind an event. `None` at the stop signal.
    async fn behind(&self, chat: &str, after: EventId) -> Option<Vec<Queued>> {
        let mut found: Vec<Queued> = Vec::new();
        loop {
            let last = found.last().map_or(after, |row| row.id);
            match self.store.pending(&self.network, Direction::ToNetwork, Some(chat), Some(last), READ).await {
                Ok(rows) => {
                    let full = rows.len() == READ && found.len() < BEHIND;
                    found.extend(rows);
                    if !full {
                        return Some(found);
                    }
                }
                Err(error) => {
                    warn!(network = %self.network, %error, "the queue cannot be read, trying again");
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = self.stop.cancelled() => return None,
                    }
                }
            }
        }
    }

    /// Delivers until it is settled. False at the stop signal.
    async fn deliver(&self, mut batch: Vec<Queued>, chat: &str, lane: &Lane) -> bool {
        loop {
            if let Some(by) = self.emptied(chat, &batch) {
                self.delivery.refuse(&batch, &by).await;
                return true;
            }
            let wait = batch[0].next_try.since(self.delivery.now());
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = lane.hurry.notified() => {
                        batch[0].next_try = self.delivery.now();
                        continue;
                    }
                    () = self.stop.cancelled() => return false,
                }
            }
            let verdict = {
                let _permit = tokio::select! {
                    permit = self.permits.acquire() => permit,
                    () = self.stop.cancelled() => return false,
                };
                tokio::select! {
                    verdict = self.delivery.deliver(&batch) => verdict,
                    () = self.stop.cancelled() => return false,
                }
            };
            match verdict {
                Verdict::Settled => return true,
                Verdict::Again { next_try, notices } => {
                    debug!(network = %self.network, event = %batch[0].id, attempt = batch[0].attempts + 1, "trying again later");
                    for row in &mut batch {
                        row.attempts += 1;
                        row.next_try = next_try;
                        row.notices = notices;
                    }
                }
            }
        }
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.lanes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
