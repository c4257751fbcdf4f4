//! Rooms of networks as MUCs (XEP-0045), without I/O: stanzas go in, [`Effect`]s come out in the order in which they
//! must happen. One room object serves all its XMPP occupants, under whatever address each of them knows it.
//!
//! [`room`] is the state of one room, [`join`] the way in, [`leave`] the way out, [`welcome`] what newcomers are sent,
//! [`render`] what is said there, [`failed`] what could not be said, [`moved`] rooms that live on elsewhere, [`people`]
//! who is there, [`query`] the answers to IQs, [`build`] the stanzas.

mod build;
mod failed;
mod join;
mod leave;
mod mention;
mod moved;
mod people;
mod query;
mod render;
mod room;
mod welcome;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portway_bridges::api::{Condition, Kind, RoomId, Sentence, Timestamp, UserId};

use self::join::Pending;
use self::leave::Leaving;
use self::room::Room;
use super::address;
use super::file::Linking;
use super::from_stanza::Parsed;
use super::jid::Jid;
use super::stanza::{Domain, NS_CLIENT, OurJid, OutStanza, Stanza};
use crate::identity::access;
use crate::route::item::{Item, Meta, Speaker};
use crate::store::OccupantRow;
use crate::text::Catalogue;

/// Namespaces of rooms.
pub mod ns {
    #![allow(missing_docs, reason = "each name says which XEP it belongs to")]
    pub const MUC: &str = "http://jabber.org/protocol/muc";
    pub const USER: &str = "http://jabber.org/protocol/muc#user";
    pub const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
    pub const OWNER: &str = "http://jabber.org/protocol/muc#owner";
    pub const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
    pub const SID: &str = "urn:xmpp:sid:0";
}

/// What rooms need to know.
#[derive(Clone)]
pub struct MucConfig {
    /// The component's domain.
    pub domain: Domain,
    /// The key of occupant ids (XEP-0421).
    pub occupant_key: [u8; 32],
    /// How many messages newcomers are shown at most.
    pub history_len: usize,
    /// How many people of the network are shown on joining at most; others appear when they speak.
    pub max_presence: usize,
    /// How many sessions all rooms hold at most.
    pub max_sessions: usize,
    /// The sentences.
    pub texts: Arc<Catalogue>,
    /// How files get their URLs.
    pub linking: Linking,
}

/// What must happen, in order.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few live at a time")]
pub enum Effect {
    /// Send it in the order of messages.
    Send(OutStanza),
    /// Answer this stanza with an error.
    Refuse(Box<Stanza>, Condition, Sentence),
    /// Bring it to the network.
    Accept(Item),
    /// Let the network bring a user in, and call [`Muc::entered`].
    Enter {
        /// Names the join.
        ticket: u64,
        /// Who.
        user: UserId,
        /// Under which nick.
        nick: String,
        /// Where, as it was addressed.
        room: RoomId,
        /// Whether they were there before a restart: then what may pass is tried until it has.
        again: bool,
    },
    /// Keep this session over a restart; then call [`Muc::admit`], or [`Muc::turn_away`] where it cannot be kept.
    Admit {
        /// Names the join.
        ticket: u64,
        /// What is to be kept.
        row: OccupantRow,
    },
    /// A room lives on elsewhere: what these users have noted of it is to be brought up to date.
    Moved {
        /// Who.
        users: Vec<UserId>,
        /// The localpart by which they know the room that is no more.
        old: String,
        /// Where it lives on.
        next: RoomId,
    },
    /// Do not keep these sessions.
    Forget {
        /// The localpart of the room's canonical JID.
        room: String,
        /// Full JIDs.
        sessions: Vec<String>,
    },
}

/// All rooms of one network.
pub struct Muc {
    config: MucConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rooms: HashMap<RoomId, Room>,
    /// From the localpart by which a room is addressed to its canonical id.
    faces: HashMap<String, RoomId>,
    pending: HashMap<u64, Pending>,
    tickets: u64,
    /// What is to be done about what was rendered.
    behind: Vec<Effect>,
}

impl Muc {
    /// No rooms yet.
    #[must_use]
    pub fn new(config: MucConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    /// How many messages newcomers are shown at most.
    #[must_use]
    pub fn history_len(&self) -> usize {
        self.config.history_len
    }

    /// Whether the history of a room is in memory.
    #[must_use]
    pub fn knows_history(&self, room: &RoomId) -> bool {
        self.state().rooms.get(room).is_some_and(|room| room.history_known)
    }

    /// Who speaks in which room, if the sender of this stanza is in it.
    #[must_use]
    pub fn speaker(&self, stanza: &Stanza, us: &OurJid) -> Option<(RoomId, UserId)> {
        let state = self.state();
        let from = stanza.from.as_ref()?;
        let room = state.addressed(us)?;
        let session = room.sessions.get(from.as_str())?;
        Some((room.id.clone(), session.user.clone()))
    }

    /// A message to a room or an occupant.
    #[must_use]
    pub fn message(&self, stanza: &Stanza, us: &OurJid, parsed: Parsed, now: Timestamp) -> Vec<Effect> {
        let mut state = self.state();
        let Some(from) = &stanza.from else { return Vec::new() };
        if matches!(parsed, Parsed::Bounce { .. }) {
            // Somebody who cannot be reached is not here any more: this session only.
            return match state.canonical(us) {
                Some(room) => state.leave(&self.config, &room, from, Leaving::Unreachable, now),
                None => Vec::new(),
            };
        }
        let refuse =
            |condition, key: &str| vec![Effect::Refuse(Box::new(stanza.clone()), condition, Sentence::new(key))];
        let Some((room, session)) =
            state.addressed(us).and_then(|room| Some((room, room.sessions.get(from.as_str())?)))
        else {
            return match parsed {
                Parsed::Event { .. } => refuse(Condition::NotAcceptable, "core.not-in-room"),
                _ => Vec::new(),
            };
        };
        if stanza.type_.as_deref() != Some("groupchat") {
            return match parsed {
                Parsed::Event { .. } => refuse(Condition::ServiceUnavailable, "core.no-pm"),
                _ => Vec::new(),
            };
        }
        let Parsed::Event { kind, more, origin_id, .. } = parsed else {
            if stanza.child("subject", NS_CLIENT).is_some() {
                return refuse(Condition::Forbidden, "core.no-subject");
            }
            return Vec::new();
        };
        let meta = Meta {
            id: stanza.id.clone(),
            origin_id,
            from: Some(from.to_string()),
            face: Some(session.face.clone()),
            lang: stanza.lang.clone(),
            ..Meta::default()
        };
        let said = |(part, kind): (u32, Kind)| {
            Effect::Accept(Item {
                chat: portway_bridges::api::Chat::Room(room.id.clone()),
                speaker: Speaker::User { id: session.user.clone(), name: Some(session.nick.clone()) },
                at: now,
                kind: mention::inward(room, kind),
                meta: Meta { part, ..meta.clone() },
            })
        };
        (0..).zip(std::iter::once(kind).chain(more)).map(said).collect()
    }

    /// After a restart: these sessions are in their rooms, silently. Each user's ghost enters again, so that the room
    /// learns who is there.
    #[must_use]
    pub fn restore(&self, rows: Vec<OccupantRow>) -> Vec<Effect> {
        let mut state = self.state();
        let mut effects = Vec::new();
        for row in rows {
            let Ok(address::Parsed::Room(id)) = address::parse(&row.room) else { continue };
            let Ok(jid) = Jid::parse(&row.session) else { continue };
            let Some(user) = access::user(&jid) else { continue };
            state.faces.insert(row.face.clone(), id.clone());
            let room = state.rooms.entry(id.clone()).or_insert_with(|| Room::new(id.clone()));
            room.restored = true;
            let first = !room.sessions.values().any(|session| session.user == user);
            room.add_session(&jid, user.clone(), row.nick.clone(), row.face.clone());
            if first {
                let ticket = state.ticket(Pending::Restore { room: id.clone(), user: user.clone() });
                effects.push(Effect::Enter { ticket, user, nick: row.nick, room: id, again: true });
            }
        }
        effects
    }

    /// All sessions, with the address by which each knows its room.
    #[must_use]
    pub fn sessions(&self) -> Vec<(OurJid, Jid)> {
        let state = self.state();
        let sessions = state.rooms.values().flat_map(|room| room.sessions.values());
        let known = |session: &room::Session| Some((build::address(&self.config, session, None)?, session.jid.clone()));
        sessions.filter_map(known).collect()
    }

    /// A session turned out to be gone.
    #[must_use]
    pub fn unreachable(&self, us: &OurJid, session: &Jid, now: Timestamp) -> Vec<Effect> {
        let mut state = self.state();
        match state.canonical(us) {
            Some(room) => state.leave(&self.config, &room, session, Leaving::Unreachable, now),
            None => Vec::new(),
        }
    }

    /// Whether a user is still to be brought in under this ticket.
    #[must_use]
    pub fn awaits(&self, ticket: u64) -> bool {
        let state = self.state();
        match state.pending.get(&ticket) {
            Some(Pending::Restore { room, user }) => {
                state.rooms.get(room).is_some_and(|room| room.nick_of(user).is_some())
            }
            Some(_) => true,
            None => false,
        }
    }

    /// What is to be done about what was rendered: sessions went with it, or a room has moved.
    #[must_use]
    pub fn behind(&self) -> Vec<Effect> {
        std::mem::take(&mut self.state().behind)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The canonical id of the room that a stanza is for.
    fn canonical(&self, us: &OurJid) -> Option<RoomId> {
        self.faces.get(us.jid().node()?).cloned()
    }

    /// The room that a stanza is for.
    fn addressed(&self, us: &OurJid) -> Option<&Room> {
        self.rooms.get(self.faces.get(us.jid().node()?)?)
    }

    /// After sessions of a room went while something was rendered: those of `before` that are gone are to be forgotten.
    fn tidy(&mut self, id: &RoomId, before: Vec<String>) {
        let Some(room) = self.rooms.get(id) else { return };
        let gone: Vec<String> = before.into_iter().filter(|session| !room.sessions.contains_key(session)).collect();
        if !gone.is_empty() {
            self.behind.push(Effect::Forget { room: address::of_room(id).unwrap_or_default(), sessions: gone });
        }
        self.drop_if_empty(id);
    }

    /// A room without sessions is forgotten.
    fn drop_if_empty(&mut self, id: &RoomId) {
        if self.rooms.get(id).is_some_and(|room| room.sessions.is_empty()) {
            self.rooms.remove(id);
            self.faces.retain(|_, room| room != id);
        }
    }

    fn ticket(&mut self, pending: Pending) -> u64 {
        self.tickets += 1;
        self.pending.insert(self.tickets, pending);
        self.tickets
    }

    fn sessions(&self) -> usize {
        self.rooms.values().map(|room| room.sessions.len()).sum::<usize>() + self.pending.len()
    }
}

#[cfg(test)]
mod tests;
