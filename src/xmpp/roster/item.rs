//! Pure: a user's own roster (RFC 6121, section 2), as a privilege lets us read and change it (XEP-0356, section 4).

use minidom::Element;

use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{Domain, OutStanza, Stanza, StanzaKind};
use crate::xmpp::xml;

/// The namespace of rosters.
pub const NS_ROSTER: &str = "jabber:iq:roster";

/// What the user's roster should say of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The contact's bare JID.
    pub contact: String,
    /// What it is called, unless the user has called it something.
    pub name: String,
    /// The group that it is in, unless the user has put it into one.
    pub group: String,
}

/// What the user's roster says of a contact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// What the user calls it; empty: nothing.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
    /// Whether user and contact see each other.
    pub both: bool,
}

/// Asks for a user's roster.
#[must_use]
pub fn get(component: &Domain, user: &Jid) -> OutStanza {
    let query = Element::bare("query", NS_ROSTER);
    OutStanza::new(StanzaKind::Iq, &component.jid(), &user.to_bare(), Some("get"), None).with(query)
}

/// Writes a contact into a user's roster.
#[must_use]
pub fn set(component: &Domain, user: &Jid, contact: &str, entry: &Entry) -> OutStanza {
    let mut item =
        xml::element("item", NS_ROSTER, &[("jid", contact), ("name", &entry.name), ("subscription", "both")]);
    for group in &entry.groups {
        item.append_child(xml::text("group", NS_ROSTER, group));
    }
    let mut query = Element::bare("query", NS_ROSTER);
    query.append_child(item);
    OutStanza::new(StanzaKind::Iq, &component.jid(), &user.to_bare(), Some("set"), None).with(query)
}

/// Takes a contact out of a user's roster.
#[must_use]
pub fn remove(component: &Domain, user: &Jid, contact: &str) -> OutStanza {
    let mut query = Element::bare("query", NS_ROSTER);
    query.append_child(xml::element("item", NS_ROSTER, &[("jid", contact), ("subscription", "remove")]));
    OutStanza::new(StanzaKind::Iq, &component.jid(), &user.to_bare(), Some("set"), None).with(query)
}

/// Whether the answer says that it is done.
#[must_use]
pub fn is_done(answer: &Stanza) -> bool {
    answer.kind == StanzaKind::Iq && answer.type_.as_deref() == Some("result")
}

/// What an answered roster says of a contact: `None` where it is no roster, an empty entry where the contact is not in it.
#[must_use]
pub fn find(answer: &Stanza, contact: &str) -> Option<Entry> {
    let query = Some(answer).filter(|answer| is_done(answer))?.child("query", NS_ROSTER)?;
    let item = query.children().find(|item| item.is("item", NS_ROSTER) && item.attr("jid") == Some(contact));
    Some(item.map_or_else(Entry::default, |item| Entry {
        name: item.attr("name").unwrap_or_default().to_owned(),
        groups: item.children().filter(|group| group.is("group", NS_ROSTER)).map(Element::text).collect(),
        both: item.attr("subscription") == Some("both"),
    }))
}

/// The entry to be written in place of the one that is there: what the user has chosen stays. `None`: it is right as it is.
#[must_use]
pub fn amended(there: &Entry, wanted: &Wanted) -> Option<Entry> {
    let name = if there.name.is_empty() { wanted.name.clone() } else { there.name.clone() };
    let groups = if there.groups.is_empty() { vec![wanted.group.clone()] } else { there.groups.clone() };
    (!there.both).then_some(Entry { name, groups, both: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Stanza {
        Stanza::from_element(format!("<iq xmlns='jabber:client' {text}</iq>").parse().unwrap()).unwrap()
    }

    #[test]
    fn p6_what_the_user_has_chosen_stays() {
        let wanted = Wanted { contact: "a%b@m.x".into(), name: "Alice".into(), group: "Matrix".into() };
        let roster = answer(
            "type='result' from='u@h'><query xmlns='jabber:iq:roster'><item jid='c@d' subscription='both'/>\
             <item jid='a%b@m.x' name='Ally' subscription='to'><group>Friends</group></item></query>",
        );
        let there = find(&roster, "a%b@m.x").unwrap();
        let entry = amended(&there, &wanted).unwrap();
        assert_eq!((entry.name.as_str(), entry.groups.as_slice()), ("Ally", ["Friends".to_owned()].as_slice()));
        let nobody = find(&roster, "x%y@m.x").unwrap();
        let entry = amended(&nobody, &wanted).unwrap();
        assert_eq!((entry.name.as_str(), entry.groups.as_slice()), ("Alice", ["Matrix".to_owned()].as_slice()));
        assert_eq!(amended(&find(&roster, "c@d").unwrap(), &wanted), None);
        assert_eq!(find(&answer("type='error'><query xmlns='jabber:iq:roster'/>"), "c@d"), None);
    }
}
