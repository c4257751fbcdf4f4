//! Pure: the presence of contacts and of the gateway itself.

use minidom::Element;

use super::from_stanza::ns::NICK as NS_NICK;
use super::jid::Jid;
use super::stanza::{NS_CLIENT, OurJid, OutStanza, StanzaKind};
use super::to_stanza::RESOURCE;
use super::xml;

const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";

/// What a contact calls themselves, as clients take it that look at neither cards nor presence for it (XEP-0172,
/// section 4.3).
#[must_use]
pub fn nick(us: &OurJid, to: &Jid, name: &str) -> Option<OutStanza> {
    let mut item = xml::element("item", NS_EVENT, &[("id", "current")]);
    item.append_child(xml::text("nick", NS_NICK, name));
    let mut items = xml::element("items", NS_EVENT, &[("node", NS_NICK)]);
    items.append_child(item);
    let mut event = Element::bare("event", NS_EVENT);
    event.append_child(items);
    let from = us.resource(None)?;
    Some(OutStanza::new(StanzaKind::Message, &from, to, Some("headline"), None).with(event))
}

/// The presence of a contact comes from its device, that of the gateway from its domain, which is what answers for it.
#[must_use]
pub fn available(us: &OurJid, to: &Jid, name: Option<&str>, caps: &[Element]) -> Option<OutStanza> {
    let from = if us.jid().node().is_some() { us.resource(Some(RESOURCE))? } else { us.resource(None)? };
    let mut presence = OutStanza::new(StanzaKind::Presence, &from, to, None, None);
    for caps in caps {
        presence.push(caps.clone());
    }
    if let Some(name) = name {
        presence.push(xml::text("nick", NS_NICK, name));
    }
    presence.push(xml::text("priority", NS_CLIENT, "0"));
    Some(presence)
}

/// The wish to see a user's presence, with the name of whoever has it.
#[must_use]
pub fn question(us: &OurJid, to: &Jid, name: &str) -> OutStanza {
    let presence = OutStanza::new(StanzaKind::Presence, us, &to.to_bare(), Some("subscribe"), None);
    presence.with(xml::text("nick", NS_NICK, name))
}

/// A contact whose presence is not to be seen any more.
#[must_use]
pub fn unavailable(us: &OurJid, to: &Jid) -> Option<OutStanza> {
    let from = if us.jid().node().is_some() { us.resource(Some(RESOURCE))? } else { us.resource(None)? };
    Some(OutStanza::new(StanzaKind::Presence, &from, to, Some("unavailable"), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::stanza::Domain;

    #[test]
    fn a_name_is_told_as_an_event() {
        let us = Domain::new("m.x").unwrap().address(Some("a%b"), Some("portway")).unwrap();
        let out = nick(&us, &Jid::parse("u@h").unwrap(), "Alice & Co").unwrap();
        let mut bytes = Vec::new();
        crate::xmpp::stream::write::stanza(&mut bytes, out.element());
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "<message from='a%b@m.x' to='u@h' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>\
             <items node='http://jabber.org/protocol/nick'><item id='current'>\
             <nick xmlns='http://jabber.org/protocol/nick'>Alice &amp; Co</nick></item></items></event></message>"
        );
    }
}
