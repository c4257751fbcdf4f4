//! Pure: formatted text of Matrix (client-server API, `m.room.message`: `org.matrix.custom.html`, user mentions) both ways.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use ruma::OwnedUserId;
use ruma::events::Mentions;
use serde_json::Value;

use super::id::{self, Ghosts};
use crate::api::Address;
use crate::api::rich::html::Dialect;
use crate::api::rich::{self, Mark, Node, Rich, Who, from_html, styled};

/// The one format that Matrix has.
const HTML: &str = "org.matrix.custom.html";

/// The schemes of links that clients let through (client-server API, `m.room.message` formats).
const SCHEMES: &[&str] = &["https", "http", "ftp", "mailto", "magnet"];

/// What stands for everybody in a room.
const ROOM: &str = "@room";

/// What does not stand for itself in the fragment of a link (RFC 3986, section 3.5) to an id.
const FRAGMENT: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'%').add(b'/').add(b'?').add(b'#').add(b'\\');

/// The text of a content, and the same with its marks. `plain` is its body, read already.
pub fn read(content: &Value, plain: String, ghosts: &Ghosts) -> (String, Option<Rich>) {
    let html = content["formatted_body"].as_str().filter(|_| content["format"] == HTML);
    let formatted = html.map(|html| pills(from_html(html), ghosts)).filter(|nodes| !nodes.is_empty());
    let is_html = formatted.is_some();
    let mut nodes = formatted.unwrap_or_else(|| vec![Node::Text(plain.clone())]);
    if content["m.mentions"]["room"] == true {
        nodes = everybody(nodes);
    }
    // Where the HTML has no marks, its text is still the one that the sender sees: their client has read signs in the body.
    let text = if is_html { styled(&nodes).text } else { plain };
    match Rich::new(nodes) {
        Some(rich) => (rich.text(), Some(rich)),
        None => (text, None),
    }
}

/// Links to people are mentions. The depth is that of the reader.
fn pills(nodes: Vec<Node>, ghosts: &Ghosts) -> Vec<Node> {
    let one = |node| match node {
        Node::Part(Mark::Link(url), inner) => match mentioned(&url, ghosts) {
            Some(who) => Node::Part(Mark::Mention(who), inner),
            None => Node::Part(Mark::Link(url), inner),
        },
        Node::Part(mark, inner) => Node::Part(mark, pills(inner, ghosts)),
        text @ Node::Text(_) => text,
    };
    nodes.into_iter().map(one).collect()
}

/// Whom a link leads to (`matrix.to`, and the scheme `matrix:`), if to a person.
fn mentioned(url: &str, ghosts: &Ghosts) -> Option<Who> {
    let is_person = ["https://matrix.to/#/@", "https://matrix.to/#/%40", "matrix:u/", "matrix:user/"];
    is_person.iter().any(|start| url.starts_with(start)).then_some(())?;
    let Ok(Address::Person(person)) = id::resolve(url) else { return None };
    let mxid = id::person(&person);
    match ghosts.user(&mxid) {
        Some(user) => Some(Who::User(user)),
        // The gateway itself is nobody that XMPP users know.
        None => (!ghosts.ours(&mxid)).then_some(Who::Person(person)),
    }
}

/// Marks where the text speaks to everybody.
fn everybody(nodes: Vec<Node>) -> Vec<Node> {
    let mut out = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node {
            Node::Text(text) => {
                let mut rest = text.as_str();
                while let Some(at) = rest.find(ROOM) {
                    out.push(Node::Text(rest[..at].to_owned()));
                    out.push(Node::Part(Mark::Mention(Who::Room), vec![Node::Text(ROOM.to_owned())]));
                    rest = &rest[at + ROOM.len()..];
                }
                out.push(Node::Text(rest.to_owned()));
            }
            Node::Part(mark @ (Mark::Code | Mark::Preformatted(_) | Mark::Link(_) | Mark::Mention(_)), inner) => {
                out.push(Node::Part(mark, inner));
            }
            Node::Part(mark, inner) => out.push(Node::Part(mark, everybody(inner))),
        }
    }
    out
}

/// A text as Matrix has it.
#[derive(Debug, Clone, Default)]
pub struct Formatted {
    /// The `body`.
    pub body: String,
    /// The `formatted_body`, where something is formatted.
    pub html: Option<String>,
    /// Who is mentioned, if anybody.
    pub mentions: Option<Mentions>,
}

/// Writes a tree.
pub fn write(nodes: &[Node], ghosts: &Ghosts) -> Formatted {
    let body = styled(nodes).text;
    if !nodes.iter().any(|node| matches!(node, Node::Part(..))) {
        return Formatted { body, ..Formatted::default() };
    }
    let link = |who: &Who| {
        let id = mxid(who, ghosts)?;
        Some(format!("https://matrix.to/#/{}", utf8_percent_encode(&id, FRAGMENT)))
    };
    let html = rich::to_html(
        nodes,
        &Dialect { mention: &link, spoiler: Some("data-mx-spoiler"), schemes: SCHEMES, xhtml: false },
    );
    let mut mentions = Mentions::new();
    if let Some(rich) = Rich::new(nodes.to_vec()) {
        for who in rich.mentions() {
            mentions.room |= *who == Who::Room;
            mentions.user_ids.extend(mxid(who, ghosts).and_then(|id| OwnedUserId::try_from(id).ok()));
        }
    }
    let somebody = mentions.room || !mentions.user_ids.is_empty();
    Formatted { body, html: Some(html), mentions: somebody.then_some(mentions) }
}

fn mxid(who: &Who, ghosts: &Ghosts) -> Option<String> {
    match who {
        Who::Person(person) => Some(id::person(person)),
        Who::User(user) => ghosts.of(user),
        Who::Room => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{PersonId, UserId};

    fn ghosts() -> Ghosts {
        Ghosts { prefix: "xmpp_".into(), server: "example.org".into(), bot: "xmppbot".into() }
    }

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    fn mention(who: Who, name: &str) -> Node {
        Node::Part(Mark::Mention(who), vec![text(name)])
    }

    fn juliet() -> Who {
        Who::User(UserId::parse("juliet@capulet.lit").unwrap())
    }

    fn alice() -> Who {
        Who::Person(PersonId::new("alice", "hs").unwrap())
    }

    #[test]
    fn pills_are_mentions_of_people_and_of_our_users() {
        let read = |html: &str| {
            let content = json!({ "body": "x", "format": HTML, "formatted_body": html });
            read(&content, "x".into(), &ghosts())
        };
        for (url, who) in [
            ("https://matrix.to/#/@alice:hs", alice()),
            ("https://matrix.to/#/%40alice%3Ahs?via=hs", alice()),
            ("matrix:u/alice:hs?action=chat", alice()),
            ("https://matrix.to/#/@xmpp_juliet=40capulet.lit:example.org", juliet()),
        ] {
            let (body, rich) = read(&format!("hi <a href=\"{url}\">J</a>!"));
            assert_eq!(body, "hi J!");
            assert_eq!(rich.unwrap().nodes(), [text("hi "), mention(who, "J"), text("!")], "{url}");
        }
        for url in [
            "https://matrix.to/#/#room:hs",
            "https://matrix.to/#/!room:hs/$event",
            "https://matrix.to/#/@xmppbot:example.org",
            "https://matrix.to.example/#/@alice:hs",
            "https://matrix.to/#/@",
        ] {
            let (_, rich) = read(&format!("<a href=\"{url}\">x</a>"));
            assert_eq!(rich.unwrap().nodes(), [Node::Part(Mark::Link(url.into()), vec![text("x")])]);
        }
    }

    #[test]
    fn the_whole_room_is_meant_where_it_is_named() {
        let content = json!({ "body": "x", "m.mentions": { "room": true } });
        let (body, rich) = read(&content, "hey @room *you*".into(), &ghosts());
        assert_eq!(body, "hey @room *you*");
        assert_eq!(rich.unwrap().nodes(), [text("hey "), mention(Who::Room, "@room"), text(" *you*")]);
        // Said by the text alone it is only text.
        assert_eq!(read(&json!({}), "hey @room".into(), &ghosts()).1, None);
    }

    #[test]
    fn html_without_marks_is_what_the_sender_sees() {
        let content = json!({ "format": HTML, "formatted_body": "*not strong* &lt;b&gt;" });
        assert_eq!(read(&content, "\\*not strong\\* <b>".into(), &ghosts()), ("*not strong* <b>".into(), None));
        // Nothing in it, or another format: the body counts.
        for content in [
            json!({ "format": HTML, "formatted_body": "<img src='mxc://x/y'>" }),
            json!({ "format": "x", "formatted_body": "<b>x</b>" }),
            json!({ "format": HTML, "formatted_body": 5 }),
        ] {
            assert_eq!(read(&content, "plain".into(), &ghosts()), ("plain".into(), None), "{content}");
        }
    }

    #[test]
    fn an_address_that_clients_would_take_out_is_text() {
        let link = |url: &str| Node::Part(Mark::Link(url.to_owned()), vec![text("x")]);
        let written = write(&[link("https://y.example/"), link("xmpp:town@muc.example?join")], &ghosts());
        let html = "<a href=\"https://y.example/\">x</a>x (xmpp:town@muc.example?join)";
        assert_eq!(written.html.as_deref(), Some(html));
    }

    #[test]
    fn mentions_are_written_as_links_and_listed() {
        let odd = Who::Person(PersonId::new("a/b?", "hs").unwrap());
        let nodes = [mention(juliet(), "J"), mention(odd, "o"), mention(Who::Room, "@room")];
        let written = write(&nodes, &ghosts());
        assert_eq!(
            written.html.as_deref(),
            Some(
                "<a href=\"https://matrix.to/#/@xmpp_juliet=40capulet.lit:example.org\">J</a>\
                 <a href=\"https://matrix.to/#/@a%2Fb%3F:hs\">o</a>@room"
            )
        );
        let mentions = written.mentions.unwrap();
        assert!(mentions.room);
        let ids: Vec<&str> = mentions.user_ids.iter().map(|id| id.as_str()).collect();
        assert!(ids.contains(&"@xmpp_juliet=40capulet.lit:example.org"), "{ids:?}");
    }
}
