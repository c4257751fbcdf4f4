//! Pure: from Matrix events to events. Only what is read is parsed; one bad event fails alone.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::file;
use super::id::Ghosts;
use super::rich;
use crate::api::{File, ItemId, Kind, Style, Target, Text};

/// A transaction of the homeserver. Its items stay unread here: one that is nested too deep, or holds half a surrogate
/// pair or a number that is too large, would otherwise fail all of them, and the homeserver would push the same
/// transaction for ever.
#[derive(Deserialize)]
pub struct Transaction {
    /// Events of rooms.
    #[serde(default)]
    pub events: Vec<Box<RawValue>>,
    /// What is not stored (typing).
    #[serde(default)]
    pub ephemeral: Vec<Box<RawValue>>,
    /// The same under its unstable name, from older homeservers.
    #[serde(default, rename = "de.sorunome.msc2409.ephemeral")]
    pub ephemeral_unstable: Vec<Box<RawValue>>,
}

impl Transaction {
    /// What is not stored, whichever name it came under: once.
    pub fn signals(&self) -> Vec<Value> {
        let items = if self.ephemeral.is_empty() { &self.ephemeral_unstable } else { &self.ephemeral };
        items.iter().filter_map(|item| serde_json::from_str(item.get()).ok()).collect()
    }
}

/// The id of an event that is otherwise left unread; empty where it has none. The rest of an event will not do to know it
/// by: its `age` differs each time.
pub fn event_id(raw: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Id {
        event_id: String,
    }
    serde_json::from_str::<Id>(raw.get()).map(|id| id.event_id).unwrap_or_default()
}

/// The part of an event that is read.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// Its id.
    pub event_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Its room.
    pub room_id: String,
    /// Its sender.
    pub sender: String,
    /// When it was sent, by the sender's homeserver.
    #[serde(default)]
    pub origin_server_ts: i64,
    /// For state: what it is the state of.
    #[serde(default)]
    pub state_key: Option<String>,
    /// What it says.
    #[serde(default)]
    pub content: Value,
    /// For a redaction, in rooms before version 11.
    #[serde(default)]
    pub redacts: Option<String>,
    /// What the homeserver adds.
    #[serde(default)]
    pub unsigned: Value,
}

/// What a message says. `None` where it says nothing.
pub fn message(event: &Event, ghosts: &Ghosts) -> Option<Kind> {
    match event.type_.as_str() {
        "m.room.message" => room_message(&event.content, ghosts),
        "m.sticker" => {
            let (reply, thread) = relations(&event.content["m.relates_to"]);
            Some(Kind::File(Box::new(File { reply, thread, ..file(&event.content, true, ghosts) })))
        }
        "m.room.redaction" => {
            let target = event.redacts.as_deref().or_else(|| event.content["redacts"].as_str())?;
            Some(Kind::Retract { target: Target::by_id(target) })
        }
        "m.room.topic" if event.state_key.is_some() => {
            Some(Kind::Topic(event.content["topic"].as_str().map(clean).unwrap_or_default()))
        }
        "m.room.name" if event.state_key.is_some() => {
            Some(Kind::Name(event.content["name"].as_str().map(clean).unwrap_or_default()))
        }
        "m.room.tombstone" if event.state_key.is_some() => Some(Kind::RoomGone {
            next: event.content["replacement_room"].as_str().and_then(super::id::read_room),
            reason: event.content["body"].as_str().map(clean),
        }),
        _ => None,
    }
}

fn room_message(content: &Value, ghosts: &Ghosts) -> Option<Kind> {
    let relation = &content["m.relates_to"];
    if relation["rel_type"] == "m.replace" {
        let target = Target::by_id(relation["event_id"].as_str()?);
        let new = &content["m.new_content"];
        if new["msgtype"].as_str().is_some_and(is_file) {
            let file = file(new, false, ghosts);
            let new = file.caption.unwrap_or_else(|| Text::plain(file.name));
            return Some(Kind::Edit { target: Target { caption: true, ..target }, new });
        }
        // A quote is no part of the text, wherever an older client has put it.
        return Some(Kind::Edit { target, new: text(new, true, ghosts)? });
    }
    let (reply, thread) = relations(relation);
    match content["msgtype"].as_str()? {
        kind if is_file(kind) => Some(Kind::File(Box::new(File { reply, thread, ..file(content, false, ghosts) }))),
        "m.location" => Some(Kind::Location {
            uri: content["geo_uri"].as_str()?.to_owned(),
            text: content["body"].as_str().map(clean).filter(|text| !text.is_empty()),
        }),
        _ => {
            let text = text(content, answers(relation), ghosts)?;
            Some(Kind::Text(Text { reply, thread, ..text }))
        }
    }
}

/// What a message answers, and the thread it is in.
fn relations(relation: &Value) -> (Option<Target>, Option<ItemId>) {
    let answers = relation["m.in_reply_to"]["event_id"].as_str();
    let root = relation["event_id"].as_str().filter(|root| root.len() <= super::id::MAX);
    let thread = root.filter(|_| relation["rel_type"] == "m.thread").map(ItemId::new);
    // In a thread the answer may be there only for clients that show no threads.
    let only_shown = thread.is_some() && relation["is_falling_back"] == true;
    (answers.filter(|_| !only_shown).map(Target::by_id), thread)
}

/// Whether there may be a quote in front of a message.
fn answers(relation: &Value) -> bool {
    relation["m.in_reply_to"]["event_id"].is_string()
}

/// Whether a message of this type is a file.
fn is_file(msgtype: &str) -> bool {
    matches!(msgtype, "m.image" | "m.file" | "m.audio" | "m.video")
}

fn text(content: &Value, reply: bool, ghosts: &Ghosts) -> Option<Text> {
    let body = clean(content["body"].as_str()?);
    let body = if reply { without_fallback(&body) } else { body };
    let style = match content["msgtype"].as_str() {
        Some("m.emote") => Style::Emote,
        Some("m.notice") => Style::Notice,
        _ => Style::Normal,
    };
    let (body, rich) = rich::read(content, body, ghosts);
    Some(Text { body, rich, style, ..Text::default() })
}

/// The body without the quote that older clients put in front of an answer.
fn without_fallback(body: &str) -> String {
    if !body.starts_with("> <") && !body.starts_with("> * <") {
        return body.to_owned();
    }
    let lines: Vec<&str> = body.lines().collect();
    let quoted = lines.iter().take_while(|line| line.starts_with("> ") || **line == ">").count();
    match lines.get(quoted) {
        Some(&"") if quoted + 1 < lines.len() => lines[quoted + 1..].join("\n"),
        _ => body.to_owned(),
    }
}

/// A file, without what it speaks of.
fn file(content: &Value, sticker: bool, ghosts: &Ghosts) -> File {
    let caption =
        file::has_caption(content).then(|| text(content, answers(&content["m.relates_to"]), ghosts)).flatten();
    File { caption, ..file::read(content, sticker) }
}

/// The longest name in characters that is passed on.
const LONGEST_NAME: usize = 255;

/// A name as one line of text. `None` where nothing is left of it.
pub fn name(text: &str) -> Option<String> {
    let line: String = text.chars().take(8 * LONGEST_NAME).map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let name: String = clean(&line).trim().chars().take(LONGEST_NAME).collect();
    (!name.is_empty()).then_some(name)
}

/// Text without control characters other than tab and line feed; line ends are `\n`.
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
    use serde_json::json;

    use super::*;
    use crate::api::{FileForm, Source};

    fn ghosts() -> Ghosts {
        Ghosts { prefix: "xmpp_".into(), server: "example.org".into(), bot: "xmppbot".into() }
    }

    fn parse(type_: &str, content: &Value) -> Option<Kind> {
        let event = json!({ "event_id": "$e", "type": type_, "room_id": "!r", "sender": "@a:b", "content": content });
        message(&serde_json::from_value(event).unwrap(), &ghosts())
    }

    #[test]
    fn the_mapping() {
        let target = || Target::by_id("$t");
        for (content, expected) in [
            (json!({ "msgtype": "m.text", "body": "hi" }), Kind::Text(Text::plain("hi"))),
            (
                json!({ "msgtype": "m.emote", "body": "waves" }),
                Kind::Text(Text { style: Style::Emote, ..Text::plain("waves") }),
            ),
            (json!({ "msgtype": "org.example.new", "body": "hi" }), Kind::Text(Text::plain("hi"))),
            (
                json!({ "msgtype": "m.text", "body": "> <@x:y> old\n> lines\n\nnew", "m.relates_to": { "m.in_reply_to": { "event_id": "$t" } } }),
                Kind::Text(Text { reply: Some(target()), ..Text::plain("new") }),
            ),
            (
                json!({ "msgtype": "m.text", "body": "* b", "m.new_content": { "msgtype": "m.text", "body": "b" }, "m.relates_to": { "rel_type": "m.replace", "event_id": "$t" } }),
                Kind::Edit { target: target(), new: Text::plain("b") },
            ),
            (
                json!({ "msgtype": "m.image", "body": "look", "filename": "a.png", "info": { "mimetype": "image/png", "size": 5 }, "url": "mxc://x/y" }),
                Kind::File(Box::new(File {
                    name: "a.png".into(),
                    form: FileForm::Image,
                    source: Some(Source::new("mxc://x/y")),
                    media_type: Some("image/png".into()),
                    size: Some(5),
                    caption: Some(Text::plain("look")),
                    ..File::default()
                })),
            ),
            (
                json!({ "msgtype": "m.location", "body": "here", "geo_uri": "geo:1,2" }),
                Kind::Location { uri: "geo:1,2".into(), text: Some("here".into()) },
            ),
        ] {
            assert_eq!(parse("m.room.message", &content), Some(expected), "{content}");
        }
        assert_eq!(parse("m.room.redaction", &json!({ "redacts": "$t" })), Some(Kind::Retract { target: target() }));
    }

    #[test]
    fn the_quote_of_older_clients_is_taken_off_once_and_nothing_else_is() {
        for (body, expected) in [
            ("> <@a:b> old\n\nnew", "new"),
            ("> <@a:b> old\n> more\n\n> my own quote\nnew", "> my own quote\nnew"),
            ("> * <@a:b> waves\n\nnew", "new"),
            // What somebody has typed themselves.
            ("> quoted\n\nnew", "> quoted\n\nnew"),
            ("> <@a:b> old\nnew", "> <@a:b> old\nnew"),
            ("> <@a:b> old", "> <@a:b> old"),
            ("> <@a:b> old\n", "> <@a:b> old\n"),
            ("new", "new"),
            ("", ""),
        ] {
            assert_eq!(without_fallback(body), expected);
        }
    }

    #[test]
    fn relations() {
        let parse = |content: Value| parse("m.room.message", &content).unwrap();
        let relates = |relation: Value| json!({ "msgtype": "m.text", "body": "b", "m.relates_to": relation });
        let thread = |falls_back: bool| {
            relates(
                json!({ "rel_type": "m.thread", "event_id": "$r", "is_falling_back": falls_back, "m.in_reply_to": { "event_id": "$t" } }),
            )
        };
        let (id, target) = (Some(ItemId::new("$r")), Some(Target::by_id("$t")));
        assert_eq!(parse(thread(true)), Kind::Text(Text { thread: id.clone(), ..Text::plain("b") }));
        assert_eq!(
            parse(thread(false)),
            Kind::Text(Text { thread: id.clone(), reply: target.clone(), ..Text::plain("b") })
        );
        let mut file = thread(false);
        file["msgtype"] = json!("m.image");
        let Kind::File(file) = parse(file) else { panic!() };
        assert_eq!((file.thread, file.reply), (id.clone(), target.clone()));
        let Some(Kind::File(sticker)) = self::parse("m.sticker", &thread(false)) else { panic!() };
        assert_eq!((sticker.form, sticker.thread, sticker.reply), (FileForm::Sticker, id, target));
        // Of a file its words change, not the file.
        let new = json!({ "msgtype": "m.image", "body": "words", "filename": "a.png", "url": "mxc://x/y" });
        let mut edit = relates(json!({ "rel_type": "m.replace", "event_id": "$t" }));
        edit["m.new_content"] = new;
        let expected = Target { caption: true, ..Target::by_id("$t") };
        assert_eq!(parse(edit), Kind::Edit { target: expected, new: Text::plain("words") });
    }

    #[test]
    fn rubbish_says_nothing() {
        for content in [json!({}), json!({ "msgtype": 5 }), json!({ "msgtype": "m.text" }), json!([1]), json!(null)] {
            assert_eq!(parse("m.room.message", &content), None, "{content}");
        }
        assert_eq!(parse("org.example.dance", &json!({ "body": "x" })), None);
    }

    #[test]
    fn either_name_of_ephemeral_is_read_once() {
        let both = r#"{"events":[],"ephemeral":[1],"de.sorunome.msc2409.ephemeral":[1]}"#;
        assert_eq!(serde_json::from_str::<Transaction>(both).unwrap().signals().len(), 1);
        let old = r#"{"events":[],"de.sorunome.msc2409.ephemeral":[1,2]}"#;
        assert_eq!(serde_json::from_str::<Transaction>(old).unwrap().signals().len(), 2);
    }
}
