//! Power levels: who may what in a room, on our scale from 0 to 100.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::adapter::State;
use super::dm::Context;
use super::from_matrix::Event;
use super::id::{self, percent};
use super::worker::inbound;
use crate::api::{Failure, Inbound, ItemId, Kind};

/// The first room version whose creators have all rights without being listed.
const CREATORS_FROM: u32 = 12;

/// The power levels of a room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Levels {
    users: BTreeMap<String, i64>,
    default: i64,
    /// What it takes to say something.
    speak: i64,
    /// Who has all rights.
    creators: BTreeSet<String>,
}

impl Levels {
    /// Reads the content of `m.room.power_levels`, and the event `m.room.create` where it is at hand.
    pub fn read(content: &Value, create: &Value) -> Self {
        let users = content["users"].as_object().into_iter().flatten();
        let level = |value: &Value| value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
        let mut creators = BTreeSet::new();
        let version = create["content"]["room_version"].as_str().and_then(|version| version.parse::<u32>().ok());
        if version.is_some_and(|version| version >= CREATORS_FROM) {
            let more = create["content"]["additional_creators"].as_array().into_iter().flatten();
            creators.extend(more.chain([&create["sender"]]).filter_map(|id| id.as_str().map(str::to_owned)));
        }
        let speak = level(&content["events"]["m.room.message"]).or_else(|| level(&content["events_default"]));
        Self {
            users: users.filter_map(|(id, value)| Some((id.clone(), level(value)?))).collect(),
            default: level(&content["users_default"]).unwrap_or(0),
            speak: speak.unwrap_or(0),
            creators,
        }
    }

    /// The rights of somebody from 0 to 100, or -1 where they may not speak.
    pub fn of(&self, mxid: &str) -> i64 {
        if self.creators.contains(mxid) {
            return 100;
        }
        let level = self.users.get(mxid).copied().unwrap_or(self.default);
        if level < self.speak { -1 } else { level.clamp(0, 100) }
    }
}

/// The power levels have changed: whose rights are others now.
pub async fn changed(state: &State, event: &Event) -> Result<Vec<Inbound>, Failure> {
    let (Some(context @ Context::Room), Some(by)) =
        (state.context(&event.room_id).await?, id::read_person(&event.sender))
    else {
        return Ok(Vec::new());
    };
    let old = state.levels.get(&event.room_id);
    let creators = old.as_ref().map(|old| old.creators.clone()).unwrap_or_default();
    let new = Levels { creators, ..Levels::read(&event.content, &Value::Null) };
    let mut people: BTreeSet<String> = new.users.keys().cloned().collect();
    people.extend(old.iter().flat_map(|old| old.users.keys().cloned()));
    // Nobody has this id: they have what everybody has.
    let everybody = old.as_ref().is_some_and(|old| old.of("") != new.of(""));
    if everybody && let Some(ghost) = state.room_ghost(&event.room_id).await? {
        let path = format!("/_matrix/client/v3/rooms/{}/joined_members", percent(&event.room_id));
        let members = state.client.get(&path, Some(&ghost)).await.map_err(|error| error.failure())?;
        people.extend(members["joined"].as_object().into_iter().flatten().map(|(id, _)| id.clone()));
    }
    let mut events = Vec::new();
    for mxid in people {
        let level = new.of(&mxid);
        let same = old.as_ref().is_some_and(|old| old.of(&mxid) == level);
        let Some(person) = id::read_person(&mxid).filter(|_| !same && !state.ghosts.ours(&mxid)) else { continue };
        let role = inbound(state, &context, event, by.clone(), Kind::Role { person, level });
        // One event makes many, each with an id of its own.
        let id = ItemId::new(&format!("{}/{mxid}", event.event_id));
        events.extend(role.map(|role| Inbound { id: Some(id), ..role }));
    }
    state.levels.set(event.room_id.clone(), Arc::new(new));
    Ok(events)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_scale() {
        let content = json!({
            "users": { "@root:hs": 9_007_199_254_740_991_i64, "@admin:hs": 100, "@mod:hs": "50", "@mute:hs": -5, "@odd:hs": [] },
            "users_default": 10, "events_default": 5,
        });
        let create = json!({ "sender": "@maker:hs", "content": { "room_version": "12", "additional_creators": ["@other:hs", 7] } });
        let levels = Levels::read(&content, &create);
        for (mxid, level) in [
            ("@root:hs", 100),
            ("@admin:hs", 100),
            ("@mod:hs", 50),
            ("@mute:hs", -1),
            ("@odd:hs", 10),
            ("@anybody:hs", 10),
            ("@maker:hs", 100),
            ("@other:hs", 100),
        ] {
            assert_eq!(levels.of(mxid), level, "{mxid}");
        }
        let quiet = json!({ "events": { "m.room.message": 50 } });
        assert_eq!(
            Levels::read(&quiet, &json!({ "sender": "@a:b", "content": { "room_version": "11" } })).of("@a:b"),
            -1
        );
        assert_eq!(Levels::read(&Value::Null, &Value::Null).of("@a:b"), 0);
        assert_eq!(Levels::read(&json!({ "users": 5, "users_default": "x" }), &json!([])).of("@a:b"), 0);
    }
}
