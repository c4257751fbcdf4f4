//! Commands about the queue: what waits, and what could not be delivered.

use std::sync::Arc;

use portway_bridges::api::{Condition, EventId, Sentence};

use super::form::{Field, Form};
use super::table::{Call, Step};
use crate::route::{event, stored};
use crate::store::{DeadLetter, Direction, PendingLane, Store, StoreError};

/// How many are listed at a time.
const SHOWN: usize = 30;

/// How many are read at a time where one is looked for.
const PAGE: usize = 500;

type Outcome = Result<Step, StoreError>;

fn actions() -> Field {
    let action = |name: &str| (name.to_owned(), Sentence::new(&format!("command.action-{name}")));
    Field::choice("action", Sentence::new("command.field-action"), ["list", "retry", "drop"].map(action).to_vec())
}

/// How much waits, and where the most of it does; tries a chat now, or takes what waits in it out of the queue.
pub async fn queue(call: Call) -> Outcome {
    if call.answered.is_empty() {
        let chat = Field::text("chat", Sentence::new("command.field-chat")).optional();
        return Ok(Step::Ask(Form::new("command.title-queue").field(actions()).field(chat)));
    }
    let (house, typed) = (&call.house, call.answer("chat"));
    let order = match call.answer("action") {
        "retry" => Order::Retry,
        "drop" => Order::Drop,
        _ => return waiting(&call).await,
    };
    if typed.is_empty() {
        return Step::again(Sentence::new("command.which-chat"));
    }
    let Some(lane) = lane(&call, typed).await? else {
        let sentence = Sentence::new("command.no-such-chat").with("chat", typed);
        return Ok(Step::Refuse(Condition::ItemNotFound, sentence));
    };
    let said = match order {
        Order::Retry if house.router.hurry(&lane.chat) => Sentence::new("command.queue-hurried"),
        // Nothing of it is under way, so nothing waits for its next try either.
        Order::Retry => Sentence::new("command.queue-not-stuck"),
        Order::Drop if house.router.empty(&lane.chat, &call.user.to_string()) => Sentence::new("command.queue-emptied"),
        Order::Drop => return Ok(Step::Refuse(Condition::ResourceConstraint, Sentence::new("command.busy"))),
    };
    Step::done(said.with("chat", lane.chat).with("count", lane.count.to_string()))
}

/// The chat that is meant in which something waits on its way to the network: by its key, or by the number of its first event.
async fn lane(call: &Call, typed: &str) -> Result<Option<PendingLane>, StoreError> {
    let (house, number) = (&call.house, typed.parse::<i64>().ok().map(EventId));
    let mut after: Option<String> = None;
    loop {
        let page = house.store.pending_lanes(&house.network, Direction::ToNetwork, after.as_deref(), PAGE).await?;
        after = page.last().filter(|_| page.len() == PAGE).map(|lane| lane.chat.clone());
        if let Some(found) = page.into_iter().find(|lane| lane.chat == typed || Some(lane.first) == number) {
            return Ok(Some(found));
        }
        if after.is_none() {
            return Ok(None);
        }
    }
}

async fn waiting(call: &Call) -> Outcome {
    let house = &call.house;
    let now = house.clock.now();
    let mut notes = Vec::new();
    for depth in house.store.depth().await?.into_iter().filter(|depth| depth.network == *house.network) {
        let age = depth.oldest.map_or(0, |oldest| now.since(oldest).as_secs());
        let sentence = match depth.to_network {
            true => Sentence::new("command.queue-out"),
            false => Sentence::new("command.queue-in"),
        };
        notes.push(
            sentence
                .with("count", depth.count.to_string())
                .with("age", age.to_string())
                .with("dead", depth.dead.to_string()),
        );
    }
    for lane in house.store.pending_lanes(&house.network, Direction::ToNetwork, None, SHOWN).await? {
        notes.push(
            Sentence::new("command.queue-lane")
                .with("chat", lane.chat)
                .with("count", lane.count.to_string())
                .with("first", lane.first.to_string()),
        );
    }
    if notes.is_empty() {
        notes.push(Sentence::new("command.queue-empty"));
    }
    Ok(Step::Done(notes))
}

/// What to do with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Queue it again.
    Retry,
    /// Take it out of the list.
    Drop,
}

/// Queues a dead letter again, behind what waits in its chat, or drops it. Says whether there was one that can be: what was
/// never understood cannot. Whoever takes the way to the network must be woken.
///
/// # Errors
/// [`StoreError`].
pub async fn end_letter(store: &Store, network: &str, id: i64, order: Order) -> Result<bool, StoreError> {
    let found = store.dead_letters(Some(network), Some(id.saturating_sub(1)), 1).await?;
    let Some(letter) = found.into_iter().find(|letter| letter.id == id) else { return Ok(false) };
    let instead = match order {
        Order::Drop => None,
        Order::Retry => match again(network, &letter) {
            Some(event) => Some(event),
            None => return Ok(false),
        },
    };
    store.end_letter(EventId(id), instead).await
}

fn again(network: &str, letter: &DeadLetter) -> Option<crate::store::NewEvent> {
    if letter.direction != Some(Direction::ToNetwork) {
        return None;
    }
    let item = stored::read(&letter.body).ok()?;
    let mut event = event::to_network(&Arc::from(network), &item);
    // It is the same message on purpose.
    event.dedupe = None;
    Some(event)
}

/// Lists dead letters, queues one again, or drops it.
pub async fn dead_letters(call: Call) -> Outcome {
    let house = &call.house;
    if call.answered.is_empty() {
        let form = Form::new("command.title-dead-letters")
            .field(actions())
            .field(Field::text("number", Sentence::new("command.field-number")).optional());
        return Ok(Step::Ask(form));
    }
    let number: Option<i64> = call.answer("number").parse().ok();
    let order = match call.answer("action") {
        "retry" => Order::Retry,
        "drop" => Order::Drop,
        _ => {
            let letters = house.store.dead_letters(Some(&house.network), number, SHOWN).await?;
            if letters.is_empty() {
                return Step::done(Sentence::new("command.no-letters"));
            }
            return Ok(Step::Done(letters.into_iter().map(line).collect()));
        }
    };
    let Some(number) = number else { return Step::again(Sentence::new("command.which-number")) };
    if !end_letter(&house.store, &house.network, number, order).await? {
        return Ok(Step::Refuse(
            Condition::ItemNotFound,
            Sentence::new("command.no-such-letter").with("number", number.to_string()),
        ));
    }
    house.router.wake();
    Step::done(Sentence::new("command.letter-done").with("number", number.to_string()))
}

fn line(letter: DeadLetter) -> Sentence {
    Sentence::new("command.letter")
        .with("number", letter.id.to_string())
        .with("chat", letter.chat)
        .with("condition", letter.condition)
        .with("why", letter.error)
}
