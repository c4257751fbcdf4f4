//! Pure: a user's bookmarks of rooms (XEP-0402), as a privilege lets us read and change them.
//!
//! A bookmark goes from one room to another as it is: what the user has chosen (name, nick, whether it is joined by itself)
//! and what other clients keep in it (section 3.4) are theirs.

use minidom::Element;

use crate::xmpp::iq::ns::PUBSUB;
use crate::xmpp::xml;

/// The node, and the namespace of what is kept there.
pub const NS: &str = "urn:xmpp:bookmarks:1";

const NS_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
const NS_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
const NS_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
const NS_FORM: &str = "jabber:x:data";

/// What the node must be like, so that nobody else can read it and nothing is dropped (section 3.3).
const OPTIONS: [(&str, &str); 4] = [
    ("pubsub#persist_items", "true"),
    ("pubsub#max_items", "max"),
    ("pubsub#send_last_published_item", "never"),
    ("pubsub#access_model", "whitelist"),
];

/// A bookmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Bookmark {
    /// The room's JID.
    pub id: String,
    /// What is kept, whole.
    pub conference: Element,
}

/// Asks for all bookmarks.
#[must_use]
pub fn all() -> Element {
    let mut query = Element::bare("pubsub", PUBSUB);
    query.append_child(xml::element("items", PUBSUB, &[("node", NS)]));
    query
}

/// The bookmarks in an answer; none where it holds something else.
#[must_use]
pub fn read(answer: &Element) -> Vec<Bookmark> {
    let items = Some(answer).filter(|answer| answer.is("pubsub", PUBSUB));
    let items =
        items.and_then(|answer| answer.get_child("items", PUBSUB)).filter(|items| items.attr("node") == Some(NS));
    let item = |item: &Element| {
        let conference = item.get_child("conference", NS)?.clone();
        Some(Bookmark { id: item.attr("id")?.to_owned(), conference })
    };
    items.into_iter().flat_map(Element::children).filter(|child| child.is("item", PUBSUB)).filter_map(item).collect()
}

/// What is to be done where a room has another address.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// The bookmark to be written first, unless the user has one of the new room already.
    pub write: Option<Bookmark>,
    /// The bookmarks to be taken away when that has worked.
    pub retract: Vec<String>,
}

/// The way of a user's bookmarks from a room (whatever `is_old` says of their JIDs) to the one with this JID. `None`: the
/// user has no bookmark of the old one.
#[must_use]
pub fn moved(bookmarks: &[Bookmark], is_old: impl Fn(&str) -> bool, new: &str) -> Option<Move> {
    let old: Vec<&Bookmark> = bookmarks.iter().filter(|known| known.id != new && is_old(&known.id)).collect();
    let first = old.first()?;
    let there = bookmarks.iter().any(|known| known.id == new);
    let write = (!there).then(|| Bookmark { id: new.to_owned(), conference: first.conference.clone() });
    Some(Move { write, retract: old.iter().map(|known| known.id.clone()).collect() })
}

/// Writes a bookmark.
#[must_use]
pub fn publish(bookmark: &Bookmark) -> Element {
    let mut item = xml::element("item", PUBSUB, &[("id", &bookmark.id)]);
    item.append_child(bookmark.conference.clone());
    let mut publish = xml::element("publish", PUBSUB, &[("node", NS)]);
    publish.append_child(item);
    let mut options = Element::bare("publish-options", PUBSUB);
    options.append_child(form(NS_OPTIONS));
    let mut query = Element::bare("pubsub", PUBSUB);
    query.append_child(publish);
    query.append_child(options);
    query
}

/// Makes the node what it must be: where a client made it otherwise, servers refuse to write there with options.
#[must_use]
pub fn configure() -> Element {
    let mut configure = xml::element("configure", NS_OWNER, &[("node", NS)]);
    configure.append_child(form(NS_CONFIG));
    let mut query = Element::bare("pubsub", NS_OWNER);
    query.append_child(configure);
    query
}

fn form(form_type: &str) -> Element {
    let mut form = xml::element("x", NS_FORM, &[("type", "submit")]);
    let mut field = |var: &str, type_: Option<&str>, value: &str| {
        let mut field = xml::element("field", NS_FORM, &[("var", var)]);
        if let Some(type_) = type_ {
            xml::set(&mut field, "type", type_);
        }
        field.append_child(xml::text("value", NS_FORM, value));
        form.append_child(field);
    };
    field("FORM_TYPE", Some("hidden"), form_type);
    for (var, value) in OPTIONS {
        field(var, None, value);
    }
    form
}

/// Takes a bookmark away, and tells the user's devices.
#[must_use]
pub fn retract(id: &str) -> Element {
    let mut retract = xml::element("retract", PUBSUB, &[("node", NS), ("notify", "true")]);
    retract.append_child(xml::element("item", PUBSUB, &[("id", id)]));
    let mut query = Element::bare("pubsub", PUBSUB);
    query.append_child(retract);
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(items: &str) -> Vec<Bookmark> {
        let text = format!(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'>{items}</items></pubsub>"
        );
        read(&text.parse().unwrap())
    }

    const OLD: &str = "<item id='!old@m.x'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='1' name='Mine'><nick>J</nick>\
                       <extensions><state xmlns='urn:client' minimized='true'><deep/></state></extensions></conference></item>";

    #[test]
    fn p9_a_bookmark_goes_over_whole() {
        let known = answer(&format!("{OLD}<item id='other@c.x'><conference xmlns='urn:xmpp:bookmarks:1'/></item>"));
        let move_ = moved(&known, |id| id == "!old@m.x", "!new@m.x").unwrap();
        assert_eq!(move_.retract, ["!old@m.x"]);
        let written = String::from(&publish(&move_.write.unwrap()));
        assert!(written.contains(&OLD.replace("!old", "!new")), "{written}");
        for (var, value) in OPTIONS {
            assert!(written.contains(&format!("<field var='{var}'><value>{value}</value></field>")), "{written}");
        }
        assert!(written.contains("<field type='hidden' var='FORM_TYPE'>"), "{written}");
        assert_eq!(
            String::from(&retract("!old@m.x")),
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><retract node='urn:xmpp:bookmarks:1' notify='true'>\
             <item id='!old@m.x'/></retract></pubsub>"
        );
    }

    #[test]
    fn p9_without_a_bookmark_none_is_made_and_the_user_s_own_stays() {
        assert_eq!(moved(&answer(""), |_| true, "!new@m.x"), None);
        assert_eq!(moved(&answer(OLD), |_| false, "!new@m.x"), None);
        assert_eq!(moved(&answer(OLD), |_| true, "!old@m.x"), None, "it is there already");
        let both = format!("{OLD}{}", OLD.replace("!old", "!new").replace("Mine", "Chosen"));
        let move_ = moved(&answer(&both), |id| id.starts_with("!old"), "!new@m.x").unwrap();
        assert_eq!((move_.write, move_.retract), (None, vec!["!old@m.x".to_owned()]));
        for other in
            ["<x xmlns='urn:x'/>", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='x'/></pubsub>"]
        {
            assert!(read(&other.parse().unwrap()).is_empty());
        }
    }
}
