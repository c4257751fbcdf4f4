//! The way into a room.
//!
//! A device asks; the network lets its user in ([`Muc::entered`]); the session is put on disk; and only then is it in
//! the room and told so ([`Muc::admit`]), so that no client believes to be in a room that the gateway forgot.

use minidom::Element;
use portway_bridges::api::{ChatInfo, Condition, EventId, Failure, RoomId, Sentence, Timestamp, UserId};

use super::build::{self, Change, Seen};
use super::leave::Leaving;
use super::room::{Owner, Room, clean_nick};
use super::welcome::welcome;
use super::{Effect, Muc, MucConfig, State, ns};
use crate::identity::access;
use crate::route::item::Item;
use crate::store::OccupantRow;
use crate::xmpp::address;
use crate::xmpp::error::{self, ErrorType};
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{OurJid, OutStanza, Stanza, StanzaKind};
use crate::xmpp::xml;

/// Somebody on their way in.
pub enum Pending {
    /// A device that has asked to join, while the network is asked.
    Join {
        /// What it sent.
        stanza: Box<Stanza>,
        /// Whose it is.
        user: UserId,
        /// The nick that it gets.
        nick: String,
        /// Whether that is another one than it asked for.
        renamed: bool,
        /// Whether it does not want to any more.
        left: bool,
    },
    /// The same, let in by the network, while it is put on disk.
    Admit {
        /// What it sent.
        stanza: Box<Stanza>,
        /// Whose it is.
        user: UserId,
        /// The nick that it gets.
        nick: String,
        /// Whether that is another one than it asked for.
        renamed: bool,
        /// Whether it does not want to any more.
        left: bool,
        /// What the network told about the room.
        entered: Box<(ChatInfo, Vec<(EventId, Item)>)>,
    },
    /// A user who was in the room before a restart.
    Restore {
        /// The room.
        room: RoomId,
        /// Who.
        user: UserId,
    },
}

impl Pending {
    /// Whether a device of this user wants in.
    pub fn is_of(&self, wanted: &UserId) -> bool {
        match self {
            Self::Join { user, left, .. } | Self::Admit { user, left, .. } => !left && user == wanted,
            Self::Restore { user, .. } => user == wanted,
        }
    }
}

impl Muc {
    /// Presence to a room or an occupant.
    #[must_use]
    pub fn presence(&self, stanza: &Stanza, us: &OurJid, room: RoomId, now: Timestamp) -> Vec<Effect> {
        let mut state = self.state();
        let Some(from) = stanza.from.as_ref() else { return Vec::new() };
        let canonical = state.canonical(us);
        match stanza.type_.as_deref() {
            None => {}
            Some("unavailable" | "error") => {
                for pending in state.pending.values_mut() {
                    if let Pending::Join { stanza: asked, left, .. } | Pending::Admit { stanza: asked, left, .. } =
                        pending
                        && asked.from.as_ref() == Some(from)
                        && asked.to.as_ref().and_then(Jid::node) == us.jid().node()
                    {
                        *left = true;
                    }
                }
                let asked = stanza.type_.as_deref() == Some("unavailable");
                let Some(room) = canonical else { return Vec::new() };
                let why = if asked { Leaving::Asked(stanza) } else { Leaving::Unreachable };
                return state.leave(&self.config, &room, from, why, now);
            }
            Some(_) => return Vec::new(),
        }
        let session = canonical.as_ref().and_then(|id| state.rooms.get(id)?.sessions.get(from.as_str()));
        let refuse =
            |condition, key: &str| vec![Effect::Refuse(Box::new(with_muc(stanza)), condition, Sentence::new(key))];
        let Some(asked) = us.jid().resource() else { return refuse(Condition::JidMalformed, "core.no-nick") };
        let nick = clean_nick(asked);
        if nick.is_empty() {
            return refuse(Condition::NotAcceptable, "core.no-nick");
        }
        let wants_in = stanza.child("x", ns::MUC).is_some();
        match session {
            // Away, back, busy: other networks have no form for it in rooms.
            Some(session) if !wants_in && session.nick == nick => return Vec::new(),
            Some(session) if session.nick != nick => return refuse(Condition::NotAcceptable, "core.nick-stays"),
            None if !wants_in => return Vec::new(),
            _ => {}
        }
        let Some(user) = access::user(from) else { return Vec::new() };
        if let Some(room) = canonical.as_ref().and_then(|id| state.rooms.get(id))
            && taken(room, &nick, &user)
        {
            return refuse(Condition::Conflict, "core.nick-taken");
        }
        if state.sessions() >= self.config.max_sessions {
            return refuse(Condition::ResourceConstraint, "core.rooms-full");
        }
        // A user has one nick for all their devices.
        let own = canonical.as_ref().and_then(|id| state.rooms.get(id)?.nick_of(&user));
        let nick = own.map_or(nick, str::to_owned);
        let renamed = nick != asked;
        let stanza = Box::new(stanza.clone());
        let pending = Pending::Join { stanza, user: user.clone(), nick: nick.clone(), renamed, left: false };
        let ticket = state.ticket(pending);
        vec![Effect::Enter { ticket, user, nick, room, again: false }]
    }

    /// The network has let a user in, or not.
    #[must_use]
    pub fn entered(
        &self,
        ticket: u64,
        result: Result<(ChatInfo, Vec<(EventId, Item)>), Failure>,
        now: Timestamp,
    ) -> Vec<Effect> {
        let mut state = self.state();
        let Some(pending) = state.pending.remove(&ticket) else { return Vec::new() };
        let (info, history) = match (result, &pending) {
            (Ok(entered), _) => entered,
            (Err(failure), Pending::Join { stanza, left: false, .. }) => return self.refused(stanza, &failure),
            (Err(Failure::Permanent { .. }), Pending::Restore { room, user }) => {
                let theirs = state.rooms.get(room).into_iter().flat_map(|room| room.sessions.values());
                let theirs = theirs.filter(|session| session.user == *user);
                let sessions: Vec<Jid> = theirs.map(|session| session.jid.clone()).collect();
                let lost = |jid| state.leave(&self.config, room, jid, Leaving::Lost, now);
                return sessions.iter().flat_map(lost).collect();
            }
            (Err(_), _) => return Vec::new(),
        };
        let id = info.room.clone();
        match pending {
            Pending::Restore { room, .. } if info.next.is_some() => {
                let (out, behind) = state.moved(&self.config, &room, info.next.as_ref(), None);
                out.into_iter().map(Effect::Send).chain(behind).collect()
            }
            Pending::Join { stanza, user, nick, left, .. } if info.next.is_some() => {
                let mut effects: Vec<Effect> = state.not_in_after_all(&id, &user, &nick, now).into_iter().collect();
                if let Some(next) = info.next.filter(|_| !left) {
                    effects.extend(self.elsewhere(&stanza, user, next));
                }
                effects
            }
            Pending::Restore { .. } => {
                if let Some(room) = state.rooms.get_mut(&id) {
                    learn(room, info, history, &self.config);
                }
                Vec::new()
            }
            Pending::Join { stanza, user, nick, renamed, left } => {
                if left {
                    return state.not_in_after_all(&id, &user, &nick, now).into_iter().collect();
                }
                if state.rooms.get(&id).is_some_and(|room| taken(room, &nick, &user)) {
                    return state.conflict(&id, &stanza, &user, &nick, now);
                }
                let (Some(from), Some(face)) = (&stanza.from, stanza.to.as_ref().and_then(Jid::node)) else {
                    return Vec::new();
                };
                let row = OccupantRow {
                    network: String::new(),
                    room: address::of_room(&id).unwrap_or_default(),
                    session: from.to_string(),
                    nick: nick.clone(),
                    face: face.to_owned(),
                    joined: now,
                };
                let entered = Box::new((info, history));
                state.pending.insert(ticket, Pending::Admit { stanza, user, nick, renamed, left, entered });
                vec![Effect::Admit { ticket, row }]
            }
            Pending::Admit { .. } => Vec::new(),
        }
    }

    /// A newcomer is on disk: lets them in. What they are sent goes through `send` before anything else can be said in
    /// the room; where it does not take all of it, they are not in.
    #[must_use]
    pub fn admit(&self, ticket: u64, now: Timestamp, send: &mut dyn FnMut(&OutStanza) -> bool) -> Vec<Effect> {
        let mut state = self.state();
        let Some(Pending::Admit { stanza, user, nick, renamed, left, entered }) = state.pending.remove(&ticket) else {
            return Vec::new();
        };
        let (Some(from), Some(face)) = (stanza.from.clone(), stanza.to.as_ref().and_then(Jid::node)) else {
            return Vec::new();
        };
        let (info, history) = *entered;
        let id = info.room.clone();
        let forget =
            Effect::Forget { room: address::of_room(&id).unwrap_or_default(), sessions: vec![from.to_string()] };
        let room = state.rooms.entry(id.clone()).or_insert_with(|| Room::new(id.clone()));
        learn(room, info, history, &self.config);
        if left || taken(room, &nick, &user) {
            let mut effects = match left {
                true => state.not_in_after_all(&id, &user, &nick, now).into_iter().collect(),
                false => state.conflict(&id, &stanza, &user, &nick, now),
            };
            state.drop_if_empty(&id);
            effects.push(forget);
            return effects;
        }
        // A user has one nick for all their devices.
        let known = room.nick_of(&user).map(str::to_owned);
        let newcomer = known.is_none();
        let nick = known.unwrap_or(nick);
        let renamed = renamed || stanza.to.as_ref().and_then(Jid::resource) != Some(nick.as_str());
        let elsewhere = room.sessions.get(from.as_str()).filter(|session| session.face != face).cloned();
        if let Some(old) = elsewhere {
            // The same device, by another address of the room: it is in by one of them.
            let occupant = build::occupant_id(&self.config, &id, &build::user_key(&user));
            let seen = Seen { nick: &old.nick, occupant, level: 0 };
            let change = Change { gone: true, statuses: &[110], ..Change::default() };
            if let Some(out) = build::presence(&self.config, &old, &seen, &change) {
                send(&out);
            }
        }
        room.add_session(&from, user, nick, face.to_owned());
        let sent = welcome(&self.config, room, from.as_str(), &stanza, renamed, newcomer, now);
        let sent = sent.iter().all(send);
        state.faces.insert(face.to_owned(), id.clone());
        if sent { Vec::new() } else { state.leave(&self.config, &id, &from, Leaving::Unreachable, now) }
    }

    /// A newcomer could not be put on disk, and so is not let in.
    #[must_use]
    pub fn turn_away(&self, ticket: u64, now: Timestamp) -> Vec<Effect> {
        let mut state = self.state();
        let Some(Pending::Admit { stanza, user, nick, entered, .. }) = state.pending.remove(&ticket) else {
            return Vec::new();
        };
        let mut effects: Vec<Effect> = state.not_in_after_all(&entered.0.room, &user, &nick, now).into_iter().collect();
        effects.extend(self.refused_with(&stanza, Condition::InternalServerError, "core.store-failed"));
        effects
    }

    /// The network does not let a user in. What may pass is of type `wait`: clients keep their bookmarks then.
    fn refused(&self, stanza: &Stanza, failure: &Failure) -> Vec<Effect> {
        match failure {
            Failure::Temporary { condition, .. } => self.refused_with(stanza, *condition, "core.room-away"),
            // Nobody knows whether a server that does not answer is gone for good.
            Failure::Permanent { condition: condition @ Condition::RemoteServerNotFound, .. } => {
                self.refused_with(stanza, *condition, "core.room-away")
            }
            Failure::Permanent { condition, sentence, .. } => {
                vec![Effect::Refuse(Box::new(with_muc(stanza)), *condition, sentence.clone())]
            }
        }
    }

    /// An error of type `wait` on a join.
    fn refused_with(&self, stanza: &Stanza, condition: Condition, sentence: &str) -> Vec<Effect> {
        let (Some(from), Some(to)) = (&stanza.from, stanza.to.as_ref().and_then(|to| self.config.domain.own(to)))
        else {
            return Vec::new();
        };
        let lang = stanza.lang.as_deref();
        let text = self.config.texts.text(&Sentence::new(sentence), lang);
        let answer = OutStanza::new(StanzaKind::Presence, &to, from, Some("error"), stanza.id.as_deref())
            .with(Element::bare("x", ns::MUC))
            .with(error::element(condition, ErrorType::Wait, &text, lang));
        vec![Effect::Send(answer)]
    }
}

impl State {
    /// Somebody else has the nick that a user whom the network let in wanted.
    fn conflict(&self, id: &RoomId, stanza: &Stanza, user: &UserId, nick: &str, now: Timestamp) -> Vec<Effect> {
        let stanza = Box::new(with_muc(stanza));
        let mut effects = vec![Effect::Refuse(stanza, Condition::Conflict, Sentence::new("core.nick-taken"))];
        effects.extend(self.not_in_after_all(id, user, nick, now));
        effects
    }
}

/// What the network told about a room.
fn learn(room: &mut Room, info: ChatInfo, history: Vec<(EventId, Item)>, config: &MucConfig) {
    if !room.history_known {
        room.earlier(history, config.history_len);
    }
    room.name = info.name.or(room.name.take());
    room.topic = info.topic.or(room.topic.take());
    room.member_count = info.member_count;
    for occupant in info.members {
        room.add_member(&occupant.person, occupant.name.as_deref(), occupant.level);
    }
}

/// Whether somebody else has the nick.
fn taken(room: &Room, nick: &str, user: &UserId) -> bool {
    room.owner(nick).is_some_and(|owner| owner != Owner::User(user.clone()))
}

/// The stanza with the payload by which clients know that an error is about joining.
fn with_muc(stanza: &Stanza) -> Stanza {
    let mut stanza = stanza.clone();
    if !stanza.element.has_child("x", ns::MUC) {
        stanza.element.append_child(xml::element("x", ns::MUC, &[]));
    }
    stanza
}
