//! The way to XMPP: one outbox per component, in the order of commit.
//!
//! XEP-0114 has no acknowledgements, so rows are done when a barrier behind their stanzas has come back
//! ([`Link::write`]). What a lost connection left uncovered is sent again, the very same stanzas in the same order. At
//! most [`WINDOW`] batches are on their way; everything else stays in the store.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use portway_bridges::api::{Chat, Condition, EventId, ItemId, Kind, Stop, Timestamp};
use tokio::sync::Notify;
use tracing::{error, warn};

use super::settler::Settler;
use super::{said, stored, targets};
use crate::clock::Clock;
use crate::observe::Metrics;
use crate::store::{Direction, Queued, Settle, Store};
use crate::xmpp::XmppSide;
use crate::xmpp::stanza::OutStanza;
use crate::xmpp::stream::{Link, Lost, Ticket};

/// How many batches are on their way at most.
const WINDOW: usize = 16;

/// How many rows one batch holds at most.
const BATCH: usize = 256;

/// How long a store that refuses is left alone before the next try.
const PAUSE: Duration = Duration::from_secs(1);

/// The way to XMPP of one component.
pub struct Outbox {
    /// The network's id.
    pub network: Arc<str>,
    /// The durable memory.
    pub store: Store,
    /// Where outcomes go.
    pub settler: Settler,
    /// The connection.
    pub link: Link,
    /// Who turns events into stanzas.
    pub side: Arc<dyn XmppSide>,
    /// Woken when rows were committed.
    pub committed: Arc<Notify>,
    /// The metrics.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// The signal to stop.
    pub stop: Stop,
}

/// An event on its way.
struct Row {
    id: EventId,
    committed: Timestamp,
}

/// Of the events that are on their way: the ids of their stanzas beyond their own, by which they are spoken of, too.
type Flying = HashMap<EventId, Vec<String>>;

/// How many ids of stanzas are remembered of one event.
const PARTS: usize = 64;

/// A batch on its way.
struct Sent {
    rows: Vec<Row>,
    stanzas: Vec<OutStanza>,
    ticket: Ticket,
}

impl Outbox {
    /// Sends until the stop signal, first what was left by an earlier run.
    pub async fn run(self) {
        let mut cursor = None;
        let mut flying = Flying::new();
        let mut sent: VecDeque<Sent> = VecDeque::new();
        let mut more = true;
        loop {
            if more && sent.len() < WINDOW {
                // Rendering needs the rooms as they are when the stanzas go out, so it waits for the connection.
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return,
                    _ = self.link.wait_up() => {}
                }
                match self.next(&mut cursor, &mut flying).await {
                    Some((rows, stanzas)) if rows.is_empty() && stanzas.is_empty() => more = false,
                    Some((rows, stanzas)) => {
                        let Some(ticket) = self.write(stanzas.clone()).await else { return };
                        sent.push_back(Sent { rows, stanzas, ticket });
                    }
                    None => tokio::time::sleep(PAUSE).await,
                }
                // Take what has come back meanwhile without waiting for it.
                while let Some(front) = sent.front_mut() {
                    match futures::FutureExt::now_or_never(&mut front.ticket) {
                        Some(Ok(())) => self.done(&mut sent, &mut flying).await,
                        Some(Err(lost)) => {
                            if !self.again(&mut sent, lost).await {
                                return;
                            }
                        }
                        None => break,
                    }
                }
                continue;
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                result = front(&mut sent), if !sent.is_empty() => match result {
                    Ok(()) => self.done(&mut sent, &mut flying).await,
                    Err(lost) => if !self.again(&mut sent, lost).await { return },
                },
                () = self.committed.notified(), if !more => more = true,
            }
        }
    }

    /// The next rows and their stanzas; empty where nothing waits, `None` where the store cannot be read.
    async fn next(&self, cursor: &mut Option<EventId>, flying: &mut Flying) -> Option<(Vec<Row>, Vec<OutStanza>)> {
        let rows = match self.store.pending(&self.network, Direction::ToXmpp, None, *cursor, BATCH).await {
            Ok(rows) => rows,
            Err(error) => {
                warn!(network = %self.network, %error, "the queue cannot be read, trying again");
                return None;
            }
        };
        let mut done = Vec::with_capacity(rows.len());
        let mut stanzas = Vec::with_capacity(rows.len());
        for row in rows {
            match self.render(&row, flying).await {
                Ok((rendered, parts)) => {
                    stanzas.extend(rendered);
                    done.push(Row { id: row.id, committed: row.committed });
                    if !parts.is_empty() {
                        flying.insert(row.id, parts);
                    }
                }
                Err(error) => {
                    error!(network = %self.network, event = %row.id, %error, "an event cannot be rendered");
                    self.metrics.dead(&self.network, Direction::ToXmpp);
                    let outcome = Settle::Dead { id: row.id, condition: Condition::InternalServerError, error };
                    self.settler.settle(outcome, Vec::new()).await;
                }
            }
            *cursor = Some(row.id);
        }
        Some((done, stanzas))
    }

    /// The stanzas of an event, and the ids of those that it is known by beside its own.
    async fn render(&self, row: &Queued, flying: &Flying) -> Result<(Vec<OutStanza>, Vec<String>), String> {
        if let Some(said) = said::read(&row.body) {
            return Ok((self.side.say(row.id, &said), Vec::new()));
        }
        let mut item = stored::read(&row.body).map_err(|error| error.to_string())?;
        if targets::has(&item.kind) {
            self.settler.flush().await;
            targets::for_xmpp(&self.store, &self.network, &mut item).await.map_err(|error| error.to_string())?;
            for target in targets::of(&mut item.kind) {
                if let Some(parts) = target.event.and_then(|event| flying.get(&event)) {
                    target.parts = parts.iter().map(|part| ItemId::new(part)).collect();
                }
            }
        }
        if let (Chat::Room(_), Kind::Retract { target } | Kind::Moderate { target, .. }) = (&item.chat, &item.kind)
            && let Some(id) = &target.id
        {
            let withdrawn = self.store.withdraw(&self.network, &row.chat, id.as_str()).await;
            withdrawn.map_err(|error| error.to_string())?;
        }
        // A panic in rendering must cost this event only.
        let stanzas = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.side.render(row.id, &item)))
            .map_err(|_| "rendering panicked; this is a bug".to_owned())?;
        let mut parts = Vec::new();
        if matches!(item.kind, Kind::Text(_) | Kind::Edit { .. } | Kind::File(_) | Kind::Location { .. }) {
            for id in stanzas.iter().filter_map(OutStanza::message_id) {
                let known = [&item.meta.remote_id, &item.meta.id].iter().any(|known| known.as_deref() == Some(id));
                if !known && parts.len() < PARTS && !parts.iter().any(|part| part == id) {
                    parts.push(id.to_owned());
                }
            }
        }
        Ok((stanzas, parts))
    }

    /// Writes a batch; `None` at the stop signal.
    async fn write(&self, stanzas: Vec<OutStanza>) -> Option<Ticket> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            ticket = self.link.write(stanzas) => Some(ticket),
        }
    }

    /// The oldest batch has arrived.
    async fn done(&self, sent: &mut VecDeque<Sent>, flying: &mut Flying) {
        let Some(batch) = sent.pop_front() else { return };
        let now = self.clock.now();
        for Row { id, committed } in batch.rows {
            let parts = flying.remove(&id).unwrap_or_default();
            self.metrics.delivered(&self.network, Direction::ToXmpp, now.since(committed));
            self.settler.settle(Settle::Done { id, ids: parts }, Vec::new()).await;
        }
    }

    /// Sends again, in order, everything that no barrier covers. False at the stop signal.
    async fn again(&self, sent: &mut VecDeque<Sent>, lost: Lost) -> bool {
        if let Lost::TooBig { index } = lost {
            // The stanza would have been cut by the server together with the stream: it is left out, not retried.
            if let Some(front) = sent.front_mut()
                && index < front.stanzas.len()
            {
                error!(network = %self.network, "a stanza over the ceiling was left out; this is a bug");
                self.metrics.lost(&self.network, "stanza-too-big");
                front.stanzas.remove(index);
            }
        }
        // A batch that was refused whole is written anew; those behind it are on their way. A broken connection loses all.
        let lost = if matches!(lost, Lost::TooBig { .. }) { 1 } else { sent.len() };
        for batch in sent.iter_mut().take(lost) {
            let Some(ticket) = self.write(batch.stanzas.clone()).await else { return false };
            batch.ticket = ticket;
        }
        true
    }
}

/// The ticket of the oldest batch.
async fn front(sent: &mut VecDeque<Sent>) -> Result<(), Lost> {
    match sent.front_mut() {
        Some(batch) => (&mut batch.ticket).await,
        None => std::future::pending().await,
    }
}
