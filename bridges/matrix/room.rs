//! Rooms: the way in, what is there, what was said.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::adapter::State;
use super::dm::{Context, via_key};
use super::error::MatrixError;
use super::from_matrix::{self, Event};
use super::ghost::stored;
use super::id::{self, percent};
use super::power::Levels;
use crate::api::{
    ChatInfo, Condition, Failure, HistoryItem, ItemId, Kind, Occupant, RoomId, Sentence, Timestamp, UserId,
};

impl State {
    /// Brings a user's ghost into a room and tells what is there.
    pub async fn enter(&self, user: &UserId, nick: &str, room: &RoomId) -> Result<ChatInfo, Failure> {
        let ghost = self.ghost(user, None).await?;
        let printed = id::room(room);
        let unknown = |error: MatrixError| match &error {
            MatrixError::Refused { status: 404, .. } => Failure::permanent(
                Condition::ItemNotFound,
                Sentence::new("matrix.no-such-room").with("room", printed.clone()),
                "no such room",
            ),
            MatrixError::Refused { status: 502 | 504, .. } => Failure::permanent(
                Condition::RemoteServerNotFound,
                Sentence::new("matrix.no-such-room").with("room", printed.clone()),
                "the room's server cannot be reached",
            ),
            _ => error.failure(),
        };
        let known = match room {
            RoomId::Id { .. } => self.core()?.get(&via_key(&printed)).await.map_err(|error| stored(&error))?,
            RoomId::Alias { .. } => None,
        };
        let via = match (known, room) {
            (Some(server), _) => Some(String::from_utf8_lossy(&server).into_owned()),
            (None, RoomId::Id { server: Some(server), .. }) => Some(server.to_string()),
            _ => None,
        };
        let via = via.map(|server| format!("?server_name={0}&via={0}", percent(&server))).unwrap_or_default();
        let path = format!("/_matrix/client/v3/join/{}{via}", percent(&printed));
        let joined = self.client.post(&path, Some(&ghost), &json!({})).await.map_err(unknown)?;
        let room_id = joined["room_id"].as_str().unwrap_or(&printed).to_owned();
        let canonical = id::read_room(&room_id).ok_or_else(|| Failure::temporary("the homeserver joined no room"))?;
        self.set_context(&room_id, Context::Room).await?;
        self.remember_room_ghost(&room_id, &ghost).await?;
        self.entered.set(super::ghost::nick_key(&room_id, &ghost), self.core()?.now().0);
        let base = format!("/_matrix/client/v3/rooms/{}", percent(&room_id));
        let members =
            self.client.get(&format!("{base}/joined_members"), Some(&ghost)).await.map_err(|e| e.failure())?;
        let shown = members["joined"][&ghost]["display_name"].as_str().unwrap_or_default();
        self.note_nick(&ghost, &room_id, shown);
        self.call(&ghost, &room_id, nick).await.map_err(|error| error.failure())?;
        let state = |name: &str| format!("{base}/state/{name}");
        let name = self.client.get(&state("m.room.name"), Some(&ghost)).await.ok();
        let alias = self.client.get(&state("m.room.canonical_alias"), Some(&ghost)).await.ok();
        let topic = self.client.get(&state("m.room.topic"), Some(&ghost)).await.ok();
        let tombstone = self.client.get(&state("m.room.tombstone?format=event"), Some(&ghost)).await;
        let next = self.next_room(tombstone.unwrap_or(Value::Null)).await?;
        let levels = self.client.get(&state("m.room.power_levels"), Some(&ghost)).await.unwrap_or(Value::Null);
        let create = self.client.get(&state("m.room.create?format=event"), Some(&ghost)).await.unwrap_or(Value::Null);
        let levels = Arc::new(Levels::read(&levels, &create));
        self.levels.set(room_id.clone(), levels.clone());
        let mut occupants = Vec::new();
        for (mxid, profile) in members["joined"].as_object().into_iter().flatten() {
            if self.ghosts.ours(mxid) {
                continue;
            }
            let Some(person) = id::read_person(mxid) else { continue };
            let level = levels.of(mxid);
            let name = profile["display_name"].as_str().and_then(from_matrix::name);
            occupants.push(Occupant { person, name, level });
        }
        occupants.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.person.cmp(&b.person)));
        let text = |value: Option<Value>, key: &str| value.and_then(|value| from_matrix::name(value[key].as_str()?));
        let topic = topic.and_then(|topic| topic["topic"].as_str().map(from_matrix::clean));
        Ok(ChatInfo {
            room: canonical,
            name: text(name, "name").or_else(|| text(alias, "alias")),
            topic: topic.filter(|topic| !topic.is_empty()),
            member_count: occupants.len(),
            members: occupants,
            next,
        })
    }

    /// Where a room lives on, by its tombstone: the event, or its content from a homeserver that gives no more. By which
    /// server it can be reached is kept.
    async fn next_room(&self, tombstone: Value) -> Result<Option<RoomId>, Failure> {
        let content = if tombstone["content"].is_object() { &tombstone["content"] } else { &tombstone };
        let Some(printed) = content["replacement_room"].as_str() else { return Ok(None) };
        let Some(next) = id::read_room(printed) else { return Ok(None) };
        if let Some(sender) = tombstone["sender"].as_str().and_then(id::read_person) {
            let via = Some(sender.server().into());
            self.core()?.put(&via_key(printed), via).await.map_err(|error| stored(&error))?;
        }
        Ok(Some(next))
    }

    /// One of our ghosts that is in a room, as far as we know.
    pub async fn room_ghost(&self, room: &str) -> Result<Option<String>, Failure> {
        if let Some(ghost) = self.cached_room_ghost(room) {
            return Ok(Some(ghost));
        }
        let bytes = self.core()?.get(&ghost_key(room)).await.map_err(|error| stored(&error))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// A ghost is in a room: also after a restart there must be one to look at it, before the occupants are back.
    async fn remember_room_ghost(&self, room: &str, ghost: &str) -> Result<(), Failure> {
        if self.cached_room_ghost(room).as_deref() != Some(ghost) {
            self.core()?.put(&ghost_key(room), Some(ghost.into())).await.map_err(|error| stored(&error))?;
            self.cache_room_ghost(room, ghost);
        }
        Ok(())
    }

    /// A room has another main alias: that is its name, unless it has one.
    pub async fn renamed_by_alias(&self, event: &Event) -> Result<Option<Kind>, Failure> {
        let Some(alias) = event.content["alias"].as_str().and_then(from_matrix::name) else { return Ok(None) };
        let Some(ghost) = self.room_ghost(&event.room_id).await? else { return Ok(None) };
        let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.name", percent(&event.room_id));
        let named = match self.client.get(&path, Some(&ghost)).await {
            Ok(name) => name["name"].as_str().is_some_and(|name| !name.trim().is_empty()),
            Err(MatrixError::Refused { status: 403 | 404, .. }) => false,
            Err(error) => return Err(error.failure()),
        };
        Ok((!named).then_some(Kind::Name(alias)))
    }

    /// A user's ghost leaves a room.
    pub async fn leave(&self, ghost: &str, room: &str) -> Result<(), Failure> {
        self.nicks.remove(&super::ghost::nick_key(room, ghost));
        let path = format!("/_matrix/client/v3/rooms/{}/leave", percent(room));
        match self.client.request(Method::POST, &path, Some(ghost), Some(&json!({}))).await {
            Ok(_) => Ok(()),
            // Not there: that is what was wanted.
            Err(MatrixError::Refused { status: 403 | 404, .. }) => Ok(()),
            Err(error) => Err(error.failure()),
        }
    }

    /// The latest messages of a room, oldest first.
    pub async fn past(&self, room: &RoomId, limit: usize) -> Result<Vec<HistoryItem>, Failure> {
        let room_id = id::room(room);
        let Some(ghost) = self.room_ghost(&room_id).await? else { return Ok(Vec::new()) };
        let path = format!(
            "/_matrix/client/v3/rooms/{}/messages?dir=b&limit={limit}&filter={}",
            percent(&room_id),
            percent(r#"{"types":["m.room.message"]}"#)
        );
        let page = self.client.get(&path, Some(&ghost)).await.map_err(|error| error.failure())?;
        let mut items = Vec::new();
        for value in page["chunk"].as_array().into_iter().flatten() {
            let Ok(event) = serde_json::from_value::<Event>(value.clone()) else { continue };
            let Some(kind) = from_matrix::message(&event) else { continue };
            let sender = match self.ghosts.user(&event.sender) {
                Some(user) => Err(user),
                None => match id::read_person(&event.sender) {
                    Some(person) => Ok(person),
                    None => continue,
                },
            };
            let name = sender.as_ref().ok().and_then(|person| self.cached_name(&id::person(person)));
            items.push(HistoryItem {
                id: ItemId::new(&event.event_id),
                sender,
                name,
                at: Timestamp(event.origin_server_ts),
                kind,
            });
        }
        items.reverse();
        Ok(items)
    }
}

fn ghost_key(room: &str) -> String {
    format!("room-ghost/{room}")
}
