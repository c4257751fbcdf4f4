//! Pure: contacts that are offered to a user for their roster (XEP-0144).

use minidom::Element;

use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{Domain, OutStanza, StanzaKind};
use crate::xmpp::xml;

/// The namespace.
pub const NS: &str = "http://jabber.org/protocol/rosterx";

/// How many contacts are offered at most: more than that is to be looked at with suspicion (section 5).
pub const MOST: usize = 100;

/// A contact on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The localpart of its JID.
    pub localpart: String,
    /// What it is called.
    pub name: String,
}

/// One message with all of them, from the gateway to a device. `None` where there are none.
///
/// A message and no request, which section 4 recommends for a single device: Converse looks at messages only.
#[must_use]
pub fn message(component: &Domain, device: &Jid, group: &str, contacts: &[Offered]) -> Option<OutStanza> {
    let mut offer = Element::bare("x", NS);
    for contact in contacts.iter().take(MOST) {
        let Some(jid) = component.address(Some(&contact.localpart), None) else { continue };
        let attributes = [("action", "add"), ("jid", jid.jid().as_str()), ("name", &contact.name)];
        let mut item = xml::element("item", NS, &attributes);
        item.append_child(xml::text("group", NS, group));
        offer.append_child(item);
    }
    let some = offer.children().next().is_some();
    some.then(|| OutStanza::new(StanzaKind::Message, &component.jid(), device, None, None).with(offer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::stream::write;

    #[test]
    fn p12_contacts_are_offered_in_one_message() {
        let component = Domain::new("m.x").unwrap();
        let device = Jid::parse("juliet@capulet.lit/balcony").unwrap();
        let bob = Offered { localpart: "bob%h".into(), name: "Bob & Co".into() };
        let mut out = Vec::new();
        write::stanza(&mut out, message(&component, &device, "Matrix", std::slice::from_ref(&bob)).unwrap().element());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "<message from='m.x' to='juliet@capulet.lit/balcony'><x xmlns='http://jabber.org/protocol/rosterx'>\
             <item action='add' jid='bob%h@m.x' name='Bob &amp; Co'><group>Matrix</group></item></x></message>"
        );
        assert!(message(&component, &device, "Matrix", &[]).is_none());
        let many = message(&component, &device, "Matrix", &vec![bob; 1000]).unwrap();
        assert_eq!(many.element().get_child("x", NS).unwrap().children().count(), MOST);
    }
}
