//! What is not stored: who is writing, and how people are doing.

use serde_json::Value;

use super::adapter::State;
use super::from_matrix::Event;
use super::id;
use super::worker::inbound;
use crate::api::{Availability, Core, Inbound, Kind, Timestamp, Whereabouts};

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
        let Ok(Some(context)) = state.context(room).await else { continue };
        let now: Vec<String> = signal["content"]["user_ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|user| user.as_str().filter(|user| !state.ghosts.ours(user)).map(str::to_owned))
            .take(50)
            .collect();
        let before = state.typing.get(room).unwrap_or_default();
        state.typing.set(room.to_owned(), now.clone());
        let begun = now.iter().filter(|user| !before.contains(user)).map(|user| (user, true));
        let ended = before.iter().filter(|user| !now.contains(user)).map(|user| (user, false));
        for (mxid, active) in begun.chain(ended) {
            let Some(person) = id::read_person(mxid) else { continue };
            let event = Event {
                event_id: String::new(),
                type_: "m.typing".to_owned(),
                room_id: room.to_owned(),
                sender: mxid.clone(),
                origin_server_ts: core.now().0,
                state_key: None,
                content: Value::Null,
                redacts: None,
                unsigned: Value::Null,
            };
            if let Some(inbound) = inbound(state, &context, &event, person, Kind::Typing { active }) {
                core.signal(Inbound { id: None, ..inbound });
            }
        }
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
