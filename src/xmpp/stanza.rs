//! Stanzas in and out.
//!
//! A stanza from outside is its element and its header as raw text: nothing in it can make reading fail. A stanza to
//! send is a type that can only be built with a `from` inside one of our component domains and a `to`: one wrong address
//! closes the whole stream on Prosody and ejabberd.

use minidom::Element;

use super::jid::Jid;
use super::xml;

/// The namespace of stanzas inside the gateway. The stream writes `jabber:component:accept` instead, and rewrites it on
/// the way in, so that payload types which hold stanzas (XEP-0297) work.
pub const NS_CLIENT: &str = "jabber:client";

/// Namespace of the defined conditions (RFC 6120, section 8.3).
pub const NS_STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// The three stanzas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StanzaKind {
    /// `<message/>`
    Message,
    /// `<presence/>`
    Presence,
    /// `<iq/>`
    Iq,
}

impl StanzaKind {
    /// The element name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Presence => "presence",
            Self::Iq => "iq",
        }
    }
}

/// A stanza from the server. The header is as it came; addresses are parsed where the server wrote proper ones.
#[derive(Debug, Clone)]
pub struct Stanza {
    /// Which of the three.
    pub kind: StanzaKind,
    /// The sender, as stamped by the server.
    pub from: Option<Jid>,
    /// The addressee.
    pub to: Option<Jid>,
    /// The `id` attribute, where there is a non-empty one.
    pub id: Option<String>,
    /// The `type` attribute.
    pub type_: Option<String>,
    /// The `xml:lang` attribute.
    pub lang: Option<String>,
    /// The whole element in the namespace [`NS_CLIENT`].
    pub element: Element,
}

impl Stanza {
    /// Takes the header of an element named `message`, `presence` or `iq` in [`NS_CLIENT`]; `None` for any other.
    #[must_use]
    pub fn from_element(element: Element) -> Option<Self> {
        if !element.has_ns(NS_CLIENT) {
            return None;
        }
        let kind = match element.name() {
            "message" => StanzaKind::Message,
            "presence" => StanzaKind::Presence,
            "iq" => StanzaKind::Iq,
            _ => return None,
        };
        let text = |name: &str| element.attr(name).map(str::to_owned);
        Some(Self {
            kind,
            from: element.attr("from").and_then(|from| Jid::parse(from).ok()),
            to: element.attr("to").and_then(|to| Jid::parse(to).ok()),
            id: text("id").filter(|id| !id.is_empty()),
            type_: text("type"),
            lang: xml::lang(&element).map(str::to_owned),
            element,
        })
    }

    /// The first child of that name and namespace.
    #[must_use]
    pub fn child(&self, name: &str, ns: &str) -> Option<&Element> {
        self.element.get_child(name, ns)
    }
}

/// Proof that an address lies in one of our component domains. Made by [`Domain`] only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OurJid(Jid);

impl OurJid {
    /// The address.
    #[must_use]
    pub fn jid(&self) -> &Jid {
        &self.0
    }

    /// The same address with this resource, or without one.
    #[must_use]
    pub fn resource(&self, resource: Option<&str>) -> Option<Self> {
        Jid::from_parts(self.0.node(), self.0.domain(), resource).ok().map(Self)
    }
}

/// One of our component domains.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain(Jid);

impl Domain {
    /// A component domain, which has neither node nor resource.
    ///
    /// # Errors
    /// A [`super::jid::JidError`] where the text is no domain.
    pub fn new(text: &str) -> Result<Self, super::jid::JidError> {
        let jid = Jid::from_parts(None, text, None)?;
        Ok(Self(jid))
    }

    /// The domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The gateway's own address.
    #[must_use]
    pub fn jid(&self) -> OurJid {
        OurJid(self.0.clone())
    }

    /// An address in this domain. `None` where the parts make no address.
    #[must_use]
    pub fn address(&self, node: Option<&str>, resource: Option<&str>) -> Option<OurJid> {
        Jid::from_parts(node, self.as_str(), resource).ok().map(OurJid)
    }

    /// The proof that `jid` is ours, if it is.
    #[must_use]
    pub fn own(&self, jid: &Jid) -> Option<OurJid> {
        (jid.domain() == self.as_str()).then(|| OurJid(jid.clone()))
    }
}

/// A stanza to send. Its `from` is ours and its `to` is there, by construction.
#[derive(Debug, Clone)]
pub struct OutStanza {
    element: Element,
}

impl OutStanza {
    /// An empty stanza. `id` may be empty for presence only; an IQ or a message without id gets none.
    #[must_use]
    pub fn new(kind: StanzaKind, from: &OurJid, to: &Jid, type_: Option<&str>, id: Option<&str>) -> Self {
        let mut element = Element::bare(kind.name(), NS_CLIENT);
        xml::set(&mut element, "from", from.jid().as_str());
        xml::set(&mut element, "to", to.as_str());
        if let Some(type_) = type_ {
            xml::set(&mut element, "type", type_);
        }
        if let Some(id) = id {
            xml::set(&mut element, "id", id);
        }
        Self { element }
    }

    /// Sets `xml:lang`.
    #[must_use]
    pub fn lang(mut self, lang: Option<&str>) -> Self {
        if let Some(lang) = lang {
            xml::set_lang(&mut self.element, lang);
        }
        self
    }

    /// Adds a payload.
    #[must_use]
    pub fn with(mut self, payload: impl Into<Element>) -> Self {
        self.element.append_child(payload.into());
        self
    }

    /// Adds a payload.
    pub fn push(&mut self, payload: impl Into<Element>) {
        self.element.append_child(payload.into());
    }

    /// The element, in [`NS_CLIENT`].
    #[must_use]
    pub fn element(&self) -> &Element {
        &self.element
    }

    /// The same stanza with another id: for the link's own IQs.
    #[must_use]
    pub(super) fn replace(self, element: Element) -> Self {
        debug_assert!(
            self.element.attr("from") == element.attr("from") && self.element.attr("to") == element.attr("to")
        );
        Self { element }
    }

    /// The id of a message; `None` where it is another stanza, or an error on a message of somebody else.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        let message = self.element.name() == StanzaKind::Message.name() && self.element.attr("type") != Some("error");
        self.element.attr("id").filter(|_| message)
    }

    /// The addressee.
    #[must_use]
    pub fn to(&self) -> &str {
        self.element.attr("to").unwrap_or_default()
    }
}
