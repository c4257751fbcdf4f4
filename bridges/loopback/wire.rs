//! The wire format of the control socket: one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::api::{PersonId, RoomId};

/// What the gateway writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "one lives at a time")]
pub enum ToPeer {
    /// Something was delivered.
    Out(Item),
    /// What the peer said is committed.
    Ok {
        /// The id that the peer gave to it.
        id: String,
    },
    /// What the peer said was not taken.
    Error {
        /// Why.
        text: String,
    },
}

/// What the peer writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "one lives at a time")]
pub enum FromPeer {
    /// A person says something.
    In(Item),
    /// From now on, deliveries to this person (`name@server`) or room (`#name` or `!name`) fail, or work again.
    Fail {
        /// Whom.
        to: String,
        /// `temporary`, `permanent`, or nothing.
        how: Option<String>,
    },
    /// What a person is called, for whoever asks; nobody is told.
    Name {
        /// Who, as `name@server`.
        person: String,
        /// The name.
        name: String,
    },
    /// A person has another picture, or none any more.
    Face {
        /// Whose, as `name@server`.
        person: String,
        /// The picture in base64.
        picture: Option<String>,
    },
}

/// One item, either way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Item {
    /// Its id on this network.
    #[serde(default)]
    pub id: String,
    /// The user of the gateway: who says it, or whom it is said to in a chat of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The person of this network, as `name@server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The room, as `!name`, if it is not a chat of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// The person with whom the user has the chat of two, where another person says it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// The name of who says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is: `text`, `edit`, `reaction`, `retract`, `displayed`, `typing`, `join`, `leave`, `topic`, `failed`,
    /// `invite` (to the room in `body`), `gone` (the room in `body` takes its place), `presence` (`here`, `away` or `gone` in `body`, a line about it in `name`).
    pub kind: String,
    /// The text, topic, or reactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The id of the item that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// For an answer: what it says of the item that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// The thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// `name@server`.
#[must_use]
pub fn print_person(person: &PersonId) -> String {
    format!("{}@{}", person.local(), person.server())
}

/// `#name@server`, `!name` or `!name@server`.
#[must_use]
pub fn print_room(room: &RoomId) -> String {
    match room {
        RoomId::Alias { local, server } => format!("#{local}@{server}"),
        RoomId::Id { opaque, server: None } => format!("!{opaque}"),
        RoomId::Id { opaque, server: Some(server) } => format!("!{opaque}@{server}"),
    }
}
