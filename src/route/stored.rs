//! The shape of an event in the store. Types of their own, so that the neutral model may change while old rows stay
//! readable: a field may be added with a default, none may change its meaning.

use portway_bridges::api::{
    Chat, Condition, EventId, Failed, File, ItemId, Kind, Membership, PersonId, RoomId, Sentence, Style, Target, Text,
    Timestamp, UserId,
};
use serde::{Deserialize, Serialize};

use super::item::{Item, Meta, Speaker};

/// A row that this program cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored event cannot be read: {0}")]
pub struct Unreadable(String);

/// Writes an event for the store.
#[must_use]
pub fn write(item: &Item) -> Vec<u8> {
    serde_json::to_vec(&StoredItem::from(item)).expect("maps with text keys only, no I/O")
}

/// Reads an event from the store.
///
/// # Errors
/// [`Unreadable`] where the row was not written by [`write()`] of this or an older version.
pub fn read(bytes: &[u8]) -> Result<Item, Unreadable> {
    let stored: StoredItem = serde_json::from_slice(bytes).map_err(|error| Unreadable(error.to_string()))?;
    stored.into_item().ok_or_else(|| Unreadable("an id in it is empty".to_owned()))
}

#[derive(Serialize, Deserialize)]
struct StoredItem {
    chat: StoredChat,
    who: StoredSpeaker,
    at: i64,
    kind: StoredKind,
    #[serde(default)]
    meta: StoredMeta,
}

#[derive(Serialize, Deserialize)]
enum StoredChat {
    #[serde(rename = "d")]
    Direct(String, String, String, String),
    #[serde(rename = "a")]
    Alias(String, String),
    #[serde(rename = "r")]
    Room(String, Option<String>),
}

#[derive(Serialize, Deserialize)]
enum StoredSpeaker {
    #[serde(rename = "u")]
    User(String, String, Option<String>),
    #[serde(rename = "p")]
    Person(String, String, Option<String>),
    #[serde(rename = "g")]
    Gateway,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredKind {
    Text(StoredText),
    Edit(StoredTarget, StoredText),
    Reaction(StoredTarget, Vec<String>),
    Retract(StoredTarget),
    Moderate(StoredTarget, Option<String>),
    File {
        name: String,
        media_type: Option<String>,
        size: Option<u64>,
        url: Option<String>,
        caption: Option<StoredText>,
    },
    Location(String, Option<String>),
    Delivered(StoredTarget),
    Displayed(StoredTarget),
    Typing(bool),
    Presence(bool, Option<String>),
    Join(Option<String>),
    Leave(Option<String>),
    Invite {
        room: StoredChat,
        user: (String, String),
        reason: Option<String>,
        name: Option<String>,
    },
    Kick {
        person: Option<(String, String)>,
        user: Option<(String, String)>,
        reason: Option<String>,
        ban: bool,
    },
    Role(String, String, i64),
    Topic(String),
    Name(String),
    Avatar(Option<String>),
    Profile(Option<String>),
    RoomGone(Option<StoredChat>, Option<String>),
    Encrypted(String),
    Failed {
        event: i64,
        condition: String,
        key: String,
        args: Vec<(String, String)>,
        still_trying: bool,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredText {
    body: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    style: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lang: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<StoredTarget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredTarget(Option<String>, Option<i64>);

#[derive(Default, Serialize, Deserialize)]
struct StoredMeta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remote_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    face: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    receipt: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lang: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

impl From<&Item> for StoredItem {
    fn from(item: &Item) -> Self {
        let meta = &item.meta;
        Self {
            chat: chat_out(&item.chat),
            who: match &item.speaker {
                Speaker::User { id, name } => StoredSpeaker::User(id.local().into(), id.host().into(), name.clone()),
                Speaker::Person { id, name } => {
                    StoredSpeaker::Person(id.local().into(), id.server().into(), name.clone())
                }
                Speaker::Gateway => StoredSpeaker::Gateway,
            },
            at: item.at.0,
            kind: kind_out(&item.kind),
            meta: StoredMeta {
                id: meta.id.clone(),
                origin_id: meta.origin_id.clone(),
                remote_id: meta.remote_id.clone(),
                from: meta.from.clone(),
                to: meta.to.clone(),
                face: meta.face.clone(),
                room: meta.room.clone(),
                receipt: meta.receipt,
                lang: meta.lang.clone(),
            },
        }
    }
}

impl StoredItem {
    fn into_item(self) -> Option<Item> {
        let meta = self.meta;
        Some(Item {
            chat: chat_in(&self.chat)?,
            speaker: match self.who {
                StoredSpeaker::User(local, host, name) => Speaker::User { id: UserId::new(&local, &host).ok()?, name },
                StoredSpeaker::Person(local, server, name) => {
                    Speaker::Person { id: PersonId::new(&local, &server).ok()?, name }
                }
                StoredSpeaker::Gateway => Speaker::Gateway,
            },
            at: Timestamp(self.at),
            kind: kind_in(self.kind)?,
            meta: Meta {
                id: meta.id,
                origin_id: meta.origin_id,
                remote_id: meta.remote_id,
                from: meta.from,
                to: meta.to,
                face: meta.face,
                room: meta.room,
                receipt: meta.receipt,
                lang: meta.lang,
            },
        })
    }
}

fn chat_out(chat: &Chat) -> StoredChat {
    match chat {
        Chat::Direct { user, person } => {
            StoredChat::Direct(user.local().into(), user.host().into(), person.local().into(), person.server().into())
        }
        Chat::Room(room) => room_out(room),
    }
}

fn room_out(room: &RoomId) -> StoredChat {
    match room {
        RoomId::Alias { local, server } => StoredChat::Alias(local.to_string(), server.to_string()),
        RoomId::Id { opaque, server } => StoredChat::Room(opaque.to_string(), server.as_deref().map(str::to_owned)),
    }
}

fn chat_in(chat: &StoredChat) -> Option<Chat> {
    Some(match chat {
        StoredChat::Direct(user, host, local, server) => {
            Chat::Direct { user: UserId::new(user, host).ok()?, person: PersonId::new(local, server).ok()? }
        }
        room => Chat::Room(room_in(room)?),
    })
}

fn room_in(room: &StoredChat) -> Option<RoomId> {
    match room {
        StoredChat::Alias(local, server) => RoomId::alias(local, server).ok(),
        StoredChat::Room(opaque, server) => RoomId::id(opaque, server.as_deref()).ok(),
        StoredChat::Direct(..) => None,
    }
}

fn text_out(text: &Text) -> StoredText {
    StoredText {
        body: text.body.clone(),
        style: match text.style {
            Style::Normal => 0,
            Style::Emote => 1,
            Style::Notice => 2,
        },
        lang: text.lang.clone(),
        subject: text.subject.clone(),
        reply: text.reply.as_ref().map(target_out),
        thread: text.thread.as_ref().map(ToString::to_string),
    }
}

fn text_in(text: StoredText) -> Text {
    Text {
        body: text.body,
        style: match text.style {
            1 => Style::Emote,
            2 => Style::Notice,
            _ => Style::Normal,
        },
        lang: text.lang,
        subject: text.subject,
        reply: text.reply.map(target_in),
        thread: text.thread.as_deref().map(ItemId::new),
    }
}

fn target_out(target: &Target) -> StoredTarget {
    StoredTarget(target.id.as_ref().map(ToString::to_string), target.event.map(|event| event.0))
}

fn target_in(StoredTarget(id, event): StoredTarget) -> Target {
    Target { id: id.as_deref().map(ItemId::new), event: event.map(EventId) }
}

fn user_out(user: &UserId) -> (String, String) {
    (user.local().into(), user.host().into())
}

fn person_out(person: &PersonId) -> (String, String) {
    (person.local().into(), person.server().into())
}

fn kind_out(kind: &Kind) -> StoredKind {
    match kind {
        Kind::Text(text) => StoredKind::Text(text_out(text)),
        Kind::Edit { target, new } => StoredKind::Edit(target_out(target), text_out(new)),
        Kind::Reaction { target, keys } => StoredKind::Reaction(target_out(target), keys.clone()),
        Kind::Retract { target } => StoredKind::Retract(target_out(target)),
        Kind::Moderate { target, reason } => StoredKind::Moderate(target_out(target), reason.clone()),
        Kind::File(file) => StoredKind::File {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.size,
            url: file.url.clone(),
            caption: file.caption.as_ref().map(text_out),
        },
        Kind::Location { uri, text } => StoredKind::Location(uri.clone(), text.clone()),
        Kind::Delivered { target } => StoredKind::Delivered(target_out(target)),
        Kind::Displayed { target } => StoredKind::Displayed(target_out(target)),
        Kind::Typing { active } => StoredKind::Typing(*active),
        Kind::Presence { available, status } => StoredKind::Presence(*available, status.clone()),
        Kind::Membership(Membership::Join { name }) => StoredKind::Join(name.clone()),
        Kind::Membership(Membership::Leave { reason }) => StoredKind::Leave(reason.clone()),
        Kind::Membership(Membership::Invite { room, user, reason, name }) => StoredKind::Invite {
            room: room_out(room),
            user: user_out(user),
            reason: reason.clone(),
            name: name.clone(),
        },
        Kind::Membership(Membership::Kick { person, user, reason, ban }) => StoredKind::Kick {
            person: person.as_ref().map(person_out),
            user: user.as_ref().map(user_out),
            reason: reason.clone(),
            ban: *ban,
        },
        Kind::Role { person, level } => StoredKind::Role(person.local().into(), person.server().into(), *level),
        Kind::Topic(topic) => StoredKind::Topic(topic.clone()),
        Kind::Name(name) => StoredKind::Name(name.clone()),
        Kind::Avatar(id) => StoredKind::Avatar(id.as_ref().map(ToString::to_string)),
        Kind::Profile { name } => StoredKind::Profile(name.clone()),
        Kind::RoomGone { next, reason } => StoredKind::RoomGone(next.as_ref().map(room_out), reason.clone()),
        Kind::Encrypted { scheme } => StoredKind::Encrypted(scheme.clone()),
        Kind::Failed(failed) => StoredKind::Failed {
            event: failed.event.0,
            condition: failed.condition.name().to_owned(),
            key: failed.sentence.key.clone(),
            args: failed.sentence.args.clone(),
            still_trying: failed.still_trying,
        },
    }
}

fn kind_in(kind: StoredKind) -> Option<Kind> {
    let user = |(local, host): (String, String)| UserId::new(&local, &host).ok();
    let person = |(local, server): (String, String)| PersonId::new(&local, &server).ok();
    Some(match kind {
        StoredKind::Text(text) => Kind::Text(text_in(text)),
        StoredKind::Edit(target, new) => Kind::Edit { target: target_in(target), new: text_in(new) },
        StoredKind::Reaction(target, keys) => Kind::Reaction { target: target_in(target), keys },
        StoredKind::Retract(target) => Kind::Retract { target: target_in(target) },
        StoredKind::Moderate(target, reason) => Kind::Moderate { target: target_in(target), reason },
        StoredKind::File { name, media_type, size, url, caption } => {
            Kind::File(File { name, media_type, size, url, caption: caption.map(text_in) })
        }
        StoredKind::Location(uri, text) => Kind::Location { uri, text },
        StoredKind::Delivered(target) => Kind::Delivered { target: target_in(target) },
        StoredKind::Displayed(target) => Kind::Displayed { target: target_in(target) },
        StoredKind::Typing(active) => Kind::Typing { active },
        StoredKind::Presence(available, status) => Kind::Presence { available, status },
        StoredKind::Join(name) => Kind::Membership(Membership::Join { name }),
        StoredKind::Leave(reason) => Kind::Membership(Membership::Leave { reason }),
        StoredKind::Invite { room, user: who, reason, name } => {
            Kind::Membership(Membership::Invite { room: room_in(&room)?, user: user(who)?, reason, name })
        }
        StoredKind::Kick { person: whom, user: who, reason, ban } => {
            Kind::Membership(Membership::Kick { person: whom.and_then(person), user: who.and_then(user), reason, ban })
        }
        StoredKind::Role(local, server, level) => Kind::Role { person: person((local, server))?, level },
        StoredKind::Topic(topic) => Kind::Topic(topic),
        StoredKind::Name(name) => Kind::Name(name),
        StoredKind::Avatar(id) => Kind::Avatar(id.as_deref().map(ItemId::new)),
        StoredKind::Profile(name) => Kind::Profile { name },
        StoredKind::RoomGone(next, reason) => Kind::RoomGone { next: next.as_ref().and_then(room_in), reason },
        StoredKind::Encrypted(scheme) => Kind::Encrypted { scheme },
        StoredKind::Failed { event, condition, key, args, still_trying } => Kind::Failed(Failed {
            event: EventId(event),
            condition: Condition::from_name(&condition).unwrap_or(Condition::InternalServerError),
            sentence: Sentence { key, args },
            still_trying,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: Kind) -> Item {
        Item {
            chat: Chat::Direct {
                user: UserId::parse("juliet@capulet.lit").unwrap(),
                person: PersonId::new("alice", "hs:8448").unwrap(),
            },
            speaker: Speaker::Person { id: PersonId::new("alice", "hs:8448").unwrap(), name: Some("Alice".into()) },
            at: Timestamp(1_700_000_000_000),
            kind,
            meta: Meta {
                id: Some("1".into()),
                origin_id: Some("o".into()),
                remote_id: Some("$e".into()),
                from: Some("juliet@capulet.lit/balcony".into()),
                to: Some("juliet@capulet.lit/x".into()),
                face: Some("f".into()),
                room: Some("r".into()),
                receipt: true,
                lang: Some("de".into()),
            },
        }
    }

    /// One of each kind, with every field set.
    fn kinds() -> Vec<Kind> {
        let user = UserId::parse("juliet@capulet.lit").unwrap();
        let person = PersonId::new("bob", "x").unwrap();
        let room = RoomId::id("abc", None).unwrap();
        let alias = RoomId::alias("town", "hs").unwrap();
        let target = Target { id: Some(ItemId::new("$x")), event: Some(EventId(7)) };
        let text = Text {
            body: "a\nb \u{1f600}".into(),
            style: Style::Emote,
            lang: Some("en".into()),
            subject: Some("s".into()),
            reply: Some(target.clone()),
            thread: Some(ItemId::new("t")),
        };
        vec![
            Kind::Text(text.clone()),
            Kind::Edit { target: target.clone(), new: text.clone() },
            Kind::Reaction { target: target.clone(), keys: vec!["+1".into()] },
            Kind::Retract { target: target.clone() },
            Kind::Moderate { target: target.clone(), reason: Some("spam".into()) },
            Kind::File(File {
                name: "n".into(),
                media_type: Some("image/png".into()),
                size: Some(5),
                url: Some("https://x".into()),
                caption: Some(text),
            }),
            Kind::Location { uri: "geo:1,2".into(), text: Some("here".into()) },
            Kind::Delivered { target: target.clone() },
            Kind::Displayed { target },
            Kind::Typing { active: true },
            Kind::Presence { available: true, status: Some("s".into()) },
            Kind::Membership(Membership::Join { name: Some("n".into()) }),
            Kind::Membership(Membership::Leave { reason: Some("r".into()) }),
            Kind::Membership(Membership::Invite {
                room: alias,
                user: user.clone(),
                reason: Some("r".into()),
                name: Some("n".into()),
            }),
            Kind::Membership(Membership::Kick {
                person: Some(person.clone()),
                user: Some(user),
                reason: Some("r".into()),
                ban: true,
            }),
            Kind::Role { person, level: 50 },
            Kind::Topic("t".into()),
            Kind::Name("n".into()),
            Kind::Avatar(Some(ItemId::new("mxc"))),
            Kind::Profile { name: Some("n".into()) },
            Kind::RoomGone { next: Some(room), reason: Some("r".into()) },
            Kind::Encrypted { scheme: "OMEMO".into() },
            Kind::Failed(Failed {
                event: EventId(3),
                condition: Condition::Forbidden,
                sentence: Sentence::new("core.x").with("a", "b"),
                still_trying: true,
            }),
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for kind in kinds() {
            let item = item(kind);
            assert_eq!(read(&write(&item)).unwrap(), item);
        }
    }

    #[test]
    fn the_shape_on_disk_stays() {
        let written = String::from_utf8(write(&item(Kind::Text(Text::plain("hello"))))).unwrap();
        assert_eq!(
            written,
            r#"{"chat":{"d":["juliet","capulet.lit","alice","hs:8448"]},"who":{"p":["alice","hs:8448","Alice"]},"at":1700000000000,"kind":{"text":{"body":"hello"}},"meta":{"id":"1","origin_id":"o","remote_id":"$e","from":"juliet@capulet.lit/balcony","to":"juliet@capulet.lit/x","face":"f","room":"r","receipt":true,"lang":"de"}}"#
        );
    }

    #[test]
    fn rubbish_is_an_error() {
        for bytes in
            [&b""[..], b"{}", b"null", br#"{"chat":{"d":["","b","c","d"]},"who":"g","at":1,"kind":{"topic":"x"}}"#]
        {
            assert!(read(bytes).is_err());
        }
    }
}
