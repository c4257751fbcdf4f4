//! Error stanzas (RFC 6120, section 8.3).

use minidom::Element;
use portway_bridges::api::{Condition, Sentence};

use super::jid::Jid;
use super::stanza::{NS_CLIENT, NS_STANZA_ERRORS, OurJid, OutStanza, Stanza, StanzaKind};
use super::xml;
use crate::text::Catalogue;

/// What the sender may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// Give it up.
    Cancel,
    /// Change it.
    Modify,
    /// Get the right to do it.
    Auth,
    /// Try again later.
    Wait,
}

impl ErrorType {
    fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Modify => "modify",
            Self::Auth => "auth",
            Self::Wait => "wait",
        }
    }
}

/// The type that RFC 6120, section 8.3.3, gives to a condition.
#[must_use]
pub fn usual_type(condition: Condition) -> ErrorType {
    match condition {
        Condition::BadRequest | Condition::JidMalformed | Condition::NotAcceptable | Condition::PolicyViolation => {
            ErrorType::Modify
        }
        Condition::Forbidden | Condition::RegistrationRequired => ErrorType::Auth,
        Condition::RecipientUnavailable
        | Condition::RemoteServerTimeout
        | Condition::ResourceConstraint
        | Condition::InternalServerError => ErrorType::Wait,
        Condition::Conflict
        | Condition::FeatureNotImplemented
        | Condition::Gone
        | Condition::ItemNotFound
        | Condition::NotAllowed
        | Condition::RemoteServerNotFound
        | Condition::ServiceUnavailable => ErrorType::Cancel,
    }
}

/// An `<error/>` with a sentence for people.
#[must_use]
pub fn element(condition: Condition, type_: ErrorType, text: &str, lang: Option<&str>) -> Element {
    let mut error = xml::element("error", NS_CLIENT, &[("type", type_.name())]);
    error.append_child(Element::bare(condition.name(), NS_STANZA_ERRORS));
    if !text.is_empty() {
        let mut words = xml::text("text", NS_STANZA_ERRORS, text);
        xml::set_lang(&mut words, lang.unwrap_or("en"));
        error.append_child(words);
    }
    error
}

/// An `<error/>` that says where it has moved for good, as a URI (RFC 6120, section 8.3.3.5).
#[must_use]
pub fn moved(uri: &str, text: &str, lang: Option<&str>) -> Element {
    let mut error = xml::element("error", NS_CLIENT, &[("type", ErrorType::Cancel.name())]);
    error.append_child(xml::text(Condition::Gone.name(), NS_STANZA_ERRORS, uri));
    let mut words = xml::text("text", NS_STANZA_ERRORS, text);
    xml::set_lang(&mut words, lang.unwrap_or("en"));
    error.append_child(words);
    error
}

/// The answer to a stanza that cannot be served, with English words. `None` where an answer is forbidden: to errors and
/// results, to the presence of somebody who leaves, and to stanzas without a sender.
#[must_use]
pub fn reply(to: &Stanza, from: &OurJid, condition: Condition, type_: ErrorType, text: &str) -> Option<OutStanza> {
    reply_in(to, from, condition, type_, text, "en")
}

/// As [`reply`], with words in this language.
#[must_use]
pub fn reply_in(
    to: &Stanza,
    from: &OurJid,
    condition: Condition,
    type_: ErrorType,
    text: &str,
    lang: &str,
) -> Option<OutStanza> {
    let answerable = match to.kind {
        StanzaKind::Iq => matches!(to.type_.as_deref(), Some("get" | "set")),
        StanzaKind::Message => to.type_.as_deref() != Some("error"),
        StanzaKind::Presence => !matches!(to.type_.as_deref(), Some("error" | "unavailable")),
    };
    if !answerable {
        return None;
    }
    let sender = to.from.as_ref()?;
    Some(bare(to.kind, from, sender, to.id.as_deref(), condition, type_, text, Some(lang)))
}

/// The refusal of a stanza: an error of the condition's usual type, the sentence in the language of the stanza. `None` as
/// in [`reply`].
#[must_use]
pub fn refusal(
    to: &Stanza,
    from: &OurJid,
    condition: Condition,
    sentence: &Sentence,
    texts: &Catalogue,
) -> Option<OutStanza> {
    let wanted = to.lang.as_deref();
    let (text, lang) = (texts.text(sentence, wanted), texts.language(sentence, wanted));
    reply_in(to, from, condition, usual_type(condition), &text, lang)
}

/// An error stanza from its parts.
#[must_use]
#[expect(clippy::too_many_arguments, reason = "each is one part of the stanza")]
pub fn bare(
    kind: StanzaKind,
    from: &OurJid,
    to: &Jid,
    id: Option<&str>,
    condition: Condition,
    type_: ErrorType,
    text: &str,
    lang: Option<&str>,
) -> OutStanza {
    OutStanza::new(kind, from, to, Some("error"), id).with(element(condition, type_, text, lang))
}

/// Reads the error of a stanza of type `error`: its condition, where it is one that we know, and its text.
#[must_use]
pub fn read(stanza: &Stanza) -> (Condition, Option<String>) {
    let Some(error) = stanza.child("error", NS_CLIENT) else { return (Condition::ServiceUnavailable, None) };
    let mut condition = Condition::ServiceUnavailable;
    let mut text = None;
    for child in error.children().filter(|child| child.has_ns(NS_STANZA_ERRORS)) {
        if child.name() == "text" {
            text = Some(child.text());
        } else if let Some(known) = Condition::from_name(child.name()) {
            condition = known;
        }
    }
    (condition, text)
}
