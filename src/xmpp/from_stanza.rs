//! Pure: from message stanzas to events. Only what the server stamped is trusted: payloads that speak in another's name
//! (forwarded, carbons, delay, stanza-id, occupant-id) are not looked at.

use minidom::Element;
use portway_bridges::api::{Condition, ItemId, Kind, Sentence, Target, Text};

use super::calls::Call;
use super::stanza::{NS_CLIENT, Stanza};
use super::{error, file, relation, rich, xml};

/// Namespaces that are read here.
pub mod ns {
    #![allow(missing_docs, reason = "each name says which XEP it belongs to")]
    pub const CHATSTATES: &str = "http://jabber.org/protocol/chatstates";
    pub const RECEIPTS: &str = "urn:xmpp:receipts";
    pub const MARKERS: &str = "urn:xmpp:chat-markers:0";
    pub const CORRECT: &str = "urn:xmpp:message-correct:0";
    pub const REPLY: &str = "urn:xmpp:reply:0";
    pub const FALLBACK: &str = "urn:xmpp:fallback:0";
    pub const REACTIONS: &str = "urn:xmpp:reactions:0";
    pub const RETRACT_1: &str = "urn:xmpp:message-retract:1";
    pub const RETRACT_0: &str = "urn:xmpp:message-retract:0";
    pub const MODERATE: &str = "urn:xmpp:message-moderate:1";
    pub const FASTEN: &str = "urn:xmpp:fasten:0";
    pub const OOB: &str = "jabber:x:oob";
    pub const SID: &str = "urn:xmpp:sid:0";
    pub const EME: &str = "urn:xmpp:eme:0";
    pub const OMEMO_OLD: &str = "eu.siacs.conversations.axolotl";
    pub const OMEMO_2: &str = "urn:xmpp:omemo:2";
    pub const OX: &str = "urn:xmpp:openpgp:0";
    pub const PGP: &str = "jabber:x:encrypted";
    pub const HINTS: &str = "urn:xmpp:hints";
    pub const NICK: &str = "http://jabber.org/protocol/nick";
    pub const DELAY: &str = "urn:xmpp:delay";
    pub const JINGLE: &str = "urn:xmpp:jingle:1";
    pub const JINGLE_MESSAGE: &str = "urn:xmpp:jingle-message:0";
    pub const CALL_INVITES: &str = "urn:xmpp:call-invites:0";
    pub const CONFERENCE: &str = "jabber:x:conference";
}

/// What a message stanza says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time")]
pub enum Parsed {
    /// Something to be brought to the network.
    Event {
        /// What.
        kind: Kind,
        /// What else one stanza says, in order behind it: its further files, each an event of its own.
        more: Vec<Kind>,
        /// The origin-id (XEP-0359).
        origin_id: Option<String>,
        /// Whether a receipt is asked for (XEP-0184).
        receipt: bool,
        /// The name by which the sender goes (XEP-0172).
        nick: Option<String>,
    },
    /// The sender is writing, or has stopped (XEP-0085).
    Typing(bool),
    /// A message of ours came back.
    Bounce {
        /// Its id.
        id: Option<String>,
        /// The condition.
        condition: Condition,
        /// The server's own words.
        text: Option<String>,
    },
    /// Somebody calls.
    Call(Call),
    /// It cannot be carried, and the sender must hear of it.
    Refuse(Condition, Sentence),
    /// Nothing that another network would understand.
    Ignore,
}

/// Reads a message stanza.
#[must_use]
pub fn message(stanza: &Stanza) -> Parsed {
    match stanza.type_.as_deref() {
        Some("error") => {
            let (condition, text) = error::read(stanza);
            return Parsed::Bounce { id: stanza.id.clone(), condition, text };
        }
        Some("headline") => return Parsed::Ignore,
        _ => {}
    }
    if let Some(scheme) = encryption(stanza) {
        return Parsed::Refuse(Condition::PolicyViolation, Sentence::new("core.encrypted-in").with("scheme", scheme));
    }
    if let Some(call) = Call::read(stanza) {
        return Parsed::Call(call);
    }
    let relation = match relation::read(stanza) {
        Ok(relation) => relation,
        Err(relation::TooMuch) => return Parsed::Refuse(Condition::PolicyViolation, Sentence::new("core.too-big")),
    };
    let mut kinds = relation.map_or_else(|| content(stanza), |kind| vec![kind]).into_iter();
    let kind = match kinds.next() {
        Some(kind) => kind,
        None => return chat_state(stanza).map_or(Parsed::Ignore, Parsed::Typing),
    };
    let origin_id = stanza.child("origin-id", ns::SID).and_then(|origin| origin.attr("id"));
    let nick = stanza.child("nick", ns::NICK).map(Element::text).filter(|nick| !nick.trim().is_empty());
    Parsed::Event {
        kind,
        more: kinds.collect(),
        origin_id: origin_id.filter(|id| !id.is_empty()).map(str::to_owned),
        receipt: stanza.child("request", ns::RECEIPTS).is_some(),
        nick,
    }
}

/// The scheme of a message that nobody on another network could read.
fn encryption(stanza: &Stanza) -> Option<String> {
    if stanza.child("encrypted", ns::OMEMO_OLD).is_some() || stanza.child("encrypted", ns::OMEMO_2).is_some() {
        return Some("OMEMO".to_owned());
    }
    if stanza.child("openpgp", ns::OX).is_some() || stanza.child("x", ns::PGP).is_some() {
        return Some("OpenPGP".to_owned());
    }
    if body(stanza).is_some_and(|(body, _)| body.starts_with("?OTR")) {
        return Some("OTR".to_owned());
    }
    let named = stanza.child("encryption", ns::EME)?;
    Some(named.attr("name").filter(|name| !name.is_empty()).unwrap_or("end-to-end").to_owned())
}

fn content(stanza: &Stanza) -> Vec<Kind> {
    let body = body(stanza);
    let reply = stanza.child("reply", ns::REPLY).and_then(|reply| relation::target(reply.attr("id")));
    let thread = stanza.child("thread", NS_CLIENT).map(Element::text).filter(|thread| !thread.is_empty());
    let thread = thread.map(|thread| ItemId::new(&thread));
    let replace = stanza.child("replace", ns::CORRECT);
    if replace.is_none()
        && let Some(place) = file::read::place(stanza, body.as_ref().map(|(body, _)| body.as_str()))
    {
        return vec![place];
    }
    let said = body.as_ref().map(|(body, _)| relation::without_fallback(stanza, body, &[ns::REPLY, file::ns::SFS]));
    let found = file::read::files(stanza, said.as_deref().unwrap_or_default());
    // A file that replaces another one is sent anew.
    if !found.files.is_empty() {
        let lang = body.as_ref().and_then(|(_, lang)| lang.clone());
        return with_files(found, lang, reply, thread);
    }
    let Some((body, lang)) = body else { return Vec::new() };
    let cut = if reply.is_some() { relation::quoted(stanza, &body) } else { Vec::new() };
    let text = Text {
        subject: stanza
            .child("subject", NS_CLIENT)
            .map(Element::text)
            .map(|subject| clean(&subject))
            .filter(|s| !s.is_empty()),
        reply,
        thread,
        ..rich::read(stanza, &body, lang.as_deref(), &cut)
    };
    match replace {
        Some(replace) => {
            relation::target(replace.attr("id")).map(|target| Kind::Edit { target, new: text }).into_iter().collect()
        }
        None => vec![Kind::Text(text)],
    }
}

/// Files, the first one with what the message relates to, the last one with what was said beside them.
fn with_files(
    found: file::read::Found,
    lang: Option<String>,
    reply: Option<Target>,
    thread: Option<ItemId>,
) -> Vec<Kind> {
    let mut files = found.files;
    for file in &mut files {
        file.thread.clone_from(&thread);
    }
    if let Some(first) = files.first_mut() {
        first.reply = reply;
    }
    if let Some(last) = files.last_mut()
        && !found.text.is_empty()
    {
        let text = clean(&found.text);
        // A description that the file has of its own goes before.
        let body = last
            .caption
            .take()
            .filter(|own| own.body != text)
            .map_or(text.clone(), |own| format!("{}\n{text}", own.body));
        last.caption = Some(Text { lang, ..Text::plain(body) });
    }
    files.into_iter().map(|file| Kind::File(Box::new(file))).collect()
}

/// The body in the stanza's own language, else the one without a language, else the first, with its language.
fn body(stanza: &Stanza) -> Option<(String, Option<String>)> {
    let bodies: Vec<&Element> = stanza.element.children().filter(|child| child.is("body", NS_CLIENT)).collect();
    let own = bodies.iter().find(|body| xml::lang(body).is_some() && xml::lang(body) == stanza.lang.as_deref());
    let plain = bodies.iter().find(|body| xml::lang(body).is_none());
    let chosen = own.or(plain).or(bodies.first())?;
    let text = chosen.text();
    if text.is_empty() {
        return None;
    }
    Some((text, xml::lang(chosen).map(str::to_owned).or_else(|| stanza.lang.clone())))
}

fn chat_state(stanza: &Stanza) -> Option<bool> {
    let state = stanza.element.children().find(|child| child.has_ns(ns::CHATSTATES))?;
    Some(state.name() == "composing")
}

/// Text without control characters other than tab and line feed; line ends are `\n`.
#[must_use]
pub fn clean(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return text.to_owned();
    }
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| !c.is_control() || *c == '\n' || *c == '\t')
        .collect()
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::{File, FileForm, Style};

    use super::*;

    fn parse(text: &str) -> Parsed {
        let element: Element = text.replacen("<message", "<message xmlns='jabber:client'", 1).parse().unwrap();
        message(&Stanza::from_element(element).unwrap())
    }

    fn kind(text: &str) -> Kind {
        match parse(text) {
            Parsed::Event { kind, .. } => kind,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn text_and_its_relations() {
        let text = Text::plain("hi");
        let target = || Target::by_id("x");
        for (stanza, expected) in [
            ("<message><body>hi</body></message>", Kind::Text(text.clone())),
            ("<message><body>a\r\nb\u{85}</body></message>", Kind::Text(Text::plain("a\nb"))),
            (
                "<message><body>/me waves</body></message>",
                Kind::Text(Text { style: Style::Emote, ..Text::plain("waves") }),
            ),
            (
                "<message><subject>S</subject><thread>t</thread><body>hi</body></message>",
                Kind::Text(Text { subject: Some("S".into()), thread: Some(ItemId::new("t")), ..text.clone() }),
            ),
            (
                "<message xml:lang='de'><body xml:lang='en'>hi</body><body>hallo</body></message>",
                Kind::Text(Text { lang: Some("de".into()), ..Text::plain("hallo") }),
            ),
            (
                "<message><body>&gt; 😀 quote\nhi</body><reply xmlns='urn:xmpp:reply:0' id='x'/>\
                 <fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='10'/></fallback></message>",
                Kind::Text(Text { reply: Some(target()), ..text.clone() }),
            ),
            (
                "<message><body>hi</body><replace xmlns='urn:xmpp:message-correct:0' id='x'/></message>",
                Kind::Edit { target: target(), new: text.clone() },
            ),
            (
                "<message><reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>👍</reaction></reactions></message>",
                Kind::Reaction { target: target(), keys: vec!["👍".into()] },
            ),
            (
                "<message><retract xmlns='urn:xmpp:message-retract:1' id='x'/><body>fallback</body></message>",
                Kind::Retract { target: target() },
            ),
            (
                "<message><apply-to xmlns='urn:xmpp:fasten:0' id='x'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to></message>",
                Kind::Retract { target: target() },
            ),
            (
                "<message><body>https://x/a%20b.png</body><x xmlns='jabber:x:oob'><url>https://x/a%20b.png</url></x></message>",
                Kind::File(Box::new(File {
                    name: "a b.png".into(),
                    form: FileForm::Image,
                    media_type: Some("image/png".into()),
                    url: Some("https://x/a%20b.png".into()),
                    ..File::default()
                })),
            ),
        ] {
            assert_eq!(kind(stanza), expected, "{stanza}");
        }
    }

    #[test]
    fn what_is_no_content() {
        assert_eq!(parse("<message/>"), Parsed::Ignore);
        assert_eq!(parse("<message type='headline'><body>x</body></message>"), Parsed::Ignore);
        assert_eq!(
            parse("<message><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"),
            Parsed::Typing(true)
        );
        assert_eq!(
            parse("<message><paused xmlns='http://jabber.org/protocol/chatstates'/></message>"),
            Parsed::Typing(false)
        );
        // A forged carbon says nothing.
        assert_eq!(
            parse(
                "<message><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='king@x'><body>pay</body></message></forwarded></received></message>"
            ),
            Parsed::Ignore
        );
    }

    #[test]
    fn d17_encrypted_messages_are_refused_and_never_shown() {
        for stanza in [
            "<message><body>I sent you an OMEMO encrypted message</body><encrypted xmlns='eu.siacs.conversations.axolotl'/></message>",
            "<message><encrypted xmlns='urn:xmpp:omemo:2'/></message>",
            "<message><body>?OTRv23?</body></message>",
            "<message><body>x</body><x xmlns='jabber:x:encrypted'>abc</x></message>",
            "<message><body>x</body><openpgp xmlns='urn:xmpp:openpgp:0'>abc</openpgp></message>",
            "<message><body>x</body><encryption xmlns='urn:xmpp:eme:0' namespace='some:new' name='New'/></message>",
        ] {
            assert!(matches!(parse(stanza), Parsed::Refuse(Condition::PolicyViolation, _)), "{stanza}");
        }
    }

    #[test]
    fn bounces_are_read() {
        assert_eq!(
            parse(
                "<message type='error' id='x'><body>hi</body><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
            ),
            Parsed::Bounce { id: Some("x".into()), condition: Condition::ItemNotFound, text: None }
        );
    }
}
