//! What is said in a room, for each session.

use minidom::Element;
use portway_bridges::api::{EventId, ItemId, Kind, Membership, Sentence, Style, Target, Text, Timestamp};

use super::room::{Room, Session};
use super::{Muc, MucConfig, build, failed, mention, ns, people};
use crate::route::degrade::file_as_text;
use crate::route::item::{Item, Meta, Speaker};
use crate::route::key;
use crate::xmpp::file;
use crate::xmpp::from_stanza::ns as message_ns;
use crate::xmpp::rich::{self, Body, Features, Writing};
use crate::xmpp::stanza::{NS_CLIENT, OurJid, OutStanza, StanzaKind};
use crate::xmpp::to_stanza::hint;
use crate::xmpp::{relation, xml};

/// How old a message must be for its time to be said, in milliseconds.
const DELAYED: i64 = 10_000;

impl Muc {
    /// The stanzas of an event of the queue, for all sessions that are in the room now.
    #[must_use]
    pub fn render(&self, id: EventId, item: &Item, now: Timestamp) -> Vec<OutStanza> {
        let mut guard = self.state();
        let state = &mut *guard;
        let portway_bridges::api::Chat::Room(room_id) = &item.chat else { return Vec::new() };
        if let Kind::Failed(failed) = &item.kind {
            return failed::render(&self.config, state.rooms.get(room_id), item, failed);
        }
        let Some(room) = state.rooms.get_mut(room_id) else { return Vec::new() };
        let config = &self.config;
        let before: Vec<String> = match item.kind {
            Kind::Membership(Membership::Kick { user: Some(_), .. }) => room.sessions.keys().cloned().collect(),
            _ => Vec::new(),
        };
        match (&item.kind, &item.speaker) {
            (Kind::Membership(change), Speaker::Person { id: person, .. }) => {
                let out = people::membership(config, room, person, change);
                state.tidy(room_id, before);
                out
            }
            (Kind::Role { person, level }, _) => people::role(config, room, person, *level),
            (Kind::Topic(topic), _) => {
                room.topic = Some(topic.clone());
                room.topic_at = Some(item.at);
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
            (Kind::RoomGone { next, reason }, _) => {
                let (out, behind) = state.moved(config, room_id, next.as_ref(), reason.as_deref());
                state.behind.extend(behind);
                out
            }
            _ => {
                let mut out = Vec::new();
                if let Speaker::Person { id: person, name } = &item.speaker {
                    room.add_member_if_new(person, name.as_deref());
                    out.extend(people::show(config, room, person));
                }
                if matches!(item.kind, Kind::Text(_) | Kind::File(_) | Kind::Location { .. } | Kind::Encrypted { .. }) {
                    room.record(id, item, config.history_len);
                }
                if let Kind::Retract { target: Target { id: Some(id), .. } }
                | Kind::Moderate { target: Target { id: Some(id), .. }, .. } = &item.kind
                {
                    room.history.retain(|(_, old)| old.meta.remote_id.as_deref() != Some(id.as_str()));
                }
                let late = (now.0 - item.at.0 >= DELAYED).then(|| crate::xmpp::to_stanza::stamp(item.at));
                let said = content(config, room, item, Features::default());
                for session in room.sessions.values() {
                    out.extend(message(config, room, session, id, item, &said, When { stamp: late.as_deref(), now }));
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

/// The subject: exactly one on joining, even where there is no topic. Without body and thread, or clients take it for a
/// message.
pub fn subject(config: &MucConfig, room: &Room, session: &Session) -> Option<OutStanza> {
    let from = build::address(config, session, None)?;
    let mut stanza = OutStanza::new(StanzaKind::Message, &from, &session.jid, Some("groupchat"), None);
    stanza.push(xml::text("subject", NS_CLIENT, room.topic.as_deref().unwrap_or_default()));
    if let Some(at) = room.topic_at {
        let stamp = crate::xmpp::to_stanza::stamp(at);
        stanza.push(xml::element("delay", message_ns::DELAY, &[("from", from.jid().as_str()), ("stamp", &stamp)]));
    }
    Some(stanza)
}

/// When a message was said, and when it is shown.
#[derive(Debug, Clone, Copy)]
pub struct When<'a> {
    /// When it was said, as XEP-0082 writes it, where that is worth saying.
    pub stamp: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

/// A message for one session. An occupant's own keeps the ids that its client gave to it.
pub fn message(
    config: &MucConfig,
    room: &Room,
    session: &Session,
    id: EventId,
    item: &Item,
    said: &[Body],
    when: When<'_>,
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
    if let Kind::Moderate { target: Target { id: Some(target), parts, .. }, reason } = &item.kind {
        let parts = std::iter::once(target).chain(parts).enumerate();
        let words = said.first().map(|body| body.text.as_str()).unwrap_or_default();
        let stanza = |(n, part): (usize, &ItemId)| {
            let id = part_id(&stable, n);
            // It is the room that says so.
            let message = OutStanza::new(StanzaKind::Message, &by, &session.jid, Some("groupchat"), Some(&id));
            let payloads = moderated(&from, part.as_str(), reason.as_deref());
            let message = payloads.into_iter().fold(message, OutStanza::with);
            let stable = xml::element("stanza-id", ns::SID, &[("by", by.jid().as_str()), ("id", &id)]);
            message.with(xml::text("body", NS_CLIENT, words)).with(stable)
        };
        return parts.map(stanza).collect();
    }
    let shown = match &item.kind {
        Kind::File(file) => file::shown(file, id, item.at, when.now, &config.linking),
        _ => None,
    };
    let author = answered(&item.kind).and_then(|target| nick_of(room, target));
    let author = author.and_then(|nick| build::address(config, session, Some(&nick)));
    let mut payloads = payloads(&item.kind, author.as_ref().map(|author| author.jid().as_str()));
    let of_file;
    let as_file = shown.is_some();
    let said = match shown {
        Some(shown) => {
            payloads.extend(shown.payloads);
            of_file = [Body { text: shown.url, payloads: Vec::new(), mentions: Vec::new() }];
            &of_file[..]
        }
        None => {
            // In front of a file's URL a quote would hide the file.
            payloads.extend(quote(&item.kind).and_then(|(_, fallback)| fallback));
            said
        }
    };
    if said.is_empty() && payloads.is_empty() {
        return Vec::new();
    }
    // Of what has several parts, each is edited or taken back.
    let parts: &[ItemId] = match &item.kind {
        Kind::Edit { target, .. } if !target.caption => &target.parts,
        Kind::Retract { target } => &target.parts,
        _ => &[],
    };
    let whole = said.len().max(1).max(parts.len() + 1);
    let mut out = Vec::with_capacity(whole);
    for n in 0..whole {
        let (id, stable) = (part_id(&own, n), part_id(&stable, n));
        let mut stanza = OutStanza::new(StanzaKind::Message, &from, &session.jid, Some("groupchat"), Some(&id));
        if let Some(body) = said.get(n) {
            stanza.push(xml::text("body", NS_CLIENT, &body.text));
            for payload in body.payloads.iter().cloned().chain(mention::own(body, session)) {
                stanza.push(payload);
            }
        }
        if n == 0 {
            for payload in payloads.drain(..) {
                stanza.push(payload);
            }
        } else if let Some(part) = parts.get(n - 1) {
            if n < said.len() && matches!(item.kind, Kind::Edit { .. }) {
                stanza.push(relation::replace(part.as_str()));
            } else {
                relation::retract(part.as_str()).into_iter().for_each(|payload| stanza.push(payload));
            }
        }
        if let Some(origin) = &item.meta.origin_id {
            stanza.push(xml::element("origin-id", ns::SID, &[("id", origin)]));
        }
        stanza.push(xml::element("stanza-id", ns::SID, &[("by", by.jid().as_str()), ("id", &stable)]));
        stanza.push(xml::element("occupant-id", ns::OCCUPANT_ID, &[("id", &occupant)]));
        if let Some(stamp) = when.stamp {
            stanza.push(xml::element("delay", message_ns::DELAY, &[("from", by.jid().as_str()), ("stamp", stamp)]));
        }
        out.push(stanza);
    }
    if let Some(caption) = caption(&item.kind, !as_file) {
        let meta = Meta {
            id: item.meta.id.as_ref().map(|_| format!("{own}{}", file::CAPTION)),
            origin_id: None,
            remote_id: Some(format!("{stable}{}", file::CAPTION)),
            ..item.meta.clone()
        };
        let second = Item { kind: Kind::Text(caption), meta, ..item.clone() };
        let attached = file::write::attached(&stable);
        let said = content(config, room, &second, Features::default());
        let behind = message(config, room, session, id, &second, &said, when);
        out.extend(behind.into_iter().map(|stanza| stanza.with(attached.clone())));
    }
    out
}

/// What is said beside a file or a place, in a message of its own behind it.
fn caption(kind: &Kind, in_words: bool) -> Option<Text> {
    match kind {
        // Words for a file hold its caption.
        Kind::File(file) if !in_words => file.caption.clone(),
        Kind::Location { uri, text } => file::write::place_name(uri, text.as_deref()).map(Text::plain),
        _ => None,
    }
}

/// The id of the n-th part of a message.
fn part_id(id: &str, n: usize) -> String {
    if n == 0 { id.to_owned() } else { format!("{id}-{}", n + 1) }
}

/// The message that an event answers.
fn answered(kind: &Kind) -> Option<&Target> {
    match kind {
        Kind::Text(text) => text.reply.as_ref(),
        Kind::File(file) => file.reply.as_ref(),
        _ => None,
    }
}

/// Under which nick the room knows who said a message, while they are here.
fn nick_of(room: &Room, target: &Target) -> Option<String> {
    match target.by.as_ref()? {
        Ok(person) => room.members.get(person).map(|member| member.nick.clone()),
        Err(user) => room.nick_of(user).map(str::to_owned),
    }
}

/// What is quoted in front of an answer; in front of what somebody does it would make it words.
fn quote(kind: &Kind) -> Option<(String, Option<Element>)> {
    answered(kind).filter(|_| !matches!(kind, Kind::Text(text) if text.style == Style::Emote)).and_then(relation::quote)
}

/// The text of an event, if it has one: as bodies of one message each, for a client that knows this.
pub fn content(config: &MucConfig, room: &Room, item: &Item, features: Features) -> Vec<Body> {
    let writing = Writing { mention: &|_| None, features };
    let before = quote(&item.kind).map(|(quoted, _)| quoted).unwrap_or_default();
    let bodies = |text: &Text| rich::bodies(&mention::outward(room, text), &before, &writing);
    let say = |sentence: &Sentence| config.texts.text(sentence, item.meta.lang.as_deref());
    let plain = match &item.kind {
        Kind::Text(text) | Kind::Edit { target: Target { id: Some(_), .. }, new: text } => return bodies(text),
        Kind::Edit { new, .. } => say(&Sentence::new("core.edited").with("text", new.body.clone())),
        Kind::File(file) => return bodies(&file_as_text((**file).clone(), &say)),
        Kind::Location { uri, .. } => uri.clone(),
        Kind::Encrypted { scheme } => say(&Sentence::new("core.encrypted").with("scheme", scheme.clone())),
        Kind::Retract { .. } | Kind::Moderate { .. } => say(&Sentence::new("core.retracted")),
        Kind::Reaction { target: Target { id: None, .. }, keys } if !keys.is_empty() => {
            say(&Sentence::new("core.reacted").with("keys", keys.join(" ")))
        }
        _ => return Vec::new(),
    };
    bodies(&Text::plain(plain))
}

/// What stands beside the text: how the event speaks of another one, and where a place is.
fn payloads(kind: &Kind, to: Option<&str>) -> Vec<Element> {
    let mut payloads = relation::payloads(kind, to);
    if let Kind::Location { uri, text } = kind {
        payloads.extend(file::write::place(uri, file::write::place_name(uri, text.as_deref())));
    }
    payloads
}

/// That somebody with the right to do so takes a message back (XEP-0425, section 5).
fn moderated(by: &OurJid, target: &str, reason: Option<&str>) -> Vec<Element> {
    let mut payloads = relation::retract(target);
    if let Some(retract) = payloads.first_mut() {
        retract.append_child(xml::element("moderated", message_ns::MODERATE, &[("by", by.jid().as_str())]));
        if let Some(reason) = reason {
            retract.append_child(xml::text("reason", message_ns::RETRACT_1, reason));
        }
    }
    payloads
}
