//! The stub's rooms: who is in them, their state, and the latest of what was said.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

/// How many events of a room are remembered.
const HISTORY: usize = 1000;

/// What a user is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Asked in.
    Invite,
    /// In it.
    Join,
    /// Gone, or never came.
    Leave,
    /// May not come.
    Ban,
}

impl Membership {
    /// As `m.room.member` writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }
}

#[derive(Default)]
struct Room {
    members: BTreeMap<String, Membership>,
    /// What the room calls those who are in it.
    names: BTreeMap<String, String>,
    public: bool,
    state: BTreeMap<String, Value>,
    history: VecDeque<Value>,
}

#[derive(Default)]
pub struct Rooms {
    rooms: BTreeMap<String, Room>,
    aliases: BTreeMap<String, String>,
    /// In the order in which they were made.
    order: Vec<String>,
}

impl Rooms {
    pub fn make(&mut self, id: &str, alias: Option<String>, public: bool) {
        self.rooms.insert(id.to_owned(), Room { public, ..Room::default() });
        self.order.push(id.to_owned());
        if let Some(alias) = alias {
            self.aliases.insert(alias, id.to_owned());
        }
    }

    pub fn ids(&self) -> Vec<String> {
        self.order.clone()
    }

    pub fn of_alias(&self, alias: &str) -> Option<String> {
        self.aliases.get(alias).cloned()
    }

    pub fn exists(&self, room: &str) -> bool {
        self.rooms.contains_key(room)
    }

    pub fn member(&self, room: &str, user: &str) -> Option<Membership> {
        self.rooms.get(room)?.members.get(user).copied()
    }

    pub fn joined(&self, room: &str) -> Vec<String> {
        let members = self.rooms.get(room).map(|room| &room.members).into_iter().flatten();
        members.filter(|(_, is)| **is == Membership::Join).map(|(user, _)| user.clone()).collect()
    }

    pub fn set_member(&mut self, room: &str, user: &str, to: Membership) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.members.insert(user.to_owned(), to);
            room.names.remove(user);
        }
    }

    /// What a room calls a user, where that is not their profile's name.
    pub fn name(&self, room: &str, user: &str) -> Option<String> {
        self.rooms.get(room)?.names.get(user).cloned()
    }

    pub fn set_name(&mut self, room: &str, user: &str, name: &str) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.names.insert(user.to_owned(), name.to_owned());
        }
    }

    /// A homeserver writes the new name of a profile into every membership.
    pub fn renamed(&mut self, user: &str) {
        for room in self.rooms.values_mut() {
            room.names.remove(user);
        }
    }

    /// Whether the user may come in.
    pub fn open_to(&self, room: &str, user: &str) -> bool {
        let Some(found) = self.rooms.get(room) else { return false };
        match found.members.get(user) {
            Some(Membership::Ban) => false,
            Some(Membership::Invite | Membership::Join) => true,
            Some(Membership::Leave) | None => found.public,
        }
    }

    pub fn state(&self, room: &str, type_: &str) -> Option<Value> {
        self.rooms.get(room)?.state.get(type_).cloned()
    }

    pub fn set_state(&mut self, room: &str, type_: &str, content: Value) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.state.insert(type_.to_owned(), content);
        }
    }

    pub fn add_history(&mut self, room: &str, event: Value) {
        if let Some(room) = self.rooms.get_mut(room) {
            if room.history.len() >= HISTORY {
                room.history.pop_front();
            }
            room.history.push_back(event);
        }
    }

    /// The latest events, newest first.
    pub fn latest(&self, room: &str, limit: usize) -> Vec<Value> {
        let history = self.rooms.get(room).map(|room| &room.history).into_iter().flatten();
        history.rev().take(limit).cloned().collect()
    }

    /// An event of the history.
    pub fn event(&self, room: &str, id: &str) -> Option<Value> {
        self.rooms.get(room)?.history.iter().find(|event| event["event_id"] == id).cloned()
    }
}
