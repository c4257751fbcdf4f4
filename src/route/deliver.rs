//! One delivery to a network: look up what the event speaks of, put into words what the network has no form for, hand it
//! over, and write down what became of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use portway_bridges::api::{
    Adapter, Batch, Capabilities, Chat, Condition, Descriptor, EventId, Failure, Kind, Outbound, Receipt, Sentence,
    Style, Timestamp,
};
use tracing::{debug, error, info};

use super::degrade::degrade;
use super::item::{Item, Speaker};
use super::settler::Settler;
use super::{event, stored, targets, undo};
use crate::clock::Clock;
use crate::observe::Metrics;
use crate::store::{Direction, NewEvent, Queued, Settle, Store};
use crate::text::Catalogue;

/// What a delivery needs. Cheap to clone.
#[derive(Clone)]
pub struct Delivery(Arc<Parts>);

/// The parts of [`Delivery`].
pub struct Parts {
    /// The network's id.
    pub network: Arc<str>,
    /// What the network calls itself, and its schedule of retries.
    pub descriptor: Descriptor,
    /// The network.
    pub adapter: Arc<dyn Adapter>,
    /// The durable memory.
    pub store: Store,
    /// Where outcomes go.
    pub settler: Settler,
    /// The sentences.
    pub texts: Arc<Catalogue>,
    /// The metrics.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
}

/// What has become of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has arrived, or it never will and its sender hears of it.
    Settled,
    /// The same again, not before `next_try`.
    Again {
        /// Not before.
        next_try: Timestamp,
        /// How many notices the sender has had.
        notices: u32,
    },
}

/// What became of lines that waited.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed {
    /// These go out together.
    pub lines: Vec<Queued>,
    /// These were corrected into orders to the adapter, and go alone.
    pub orders: Vec<Queued>,
    /// These are done.
    pub gone: Vec<EventId>,
}

impl Delivery {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Whether consecutive lines travel together on this network.
    #[must_use]
    pub fn batch(&self) -> Option<Batch> {
        self.0.adapter.capabilities(None).batch.filter(|batch| !batch.silence.is_zero())
    }

    /// Whether a row is a line that may wait for others.
    #[must_use]
    pub fn is_line(&self, row: &Queued) -> bool {
        stored::read(&row.body).is_ok_and(|item| self.line(&item))
    }

    /// Whether a row is a file.
    #[must_use]
    pub fn is_file(&self, row: &Queued) -> bool {
        stored::read(&row.body).is_ok_and(|item| matches!(item.kind, Kind::File(_)))
    }

    /// When the line was said, by our clock.
    #[must_use]
    pub fn said(&self, row: &Queued) -> Option<Timestamp> {
        stored::read(&row.body).ok().map(|item| item.at)
    }

    /// Whether a row may travel with an earlier line: it is a line of the same user and brings no subject of its own.
    #[must_use]
    pub fn joins(&self, first: &Queued, row: &Queued) -> bool {
        let (Ok(first), Ok(row)) = (stored::read(&first.body), stored::read(&row.body)) else { return false };
        let fresh = match &row.kind {
            Kind::Text(text) => text.subject.is_none() && text.reply.is_none(),
            Kind::File(file) => file.reply.is_none(),
            Kind::Reaction { .. } => true,
            _ => false,
        };
        fresh && self.line(&row) && speaker(&first) == speaker(&row)
    }

    /// Whether a row corrects or takes back another message.
    #[must_use]
    pub fn is_change(&self, row: &Queued) -> bool {
        stored::read(&row.body).is_ok_and(|item| undo::is_change(&item))
    }

    /// Whether a row corrects or takes back one of these lines, or a correction of them. `Some(true)` where the line becomes
    /// an order by it, for which nothing waits.
    #[must_use]
    pub fn changes(&self, lines: &[Queued], row: &Queued) -> Option<bool> {
        let item = stored::read(&row.body).ok().filter(|item| undo::belongs(item, lines))?;
        Some(
            matches!(&item.kind, Kind::Edit { new, .. } if !self.line(&Item { kind: Kind::Text(new.clone()), ..item.clone() })),
        )
    }

    /// Whether a row that was read earlier does not wait any more.
    pub async fn spent(&self, row: &Queued) -> bool {
        let before = Some(EventId(row.id.0 - 1));
        let parts = &self.0;
        parts.settler.flush().await;
        let found = parts.store.pending(&parts.network, Direction::ToNetwork, Some(&row.chat), before, 1).await;
        // Where the store cannot be read it is taken to wait: to deliver again is the lesser evil.
        found.is_ok_and(|rows| rows.first().is_none_or(|first| first.id != row.id))
    }

    /// Whether a row was worked into what it speaks of after this copy of it was read.
    async fn worked_in(&self, row: &Queued, item: &Item) -> bool {
        undo::is_change(item) && self.0.adapter.capabilities(Some(&item.chat)).batch.is_some() && self.spent(row).await
    }

    /// Ends the time in which lines can be changed: what waits behind them (`later`) and speaks of them is worked in, and
    /// written down in one step together with the fact that the rest travels as one item. Returns, when that is on disk,
    /// what became of them.
    pub async fn seal(&self, lines: Vec<Queued>, later: &[Queued]) -> Sealed {
        let parts = &self.0;
        let closed = undo::close(lines, later);
        let then = closed.retractions.iter().flat_map(|item| event::accepted(&parts.network, item, None)).collect();
        let (lines, orders): (Vec<Queued>, Vec<Queued>) = closed.lines.into_iter().partition(|row| self.is_line(row));
        let outcome = Settle::Seal {
            ids: lines.iter().map(|row| row.id).collect(),
            bodies: closed.bodies,
            gone: closed.gone.clone(),
        };
        parts.settler.settle(outcome, then).await;
        parts.settler.flush().await;
        Sealed { lines, orders, gone: closed.gone }
    }

    /// Delivers rows of one chat: one, or a batch of lines.
    pub async fn deliver(&self, rows: &[Queued]) -> Verdict {
        let Some(first) = rows.first() else { return Verdict::Settled };
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            match stored::read(&row.body) {
                Ok(item) => items.push((row, item)),
                Err(error) => self.bury(row.id, Condition::InternalServerError, &error.to_string(), Vec::new()).await,
            }
        }
        let mut out = Vec::with_capacity(items.len());
        let mut carried = Vec::with_capacity(items.len());
        for (row, item) in items {
            match self.prepare(row, &item).await {
                Ok(Some(outbound)) => {
                    out.push(outbound);
                    carried.push((row, item));
                }
                Ok(None) => self.0.settler.settle(Settle::Done { id: row.id, ids: Vec::new() }, Vec::new()).await,
                Err(failure) => return self.failed(first, &[(row, item)], failure).await,
            }
        }
        if out.is_empty() {
            return Verdict::Settled;
        }
        let result = AssertUnwindSafe(self.0.adapter.deliver(&out)).catch_unwind().await.unwrap_or_else(|_| {
            error!(network = %self.0.network, event = %first.id, "the adapter panicked; this is a bug");
            Err(Failure::temporary("the adapter panicked"))
        });
        match result {
            Ok(receipt) => {
                self.accepted(&carried, &receipt).await;
                Verdict::Settled
            }
            Err(failure) => self.failed(first, &carried, failure).await,
        }
    }

    /// Does not deliver rows, because an admin wants it so: their senders are told, and they become dead letters.
    pub async fn refuse(&self, rows: &[Queued], by: &str) {
        let Some(first) = rows.first() else { return };
        let sentence = Sentence::new("core.dropped").with("network", self.0.descriptor.name);
        for row in rows {
            match stored::read(&row.body) {
                // It was worked into what it speaks of after this copy was read, and nothing of it is left to take out.
                Ok(item) if self.worked_in(row, &item).await => {}
                Ok(item) => {
                    let why = format!("taken out of the queue by {by}");
                    let failure = Failure::permanent(Condition::ServiceUnavailable, sentence.clone(), why);
                    self.failed(first, &[(row, item)], failure).await;
                }
                Err(error) => self.bury(row.id, Condition::InternalServerError, &error.to_string(), Vec::new()).await,
            }
        }
    }

    /// What the adapter is given. `None` where nothing is left to carry.
    async fn prepare(&self, row: &Queued, item: &Item) -> Result<Option<Outbound>, Failure> {
        let parts = &self.0;
        let mut kind = item.kind.clone();
        if targets::has(&kind) {
            // What it speaks of may have been delivered a moment ago.
            parts.settler.flush().await;
            targets::for_network(&parts.store, &parts.network, item, &mut kind)
                .await
                .map_err(|error| Failure::temporary(error.to_string()))?;
        }
        if let Kind::Retract { target } = &kind
            && target.by.is_some()
            && !targets::is_own(item, target)
        {
            let sentence = Sentence::new("core.not-yours");
            return Err(Failure::permanent(Condition::Forbidden, sentence, "a message of another"));
        }
        let can: Capabilities = parts.adapter.capabilities(Some(&item.chat));
        if self.worked_in(row, item).await {
            return Ok(None);
        }
        if let Kind::Retract { target } = &kind
            && !can.retract
        {
            if target.event.is_some() && target.id.is_none() {
                // It never arrived there, which its sender has heard.
                return Ok(None);
            }
            let sentence = Sentence::new("core.cannot-retract").with("network", parts.descriptor.name);
            // Nothing failed that an admin could mend: it is no dead letter.
            parts.metrics.lost(&parts.network, "retraction");
            let told = self.told(row, item, Condition::PolicyViolation, &sentence);
            parts.settler.settle(Settle::Done { id: row.id, ids: Vec::new() }, told).await;
            return Ok(None);
        }
        let say = |sentence: &Sentence| parts.texts.text(sentence, item.meta.lang.as_deref());
        let (kind, loss) = degrade(kind, &can, &say);
        if let Some(loss) = loss
            && row.attempts == 0
        {
            parts.metrics.lost(&parts.network, loss);
        }
        let (user, name) = match (&item.speaker, &item.chat) {
            (Speaker::User { id, name }, _) => (id.clone(), name.clone()),
            // What the gateway itself says in a chat of two, it says through the user's ghost.
            (_, Chat::Direct { user, .. }) => (user.clone(), None),
            (_, Chat::Room(_)) => return Ok(None),
        };
        Ok(kind.map(|kind| Outbound {
            id: row.id,
            chat: item.chat.clone(),
            user,
            name,
            at: item.at,
            kind,
            attempt: row.attempts,
        }))
    }

    async fn accepted(&self, carried: &[(&Queued, Item)], receipt: &Receipt) {
        let parts = &self.0;
        let now = parts.clock.now();
        for (row, item) in carried {
            let ids: Vec<String> = receipt.ids.iter().map(ToString::to_string).collect();
            let then = event::accepted(&parts.network, item, ids.first().map(String::as_str));
            parts.metrics.delivered(&parts.network, Direction::ToNetwork, now.since(row.committed));
            parts.settler.settle(Settle::Done { id: row.id, ids }, then).await;
        }
    }

    async fn failed(&self, first: &Queued, carried: &[(&Queued, Item)], failure: Failure) -> Verdict {
        let parts = &self.0;
        let now = parts.clock.now();
        match failure {
            Failure::Permanent { condition, sentence, detail } => {
                info!(network = %parts.network, event = %first.id, %condition, detail, "not delivered");
                for (row, item) in carried {
                    let told = self.told(row, item, condition, &sentence);
                    self.bury(row.id, condition, &detail, told).await;
                }
                Verdict::Settled
            }
            Failure::Temporary { condition, detail, .. } if now.since(first.committed) >= parts.descriptor.give_up => {
                info!(network = %parts.network, event = %first.id, detail, "given up");
                let sentence = Sentence::new("core.given-up").with("network", parts.descriptor.name);
                for (row, item) in carried {
                    let told = self.told(row, item, condition, &sentence);
                    self.bury(row.id, condition, &detail, told).await;
                }
                Verdict::Settled
            }
            Failure::Temporary { retry_after, condition, detail } => {
                let attempts = first.attempts + 1;
                let wait = retry_after.unwrap_or_else(|| self.wait(attempts)).max(Duration::from_millis(50));
                let next_try = now.after(wait);
                debug!(network = %parts.network, event = %first.id, attempts, ?wait, detail, "not delivered for now");
                parts.metrics.retried(&parts.network, Direction::ToNetwork);
                let waited = now.since(first.committed);
                let due = parts.descriptor.notices.iter().filter(|after| waited >= **after).count();
                let notices = u32::try_from(due).unwrap_or(u32::MAX).max(first.notices);
                for (n, (row, item)) in carried.iter().enumerate() {
                    let outcome = Settle::Retry { id: row.id, attempts, next_try, error: detail.clone(), notices };
                    let sentence = Sentence::new("core.still-trying").with("network", parts.descriptor.name);
                    let due = (n == 0 && notices > first.notices).then_some(&sentence);
                    let told = due
                        .filter(|_| wants_to_hear(item))
                        .map(|due| event::failed(&parts.network, row.id, item, condition, due.clone(), true));
                    parts.settler.settle(outcome, told.into_iter().collect()).await;
                }
                Verdict::Again { next_try, notices }
            }
        }
    }

    /// What the sender of an item that failed for good hears.
    fn told(&self, row: &Queued, item: &Item, condition: Condition, sentence: &Sentence) -> Vec<NewEvent> {
        if !wants_to_hear(item) {
            return Vec::new();
        }
        let (network, id, now) = (&self.0.network, row.id, self.0.clock.now());
        let mut told = vec![event::failed(network, id, item, condition, sentence.clone(), false)];
        told.extend(event::failed_correction(network, id, item, condition, sentence.clone(), now));
        if matches!(item.kind, Kind::Retract { .. }) {
            // Clients show no error of something that they do not show.
            told.push(event::failed_in_words(network, id, item, condition, sentence.clone()));
        }
        told
    }

    async fn bury(&self, id: EventId, condition: Condition, error: &str, told: Vec<NewEvent>) {
        self.0.metrics.dead(&self.0.network, Direction::ToNetwork);
        let outcome = Settle::Dead { id, condition, error: error.to_owned() };
        self.0.settler.settle(outcome, told).await;
    }

    /// Whether an item is a line of chat that may travel with others: no order to the adapter, and nothing that the
    /// gateway put into words.
    fn line(&self, item: &Item) -> bool {
        let orders = self.0.adapter.capabilities(None).batch.map_or(&[][..], |batch| batch.orders);
        match &item.kind {
            Kind::Text(text) => text.style != Style::Notice && !orders.contains(&text.body.trim()),
            // What may fail by itself goes alone: a link to an encrypted file is no way out.
            Kind::File(file) => {
                let link = file.url.as_ref().is_some_and(|url| url.starts_with("https:") || url.starts_with("http:"));
                link && self.0.adapter.capabilities(Some(&item.chat)).file
            }
            // In words it is a line like others, and not worth an item of its own.
            Kind::Reaction { .. } => !self.0.adapter.capabilities(Some(&item.chat)).reaction,
            _ => false,
        }
    }

    /// How long to wait before the given try: the network's own schedule, spread by a fifth either way so that many
    /// chats do not come back in one instant.
    fn wait(&self, attempts: u32) -> Duration {
        let schedule = self.0.descriptor.retry;
        let index = usize::try_from(attempts - 1).unwrap_or(usize::MAX).min(schedule.len().saturating_sub(1));
        let mut wait = schedule.get(index).copied().unwrap_or(Duration::from_secs(30));
        if let (Some(first), Some(usual)) = (self.0.adapter.first_retry(), schedule.first())
            && !usual.is_zero()
        {
            wait = wait.mul_f64(first.as_secs_f64() / usual.as_secs_f64());
        }
        wait.mul_f64(0.8 + 0.4 * rand::random::<f64>())
    }
}

/// Whether the sender of an item hears of its failure. Not where they said nothing: that they have read something.
fn wants_to_hear(item: &Item) -> bool {
    !matches!(item.kind, Kind::Displayed { .. })
}

fn speaker(item: &Item) -> Option<&portway_bridges::api::UserId> {
    match &item.speaker {
        Speaker::User { id, .. } => Some(id),
        _ => None,
    }
}
