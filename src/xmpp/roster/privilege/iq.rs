//! Pure: requests in a user's name (XEP-0356, section 6), and their answers.
//!
//! The server answers us; what it was answered lies inside. The answer to us may be a result although the one inside is an
//! error, so only the inner one counts.

use minidom::Element;
use portway_bridges::api::Condition;

use super::{Grants, NS_FORWARD};
use crate::xmpp::error;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{Domain, NS_CLIENT, OutStanza, Stanza, StanzaKind};
use crate::xmpp::xml;

/// Why a request in a user's name came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The server has not granted it; nothing was sent.
    #[error("the server does not let us")]
    NotGranted,
    /// No answer came in time, or one that says nothing.
    #[error("no answer came")]
    NoAnswer,
    /// The answer is an error.
    #[error("it was refused: {}", .0.name())]
    Refused(Condition),
}

/// A request of this type (`get` or `set`) in the name of a user, to their own account, under an id of its own.
///
/// The inner request says its namespace (Prosody wants that) and its addressee (ejabberd does).
///
/// # Errors
/// [`Denied::NotGranted`].
pub fn request(
    component: &Domain,
    user: &Jid,
    type_: &str,
    id: &str,
    payload: Element,
    grants: &Grants,
) -> Result<OutStanza, Denied> {
    let granted = grants.requests(&payload.ns());
    let granted = match type_ {
        "get" => granted.get,
        "set" => granted.set,
        _ => false,
    };
    if !granted {
        return Err(Denied::NotGranted);
    }
    let user = user.to_bare();
    let mut inner = xml::element("iq", NS_CLIENT, &[("type", type_), ("to", user.as_str()), ("id", id)]);
    inner.append_child(payload);
    let mut privileged = Element::bare("privileged_iq", grants.ns);
    privileged.append_child(inner);
    Ok(OutStanza::new(StanzaKind::Iq, &component.jid(), &user, Some(type_), None).with(privileged))
}

/// What was asked for: the payload of the inner result, if there is one.
///
/// # Errors
/// [`Denied::Refused`] where the server or whoever was asked refuses, [`Denied::NoAnswer`] for what is no answer, such as
/// our own request sent back (ejabberd 24.12).
pub fn answer(outer: &Stanza) -> Result<Option<Element>, Denied> {
    let inner = outer
        .element
        .children()
        .filter(|child| child.name() == "privilege" || child.name() == "privileged_iq")
        .find_map(|wrapper| wrapper.get_child("forwarded", NS_FORWARD)?.get_child("iq", NS_CLIENT))
        .and_then(|inner| Stanza::from_element(inner.clone()));
    match (outer.type_.as_deref(), inner) {
        (Some("error"), _) => Err(Denied::Refused(error::read(outer).0)),
        (Some("result"), Some(inner)) => match inner.type_.as_deref() {
            Some("result") => Ok(inner.element.children().next().cloned()),
            Some("error") => Err(Denied::Refused(error::read(&inner).0)),
            _ => Err(Denied::NoAnswer),
        },
        _ => Err(Denied::NoAnswer),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Requests;
    use super::*;
    use crate::xmpp::stream::write;

    const NS: &str = "urn:xmpp:privilege:2";
    const PUBSUB: &str = "http://jabber.org/protocol/pubsub";

    #[test]
    fn p8_a_request_is_wrapped_with_its_namespace_and_addressee() {
        let component = Domain::new("m.capulet.lit").unwrap();
        let user = Jid::parse("juliet@capulet.lit/balcony").unwrap();
        let mut grants = Grants::none(NS);
        let request =
            |grants: &Grants, type_| request(&component, &user, type_, "i1", Element::bare("pubsub", PUBSUB), grants);
        assert_eq!(request(&grants, "get").unwrap_err(), Denied::NotGranted);
        grants.iq.insert(PUBSUB.to_owned(), Requests { get: true, set: false });
        assert_eq!(request(&grants, "set").unwrap_err(), Denied::NotGranted);
        let mut bytes = Vec::new();
        write::stanza(&mut bytes, request(&grants, "get").unwrap().element());
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "<iq from='m.capulet.lit' to='juliet@capulet.lit' type='get'><privileged_iq xmlns='urn:xmpp:privilege:2'>\
             <iq xmlns='jabber:client' id='i1' to='juliet@capulet.lit' type='get'>\
             <pubsub xmlns='http://jabber.org/protocol/pubsub'/></iq></privileged_iq></iq>"
        );
    }

    fn answered(type_: &str, inner: &str) -> Result<Option<Element>, Denied> {
        let text = format!("<iq xmlns='jabber:client' type='{type_}' from='juliet@capulet.lit' id='o'>{inner}</iq>");
        answer(&Stanza::from_element(text.parse().unwrap()).unwrap())
    }

    fn forwarded(inner: &str) -> String {
        format!("<privilege xmlns='{NS}'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></privilege>")
    }

    #[test]
    fn p8_only_the_inner_answer_counts() {
        let error = "<error xmlns='jabber:client' type='cancel'>\
                     <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        let found = answered("result", &forwarded("<iq xmlns='jabber:client' type='result'><x xmlns='urn:x'/></iq>"));
        assert!(found.unwrap().unwrap().is("x", "urn:x"));
        assert_eq!(answered("result", &forwarded("<iq xmlns='jabber:client' type='result'/>")), Ok(None));
        let inner = forwarded(&format!("<iq xmlns='jabber:client' type='error'>{error}</iq>"));
        assert_eq!(answered("result", &inner), Err(Denied::Refused(Condition::ItemNotFound)));
        assert_eq!(answered("error", error), Err(Denied::Refused(Condition::ItemNotFound)));
        // Sent back, empty, or no answer inside.
        let request = format!("<privileged_iq xmlns='{NS}'><iq xmlns='jabber:client' type='set'/></privileged_iq>");
        assert_eq!(answered("set", &request), Err(Denied::NoAnswer));
        for nothing in [
            String::new(),
            request,
            forwarded("<iq xmlns='jabber:client' type='set'><x xmlns='urn:x'/></iq>"),
            forwarded("<message xmlns='jabber:client'/>"),
        ] {
            assert_eq!(answered("result", &nothing), Err(Denied::NoAnswer), "{nothing}");
        }
    }
}
