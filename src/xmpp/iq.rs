//! Answers to IQs of chats of two and of the gateway itself: exactly one for each request (RFC 6120, section 8.2.3).
//!
//! Requests are read leniently from the element, answers are types of `xmpp-parsers` where it has one.

use std::sync::LazyLock;

use minidom::Element;
use portway_bridges::api::{Adapter, Address, Condition, Descriptor, Sentence, Timestamp};
use xmpp_parsers::caps::{self, Caps};
use xmpp_parsers::disco::{DiscoInfoResult, Identity};
use xmpp_parsers::hashes::{Algo, Hash};
use xmpp_parsers::version::VersionResult;

use super::about::{self, About};
use super::address;
use super::error::{self, ErrorType, usual_type};
use super::face::Faces;
use super::face::serve::is_about_a_face;
use super::file;
use super::from_stanza::ns as message_ns;
use super::rich;
use super::roster::last::{self, NS_LAST};
use super::stanza::{NS_CLIENT, OurJid, OutStanza, Stanza, StanzaKind};
use super::xml;
use crate::identity::{Directory, Meant};
use crate::text::Catalogue;

/// Namespaces that are read and written here.
pub mod ns {
    #![allow(missing_docs, reason = "each name says which XEP it belongs to")]
    pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
    pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
    pub const VERSION: &str = "jabber:iq:version";
    pub const PING: &str = "urn:xmpp:ping";
    pub const GATEWAY: &str = "jabber:iq:gateway";
    pub const VCARD: &str = "vcard-temp";
    pub const VCARD4: &str = "urn:ietf:params:xml:ns:vcard-4.0";
    pub const PEP_CONVERSION: &str = "urn:xmpp:pep-vcard-conversion:0";
    pub const CAPS: &str = "http://jabber.org/protocol/caps";
    pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
}

/// Nodes on which OMEMO clients look for devices.
const DEVICE_LISTS: [&str; 2] = ["eu.siacs.conversations.axolotl.devicelist", "urn:xmpp:omemo:2:devices"];

/// What a contact's client can do: what is truly carried. All contacts say the same, so that one hash serves them all.
const CONTACT_FEATURES: [&str; 20] = [
    ns::CAPS,
    "http://jabber.org/protocol/chatstates",
    ns::DISCO_INFO,
    NS_LAST,
    message_ns::OOB,
    "urn:xmpp:chat-markers:0",
    "urn:xmpp:message-correct:0",
    "urn:xmpp:message-retract:1",
    about::CAPS,
    ns::PING,
    "urn:xmpp:reactions:0",
    "urn:xmpp:receipts",
    "urn:xmpp:reply:0",
    file::ns::SFS,
    ns::VCARD,
    rich::ns::STYLING,
    rich::ns::MARKUP,
    rich::ns::XHTML_IM,
    rich::ns::SPOILER,
    rich::ns::REFERENCE,
];

/// The nodes of XEP-0115, of contacts and of the gateway itself.
const CAPS_NODE: &str = "urn:portway:contact";
const GATEWAY_NODE: &str = "urn:portway:gateway";

/// What answering needs to know.
pub struct Context<'a> {
    /// What the network calls itself.
    pub descriptor: &'a Descriptor,
    /// The network.
    pub adapter: &'a dyn Adapter,
    /// Who is who.
    pub directory: &'a Directory,
    /// The sentences.
    pub texts: &'a Catalogue,
    /// The faces.
    pub faces: &'a Faces,
    /// What the gateway says of itself.
    pub about: &'a About,
    /// The time.
    pub now: Timestamp,
}

/// Whether a request to the gateway itself is one that anybody may ask: what it is, and whether it lives.
#[must_use]
pub fn is_public(query: &Stanza) -> bool {
    const PUBLIC: [&str; 4] = [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::VERSION, ns::PING];
    query.kind == StanzaKind::Iq
        && query.type_.as_deref() == Some("get")
        && query.element.children().all(|payload| PUBLIC.contains(&payload.ns().as_str()))
}

/// Answers a request that is not for a room. `None` where there is nothing to answer.
pub async fn answer(query: &Stanza, us: &OurJid, context: &Context<'_>) -> Option<OutStanza> {
    if query.kind != StanzaKind::Iq {
        return None;
    }
    let set = match query.type_.as_deref() {
        Some("get") => false,
        Some("set") => true,
        Some("result" | "error") => return None,
        _ => return refuse(query, us, Condition::BadRequest, ""),
    };
    let mut children = query.element.children();
    let (Some(payload), None, true) = (children.next(), children.next(), query.id.is_some()) else {
        return refuse(query, us, Condition::BadRequest, "");
    };
    let Some(node) = us.jid().node() else {
        let name = context.texts.text(&gateway_name(context.descriptor), query.lang.as_deref());
        if !set && let Some(answer) = context.faces.answer(query, us, payload, None, &name).await {
            return Some(answer);
        }
        return gateway(query, us, payload, set, context);
    };
    let meant = match context.directory.resolve(node) {
        Ok(meant) => meant,
        Err(refusal) => return error::refusal(query, us, refusal.condition, &refusal.sentence, context.texts),
    };
    match meant {
        Meant::Person(person) if !set && payload.is("query", NS_LAST) => {
            last::answer(query, us, context.directory.idle(&person).await)
        }
        Meant::Person(person) if !set => {
            // Clients keep what the first card says: it should have the name already.
            let name = match is_about_a_face(payload) {
                true => context.directory.name_or_ask(&person).await,
                false => context.directory.name(&person).await,
            };
            let name = name.unwrap_or_else(|| context.adapter.print_person(&person));
            if let Some(answer) = context.faces.answer(query, us, payload, Some(&person), &name).await {
                return Some(answer);
            }
            contact(query, us, payload)
        }
        _ => refuse(query, us, Condition::ServiceUnavailable, ""),
    }
}

fn gateway(query: &Stanza, us: &OurJid, payload: &Element, set: bool, context: &Context<'_>) -> Option<OutStanza> {
    let ping = payload.is("ping", ns::PING);
    if ping && !set {
        return result(query, us, None);
    }
    if payload.is("query", ns::DISCO_INFO) && !set {
        let info = gateway_info(context.descriptor, context.texts, context.about);
        return disco_answer(query, us, payload, info, GATEWAY_NODE);
    }
    if payload.is("query", ns::DISCO_ITEMS) && !set {
        return result(query, us, Some(Element::bare("query", ns::DISCO_ITEMS)));
    }
    if payload.is("query", ns::VERSION) && !set {
        return result(query, us, Some(version()));
    }
    if let Some(answer) = about::answer(query, us, payload, set, context.about, context.now) {
        return Some(answer);
    }
    if payload.is("query", ns::GATEWAY) {
        return prompt(query, us, payload, set, context);
    }
    refuse(query, us, Condition::ServiceUnavailable, "")
}

/// `jabber:iq:gateway` (XEP-0100): from what a person pastes to an address.
fn prompt(query: &Stanza, us: &OurJid, payload: &Element, set: bool, context: &Context<'_>) -> Option<OutStanza> {
    let mut answer = Element::bare("query", ns::GATEWAY);
    if !set {
        let sentence = Sentence::new("core.prompt").with("network", context.descriptor.name);
        let text = context.texts.text(&sentence, query.lang.as_deref());
        answer.append_child(xml::text("desc", ns::GATEWAY, &text));
        answer.append_child(Element::bare("prompt", ns::GATEWAY));
        return result(query, us, Some(answer));
    }
    let typed = payload.get_child("prompt", ns::GATEWAY).map(Element::text).unwrap_or_default();
    let localpart = match context.adapter.resolve(&typed) {
        Ok(Address::Person(person)) => address::of_person(&context.adapter.canonical(&person)),
        Ok(Address::Room(room)) => address::of_room(&room),
        Err(refusal) => return error::refusal(query, us, refusal.condition, &refusal.sentence, context.texts),
    };
    match localpart {
        Ok(localpart) => {
            let jid = format!("{localpart}@{}", us.jid().domain());
            answer.append_child(xml::text("jid", ns::GATEWAY, &jid));
            answer.append_child(xml::text("prompt", ns::GATEWAY, &jid));
            result(query, us, Some(answer))
        }
        Err(error) => {
            let sentence = Sentence::new("core.bad-address")
                .with("why", error.to_string())
                .with("component", us.jid().domain().to_owned());
            error::refusal(query, us, Condition::JidMalformed, &sentence, context.texts)
        }
    }
}

/// What the gateway itself is called.
#[must_use]
pub fn gateway_name(descriptor: &Descriptor) -> Sentence {
    Sentence::new("core.gateway-name").with("network", descriptor.name)
}

/// The answer of XEP-0092.
fn version() -> Element {
    let version = VersionResult { name: "Portway".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), os: None };
    version.into()
}

fn contact(query: &Stanza, us: &OurJid, payload: &Element) -> Option<OutStanza> {
    if payload.is("query", ns::DISCO_INFO) {
        return if us.jid().is_bare() {
            let features = [ns::DISCO_INFO, ns::PUBSUB, ns::VCARD4, ns::PEP_CONVERSION, ns::VCARD];
            result(query, us, Some(info(&[("account", "registered"), ("pubsub", "pep")], "", &features)))
        } else {
            disco_answer(query, us, payload, contact_info(), CAPS_NODE)
        };
    }
    if payload.is("query", ns::DISCO_ITEMS) {
        return result(query, us, Some(Element::bare("query", ns::DISCO_ITEMS)));
    }
    if payload.is("ping", ns::PING) {
        return result(query, us, None);
    }
    if payload.is("query", ns::VERSION) && !us.jid().is_bare() {
        return result(query, us, Some(version()));
    }
    if payload.is("pubsub", ns::PUBSUB)
        && let Some(items) = payload.get_child("items", ns::PUBSUB)
        && let Some(node) = items.attr("node").filter(|node| DEVICE_LISTS.contains(node))
    {
        // An error would be shown to the user as a fault; an empty list says that there is no OMEMO here.
        let mut answer = Element::bare("pubsub", ns::PUBSUB);
        answer.append_child(xml::element("items", ns::PUBSUB, &[("node", node)]));
        return result(query, us, Some(answer));
    }
    refuse(query, us, Condition::ServiceUnavailable, "")
}

/// A disco#info answer (XEP-0030), in the order in which identities count.
#[must_use]
pub fn info(identities: &[(&str, &str)], name: &str, features: &[&str]) -> Element {
    disco(identities, Some(name).filter(|name| !name.is_empty()), features).into()
}

fn disco(identities: &[(&str, &str)], name: Option<&str>, features: &[&str]) -> DiscoInfoResult {
    let identity = |(category, type_): &(&str, &str)| Identity {
        category: (*category).to_owned(),
        type_: (*type_).to_owned(),
        lang: None,
        name: name.map(str::to_owned),
    };
    DiscoInfoResult {
        node: None,
        identities: identities.iter().map(identity).collect(),
        features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        extensions: Vec::new(),
    }
}

/// What the device of every contact can do.
fn contact_info() -> DiscoInfoResult {
    disco(&[("client", "pc")], None, &CONTACT_FEATURES)
}

/// What the gateway itself is and can do. Its name is English in every answer, so that one hash serves everybody.
fn gateway_info(descriptor: &Descriptor, texts: &Catalogue, about: &About) -> DiscoInfoResult {
    let mut features = vec![
        ns::CAPS,
        ns::DISCO_INFO,
        ns::DISCO_ITEMS,
        ns::GATEWAY,
        about::LAST,
        ns::VERSION,
        about::CAPS,
        ns::PING,
        about::TIME,
        ns::VCARD,
    ];
    features.extend(super::doors::FEATURES);
    let mut identities = vec![("gateway", descriptor.disco_type)];
    if descriptor.rooms {
        identities.push(("conference", "text"));
        // Clients that look at one identity only take a domain with rooms for a chat room without this.
        identities.push(("account", "registered"));
        features.push("http://jabber.org/protocol/muc");
    }
    let info = disco(&identities, Some(&texts.text(&gateway_name(descriptor), None)), &features);
    DiscoInfoResult { extensions: about.form().into_iter().collect(), ..info }
}

/// A disco#info answer, also to the node that its capabilities name; other nodes there are none.
fn disco_answer(
    query: &Stanza,
    us: &OurJid,
    payload: &Element,
    info: DiscoInfoResult,
    caps_node: &str,
) -> Option<OutStanza> {
    let node = payload.attr("node");
    let known = |node: &str| {
        node == format!("{caps_node}#{}", base64(&caps_hash(&info))) || about::node(&info).as_deref() == Some(node)
    };
    if node.is_some_and(|node| !known(node)) {
        return refuse(query, us, Condition::ItemNotFound, "");
    }
    result(query, us, Some(DiscoInfoResult { node: node.map(str::to_owned), ..info }.into()))
}

/// The capabilities of contacts for their presence (XEP-0115, XEP-0390): the same for all.
#[must_use]
pub fn caps() -> &'static [Element] {
    static CAPS: LazyLock<Vec<Element>> = LazyLock::new(|| both(&contact_info(), CAPS_NODE));
    &CAPS
}

/// The capabilities of the gateway for its presence: clients find gateways by them.
#[must_use]
pub fn gateway_caps(descriptor: &Descriptor, texts: &Catalogue, about: &About) -> Vec<Element> {
    both(&gateway_info(descriptor, texts, about), GATEWAY_NODE)
}

/// Both ways in which presence names the same answer.
fn both(info: &DiscoInfoResult, node: &str) -> Vec<Element> {
    let first = Caps::new(node, Hash { hash: caps_hash(info), algo: Algo::Sha_1 }).into();
    std::iter::once(first).chain(about::caps(info)).collect()
}

/// SHA-1 of an answer as XEP-0115 writes it.
fn caps_hash(info: &DiscoInfoResult) -> Vec<u8> {
    caps::hash_caps(&caps::compute_disco(info), Algo::Sha_1).map(|hash| hash.hash).unwrap_or_default()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A result.
#[must_use]
pub fn result(query: &Stanza, us: &OurJid, payload: Option<Element>) -> Option<OutStanza> {
    let to = query.from.as_ref()?;
    let answer = OutStanza::new(StanzaKind::Iq, us, to, Some("result"), query.id.as_deref());
    Some(match payload {
        Some(payload) => answer.with(payload),
        None => answer,
    })
}

/// An error of the usual type.
#[must_use]
pub fn refuse(query: &Stanza, us: &OurJid, condition: Condition, text: &str) -> Option<OutStanza> {
    match query.type_.as_deref() {
        Some("get" | "set" | "result" | "error") => error::reply(query, us, condition, usual_type(condition), text),
        // Neither a request nor an answer: RFC 6120 wants an error all the same.
        _ => {
            let to = query.from.as_ref()?;
            let payload = error::element(Condition::BadRequest, ErrorType::Modify, text, None);
            let answer = OutStanza::new(StanzaKind::Iq, us, to, Some("error"), query.id.as_deref());
            Some(answer.with(payload))
        }
    }
    .inspect(|answer| debug_assert!(answer.element().has_child("error", NS_CLIENT)))
}
