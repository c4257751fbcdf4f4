//! The stanzas of rooms.

use base64::Engine as _;
use hmac::{Hmac, Mac};
use minidom::Element;
use portway_bridges::api::{RoomId, UserId};
use sha2::Sha256;

use super::room::Session;
use super::{MucConfig, ns};
use crate::route::key;
use crate::xmpp::stanza::{OurJid, OutStanza, StanzaKind};
use crate::xmpp::xml;

/// Who somebody is in a room, as far as presence tells.
pub struct Seen<'a> {
    /// The nick.
    pub nick: &'a str,
    /// The occupant id (XEP-0421).
    pub occupant: String,
    /// The rights from 0 to 100.
    pub level: i64,
}

/// A pseudonym that is the same as long as the person is, and says nothing about them.
pub fn occupant_id(config: &MucConfig, room: &RoomId, who: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&config.occupant_key).expect("HMAC takes keys of any length");
    mac.update(key::chat(&portway_bridges::api::Chat::Room(room.clone())).as_bytes());
    mac.update(b"\0");
    mac.update(who.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// The name of a user for [`occupant_id`].
pub fn user_key(user: &UserId) -> String {
    format!("u/{user}")
}

/// The address of an occupant as one session knows the room, or of the room itself.
pub fn address(config: &MucConfig, session: &Session, nick: Option<&str>) -> Option<OurJid> {
    config.domain.address(Some(&session.face), nick)
}

/// What a presence says beside who is seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Whether they are gone under this nick.
    pub gone: bool,
    /// The status codes.
    pub statuses: &'a [u16],
    /// The stanza id that this answers.
    pub id: Option<&'a str>,
    /// The nick that they go by from now on (status 303).
    pub new_nick: Option<&'a str>,
    /// Who sent them away.
    pub actor: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
    /// The room is no more, and may live on at this address.
    pub destroyed: Option<Option<&'a str>>,
}

/// The affiliation and role of somebody with these rights (0 to 100; less: they may not speak).
fn standing(level: i64) -> (&'static str, &'static str) {
    match level {
        100.. => ("owner", "moderator"),
        50..100 => ("admin", "moderator"),
        0..50 => ("member", "participant"),
        _ => ("member", "visitor"),
    }
}

/// The presence of an occupant, for one session.
pub fn presence(config: &MucConfig, session: &Session, seen: &Seen<'_>, change: &Change<'_>) -> Option<OutStanza> {
    let from = address(config, session, Some(seen.nick))?;
    let (mut affiliation, mut role) = standing(seen.level);
    if change.gone && change.new_nick.is_none() {
        role = "none";
        if change.statuses.contains(&301) {
            affiliation = "outcast";
        }
    }
    let mut item = xml::element("item", ns::USER, &[("affiliation", affiliation), ("role", role)]);
    if let Some(nick) = change.new_nick {
        xml::set(&mut item, "nick", nick);
    }
    if let Some(actor) = change.actor {
        item.append_child(xml::element("actor", ns::USER, &[("nick", actor)]));
    }
    if let (Some(reason), None) = (change.reason, change.destroyed) {
        item.append_child(xml::text("reason", ns::USER, reason));
    }
    let mut user = Element::bare("x", ns::USER);
    user.append_child(item);
    if let Some(next) = change.destroyed {
        let mut destroy = Element::bare("destroy", ns::USER);
        if let Some(next) = next {
            xml::set(&mut destroy, "jid", next);
        }
        if let Some(reason) = change.reason {
            destroy.append_child(xml::text("reason", ns::USER, reason));
        }
        user.append_child(destroy);
    }
    for status in change.statuses {
        user.append_child(xml::element("status", ns::USER, &[("code", &status.to_string())]));
    }
    let type_ = change.gone.then_some("unavailable");
    let stanza = OutStanza::new(StanzaKind::Presence, &from, &session.jid, type_, change.id);
    Some(stanza.with(user).with(xml::element("occupant-id", ns::OCCUPANT_ID, &[("id", &seen.occupant)])))
}
