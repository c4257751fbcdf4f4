//! Pure: calls, which are not carried. Whoever calls is refused at once, in the way in which they called.

use super::from_stanza::ns;
use super::jid::Jid;
use super::stanza::{NS_CLIENT, OurJid, OutStanza, Stanza, StanzaKind};
use super::to_stanza::hint;
use super::xml;

/// How somebody calls without a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A proposal of a session (XEP-0353), by the id of the session.
    Proposed(String),
    /// An invitation to a call (XEP-0482), by the id of the message.
    Invited(String),
}

impl Call {
    /// Reads a message that calls.
    #[must_use]
    pub fn read(stanza: &Stanza) -> Option<Self> {
        if let Some(propose) = stanza.child("propose", ns::JINGLE_MESSAGE) {
            return propose.attr("id").filter(|id| !id.is_empty()).map(|id| Self::Proposed(id.to_owned()));
        }
        stanza.child("invite", ns::CALL_INVITES)?;
        stanza.id.clone().map(Self::Invited)
    }

    /// The id by which the call is known.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Proposed(id) | Self::Invited(id) => id,
        }
    }

    /// The refusal (XEP-0353, section 3.4; XEP-0482, section 4): for the device that calls, and kept for the others.
    #[must_use]
    pub fn refused(&self, us: &OurJid, to: &Jid) -> OutStanza {
        let reject = match self {
            Self::Proposed(id) => {
                let mut reason = xml::element("reason", ns::JINGLE, &[]);
                reason.append_child(xml::element("unsupported-applications", ns::JINGLE, &[]));
                let mut reject = xml::element("reject", ns::JINGLE_MESSAGE, &[("id", id)]);
                reject.append_child(reason);
                reject
            }
            Self::Invited(id) => xml::element("reject", ns::CALL_INVITES, &[("id", id)]),
        };
        let id = format!("pw-reject-{}", self.id());
        let stanza = OutStanza::new(StanzaKind::Message, us, to, Some("chat"), Some(&id));
        stanza.with(reject).with(hint("store"))
    }
}

/// The session that an IQ wants to begin (XEP-0166), by its id.
#[must_use]
pub fn session(stanza: &Stanza) -> Option<&str> {
    let jingle =
        stanza.child("jingle", ns::JINGLE).filter(|jingle| jingle.attr("action") == Some("session-initiate"))?;
    jingle.attr("sid").filter(|_| stanza.kind == StanzaKind::Iq && stanza.type_.as_deref() == Some("set"))
}

/// What the contact says to all devices of whoever called.
#[must_use]
pub fn words(call: &str, us: &OurJid, to: &Jid, body: &str) -> OutStanza {
    let id = format!("pw-call-{call}");
    let stanza = OutStanza::new(StanzaKind::Message, us, &to.to_bare(), Some("chat"), Some(&id));
    stanza.with(xml::text("body", NS_CLIENT, body)).with(xml::element("origin-id", ns::SID, &[("id", &id)]))
}

#[cfg(test)]
mod tests {
    use minidom::Element;

    use super::*;
    use crate::xmpp::stanza::Domain;
    use crate::xmpp::stream::write;

    fn stanza(text: &str) -> Stanza {
        let element: Element = text.replacen(' ', " xmlns='jabber:client' ", 1).parse().unwrap();
        Stanza::from_element(element).unwrap()
    }

    #[test]
    fn a_call_is_refused_in_the_way_in_which_it_came() {
        let us = Domain::new("m.x").unwrap().address(Some("alice%hs"), Some("portway")).unwrap();
        let to = Jid::parse("juliet@capulet.lit/b").unwrap();
        let refusal = |text: &str| {
            let mut out = Vec::new();
            write::stanza(&mut out, Call::read(&stanza(text)).unwrap().refused(&us, &to).element());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            refusal("<message id='m'><propose xmlns='urn:xmpp:jingle-message:0' id='s1'/></message>"),
            "<message from='alice%hs@m.x/portway' id='pw-reject-s1' to='juliet@capulet.lit/b' type='chat'>\
             <reject xmlns='urn:xmpp:jingle-message:0' id='s1'><reason xmlns='urn:xmpp:jingle:1'>\
             <unsupported-applications/></reason></reject><store xmlns='urn:xmpp:hints'/></message>"
        );
        assert!(
            refusal("<message id='m'><invite xmlns='urn:xmpp:call-invites:0'/></message>")
                .contains("<reject xmlns='urn:xmpp:call-invites:0' id='m'/>")
        );
        assert_eq!(Call::read(&stanza("<message id='m'><body>hi</body></message>")), None);
    }

    #[test]
    fn only_the_beginning_of_a_session_is_a_call() {
        let jingle = |type_: &str, action: &str| {
            let text =
                format!("<iq type='{type_}' id='1'><jingle xmlns='urn:xmpp:jingle:1' action='{action}' sid='s'/></iq>");
            session(&stanza(&text)).map(str::to_owned)
        };
        assert_eq!(jingle("set", "session-initiate").as_deref(), Some("s"));
        assert_eq!(jingle("set", "session-terminate"), None);
        assert_eq!(jingle("get", "session-initiate"), None);
    }
}
