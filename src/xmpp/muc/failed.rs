//! A message to a room that did not arrive: its sender hears of it, wherever they are by now.

use portway_bridges::api::{Failed, Sentence};

use super::MucConfig;
use super::build;
use super::room::{Room, Session};
use crate::identity::access;
use crate::route::item::Item;
use crate::xmpp::error::{self, ErrorType};
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{NS_CLIENT, OutStanza, StanzaKind};
use crate::xmpp::to_stanza::bare_jid;
use crate::xmpp::xml;

/// The error goes to the device that wrote the message, also where it has left the room: a client that is there matches
/// it by the id, and to one that is gone the server does not deliver it. Then, and where we are still trying, the user is
/// told in words: in the room where another device of theirs is in it, else by the gateway itself, so that it reaches
/// them also when they come back later.
pub fn render(config: &MucConfig, room: Option<&Room>, item: &Item, failed: &Failed) -> Vec<OutStanza> {
    let Some(to) = item.meta.to.as_deref().and_then(|to| Jid::parse(to).ok()) else { return Vec::new() };
    let lang = item.meta.lang.as_deref();
    let why = config.texts.text(&failed.sentence, lang);
    let session = room.and_then(|room| room.sessions.get(to.as_str()));
    let mut out = Vec::new();
    if !failed.still_trying {
        let face = session.map(|session| session.face.as_str()).or(item.meta.face.as_deref());
        if let Some(from) = face.and_then(|face| config.domain.address(Some(face), None)) {
            let type_ = match error::usual_type(failed.condition) {
                // It is over: nobody tries again by themselves.
                ErrorType::Wait => ErrorType::Cancel,
                type_ => type_,
            };
            let id = item.meta.id.as_deref();
            out.push(error::bare(StanzaKind::Message, &from, &to, id, failed.condition, type_, &why, lang));
        }
        if session.is_some() {
            return out;
        }
    }
    let body = match failed.still_trying {
        true => why.clone(),
        false => config.texts.text(&Sentence::new("core.failed-late").with("why", why.clone()), lang),
    };
    let user = access::user(&to);
    let theirs = room.into_iter().flat_map(|room| room.sessions.values());
    let mut theirs = theirs.filter(|session| Some(&session.user) == user.as_ref()).peekable();
    if theirs.peek().is_none() {
        if !failed.still_trying {
            out.extend(words(config, room, item, &to, why));
        }
        return out;
    }
    out.extend(theirs.filter_map(|session| said_by_room(config, session, &body)));
    out
}

/// What the room itself says to one session.
pub fn said_by_room(config: &MucConfig, session: &Session, body: &str) -> Option<OutStanza> {
    let from = build::address(config, session, None)?;
    let stanza = OutStanza::new(StanzaKind::Message, &from, &session.jid, Some("groupchat"), None);
    Some(stanza.with(xml::text("body", NS_CLIENT, body)))
}

/// What the gateway says to a user who is not in the room any more.
fn words(config: &MucConfig, room: Option<&Room>, item: &Item, to: &Jid, why: String) -> Option<OutStanza> {
    let from = config.domain.address(None, None)?;
    let to = bare_jid(&access::user(to)?)?;
    let name = room.and_then(|room| room.name.clone()).or_else(|| {
        let face = item.meta.face.as_deref()?;
        Some(config.domain.address(Some(face), None)?.jid().to_string())
    });
    let sentence = Sentence::new("core.failed-room").with("room", name.unwrap_or_default()).with("why", why);
    let body = config.texts.text(&sentence, item.meta.lang.as_deref());
    let stanza = OutStanza::new(StanzaKind::Message, &from, &to, Some("chat"), item.meta.remote_id.as_deref());
    Some(stanza.with(xml::text("body", NS_CLIENT, &body)))
}
