//! What is said in a room, for each session.

use minidom::Element;
use portway_bridges::api::{EventId, Kind, Membership, Sentence, Style, Target, Text, Timestamp};

use super::room::{Room, Session};
use super::{Muc, MucConfig, build, failed, ns, people};
use crate::route::degrade::file_as_text;
use crate::route::item::{Item, Meta, Speaker};
use crate::route::key;
use crate::xmpp::file;
use crate::xmpp::from_stanza::ns as message_ns;
use crate::xmpp::stanza::{NS_CLIENT, OutStanza, StanzaKind};
use crate::xmpp::to_stanza::{MAX_BODY, hint, split};
use crate::xmpp::xml;

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
            Kind::Membership(Membership::Kick { user: Some(_), .. }) | Kind::RoomGone { .. } => {
                room.sessions.keys().cloned().collect()
            }
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
                let out = people::destroyed(config, room, next.as_ref(), reason.as_deref());
                state.tidy(room_id, before);
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
                let late = (now.0 - item.at.0 >= DELAYED).then(|| crate::xmpp::to_stanza::stamp(item.at));
                for session in room.sessions.values() {
                    out.extend(message(config, room, session, id, item, late.as_deref(), now));
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

/// A message for one session. An occupant's own keeps the ids that its client gave to it.
pub fn message(
    config: &MucConfig,
    room: &Room,
    session: &Session,
    id: EventId,
    item: &Item,
    stamp: Option<&str>,
    now: Timestamp,
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
    let shown = match &item.kind {
        Kind::File(file) => file::shown(file, id, item.at, now, &config.linking),
        _ => None,
    };
    let payloads_of_file = shown.is_some();
    let (body, mut payloads) = match shown {
        Some(shown) => (Some(shown.url), shown.payloads),
        None => (content(config, item), payloads(&item.kind)),
    };
    let bodies: Vec<String> =
        body.map_or_else(Vec::new, |body| split(&body, MAX_BODY).into_iter().map(str::to_owned).collect());
    if bodies.is_empty() && payloads.is_empty() {
        return Vec::new();
    }
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
            for payload in payloads.drain(..) {
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
    if let Some(caption) = caption(&item.kind, !payloads_of_file) {
        let meta = Meta {
            id: item.meta.id.as_ref().map(|_| format!("{own}{}", file::CAPTION)),
            origin_id: None,
            remote_id: Some(format!("{stable}{}", file::CAPTION)),
            ..item.meta.clone()
        };
        let second = Item { kind: Kind::Text(caption), meta, ..item.clone() };
        let attached = file::write::attached(&stable);
        out.extend(
            message(config, room, session, id, &second, stamp, now)
                .into_iter()
                .map(|stanza| stanza.with(attached.clone())),
        );
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

/// The text of an event, if it has one.
fn content(config: &MucConfig, item: &Item) -> Option<String> {
    let words = |text: &Text| match text.style {
        Style::Emote => format!("/me {}", text.body),
        _ => text.body.clone(),
    };
    let say = |sentence: &Sentence| config.texts.text(sentence, item.meta.lang.as_deref());
    Some(match &item.kind {
        Kind::Text(text) => words(text),
        Kind::Edit { target: Target { id: Some(_), .. }, new } => words(new),
        Kind::Edit { new, .. } => say(&Sentence::new("core.edited").with("text", new.body.clone())),
        Kind::File(file) => file_as_text((**file).clone(), &say).body,
        Kind::Location { uri, .. } => uri.clone(),
        Kind::Encrypted { scheme } => say(&Sentence::new("core.encrypted").with("scheme", scheme.clone())),
        Kind::Retract { .. } | Kind::Moderate { .. } => say(&Sentence::new("core.retracted")),
        Kind::Reaction { target: Target { id: None, .. }, keys } if !keys.is_empty() => {
            say(&Sentence::new("core.reacted").with("keys", keys.join(" ")))
        }
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
        Kind::Retract { target: Target { id: Some(id), .. } }
        | Kind::Moderate { target: Target { id: Some(id), .. }, .. } => vec![
            xml::element("retract", message_ns::RETRACT_1, &[("id", id.as_str())]),
            xml::element("fallback", message_ns::FALLBACK, &[("for", message_ns::RETRACT_1)]),
            hint("store"),
        ],
        Kind::Reaction { target: Target { id: Some(id), .. }, keys } => {
            let mut reactions = xml::element("reactions", message_ns::REACTIONS, &[("id", id.as_str())]);
            for key in keys {
                reactions.append_child(xml::text("reaction", message_ns::REACTIONS, key));
            }
            vec![reactions, hint("store")]
        }
        Kind::Location { uri, text } => {
            file::write::place(uri, file::write::place_name(uri, text.as_deref())).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
