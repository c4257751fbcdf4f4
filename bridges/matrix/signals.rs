//! What is not stored: who is writing.

use serde_json::Value;

use super::adapter::State;
use super::from_matrix::Event;
use super::id;
use super::worker::inbound;
use crate::api::{Core, Inbound, Kind};

/// Passes on who has begun to write and who has stopped.
pub async fn signals(state: &State, core: &Core, signals: &[Value]) {
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
