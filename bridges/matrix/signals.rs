//! What the homeserver does not store: who is writing, who has read what, and how people are doing.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::warn;

use super::adapter::State;
use super::dm::Context;
use super::from_matrix::Event;
use super::ghost::nick_key;
use super::id::{self, percent};
use super::worker::{inbound, own_chat};
use crate::api::{Availability, Core, Inbound, ItemId, Kind, Stop, Submission, Target, Timestamp, Whereabouts};

/// How long the homeserver shows somebody as writing if it hears nothing else, in milliseconds.
const TIMEOUT: u64 = 30_000;

/// When it is told again.
const REFRESH: Duration = Duration::from_secs(20);

/// How long anybody is taken to write without a word of it, on either side.
const LONGEST: Duration = Duration::from_secs(180);

/// How often to look.
const TICK: Duration = Duration::from_secs(5);

/// How many people of one transaction are looked at.
const PEOPLE: usize = 200;

/// Passes on who has begun to write and who has stopped, and how people are doing.
pub async fn signals(state: &State, core: &Core, signals: &[Value]) {
    for signal in signals.iter().filter(|signal| signal["type"] == "m.presence").take(PEOPLE) {
        let Some(mxid) = signal["sender"].as_str().filter(|mxid| !state.ghosts.ours(mxid)) else { continue };
        if let (Some(person), Some(availability)) =
            (id::read_person(mxid), availability(&signal["content"], core.now()))
        {
            core.available(&person, availability);
        }
    }
    for signal in signals.iter().filter(|signal| signal["type"] == "m.typing") {
        let Some(room) = signal["room_id"].as_str() else { continue };
        let now: Vec<String> = signal["content"]["user_ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|user| user.as_str().filter(|user| !state.ghosts.ours(user)).map(str::to_owned))
            .take(50)
            .collect();
        writes(state, core, room, now).await;
    }
    let receipts = signals.iter().filter(|signal| signal["type"] == "m.receipt");
    let mut read = Vec::new();
    for (room, event, mxid) in receipts.flat_map(receipts_of).take(PEOPLE) {
        read.extend(displayed(state, core, room, event, mxid).await);
    }
    if !read.is_empty()
        && let Err(error) = core.submit(Submission { events: read, ..Submission::default() }).await
    {
        warn!(%error, "what was read cannot be stored");
    }
}

/// These people write in a room now, and nobody else does.
async fn writes(state: &State, core: &Core, room: &str, now: Vec<String>) {
    let Ok(Some(context)) = state.context(room).await else { return };
    let before = state.typing.get(room).map(|typing| typing.who).unwrap_or_default();
    if now.is_empty() {
        state.typing.remove(room);
    } else {
        state.typing.set(room.to_owned(), Typing { who: now.clone(), at: Instant::now() });
    }
    let begun = now.iter().filter(|user| !before.contains(user)).map(|user| (user, true));
    let ended = before.iter().filter(|user| !now.contains(user)).map(|user| (user, false));
    for (mxid, active) in begun.chain(ended) {
        let event = signalled(room, "m.typing", mxid, core);
        let Some(person) = id::read_person(mxid) else { continue };
        if let Some(inbound) = inbound(state, &context, &event, person, Kind::Typing { active }) {
            core.signal(Inbound { id: None, ..inbound });
        }
    }
}

/// What is signalled, as if it were an event.
fn signalled(room: &str, type_: &str, mxid: &str, core: &Core) -> Event {
    Event {
        event_id: String::new(),
        type_: type_.to_owned(),
        room_id: room.to_owned(),
        sender: mxid.to_owned(),
        origin_server_ts: core.now().0,
        state_key: None,
        content: Value::Null,
        redacts: None,
        unsigned: Value::Null,
    }
}

/// Who has read up to which event of which room (client-server API, section 11.6): public marks only.
fn receipts_of(signal: &Value) -> impl Iterator<Item = (&str, &str, &str)> {
    let room = signal["room_id"].as_str();
    let events = signal["content"].as_object().into_iter().flatten();
    events.flat_map(move |(event, marks)| {
        let readers = marks["m.read"].as_object().into_iter().flatten();
        readers.filter_map(move |(mxid, _)| Some((room?, event.as_str(), mxid.as_str())))
    })
}

/// Somebody has read up to an event of a chat of two. In rooms nobody is told: everybody reads there all the time.
async fn displayed(state: &State, core: &Core, room: &str, event: &str, mxid: &str) -> Option<Inbound> {
    if state.ghosts.ours(mxid) || event.len() > id::MAX {
        return None;
    }
    let context = state.context(room).await.ok()?.filter(|context| matches!(context, Context::Direct { .. }))?;
    let sender = id::read_person(mxid)?;
    let own = own_chat(core, &context, mxid, &sender).await;
    if own.is_none() && matches!(&context, Context::Direct { person, .. } if person != mxid) {
        return None;
    }
    let read = signalled(room, "m.receipt", mxid, core);
    let kind = Kind::Displayed { target: Target::by_id(event) };
    let inbound = inbound(state, &context, &read, sender, kind)?;
    let chat = own.unwrap_or_else(|| inbound.chat.clone());
    // Once for each event.
    Some(Inbound { id: Some(ItemId::new(&format!("read/{event}"))), chat, ..inbound })
}

/// A ghost that is shown as writing.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    /// Since when.
    since: Instant,
    /// When the homeserver was last told.
    told: Instant,
}

/// People who write in a room.
#[derive(Debug, Clone)]
pub struct Typing {
    who: Vec<String>,
    /// When the homeserver last said so.
    at: Instant,
}

/// What is to be done about a ghost that is shown as writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Nothing yet.
    Nothing,
    /// To tell the homeserver again, before it forgets.
    Again,
    /// To stop: XMPP says once that somebody writes, and a client that is gone says no more.
    Stop,
}

fn due(writing: Writing, now: Instant) -> Due {
    if now.duration_since(writing.since) >= LONGEST {
        Due::Stop
    } else if now.duration_since(writing.told) >= REFRESH {
        Due::Again
    } else {
        Due::Nothing
    }
}

/// Keeps what is said of writing true until the stop signal: what XMPP says once is said to the homeserver again and again,
/// and what the homeserver says nothing more of ends.
pub async fn keep(state: Arc<State>, core: Core, stop: Stop) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let now = Instant::now();
        for ((room, ghost), writing) in
            state.writing.find(|key| key.split_once(' ').map(|(room, ghost)| (room.to_owned(), ghost.to_owned())))
        {
            match due(writing, now) {
                Due::Nothing => {}
                Due::Again => state.write(&ghost, &room, true).await,
                Due::Stop => state.write(&ghost, &room, false).await,
            }
        }
        for (room, typing) in state.typing.find(|room| Some(room.clone())) {
            if now.duration_since(typing.at) >= LONGEST {
                writes(&state, &core, &room, Vec::new()).await;
            }
        }
    }
}

impl State {
    /// Shows a ghost as writing in a room, or not any more. Best effort.
    pub async fn write(&self, ghost: &str, room: &str, active: bool) {
        let key = nick_key(room, ghost);
        if active {
            let told = Instant::now();
            let since = self.writing.get(&key).map_or(told, |writing| writing.since);
            self.writing.set(key, Writing { since, told });
        } else {
            self.writing.remove(&key);
        }
        let path = format!("/_matrix/client/v3/rooms/{}/typing/{}", percent(room), percent(ghost));
        let body = if active { json!({ "typing": true, "timeout": TIMEOUT }) } else { json!({ "typing": false }) };
        let _ = self.client.request(Method::PUT, &path, Some(ghost), Some(&body)).await;
    }
}

/// How somebody is doing, as `m.presence` says it.
fn availability(content: &Value, now: Timestamp) -> Option<Availability> {
    let state = match content["presence"].as_str()? {
        "online" => Whereabouts::Here,
        "unavailable" => Whereabouts::Away,
        "offline" => Whereabouts::Gone,
        _ => return None,
    };
    let ago = content["last_active_ago"].as_i64().filter(|ago| *ago >= 0 && content["currently_active"] != true);
    let status = content["status_msg"].as_str().filter(|status| !status.trim().is_empty());
    Some(Availability {
        state,
        status: status.map(str::to_owned),
        idle_since: ago.map(|ago| Timestamp(now.0.saturating_sub(ago))),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writing_is_told_again_and_ends() {
        let begun = Instant::now();
        let writing = Writing { since: begun, told: begun };
        assert_eq!(due(writing, begun + Duration::from_secs(10)), Due::Nothing);
        assert_eq!(due(writing, begun + Duration::from_secs(20)), Due::Again);
        let told = Writing { told: begun + Duration::from_secs(170), ..writing };
        assert_eq!(due(told, begun + Duration::from_secs(175)), Due::Nothing);
        assert_eq!(due(told, begun + Duration::from_secs(180)), Due::Stop);
    }

    #[test]
    fn public_marks_of_reading_are_read() {
        let signal = json!({ "type": "m.receipt", "room_id": "!r", "content": {
            "$a": { "m.read": { "@x:y": { "ts": 1 }, "@z:y": { "ts": 2, "thread_id": "main" } } },
            "$b": { "m.read.private": { "@x:y": {} } },
            "$c": 5,
        } });
        assert_eq!(receipts_of(&signal).collect::<Vec<_>>(), [("!r", "$a", "@x:y"), ("!r", "$a", "@z:y")]);
        assert_eq!(receipts_of(&json!({ "content": { "$a": { "m.read": { "@x:y": {} } } } })).count(), 0);
    }

    #[test]
    fn presence_is_read() {
        let read = |content: Value| availability(&content, Timestamp(100_000));
        let away = json!({ "presence": "unavailable", "last_active_ago": 60_000, "status_msg": "tea" });
        let expected =
            Availability { state: Whereabouts::Away, status: Some("tea".into()), idle_since: Some(Timestamp(40_000)) };
        assert_eq!(read(away), Some(expected));
        let here = json!({ "presence": "online", "last_active_ago": 5, "currently_active": true, "status_msg": " " });
        assert_eq!(read(here), Some(Availability::default()));
        let gone = json!({ "presence": "offline", "last_active_ago": -1 });
        assert_eq!(read(gone), Some(Availability { state: Whereabouts::Gone, ..Availability::default() }));
        for rubbish in [json!({}), json!({ "presence": "dancing" }), json!({ "presence": 5 }), json!([1])] {
            assert_eq!(read(rubbish), None);
        }
    }
}
