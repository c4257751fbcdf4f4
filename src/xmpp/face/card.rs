//! Pure: names and pictures in the forms of XMPP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minidom::Element;
use portway_bridges::api::Reach;

use super::convert;
use crate::store::AvatarRow;
use crate::xmpp::iq::ns;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{OurJid, OutStanza, StanzaKind};
use crate::xmpp::xml;

const NS_UPDATE: &str = "vcard-temp:x:update";
const NS_EVENT: &str = "http://jabber.org/protocol/pubsub#event";

/// The node of a card in its newer form (XEP-0292).
pub const NODE_VCARD4: &str = "urn:xmpp:vcard4";
/// Its namespace.
pub const NS_VCARD4: &str = ns::VCARD4;

/// The node of what there is to say of a picture (XEP-0084).
pub const NODE_METADATA: &str = "urn:xmpp:avatar:metadata";
/// The node of pictures (XEP-0084).
pub const NODE_DATA: &str = "urn:xmpp:avatar:data";

/// The longest name that is taken from a card, in characters.
const NAME: usize = 256;

/// Who a card is about.
pub struct Person<'a> {
    /// What they are called.
    pub name: &'a str,
    /// Their bare address here.
    pub jid: &'a str,
    /// Other ways to reach them.
    pub reach: &'a [Reach],
    /// Their picture.
    pub picture: Option<&'a AvatarRow>,
}

/// What presence says of the picture of its sender (XEP-0153, section 3.1): its hash, that there is none (an empty one), or
/// that nothing is known yet.
#[must_use]
pub fn update(hash: Option<&str>) -> Element {
    let mut update = Element::bare("x", NS_UPDATE);
    if let Some(hash) = hash {
        update.append_child(xml::text("photo", NS_UPDATE, hash));
    }
    update
}

/// What a user's presence says of their picture: nothing, that there is none (empty), or its hash. What is no SHA-1 says
/// nothing.
#[must_use]
pub fn announced(presence: &Element) -> Option<String> {
    let photo = presence.get_child("x", NS_UPDATE)?.get_child("photo", NS_UPDATE)?;
    let hash = photo.text().trim().to_lowercase();
    let proper = hash.is_empty() || (hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    proper.then_some(hash)
}

/// A card (XEP-0054).
#[must_use]
pub fn temp(person: &Person<'_>) -> Element {
    let text = |name: &str, value: &str| xml::text(name, ns::VCARD, value);
    let mut card = Element::bare("vCard", ns::VCARD);
    card.append_child(text("FN", person.name));
    card.append_child(text("NICKNAME", person.name));
    for reach in person.reach {
        match reach {
            Reach::Mail(address) => {
                let mut mail = Element::bare("EMAIL", ns::VCARD);
                mail.append_child(Element::bare("INTERNET", ns::VCARD));
                mail.append_child(text("USERID", address));
                card.append_child(mail);
            }
            Reach::Link(link) => {
                card.append_child(text("URL", link));
            }
        }
    }
    card.append_child(text("JABBERID", person.jid));
    if let Some(picture) = person.picture {
        let mut photo = Element::bare("PHOTO", ns::VCARD);
        photo.append_child(text("TYPE", &picture.media_type));
        photo.append_child(text("BINVAL", &STANDARD.encode(&picture.bytes)));
        card.append_child(photo);
    }
    card
}

/// The same card in its newer form (XEP-0292, RFC 6351).
#[must_use]
pub fn vcard4(person: &Person<'_>) -> Element {
    let property = |name: &str, kind: &str, value: &str| {
        let mut property = Element::bare(name, NS_VCARD4);
        property.append_child(xml::text(kind, NS_VCARD4, value));
        property
    };
    let mut card = Element::bare("vcard", NS_VCARD4);
    card.append_child(property("fn", "text", person.name));
    card.append_child(property("nickname", "text", person.name));
    for reach in person.reach {
        card.append_child(match reach {
            Reach::Mail(address) => property("email", "text", address),
            Reach::Link(link) => property("url", "uri", link),
        });
    }
    card.append_child(property("impp", "uri", &format!("xmpp:{}", person.jid.replace('%', "%25"))));
    if let Some(picture) = person.picture {
        let data = format!("data:{};base64,{}", picture.media_type, STANDARD.encode(&picture.bytes));
        card.append_child(property("photo", "uri", &data));
    }
    card
}

/// The name of an item and its payload: what there is to say of a picture (XEP-0084, section 4.2).
#[must_use]
pub fn metadata(picture: &AvatarRow) -> Element {
    let mut metadata = Element::bare("metadata", NODE_METADATA);
    if !picture.bytes.is_empty() {
        let bytes = picture.bytes.len().to_string();
        let mut info = xml::element(
            "info",
            NODE_METADATA,
            &[("bytes", &bytes), ("id", &picture.hash), ("type", &picture.media_type)],
        );
        if let Some((width, height)) = convert::dimensions(&picture.bytes) {
            xml::set(&mut info, "width", &width.to_string());
            xml::set(&mut info, "height", &height.to_string());
        }
        metadata.append_child(info);
    }
    metadata
}

/// A picture as the payload of an item (XEP-0084, section 4.1).
#[must_use]
pub fn data(picture: &AvatarRow) -> Element {
    xml::text("data", NODE_DATA, &STANDARD.encode(&picture.bytes))
}

/// The answer to a request for the items of a node; without an item it is empty.
#[must_use]
pub fn items(ns_of: &str, node: &str, item: Option<(&str, Element)>) -> Element {
    let mut items = xml::element("items", ns_of, &[("node", node)]);
    if let Some((id, payload)) = item {
        let mut item = xml::element("item", ns_of, &[("id", id)]);
        item.append_child(payload);
        items.append_child(item);
    }
    let mut wrapper = Element::bare(if ns_of == NS_EVENT { "event" } else { "pubsub" }, ns_of);
    wrapper.append_child(items);
    wrapper
}

/// A contact's new picture, or that there is none any more, as an event (XEP-0084, section 3.3).
#[must_use]
pub fn event(us: &OurJid, to: &Jid, picture: &AvatarRow) -> OutStanza {
    let id = if picture.hash.is_empty() { "current" } else { &picture.hash };
    let event = items(NS_EVENT, NODE_METADATA, Some((id, metadata(picture))));
    OutStanza::new(StanzaKind::Message, us, to, Some("headline"), None).with(event)
}

/// What a user's card says: a name, and the bytes of a picture. Of several pictures the first counts, of names the nick.
#[must_use]
pub fn read(card: &Element) -> (Option<String>, Option<Vec<u8>>) {
    let text = |name: &str| card.get_child(name, ns::VCARD).map(|child| child.text().trim().to_owned());
    let named = |name: &str| text(name).filter(|name| !name.is_empty());
    let name = named("NICKNAME").or_else(|| named("FN")).map(|name| name.chars().take(NAME).collect());
    let photo = card.get_child("PHOTO", ns::VCARD).and_then(|photo| photo.get_child("BINVAL", ns::VCARD));
    // Old clients break the lines.
    let photo = photo.map(|value| value.text().split_ascii_whitespace().collect::<String>());
    (name, photo.and_then(|photo| STANDARD.decode(photo).ok()).filter(|bytes| !bytes.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(text: &str) -> Element {
        text.parse().unwrap()
    }

    #[test]
    fn only_a_hash_is_taken_for_one() {
        let presence = |inner: &str| {
            element(&format!("<presence xmlns='jabber:client'><x xmlns='vcard-temp:x:update'>{inner}</x></presence>"))
        };
        let hash = "a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(announced(&presence(&format!("<photo>{}</photo>", hash.to_uppercase()))).as_deref(), Some(hash));
        assert_eq!(announced(&presence("<photo/>")).as_deref(), Some(""));
        for nothing in ["", "<photo>x</photo>", "<photo>a9993e364706816aba3e25717850c26c9cd0d8zz</photo>"] {
            assert_eq!(announced(&presence(nothing)), None, "{nothing}");
        }
        assert_eq!(announced(&element("<presence xmlns='jabber:client'/>")), None);
    }

    #[test]
    fn a_card_is_read_leniently() {
        let card = |inner: &str| read(&element(&format!("<vCard xmlns='vcard-temp'>{inner}</vCard>")));
        assert_eq!(
            card("<FN>Juliet C.</FN><NICKNAME> Juliet </NICKNAME><PHOTO><BINVAL>YW\n Jj</BINVAL></PHOTO>"),
            (Some("Juliet".to_owned()), Some(b"abc".to_vec()))
        );
        assert_eq!(card("<FN>J</FN><NICKNAME/><PHOTO><EXTVAL>http://h</EXTVAL></PHOTO>"), (Some("J".to_owned()), None));
        assert_eq!(card("<PHOTO><BINVAL>!!</BINVAL></PHOTO>"), (None, None));
        assert_eq!(card("<PHOTO><BINVAL/></PHOTO>"), (None, None));
    }

    #[test]
    fn links_and_addresses_have_their_places() {
        let reach = [Reach::Mail("bob@h".to_owned()), Reach::Link("net:bob".to_owned())];
        let bob = Person { name: "Bob", jid: "bob%h@m.x", reach: &reach, picture: None };
        assert_eq!(
            String::from(&temp(&bob)),
            "<vCard xmlns='vcard-temp'><FN>Bob</FN><NICKNAME>Bob</NICKNAME><EMAIL><INTERNET/><USERID>bob@h</USERID>\
             </EMAIL><URL>net:bob</URL><JABBERID>bob%h@m.x</JABBERID></vCard>"
        );
        let newer = String::from(&vcard4(&bob));
        assert!(newer.contains("<email><text>bob@h</text></email><url><uri>net:bob</uri></url>"), "{newer}");
        assert!(newer.contains("<impp><uri>xmpp:bob%25h@m.x</uri></impp>"), "{newer}");
    }
}
