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

/// The presence of an occupant, for one session.
pub fn presence(
    config: &MucConfig,
    session: &Session,
    seen: &Seen<'_>,
    available: bool,
    statuses: &[u16],
    id: Option<&str>,
) -> Option<OutStanza> {
    let from = address(config, session, Some(seen.nick))?;
    let type_ = (!available).then_some("unavailable");
    let (affiliation, role) = match seen.level {
        _ if !available => ("none", "none"),
        100.. => ("owner", "moderator"),
        50..100 => ("admin", "moderator"),
        _ => ("member", "participant"),
    };
    let affiliation = if available { affiliation } else { "member" };
    let mut user = Element::bare("x", ns::USER);
    user.append_child(xml::element("item", ns::USER, &[("affiliation", affiliation), ("role", role)]));
    for status in statuses {
        user.append_child(xml::element("status", ns::USER, &[("code", &status.to_string())]));
    }
    let stanza = OutStanza::new(StanzaKind::Presence, &from, &session.jid, type_, id);
    Some(stanza.with(user).with(xml::element("occupant-id", ns::OCCUPANT_ID, &[("id", &seen.occupant)])))
}
