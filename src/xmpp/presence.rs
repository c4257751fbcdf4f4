//! Pure: presence towards contacts and the gateway itself. They are always there, and every subscription is granted
//! (RFC 6121; the subscription states of each user come with rosters).

use minidom::Element;

use super::stanza::{NS_CLIENT, OurJid, OutStanza, Stanza, StanzaKind};
use super::to_stanza::RESOURCE;
use super::xml;

/// The answers to a presence stanza, in the name of a contact or of the gateway itself with these capabilities (XEP-0115).
#[must_use]
pub fn answer(stanza: &Stanza, us: &OurJid, name: Option<&str>, caps: &Element) -> Vec<OutStanza> {
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

/// The presence of a contact comes from its device, that of the gateway from its domain, which is what answers for it.
fn available(us: &OurJid, to: &super::jid::Jid, name: Option<&str>, caps: &Element) -> Option<OutStanza> {
    let from = if us.jid().node().is_some() { us.resource(Some(RESOURCE))? } else { us.resource(None)? };
    let mut presence = OutStanza::new(StanzaKind::Presence, &from, to, None, None).with(caps.clone());
    if let Some(name) = name {
        presence.push(xml::text("nick", super::from_stanza::ns::NICK, name));
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
        answer(&Stanza::from_element(element).unwrap(), &us, Some("A"), &iq::caps())
            .iter()
            .map(|out| format!("{} to {}", out.element().attr("type").unwrap_or("available"), out.to()))
            .collect()
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
