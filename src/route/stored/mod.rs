//! The shape of an event in the store. Types of their own, so that the neutral model may change while old rows stay
//! readable: a field may be added with a default, none may change its meaning.

mod kind;
mod rich;

use portway_bridges::api::{Chat, PersonId, RoomId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use self::kind::{StoredKind, kind_in, kind_out};
use super::item::{Correction, Item, Meta, Speaker};

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
pub(super) enum StoredChat {
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

#[derive(Default, Serialize, Deserialize)]
struct StoredMeta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "is_first")]
    part: u32,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    corrections: Vec<StoredCorrection>,
}

#[derive(Serialize, Deserialize)]
struct StoredCorrection {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    receipt: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
fn is_first(part: &u32) -> bool {
    *part == 0
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
                part: meta.part,
                origin_id: meta.origin_id.clone(),
                remote_id: meta.remote_id.clone(),
                from: meta.from.clone(),
                to: meta.to.clone(),
                face: meta.face.clone(),
                room: meta.room.clone(),
                receipt: meta.receipt,
                lang: meta.lang.clone(),
                corrections: meta
                    .corrections
                    .iter()
                    .map(|one| StoredCorrection { id: one.id.clone(), from: one.from.clone(), receipt: one.receipt })
                    .collect(),
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
                part: meta.part,
                origin_id: meta.origin_id,
                remote_id: meta.remote_id,
                from: meta.from,
                to: meta.to,
                face: meta.face,
                room: meta.room,
                receipt: meta.receipt,
                lang: meta.lang,
                corrections: meta
                    .corrections
                    .into_iter()
                    .map(|one| Correction { id: one.id, from: one.from, receipt: one.receipt })
                    .collect(),
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

pub(super) fn room_out(room: &RoomId) -> StoredChat {
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

pub(super) fn room_in(room: &StoredChat) -> Option<RoomId> {
    match room {
        StoredChat::Alias(local, server) => RoomId::alias(local, server).ok(),
        StoredChat::Room(opaque, server) => RoomId::id(opaque, server.as_deref()).ok(),
        StoredChat::Direct(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::rich::{Mark, Node, Who};
    use portway_bridges::api::{
        Condition, EventId, Failed, File, FileForm, ItemId, Kind, Membership, Rich, Sentence, Source, Style, Target,
        Text, Thumbnail,
    };

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
                part: 0,
                origin_id: Some("o".into()),
                remote_id: Some("$e".into()),
                from: Some("juliet@capulet.lit/balcony".into()),
                to: Some("juliet@capulet.lit/x".into()),
                face: Some("f".into()),
                room: Some("r".into()),
                receipt: true,
                lang: Some("de".into()),
                corrections: Vec::new(),
            },
        }
    }

    /// One of each mark.
    fn marks() -> Vec<Node> {
        let part = |mark| Node::Part(mark, vec![Node::Text("x".into())]);
        let who = [
            Who::Person(PersonId::new("bob", "x").unwrap()),
            Who::User(UserId::parse("juliet@capulet.lit").unwrap()),
            Who::Room,
        ];
        let mut nodes: Vec<Node> = who.into_iter().map(|who| part(Mark::Mention(who))).collect();
        nodes.extend(
            [
                Mark::Strong,
                Mark::Emphasis,
                Mark::Underline,
                Mark::Strike,
                Mark::Code,
                Mark::Spoiler(Some("why".into())),
                Mark::Spoiler(None),
                Mark::Link("https://x".into()),
                Mark::Heading(3),
                Mark::Paragraph,
                Mark::Preformatted(Some("rust".into())),
                Mark::Preformatted(None),
                Mark::List(Some(7)),
            ]
            .map(part),
        );
        let item = Node::Part(Mark::Item, vec![Node::Text("i".into())]);
        nodes.push(Node::Part(Mark::Quote, vec![Node::Part(Mark::List(None), vec![item])]));
        nodes
    }

    /// One of each kind, with every field set.
    fn kinds() -> Vec<Kind> {
        let user = UserId::parse("juliet@capulet.lit").unwrap();
        let person = PersonId::new("bob", "x").unwrap();
        let room = RoomId::id("abc", None).unwrap();
        let alias = RoomId::alias("town", "hs").unwrap();
        let target = Target { event: Some(EventId(7)), quote: Some("q".into()), caption: true, ..Target::by_id("$x") };
        let text = Text {
            body: "a\nb \u{1f600}".into(),
            rich: Rich::new(marks()),
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
            Kind::File(Box::new(File {
                name: "n".into(),
                form: FileForm::Voice,
                media_type: Some("image/png".into()),
                size: Some(5),
                extent: Some((3, 4)),
                millis: Some(1500),
                blurhash: Some("LE".into()),
                url: Some("https://x".into()),
                source: Some(Source::new("mxc://x/y")),
                thumbnail: Some(Thumbnail {
                    source: Source::new("mxc://x/z"),
                    media_type: Some("image/jpeg".into()),
                    extent: Some((1, 2)),
                }),
                caption: Some(text),
                reply: Some(target.clone()),
                thread: Some(ItemId::new("t")),
            })),
            Kind::File(Box::new(File { name: "n".into(), ..File::default() })),
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
    fn which_part_of_its_stanza_an_event_is_is_kept() {
        let first = item(Kind::Text(Text::plain("x")));
        let second = Item { meta: Meta { part: 1, ..first.meta.clone() }, ..first };
        assert_eq!(read(&write(&second)).unwrap(), second);
    }

    #[test]
    fn corrections_are_read_back() {
        let mut item = item(Kind::Topic("t".into()));
        let one = Correction { id: "2".into(), from: Some("juliet@capulet.lit/x".into()), receipt: true };
        item.meta.corrections = vec![one, Correction { id: "3".into(), from: None, receipt: false }];
        assert_eq!(read(&write(&item)).unwrap(), item);
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
