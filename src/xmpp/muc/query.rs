//! Answers to IQs of rooms: exactly one for each request.

use minidom::Element;
use portway_bridges::api::{Condition, RoomId, Sentence};

use super::{Effect, Muc, ns};
use crate::xmpp::error::{self, ErrorType};
use crate::xmpp::iq::{self, ns as iq_ns};
use crate::xmpp::stanza::{OurJid, OutStanza, Stanza};
use crate::xmpp::xml;

/// What a room can do: what truly works.
const FEATURES: [&str; 14] = [
    iq_ns::DISCO_INFO,
    iq_ns::DISCO_ITEMS,
    ns::MUC,
    "http://jabber.org/protocol/muc#stable_id",
    "http://jabber.org/protocol/muc#self-ping-optimization",
    "muc_open",
    "muc_persistent",
    "muc_public",
    "muc_semianonymous",
    "muc_unmoderated",
    "muc_unsecured",
    ns::OCCUPANT_ID,
    iq_ns::PING,
    ns::SID,
];

impl Muc {
    /// Answers a request to a room or an occupant.
    #[must_use]
    pub fn iq(&self, query: &Stanza, us: &OurJid, room: &RoomId) -> Vec<Effect> {
        self.answer(query, us, room).map(Effect::Send).into_iter().collect()
    }

    fn answer(&self, query: &Stanza, us: &OurJid, id: &RoomId) -> Option<OutStanza> {
        let get = match query.type_.as_deref() {
            Some("get") => true,
            Some("set") => false,
            Some("result" | "error") => return None,
            _ => return iq::refuse(query, us, Condition::BadRequest, ""),
        };
        let payload = query.element.children().next();
        let (Some(payload), true) = (payload, query.id.is_some()) else {
            return iq::refuse(query, us, Condition::BadRequest, "");
        };
        let state = self.state();
        let room = state.addressed(us);
        let from = query.from.as_ref()?;
        let session = room.and_then(|room| room.sessions.get(from.as_str()));
        if let Some(nick) = us.jid().resource() {
            // A self-ping (XEP-0410): clients that are not in the room must learn exactly that.
            return match session {
                None => {
                    let text = self.config.texts.text(&Sentence::new("core.not-in-room"), query.lang.as_deref());
                    error::reply(query, us, Condition::NotAcceptable, ErrorType::Cancel, &text)
                }
                Some(session) if session.nick == nick && payload.is("ping", iq_ns::PING) => iq::result(query, us, None),
                Some(_) if room.is_some_and(|room| room.owner(nick).is_none()) => {
                    iq::refuse(query, us, Condition::ItemNotFound, "")
                }
                Some(_) => iq::refuse(query, us, Condition::ServiceUnavailable, ""),
            };
        }
        if payload.is("query", iq_ns::DISCO_INFO) && get {
            if payload.attr("node").is_some() {
                return iq::refuse(query, us, Condition::ItemNotFound, "");
            }
            let fallback = match id {
                RoomId::Alias { local, .. } => local.to_string(),
                RoomId::Id { .. } => String::new(),
            };
            let name = room.and_then(|room| room.name.clone()).unwrap_or(fallback);
            let mut info = iq::info(&[("conference", "text")], &name, &FEATURES);
            if let Some(room) = room {
                info.append_child(form(room.topic.as_deref(), room.member_count.max(room.members.len())));
            }
            return iq::result(query, us, Some(info));
        }
        if payload.is("query", iq_ns::DISCO_ITEMS) && get {
            return iq::result(query, us, Some(Element::bare("query", iq_ns::DISCO_ITEMS)));
        }
        if payload.is("ping", iq_ns::PING) && get {
            return iq::result(query, us, None);
        }
        if payload.has_ns(ns::ADMIN) || payload.has_ns(ns::OWNER) {
            return iq::refuse(query, us, Condition::Forbidden, "");
        }
        if payload.is("vCard", iq_ns::VCARD) && get {
            return iq::refuse(query, us, Condition::ItemNotFound, "");
        }
        iq::refuse(query, us, Condition::ServiceUnavailable, "")
    }
}

/// The form `muc#roominfo` (XEP-0045, section 15.5.4).
fn form(topic: Option<&str>, occupants: usize) -> Element {
    const DATA: &str = "jabber:x:data";
    let mut form = xml::element("x", DATA, &[("type", "result")]);
    let mut field = |var: &str, type_: Option<&str>, value: &str| {
        let mut field = xml::element("field", DATA, &[("var", var)]);
        if let Some(type_) = type_ {
            xml::set(&mut field, "type", type_);
        }
        field.append_child(xml::text("value", DATA, value));
        form.append_child(field);
    };
    field("FORM_TYPE", Some("hidden"), "http://jabber.org/protocol/muc#roominfo");
    field("muc#roominfo_occupants", None, &occupants.to_string());
    field("muc#roominfo_subject", None, topic.unwrap_or_default());
    form
}
