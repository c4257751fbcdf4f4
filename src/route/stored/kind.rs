//! What happened, as the store has it.

use portway_bridges::api::{
    Condition, EventId, Failed, File, FileForm, ItemId, Kind, Membership, PersonId, Rich, Sentence, Source, Style,
    Target, Text, Thumbnail, UserId,
};
use serde::{Deserialize, Serialize};

use super::rich::{self, StoredNode};
use super::{StoredChat, room_in, room_out};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StoredKind {
    Text(StoredText),
    Edit(StoredTarget, StoredText),
    Reaction(StoredTarget, Vec<String>),
    Retract(StoredTarget),
    Moderate(StoredTarget, Option<String>),
    File(Box<StoredFile>),
    Location(String, Option<String>),
    Delivered(StoredTarget),
    Displayed(StoredTarget),
    Typing(bool),
    Presence(bool, Option<String>),
    Join(Option<String>),
    Leave(Option<String>),
    Invite { room: StoredChat, user: (String, String), reason: Option<String>, name: Option<String> },
    Kick { person: Option<(String, String)>, user: Option<(String, String)>, reason: Option<String>, ban: bool },
    Role(String, String, i64),
    Topic(String),
    Name(String),
    Avatar(Option<String>),
    Profile(Option<String>),
    RoomGone(Option<StoredChat>, Option<String>),
    Encrypted(String),
    Failed { event: i64, condition: String, key: String, args: Vec<(String, String)>, still_trying: bool },
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredFile {
    name: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    form: u8,
    media_type: Option<String>,
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extent: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    millis: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blurhash: Option<String>,
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thumbnail: Option<StoredThumbnail>,
    caption: Option<StoredText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<StoredTarget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredThumbnail(String, Option<String>, Option<(u32, u32)>);

#[derive(Serialize, Deserialize)]
pub(super) struct StoredText {
    body: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rich: Vec<StoredNode>,
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
pub(super) struct StoredTarget(Option<String>, Option<i64>, #[serde(default)] Option<String>, #[serde(default)] bool);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

fn text_out(text: &Text) -> StoredText {
    StoredText {
        body: text.body.clone(),
        rich: text.rich.as_ref().map(|rich| rich::out(rich.nodes())).unwrap_or_default(),
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
        rich: Rich::new(rich::back(text.rich)),
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
    let (id, event) = (target.id.as_ref().map(ToString::to_string), target.event.map(|event| event.0));
    StoredTarget(id, event, target.quote.clone(), target.caption)
}

fn target_in(StoredTarget(id, event, quote, caption): StoredTarget) -> Target {
    Target { id: id.as_deref().map(ItemId::new), event: event.map(EventId), quote, caption, ..Target::default() }
}

fn file_out(file: &File) -> StoredFile {
    StoredFile {
        name: file.name.clone(),
        form: match file.form {
            FileForm::Plain => 0,
            FileForm::Image => 1,
            FileForm::Video => 2,
            FileForm::Audio => 3,
            FileForm::Voice => 4,
            FileForm::Sticker => 5,
        },
        media_type: file.media_type.clone(),
        size: file.size,
        extent: file.extent,
        millis: file.millis,
        blurhash: file.blurhash.clone(),
        url: file.url.clone(),
        source: file.source.as_ref().map(|source| source.as_str().to_owned()),
        thumbnail: file
            .thumbnail
            .as_ref()
            .map(|small| StoredThumbnail(small.source.as_str().to_owned(), small.media_type.clone(), small.extent)),
        caption: file.caption.as_ref().map(text_out),
        reply: file.reply.as_ref().map(target_out),
        thread: file.thread.as_ref().map(ToString::to_string),
    }
}

fn file_in(file: StoredFile) -> File {
    File {
        name: file.name,
        form: match file.form {
            1 => FileForm::Image,
            2 => FileForm::Video,
            3 => FileForm::Audio,
            4 => FileForm::Voice,
            5 => FileForm::Sticker,
            _ => FileForm::Plain,
        },
        media_type: file.media_type,
        size: file.size,
        extent: file.extent,
        millis: file.millis,
        blurhash: file.blurhash,
        url: file.url,
        source: file.source.as_deref().map(Source::new),
        thumbnail: file.thumbnail.map(|StoredThumbnail(source, media_type, extent)| Thumbnail {
            source: Source::new(&source),
            media_type,
            extent,
        }),
        caption: file.caption.map(text_in),
        reply: file.reply.map(target_in),
        thread: file.thread.as_deref().map(ItemId::new),
    }
}

fn user_out(user: &UserId) -> (String, String) {
    (user.local().into(), user.host().into())
}

fn person_out(person: &PersonId) -> (String, String) {
    (person.local().into(), person.server().into())
}

pub(super) fn kind_out(kind: &Kind) -> StoredKind {
    match kind {
        Kind::Text(text) => StoredKind::Text(text_out(text)),
        Kind::Edit { target, new } => StoredKind::Edit(target_out(target), text_out(new)),
        Kind::Reaction { target, keys } => StoredKind::Reaction(target_out(target), keys.clone()),
        Kind::Retract { target } => StoredKind::Retract(target_out(target)),
        Kind::Moderate { target, reason } => StoredKind::Moderate(target_out(target), reason.clone()),
        Kind::File(file) => StoredKind::File(Box::new(file_out(file))),
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

pub(super) fn kind_in(kind: StoredKind) -> Option<Kind> {
    let user = |(local, host): (String, String)| UserId::new(&local, &host).ok();
    let person = |(local, server): (String, String)| PersonId::new(&local, &server).ok();
    Some(match kind {
        StoredKind::Text(text) => Kind::Text(text_in(text)),
        StoredKind::Edit(target, new) => Kind::Edit { target: target_in(target), new: text_in(new) },
        StoredKind::Reaction(target, keys) => Kind::Reaction { target: target_in(target), keys },
        StoredKind::Retract(target) => Kind::Retract { target: target_in(target) },
        StoredKind::Moderate(target, reason) => Kind::Moderate { target: target_in(target), reason },
        StoredKind::File(file) => Kind::File(Box::new(file_in(*file))),
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
