//! Pure: from events to Matrix events.

use ruma::OwnedEventId;
use ruma::events::relation::{Replacement, Reply};
use ruma::events::room::message::{Relation, RoomMessageEventContent};
use serde_json::Value;

use crate::api::{Kind, Style, Target, Text};

/// How many bytes the body of one event may take as JSON. An event may have 65,536 bytes in all (client-server API, size
/// limits), with what the homeserver adds: ids, hashes, signatures.
const MAX_BODY: usize = 48 << 10;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Wire {
    /// An event of type `m.room.message` with this content.
    Message(Value),
    /// A redaction of this event.
    Redact(String),
}

/// The Matrix events of an event, in order. Empty where it says nothing on Matrix.
pub fn events(kind: &Kind) -> Vec<Wire> {
    match kind {
        Kind::Text(text) => contents(text, MAX_BODY).iter().filter_map(wire).collect(),
        Kind::Edit { target, new } => {
            if event_id(target).is_none() {
                return Vec::new();
            }
            // What replaces something holds its text twice.
            let mut parts = contents(new, MAX_BODY / 2);
            let mut old = target.id.iter().chain(&target.parts);
            for (part, id) in parts.iter_mut().zip(&mut old) {
                let Ok(id) = OwnedEventId::try_from(id.as_str()) else { continue };
                let old_clients = content(new.style)(&format!("* {}", part.body()));
                let new = std::mem::replace(part, old_clients);
                part.relates_to = Some(Relation::Replacement(Replacement::new(id, new.into())));
            }
            // Parts that the new text does not need.
            let left = old.map(|id| Wire::Redact(id.to_string()));
            parts.iter().filter_map(wire).chain(left).collect()
        }
        Kind::Retract { target: target @ Target { id: Some(_), .. } }
        | Kind::Moderate { target: target @ Target { id: Some(_), .. }, .. } => {
            target.id.iter().chain(&target.parts).map(|id| Wire::Redact(id.to_string())).collect()
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
fn content(style: Style) -> fn(&str) -> RoomMessageEventContent {
    match style {
        Style::Normal => |body| RoomMessageEventContent::text_plain(body),
        Style::Emote => |body| RoomMessageEventContent::emote_plain(body),
        Style::Notice => |body| RoomMessageEventContent::notice_plain(body),
    }
}

/// A text as one event or, where it is long, several.
fn contents(text: &Text, most: usize) -> Vec<RoomMessageEventContent> {
    let body = match &text.subject {
        Some(subject) => format!("{subject}\n\n{}", text.body),
        None => text.body.clone(),
    };
    let mut parts: Vec<_> = split(&body, most).into_iter().map(content(text.style)).collect();
    if let (Some(first), Some(target)) = (parts.first_mut(), text.reply.as_ref().and_then(event_id)) {
        first.relates_to = Some(Relation::Reply(Reply::with_event_id(target)));
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

/// Where text takes more than `most` bytes as JSON (RFC 8259, section 7): how much of it fits.
fn too_long(text: &str, most: usize) -> Option<usize> {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            c if c.is_control() => 6,
            c => c.len_utf8(),
        };
        if taken > most {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let events = events(&kind);
            let [Wire::Message(content)] = events.as_slice() else { panic!("{events:?}") };
            assert_eq!(content.to_string(), expected);
        }
        assert_eq!(events(&Kind::Retract { target: target.clone() }), [Wire::Redact("$t".into())]);
        let parts = ["$u", "$v"].map(crate::api::ItemId::new).to_vec();
        let target = Target { parts, ..target };
        let redacted = |ids: &[&str]| ids.iter().map(|id| Wire::Redact((*id).to_owned())).collect::<Vec<_>>();
        assert_eq!(events(&Kind::Retract { target: target.clone() }), redacted(&["$t", "$u", "$v"]));
        let edit = events(&Kind::Edit { target, new: Text::plain("short") });
        assert_eq!(edit[1..], redacted(&["$u", "$v"]));
    }

    #[test]
    fn long_text_is_split_and_never_cut() {
        let body = format!("{}\n{}", "a".repeat(MAX_BODY - 10), "\u{1f600}".repeat(MAX_BODY / 4));
        let parts = events(&Kind::Text(Text::plain(body.clone())));
        assert_eq!(parts.len(), 2);
        let joined: String = parts
            .iter()
            .map(|part| match part {
                Wire::Message(content) => content["body"].as_str().unwrap(),
                Wire::Redact(_) => "",
            })
            .collect();
        assert_eq!(joined, body);
        assert!(parts.iter().all(|part| matches!(part, Wire::Message(content) if content.to_string().len() < 60_000)));
    }
}
