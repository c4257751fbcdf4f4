//! Pure: from events to Matrix events.

use ruma::OwnedEventId;
use ruma::events::Mentions;
use ruma::events::relation::{Replacement, Reply};
use ruma::events::room::message::{Relation, RoomMessageEventContent};
use serde_json::{Value, json};

use super::id::Ghosts;
use super::rich::{self, Formatted};
use crate::api::rich::{Node, Piece};
use crate::api::{Kind, Style, Target, Text};

/// How many bytes the text of one event may take as JSON, plain and formatted. An event may have 65,536 bytes in all (client-server API, size
/// limits), with what the homeserver adds: ids, hashes, signatures.
const MAX_BODY: usize = 48 << 10;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Wire {
    /// An event of type `m.room.message` with this content.
    Message(Value),
    /// An event of type `m.sticker` with this content.
    Sticker(Value),
    /// A redaction of this event.
    Redact(String),
}

/// The Matrix events of an event, in order. Empty where it says nothing on Matrix.
pub fn events(kind: &Kind, ghosts: &Ghosts) -> Vec<Wire> {
    match kind {
        Kind::Text(text) => {
            let mut parts: Vec<_> = formatted(text, MAX_BODY, ghosts).into_iter().map(content(text.style)).collect();
            if let (Some(first), Some(target)) = (parts.first_mut(), text.reply.as_ref().and_then(event_id)) {
                first.relates_to = Some(Relation::Reply(Reply::with_event_id(target)));
            }
            parts.iter().filter_map(wire).collect()
        }
        Kind::Edit { target, new } => {
            if event_id(target).is_none() {
                return Vec::new();
            }
            // What replaces something holds its text twice.
            let parts = formatted(new, MAX_BODY / 2, ghosts);
            let mut old = target.id.iter().chain(&target.parts);
            let mut wires = Vec::with_capacity(parts.len());
            for part in parts {
                let Some(id) = old.next().and_then(|id| OwnedEventId::try_from(id.as_str()).ok()) else {
                    wires.extend(wire(&content(new.style)(part)));
                    continue;
                };
                let mut old_clients = content(new.style)(Formatted {
                    body: format!("* {}", part.body),
                    html: part.html.as_ref().map(|html| format!("* {html}")),
                    // Who was mentioned before is not told again.
                    mentions: part.mentions.is_some().then(Mentions::new),
                });
                let replacement = Replacement::new(id, content(new.style)(part).into());
                old_clients.relates_to = Some(Relation::Replacement(replacement));
                wires.extend(wire(&old_clients));
            }
            // Parts that the new text does not need.
            wires.extend(old.map(|id| Wire::Redact(id.to_string())));
            wires
        }
        Kind::Retract { target: target @ Target { id: Some(_), .. } }
        | Kind::Moderate { target: target @ Target { id: Some(_), .. }, .. } => {
            target.id.iter().chain(&target.parts).map(|id| Wire::Redact(id.to_string())).collect()
        }
        Kind::Location { uri, text } => {
            let body = text.clone().unwrap_or_else(|| uri.clone());
            vec![Wire::Message(json!({ "msgtype": "m.location", "body": body, "geo_uri": uri }))]
        }
        _ => Vec::new(),
    }
}

/// A notice of the gateway itself.
pub fn notice(body: &str) -> Value {
    serde_json::to_value(RoomMessageEventContent::notice_plain(body)).unwrap_or_default()
}

fn wire(content: &RoomMessageEventContent) -> Option<Wire> {
    serde_json::to_value(content).ok().map(Wire::Message)
}

fn event_id(target: &Target) -> Option<OwnedEventId> {
    OwnedEventId::try_from(target.id.as_ref()?.as_str()).ok()
}

/// What makes the content of a text of this style.
fn content(style: Style) -> fn(Formatted) -> RoomMessageEventContent {
    fn with(content: RoomMessageEventContent, mentions: Option<Mentions>) -> RoomMessageEventContent {
        let mut content = content;
        content.mentions = mentions;
        content
    }
    type Content = RoomMessageEventContent;
    match style {
        Style::Normal => |Formatted { body, html, mentions }| match html {
            Some(html) => with(Content::text_html(body, html), mentions),
            None => with(Content::text_plain(body), mentions),
        },
        Style::Emote => |Formatted { body, html, mentions }| match html {
            Some(html) => with(Content::emote_html(body, html), mentions),
            None => with(Content::emote_plain(body), mentions),
        },
        Style::Notice => |Formatted { body, html, mentions }| match html {
            Some(html) => with(Content::notice_html(body, html), mentions),
            None => with(Content::notice_plain(body), mentions),
        },
    }
}

/// A text in one piece or, where it is long, several. What is formatted is cut between its outermost parts; one that is
/// too long by itself is plain text.
fn formatted(text: &Text, most: usize, ghosts: &Ghosts) -> Vec<Formatted> {
    let subject = text.subject.as_ref().map(|subject| format!("{subject}\n\n"));
    let plain = |text: &str| Formatted { body: text.to_owned(), ..Formatted::default() };
    let Some(rich) = &text.rich else {
        let body = subject.unwrap_or_default() + &text.body;
        return split(&body, most).into_iter().map(plain).collect();
    };
    let nodes: Vec<Node> = subject.map(Node::Text).into_iter().chain(rich.nodes().iter().cloned()).collect();
    let measure = |nodes: &[Node]| {
        let Formatted { body, html, .. } = rich::write(nodes, ghosts);
        json_length(&body) + html.map_or(0, |html| json_length(&html))
    };
    let mut parts = Vec::new();
    for piece in crate::api::rich::split(&nodes, most, &measure) {
        match piece {
            Piece::Nodes(nodes) => parts.push(rich::write(&nodes, ghosts)),
            Piece::Plain(text) => parts.extend(split(&text, most).into_iter().map(plain)),
        }
    }
    parts
}

/// Splits text into parts that take at most `most` bytes as JSON, at line ends where there are some, else between
/// characters.
fn split(text: &str, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(end) = too_long(rest, most) {
        let cut = rest[..end].rfind('\n').map_or(end, |line| line + 1);
        parts.push(&rest[..cut]);
        rest = &rest[cut..];
    }
    parts.push(rest);
    parts
}

/// Where text takes more than `most` bytes as JSON: how much of it fits.
fn too_long(text: &str, most: usize) -> Option<usize> {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += json(c);
        if taken > most {
            return Some(at);
        }
    }
    None
}

/// How many bytes text takes as JSON.
fn json_length(text: &str) -> usize {
    text.chars().map(json).sum()
}

/// How many bytes a character takes as JSON (RFC 8259, section 7).
fn json(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::rich::{Mark, Rich, Who};

    fn ghosts() -> Ghosts {
        Ghosts { prefix: "xmpp_".into(), server: "example.org".into(), bot: "xmppbot".into() }
    }

    fn rich(nodes: Vec<Node>) -> Text {
        let rich = Rich::new(nodes).unwrap();
        Text { body: rich.text(), rich: Some(rich), ..Text::default() }
    }

    fn strong(text: &str) -> Node {
        Node::Part(Mark::Strong, vec![Node::Text(text.into())])
    }

    #[test]
    fn formatted_text_that_is_long_is_cut_between_its_parts() {
        let nodes = vec![strong(&"a".repeat(20_000)), strong(&"b".repeat(20_000)), strong(&"c".repeat(80_000))];
        let parts = events(&Kind::Text(rich(nodes)), &ghosts());
        let shape: Vec<(usize, bool)> = parts
            .iter()
            .map(|part| match part {
                Wire::Message(content) => {
                    assert!(content.to_string().len() < 60_000);
                    (content["body"].as_str().unwrap().len(), content["formatted_body"].is_string())
                }
                Wire::Sticker(_) | Wire::Redact(_) => (0, false),
            })
            .collect();
        // Nothing is lost of what does not fit in one event, but its marks.
        assert_eq!(shape, [(20_002, true), (20_002, true), (MAX_BODY, false), (80_002 - MAX_BODY, false)]);
    }

    #[test]
    fn the_mapping() {
        let target = Target::by_id("$t");
        for (kind, expected) in [
            (Kind::Text(Text::plain("hi")), r#"{"body":"hi","msgtype":"m.text"}"#),
            (
                Kind::Text(Text { style: Style::Emote, ..Text::plain("waves") }),
                r#"{"body":"waves","msgtype":"m.emote"}"#,
            ),
            (
                Kind::Text(Text { subject: Some("S".into()), ..Text::plain("hi") }),
                r#"{"body":"S\n\nhi","msgtype":"m.text"}"#,
            ),
            (
                Kind::Text(Text { reply: Some(target.clone()), ..Text::plain("yes") }),
                r#"{"body":"yes","m.relates_to":{"m.in_reply_to":{"event_id":"$t"}},"msgtype":"m.text"}"#,
            ),
            (
                Kind::Edit { target: target.clone(), new: Text::plain("new") },
                r#"{"body":"* new","m.new_content":{"body":"new","msgtype":"m.text"},"m.relates_to":{"event_id":"$t","rel_type":"m.replace"},"msgtype":"m.text"}"#,
            ),
            (
                Kind::Text(rich(vec![strong("a"), Node::Text(" <b>".into())])),
                r#"{"body":"*a* <b>","format":"org.matrix.custom.html","formatted_body":"<strong>a</strong> &lt;b&gt;","msgtype":"m.text"}"#,
            ),
            (
                Kind::Text(Text { style: Style::Emote, subject: Some("S".into()), ..rich(vec![strong("a")]) }),
                r#"{"body":"S\n\n*a*","format":"org.matrix.custom.html","formatted_body":"S<br><br><strong>a</strong>","msgtype":"m.emote"}"#,
            ),
            (
                Kind::Edit {
                    target: target.clone(),
                    new: rich(vec![Node::Part(Mark::Mention(Who::Room), vec![Node::Text("@room".into())])]),
                },
                r#"{"body":"* @room","format":"org.matrix.custom.html","formatted_body":"* @room","m.mentions":{},"m.new_content":{"body":"@room","format":"org.matrix.custom.html","formatted_body":"@room","m.mentions":{"room":true},"msgtype":"m.text"},"m.relates_to":{"event_id":"$t","rel_type":"m.replace"},"msgtype":"m.text"}"#,
            ),
        ] {
            let events = events(&kind, &ghosts());
            let [Wire::Message(content)] = events.as_slice() else { panic!("{events:?}") };
            assert_eq!(content.to_string(), expected);
        }
        assert_eq!(events(&Kind::Retract { target: target.clone() }, &ghosts()), [Wire::Redact("$t".into())]);
        let parts = ["$u", "$v"].map(crate::api::ItemId::new).to_vec();
        let target = Target { parts, ..target };
        let redacted = |ids: &[&str]| ids.iter().map(|id| Wire::Redact((*id).to_owned())).collect::<Vec<_>>();
        assert_eq!(events(&Kind::Retract { target: target.clone() }, &ghosts()), redacted(&["$t", "$u", "$v"]));
        let edit = events(&Kind::Edit { target, new: Text::plain("short") }, &ghosts());
        assert_eq!(edit[1..], redacted(&["$u", "$v"]));
    }

    #[test]
    fn long_text_is_split_and_never_cut() {
        let body = format!("{}\n{}", "a".repeat(MAX_BODY - 10), "\u{1f600}".repeat(MAX_BODY / 4));
        let parts = events(&Kind::Text(Text::plain(body.clone())), &ghosts());
        assert_eq!(parts.len(), 2);
        let joined: String = parts
            .iter()
            .map(|part| match part {
                Wire::Message(content) => content["body"].as_str().unwrap(),
                Wire::Sticker(_) | Wire::Redact(_) => "",
            })
            .collect();
        assert_eq!(joined, body);
        assert!(parts.iter().all(|part| matches!(part, Wire::Message(content) if content.to_string().len() < 60_000)));
    }
}
