//! The way into a room and out of it.
//!
//! A newcomer is sent, in this order: the others' presence, their own with status 110, what was said before, exactly one
//! subject, and then what is said from now on (XEP-0045, section 7.1). The lock on the rooms keeps live messages from
//! slipping in between.

use minidom::Element;
use portway_bridges::api::{
    Chat, ChatInfo, Condition, EventId, Failure, Kind, Membership, RoomId, Sentence, Timestamp, UserId,
};

use super::build::{self, Seen};
use super::room::{Owner, Room, Session, clean_nick};
use super::{Effect, Muc, MucConfig, State, ns};
use crate::identity::access;
use crate::route::item::{Item, Meta, Speaker};
use crate::route::key;
use crate::store::OccupantRow;
use crate::xmpp::address;
use crate::xmpp::error::{self, ErrorType, usual_type};
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{OurJid, OutStanza, Stanza, StanzaKind};
use crate::xmpp::to_stanza::stamp;
use crate::xmpp::xml;

/// Somebody on their way in.
pub enum Pending {
    /// A device that has asked to join.
    Join {
        /// What it sent.
        stanza: Box<Stanza>,
        /// The nick that it gets.
        nick: String,
        /// Whether that is another one than it asked for.
        renamed: bool,
    },
    /// A user who was in the room before a restart.
    Restore {
        /// The room.
        room: RoomId,
        /// Who.
        user: UserId,
    },
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
                state.pending.retain(
                    |_, pending| !matches!(pending, Pending::Join { stanza, .. } if stanza.from.as_ref() == Some(from)),
                );
                let left = stanza.type_.as_deref() == Some("unavailable");
                let Some(room) = canonical else { return Vec::new() };
                return state.leave(&self.config, &room, from, left.then_some(stanza), now);
            }
            Some(_) => return Vec::new(),
        }
        let session = canonical.as_ref().and_then(|id| state.rooms.get(id)?.sessions.get(from.as_str()));
        let refuse =
            |condition, key: &str| vec![Effect::Refuse(Box::new(with_muc(stanza)), condition, Sentence::new(key))];
        let Some(asked) = us.jid().resource() else { return refuse(Condition::JidMalformed, "core.not-in-room") };
        let nick = clean_nick(asked);
        if nick.is_empty() {
            return refuse(Condition::NotAcceptable, "core.nick-taken");
        }
        let wants_in = stanza.child("x", ns::MUC).is_some();
        match session {
            // Away, back, busy: other networks have no form for it in rooms.
            Some(session) if !wants_in && session.nick == nick => return Vec::new(),
            // Nicks belong to the profile on the other side.
            Some(session) if session.nick != nick => return refuse(Condition::NotAcceptable, "core.nick-taken"),
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
            return refuse(Condition::ResourceConstraint, "core.store-failed");
        }
        let renamed = nick != asked;
        let ticket = state.ticket(Pending::Join { stanza: Box::new(stanza.clone()), nick: nick.clone(), renamed });
        vec![Effect::Enter { ticket, user, nick, room }]
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
            (Err(failure), Pending::Join { stanza, .. }) => return self.refused(stanza, &failure),
            (Err(Failure::Permanent { .. }), Pending::Restore { room, user }) => {
                let sessions: Vec<Jid> = state
                    .rooms
                    .get(room)
                    .into_iter()
                    .flat_map(|room| room.sessions.values())
                    .filter(|session| session.user == *user)
                    .map(|session| session.jid.clone())
                    .collect();
                return sessions.iter().flat_map(|jid| state.leave(&self.config, room, jid, None, now)).collect();
            }
            // The room is away for now; whoever is in it stays there.
            (Err(Failure::Temporary { .. }), Pending::Restore { .. }) => return Vec::new(),
        };
        let id = info.room.clone();
        let room = state.rooms.entry(id.clone()).or_insert_with(|| Room::new(id.clone()));
        learn(room, info);
        if !room.history_known {
            room.earlier(history, self.config.history_len);
        }
        let Pending::Join { stanza, nick, renamed } = pending else { return Vec::new() };
        let (Some(from), Some(face)) = (&stanza.from, stanza.to.as_ref().and_then(Jid::node)) else {
            return Vec::new();
        };
        let Some(user) = access::user(from) else { return Vec::new() };
        if taken(room, &nick, &user) {
            let stanza = Box::new(with_muc(&stanza));
            return vec![Effect::Refuse(stanza, Condition::Conflict, Sentence::new("core.nick-taken"))];
        }
        // A user has one nick for all their devices.
        let nick = room.nick_of(&user).map_or(nick, str::to_owned);
        let renamed = renamed || stanza.to.as_ref().and_then(Jid::resource) != Some(nick.as_str());
        let newcomer = room.nick_of(&user).is_none();
        room.add_session(from, user.clone(), nick.clone(), face.to_owned());
        let mut effects = welcome(&self.config, room, from.as_str(), &stanza, renamed, now);
        if newcomer {
            let occupant = build::occupant_id(&self.config, &id, &build::user_key(&user));
            let seen = Seen { nick: &nick, occupant, level: 0 };
            for session in room.sessions.values().filter(|session| session.user != user) {
                effects.extend(build::presence(&self.config, session, &seen, true, &[], None).map(Effect::Send));
            }
        }
        let row = OccupantRow {
            network: String::new(),
            room: address::of_room(&id).unwrap_or_default(),
            session: from.to_string(),
            nick,
            face: face.to_owned(),
            joined: now,
        };
        effects.push(Effect::Persist(vec![row]));
        state.faces.insert(face.to_owned(), id);
        effects
    }

    /// The network does not let a user in. What may pass is of type `wait`: clients keep their bookmarks then.
    fn refused(&self, stanza: &Stanza, failure: &Failure) -> Vec<Effect> {
        let (condition, type_, sentence) = match failure {
            Failure::Temporary { condition, .. } => {
                let sentence = Sentence::new("core.still-trying").with("network", "The other network");
                (*condition, ErrorType::Wait, sentence)
            }
            Failure::Permanent { condition, sentence, .. } => (*condition, usual_type(*condition), sentence.clone()),
        };
        if type_ != ErrorType::Wait {
            return vec![Effect::Refuse(Box::new(with_muc(stanza)), condition, sentence)];
        }
        let (Some(from), Some(to)) = (&stanza.from, stanza.to.as_ref().and_then(|to| self.config.domain.own(to)))
        else {
            return Vec::new();
        };
        let answer = OutStanza::new(StanzaKind::Presence, &to, from, Some("error"), stanza.id.as_deref())
            .with(Element::bare("x", ns::MUC))
            .with(error::element(condition, type_, "", None));
        vec![Effect::Send(answer)]
    }
}

impl State {
    /// A device leaves. `asked`: it said so itself, and is told that it is out.
    pub fn leave(
        &mut self,
        config: &MucConfig,
        id: &RoomId,
        jid: &Jid,
        asked: Option<&Stanza>,
        now: Timestamp,
    ) -> Vec<Effect> {
        let Some(room) = self.rooms.get_mut(id) else { return Vec::new() };
        let Some(session) = room.sessions.remove(jid.as_str()) else { return Vec::new() };
        let occupant = build::occupant_id(config, id, &build::user_key(&session.user));
        let seen = Seen { nick: &session.nick, occupant, level: 0 };
        let mut effects = Vec::new();
        if let Some(asked) = asked {
            let out = build::presence(config, &session, &seen, false, &[110], asked.id.as_deref());
            effects.extend(out.map(Effect::Send));
        }
        if room.nick_of(&session.user).is_none() {
            for other in room.sessions.values() {
                effects.extend(build::presence(config, other, &seen, false, &[], None).map(Effect::Send));
            }
            effects.push(Effect::Accept(Item {
                chat: Chat::Room(id.clone()),
                speaker: Speaker::User { id: session.user.clone(), name: Some(session.nick.clone()) },
                at: now,
                kind: Kind::Membership(Membership::Leave { reason: None }),
                meta: Meta::default(),
            }));
        }
        effects
            .push(Effect::Forget { room: address::of_room(id).unwrap_or_default(), sessions: vec![jid.to_string()] });
        if room.sessions.is_empty() {
            self.rooms.remove(id);
            self.faces.retain(|_, room| room != id);
        }
        effects
    }
}

/// What the network told about a room.
fn learn(room: &mut Room, info: ChatInfo) {
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

/// Everything that a newcomer is sent, in order.
fn welcome(
    config: &MucConfig,
    room: &mut Room,
    jid: &str,
    stanza: &Stanza,
    renamed: bool,
    now: Timestamp,
) -> Vec<Effect> {
    let Some(session) = room.sessions.get(jid).cloned() else { return Vec::new() };
    let mut out = Vec::new();
    let mut shown = Vec::new();
    for other in room.sessions.values().filter(|other| other.user != session.user) {
        if !shown.contains(&&other.user) {
            shown.push(&other.user);
            let occupant = build::occupant_id(config, &room.id, &build::user_key(&other.user));
            out.extend(build::presence(
                config,
                &session,
                &Seen { nick: &other.nick, occupant, level: 0 },
                true,
                &[],
                None,
            ));
        }
    }
    // Staff first, then the rest; those who were shown to others are shown to everybody.
    let mut order: Vec<_> =
        room.members.iter().map(|(person, member)| (!member.shown, -member.level, person.clone())).collect();
    order.sort();
    for (hidden, _, person) in order.into_iter().take(config.max_presence) {
        let Some(member) = room.members.get_mut(&person) else { continue };
        let occupant = build::occupant_id(config, &room.id, &key::person(&person));
        let seen = Seen { nick: &member.nick, occupant, level: member.level };
        out.extend(build::presence(config, &session, &seen, true, &[], None));
        if hidden {
            member.shown = true;
            for other in room.sessions.values().filter(|other| other.jid != session.jid) {
                out.extend(build::presence(config, other, &seen, true, &[], None));
            }
        }
    }
    let occupant = build::occupant_id(config, &room.id, &build::user_key(&session.user));
    let own = Seen { nick: &session.nick, occupant, level: 0 };
    let statuses: &[u16] = if renamed { &[110, 170, 210] } else { &[110, 170] };
    out.extend(build::presence(config, &session, &own, true, statuses, stanza.id.as_deref()));
    out.extend(history(config, room, &session, stanza, now));
    out.extend(super::render::subject(config, room, &session));
    out.into_iter().map(Effect::Send).collect()
}

/// What was said before, as far as the newcomer wants it (XEP-0045, section 7.2.13).
fn history(config: &MucConfig, room: &Room, session: &Session, stanza: &Stanza, now: Timestamp) -> Vec<OutStanza> {
    let wanted = stanza.child("x", ns::MUC).and_then(|x| x.get_child("history", ns::MUC));
    let number = |name: &str| wanted.and_then(|history| history.attr(name)?.parse::<usize>().ok());
    let most = number("maxstanzas").unwrap_or(config.history_len);
    let mut chars = number("maxchars").unwrap_or(usize::MAX);
    let oldest = number("seconds").map(|seconds| now.0 - i64::try_from(seconds).unwrap_or(i64::MAX / 2000) * 1000);
    let since = wanted.and_then(|history| history.attr("since")).map(str::to_owned);
    let mut chosen = Vec::new();
    for (id, item) in room.history.iter().rev().take(most) {
        let stamp = stamp(item.at);
        if oldest.is_some_and(|oldest| item.at.0 < oldest)
            || since.as_ref().is_some_and(|since| stamp.as_str() < since.as_str())
        {
            break;
        }
        let rendered = super::render::message(config, room, session, *id, item, Some(&stamp));
        let size: usize = rendered.iter().map(|stanza| stanza.element().text().len() + 300).sum();
        if size > chars {
            break;
        }
        chars -= size;
        chosen.push(rendered);
    }
    chosen.into_iter().rev().flatten().collect()
}

/// The stanza with the payload by which clients know that an error is about joining.
fn with_muc(stanza: &Stanza) -> Stanza {
    let mut stanza = stanza.clone();
    if !stanza.element.has_child("x", ns::MUC) {
        stanza.element.append_child(xml::element("x", ns::MUC, &[]));
    }
    stanza
}
