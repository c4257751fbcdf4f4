//! What travels through the queue: a neutral event and the XMPP particulars that its way back needs.

use portway_bridges::api::{Chat, Kind, PersonId, Timestamp, UserId};

/// An event in the queue, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where.
    pub chat: Chat,
    /// Who.
    pub speaker: Speaker,
    /// When it was said.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// What only the XMPP side knows of it.
    pub meta: Meta,
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// A user of ours; the name is their nick in a room.
    User {
        /// Who.
        id: UserId,
        /// The name by which they go here.
        name: Option<String>,
    },
    /// A person of the network; the name is the one that the room or their profile shows.
    Person {
        /// Who.
        id: PersonId,
        /// The name by which they go here.
        name: Option<String>,
    },
    /// The gateway itself (failures, notices).
    Gateway,
}

/// What only the XMPP side knows of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// The `id` of the stanza: of the one that came, or of the one that this is about (receipts, failures). An event
    /// from a network has none; its stanza's `id` is the network's id of the item.
    pub id: Option<String>,
    /// Which event of its stanza this is: a stanza with several files is several events, with one `id`. Zero is the first
    /// one, which answers to the `id`.
    pub part: u32,
    /// The origin-id (XEP-0359) that came with it.
    pub origin_id: Option<String>,
    /// The id that the network gave to it, where it is known; it is also the stable stanza-id in rooms.
    pub remote_id: Option<String>,
    /// The full JID that it came from.
    pub from: Option<String>,
    /// The JID that it goes to, where that is not the user's bare JID (receipts and failures go to where the message
    /// came from).
    pub to: Option<String>,
    /// The localpart under which the user knows the contact or the room, where it is not the canonical one.
    pub face: Option<String>,
    /// The localpart under which the user knows the room that they are invited to, where it is not the canonical one.
    pub room: Option<String>,
    /// Whether the sender asked for a receipt (XEP-0184).
    pub receipt: bool,
    /// The language of the stanza, for what we answer.
    pub lang: Option<String>,
    /// The corrections that were worked in while it waited, oldest first: their senders hear what became of it, too.
    pub corrections: Vec<Correction>,
}

/// A correction that was worked into what it corrects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The `id` of its stanza.
    pub id: String,
    /// The full JID that it came from.
    pub from: Option<String>,
    /// Whether its sender asked for a receipt (XEP-0184).
    pub receipt: bool,
}
