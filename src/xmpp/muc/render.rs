//! What is said in a room, for each session.

use minidom::Element;
use portway_bridges::api::{EventId, Kind, Membership, PersonId, Style, Target, Text, Timestamp};

use super::build::{self, Seen};
use super::room::{Room, Session};
use super::{Muc, MucConfig, ns};
use crate::route::item::{Item, Speaker};
use crate::route::key;
use crate::xmpp::error::{self, usual_type};
use crate::xmpp::from_stanza::ns as message_ns;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{NS_CLIENT, OutStanza, StanzaKind};
use crate::xmpp::to_stanza::{MAX_BODY, hint, split};
use crate::xmpp::xml;

/// How old a message must be for its time to be said, in milliseconds.
const DELAYED: i64 = 10_000;

impl Muc {
    /// The stanzas of an event of the queue, for all sessions that are in the room now.
    #[must_use]
    pub fn render(&self, id: EventId, item: &Item, now: Timestamp) -> Vec<OutStanza> {
        let mut state = self.state();
        let portway_bridges::api::Chat::Room(room_id) = &item.chat else { return Vec::new() };
        let Some(room) = state.rooms.get_mut(room_id) else { return Vec::new() };
        let config = &self.config;
        match (&item.kind, &item.speaker) {
            (Kind::Failed(failed), _) => {
                let to = item.meta.to.as_deref().and_then(|to| Jid::parse(to).ok());
                let session = item.meta.to.as_deref().and_then(|to| room.sessions.get(to));
                let from = session.and_then(|session| build::address(config, session, None));
                let (Some(to), Some(from), false) = (to, from, failed.still_trying) else { return Vec::new() };
                let lang = item.meta.lang.as_deref();
                let payload =
                    error::element(failed.condition, usual_type(failed.condition), &failed.sentence.key, lang);
                vec![
                    OutStanza::new(StanzaKind::Message, &from, &to, Some("error"), item.meta.id.as_deref())
                        .with(payload),
                ]
            }
            (Kind::Membership(change), Speaker::Person { id: person, .. }) => membership(config, room, person, change),
            (Kind::Topic(topic), _) => {
                room.topic = Some(topic.clone());
                let sessions: Vec<Session> = room.sessions.values().cloned().collect();
                sessions.iter().filter_map(|session| subject(config, room, session)).collect()
            }
            (Kind::Name(name), _) => {
                room.name = Some(name.clone());
                let changed = |session: &Session| {
                    let from = build::address(config, session, None)?;
                    let mut user = Element::bare("x", ns::USER);
                    user.append_child(xml::element("status", ns::USER, &[("code", "104")]));
                    let stanza = OutStanza::new(StanzaKind::Message, &from, &session.jid, Some("groupchat"), None);
                    Some(stanza.with(user))
                };
                room.sessions.values().filter_map(changed).collect()
            }
            (Kind::RoomGone { reason, .. }, _) => {
                let gone = |session: &Session| {
                    let occupant = build::occupant_id(config, &room.id, &build::user_key(&session.user));
                    let seen = Seen { nick: &session.nick, occupant, level: 0 };
                    let mut destroy = Element::bare("destroy", ns::USER);
                    if let Some(reason) = reason {
                        destroy.append_child(xml::text("reason", ns::USER, reason));
                    }
                    let mut user = Element::bare("x", ns::USER);
                    user.append_child(destroy);
                    Some(build::presence(config, session, &seen, false, &[110], None)?.with(user))
                };
                room.sessions.values().filter_map(gone).collect()
            }
            _ => {
                let mut out = Vec::new();
                if let Speaker::Person { id: person, name } = &item.speaker {
                    room.add_member_if_new(person, name.as_deref());
                    out.extend(show(config, room, person));
                }
                if matches!(item.kind, Kind::Text(_) | Kind::File(_) | Kind::Location { .. } | Kind::Encrypted { .. }) {
                    room.record(id, item, config.history_len);
                }
                let late = (now.0 - item.at.0 >= DELAYED).then(|| crate::xmpp::to_stanza::stamp(item.at));
                for session in room.sessions.values() {
                    out.extend(message(config, room, session, id, item, late.as_deref()));
                }
                out
            }
        }
    }

    /// The stanzas of something that is not stored: a person is writing.
    #[must_use]
    pub fn signal(&self, item: &Item) -> Vec<OutStanza> {
        let state = self.state();
        let (portway_bridges::api::Chat::Room(room), Kind::Typing { active }) = (&item.chat, &item.kind) else {
            return Vec::new();
        };
        let Speaker::Person { id: person, .. } = &item.speaker else { return Vec::new() };
        let Some(room) = state.rooms.get(room) else { return Vec::new() };
        let Some(member) = room.members.get(person).filter(|member| member.shown) else { return Vec::new() };
        let typing = |session: &Session| {
            let from = build::address(&self.config, session, Some(&member.nick))?;
            let name = if *active { "composing" } else { "paused" };
            let stanza = OutStanza::new(StanzaKind::Message, &from, &session.jid, Some("groupchat"), None);
            Some(stanza.with(Element::bare(name, message_ns::CHATSTATES)).with(hint("no-store")))
        };
        room.sessions.values().filter_map(typing).collect()
    }
}

impl Room {
    fn add_member_if_new(&mut self, person: &PersonId, name: Option<&str>) {
        if !self.members.contains_key(person) {
            self.add_member(person, name, 0);
            self.member_count += 1;
        }
    }
}

/// Shows a person who was not shown before they speak.
fn show(config: &MucConfig, room: &mut Room, person: &PersonId) -> Vec<OutStanza> {
    let Some(member) = room.members.get_mut(person).filter(|member| !member.shown) else { return Vec::new() };
    member.shown = true;
    let occupant = build::occupant_id(config, &room.id, &key::person(person));
    let seen = Seen { nick: &member.nick, occupant, level: member.level };
    room.sessions.values().filter_map(|session| build::presence(config, session, &seen, true, &[], None)).collect()
}

fn membership(config: &MucConfig, room: &mut Room, person: &PersonId, change: &Membership) -> Vec<OutStanza> {
    match change {
        Membership::Join { name } => {
            if let Some(member) = room.members.get(person) {
                let nick = name.as_deref().map(|name| room.free_nick(person, Some(name)));
                if nick.as_ref().is_none_or(|nick| *nick == member.nick) {
                    return show(config, room, person);
                }
                let mut out = gone(config, room, person, &[]);
                room.members.remove(person);
                room.add_member(person, name.as_deref(), 0);
                out.extend(show(config, room, person));
                return out;
            }
            room.add_member_if_new(person, name.as_deref());
            let shown = room.members.values().filter(|member| member.shown).count();
            if shown < config.max_presence { show(config, room, person) } else { Vec::new() }
        }
        Membership::Leave { .. } => {
            let out = gone(config, room, person, &[]);
            if room.members.remove(person).is_some() {
                room.member_count = room.member_count.saturating_sub(1);
            }
            out
        }
        Membership::Kick { person: Some(whom), ban, .. } => {
            let out = gone(config, room, whom, &[if *ban { 301 } else { 307 }]);
            if room.members.remove(whom).is_some() {
                room.member_count = room.member_count.saturating_sub(1);
            }
            out
        }
        Membership::Kick { user: Some(user), ban, .. } => {
            let code = if *ban { 301 } else { 307 };
            let Some(nick) = room.nick_of(user).map(str::to_owned) else { return Vec::new() };
            let occupant = build::occupant_id(config, &room.id, &build::user_key(user));
            let seen = Seen { nick: &nick, occupant, level: 0 };
            let out = room
                .sessions
                .values()
                .filter_map(|session| {
                    let statuses: &[u16] = if session.user == *user { &[110, code] } else { &[code] };
                    build::presence(config, session, &seen, false, statuses, None)
                })
                .collect();
            room.sessions.retain(|_, session| session.user != *user);
            out
        }
        Membership::Kick { .. } | Membership::Invite { .. } => Vec::new(),
    }
}

fn gone(config: &MucConfig, room: &Room, person: &PersonId, statuses: &[u16]) -> Vec<OutStanza> {
    let Some(member) = room.members.get(person).filter(|member| member.shown) else { return Vec::new() };
    let occupant = build::occupant_id(config, &room.id, &key::person(person));
    let seen = Seen { nick: &member.nick, occupant, level: member.level };
    room.sessions
        .values()
        .filter_map(|session| build::presence(config, session, &seen, false, statuses, None))
        .collect()
}

/// The subject: exactly one on joining, even where there is no topic. Without body and thread, or clients take it for a
/// message.
pub fn subject(config: &MucConfig, room: &Room, session: &Session) -> Option<OutStanza> {
    let from = build::address(config, session, None)?;
    let stanza = OutStanza::new(StanzaKind::Message, &from, &session.jid, Some("groupchat"), None);
    Some(stanza.with(xml::text("subject", NS_CLIENT, room.topic.as_deref().unwrap_or_default())))
}

/// A message for one session. An occupant's own keeps the ids that its client gave to it.
pub fn message(
    config: &MucConfig,
    room: &Room,
    session: &Session,
    id: EventId,
    item: &Item,
    stamp: Option<&str>,
) -> Vec<OutStanza> {
    let (nick, who) = match &item.speaker {
        Speaker::User { id, name } => {
            let nick = room.nick_of(id).map(str::to_owned).or_else(|| name.clone());
            (nick.unwrap_or_else(|| id.local().to_owned()), build::user_key(id))
        }
        Speaker::Person { id, name } => {
            let member = room.members.get(id).map(|member| member.nick.clone());
            (member.unwrap_or_else(|| room.free_nick(id, name.as_deref())), key::person(id))
        }
        Speaker::Gateway => return Vec::new(),
    };
    let (Some(from), Some(by)) = (build::address(config, session, Some(&nick)), build::address(config, session, None))
    else {
        return Vec::new();
    };
    let stable = item.meta.remote_id.clone().unwrap_or_else(|| format!("pw-{id}"));
    let own = item.meta.id.clone().unwrap_or_else(|| stable.clone());
    let occupant = build::occupant_id(config, &room.id, &who);
    let bodies: Vec<String> = content(&item.kind)
        .map_or_else(Vec::new, |body| split(&body, MAX_BODY).into_iter().map(str::to_owned).collect());
    let count = bodies.len().max(1);
    let mut out = Vec::with_capacity(count);
    for n in 0..count {
        let (id, stable) = match n {
            0 => (own.clone(), stable.clone()),
            n => (format!("{own}-{}", n + 1), format!("{stable}-{}", n + 1)),
        };
        let mut stanza = OutStanza::new(StanzaKind::Message, &from, &session.jid, Some("groupchat"), Some(&id));
        if let Some(body) = bodies.get(n) {
            stanza.push(xml::text("body", NS_CLIENT, body));
        }
        if n == 0 {
            for payload in payloads(&item.kind) {
                stanza.push(payload);
            }
        }
        if let Some(origin) = &item.meta.origin_id {
            stanza.push(xml::element("origin-id", ns::SID, &[("id", origin)]));
        }
        stanza.push(xml::element("stanza-id", ns::SID, &[("by", by.jid().as_str()), ("id", &stable)]));
        stanza.push(xml::element("occupant-id", ns::OCCUPANT_ID, &[("id", &occupant)]));
        if let Some(stamp) = stamp {
            stanza.push(xml::element("delay", message_ns::DELAY, &[("from", by.jid().as_str()), ("stamp", stamp)]));
        }
        out.push(stanza);
    }
    out
}

/// The text of an event, if it has one.
fn content(kind: &Kind) -> Option<String> {
    let words = |text: &Text| match text.style {
        Style::Emote => format!("/me {}", text.body),
        _ => text.body.clone(),
    };
    Some(match kind {
        Kind::Text(text) => words(text),
        Kind::Edit { new, .. } => words(new),
        Kind::File(file) => match (&file.url, &file.caption) {
            (Some(url), _) => url.clone(),
            (None, None) => format!("[{}]", file.name),
            (None, Some(caption)) => format!("[{}]\n{}", file.name, caption.body),
        },
        Kind::Location { uri, .. } => uri.clone(),
        Kind::Encrypted { scheme } => format!("[{scheme}]"),
        _ => return None,
    })
}

fn payloads(kind: &Kind) -> Vec<Element> {
    match kind {
        Kind::Text(Text { reply: Some(Target { id: Some(id), .. }), .. }) => {
            vec![xml::element("reply", message_ns::REPLY, &[("id", id.as_str())])]
        }
        Kind::Edit { target: Target { id: Some(id), .. }, .. } => {
            vec![xml::element("replace", message_ns::CORRECT, &[("id", id.as_str())])]
        }
        Kind::Retract { target: Target { id: Some(id), .. } } => {
            vec![xml::element("retract", message_ns::RETRACT_1, &[("id", id.as_str())]), hint("store")]
        }
        Kind::Reaction { target: Target { id: Some(id), .. }, keys } => {
            let mut reactions = xml::element("reactions", message_ns::REACTIONS, &[("id", id.as_str())]);
            for key in keys {
                reactions.append_child(xml::text("reaction", message_ns::REACTIONS, key));
            }
            vec![reactions, hint("store")]
        }
        Kind::File(file) => file
            .url
            .iter()
            .map(|url| {
                let mut oob = Element::bare("x", message_ns::OOB);
                oob.append_child(xml::text("url", message_ns::OOB, url));
                oob
            })
            .collect(),
        _ => Vec::new(),
    }
}
