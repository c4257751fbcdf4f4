//! Pure: presence towards contacts and the gateway itself. They are always there, and every subscription is granted
//! (RFC 6121; the subscription states of each user come with rosters).

use minidom::Element;

use super::from_stanza::ns::NICK as NS_NICK;
use super::jid::Jid;
use super::stanza::{NS_CLIENT, OurJid, OutStanza, Stanza, StanzaKind};
use super::to_stanza::RESOURCE;
use super::xml;

const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";

/// The answers to a presence stanza, in the name of a contact or of the gateway itself with these capabilities (XEP-0115, XEP-0390).
#[must_use]
pub fn answer(stanza: &Stanza, us: &OurJid, name: Option<&str>, caps: &[Element]) -> Vec<OutStanza> {
    let (Some(from), Some(bare)) = (&stanza.from, us.resource(None)) else { return Vec::new() };
    let to = from.to_bare();
    let plain = |type_: &str| OutStanza::new(StanzaKind::Presence, &bare, &to, Some(type_), stanza.id.as_deref());
    match stanza.type_.as_deref() {
        Some("subscribe") => {
            let mut answers = vec![plain("subscribed")];
            answers.extend(available(us, &to, name, caps));
            answers
        }
        Some("probe") => available(us, &to, name, caps).into_iter().collect(),
        Some("unsubscribe") => {
            let mut answers = vec![plain("unsubscribed")];
            if let Some(full) = us.resource(Some(RESOURCE)) {
                answers.push(OutStanza::new(StanzaKind::Presence, &full, &to, Some("unavailable"), None));
            }
            answers
        }
        _ => Vec::new(),
    }
}

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
    Some(OutStanza::new(StanzaKind::Message, &from, &to.to_bare(), Some("headline"), None).with(event))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::iq;
    use crate::xmpp::stanza::Domain;

    fn types(type_: &str) -> Vec<String> {
        let element: Element =
            format!("<presence xmlns='jabber:client' from='u@h/r' to='a%b@m.x' {type_}/>").parse().unwrap();
        let us = Domain::new("m.x").unwrap().address(Some("a%b"), None).unwrap();
        answer(&Stanza::from_element(element).unwrap(), &us, Some("A"), iq::caps())
            .iter()
            .map(|out| format!("{} to {}", out.element().attr("type").unwrap_or("available"), out.to()))
            .collect()
    }

    #[test]
    fn a_name_is_told_as_an_event() {
        let us = Domain::new("m.x").unwrap().address(Some("a%b"), Some("portway")).unwrap();
        let out = nick(&us, &Jid::parse("u@h/r").unwrap(), "Alice & Co").unwrap();
        let mut bytes = Vec::new();
        crate::xmpp::stream::write::stanza(&mut bytes, out.element());
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "<message from='a%b@m.x' to='u@h' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>\
             <items node='http://jabber.org/protocol/nick'><item id='current'>\
             <nick xmlns='http://jabber.org/protocol/nick'>Alice &amp; Co</nick></item></items></event></message>"
        );
    }

    #[test]
    fn subscriptions_are_granted_and_probes_answered() {
        assert_eq!(types("type='subscribe'"), ["subscribed to u@h", "available to u@h"]);
        assert_eq!(types("type='probe'"), ["available to u@h"]);
        assert_eq!(types("type='unsubscribe'"), ["unsubscribed to u@h", "unavailable to u@h"]);
        for quiet in ["", "type='unavailable'", "type='subscribed'", "type='unsubscribed'", "type='error'", "type='x'"]
        {
            assert!(types(quiet).is_empty(), "{quiet}");
        }
    }
}
