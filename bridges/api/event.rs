//! What was said: one exhaustive enum for both directions.
//!
//! A missing arm is a compile error, which is why this is an enum and not a family of traits.

use super::failure::Condition;
use super::id::{EventId, ItemId, PersonId, RoomId, UserId};
use super::media::Source;
use super::rich::Rich;
use super::sentence::Sentence;

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Chat {
    /// One user of the gateway and one person.
    Direct {
        /// The user.
        user: UserId,
        /// The person.
        person: PersonId,
    },
    /// A room, under the id that never changes.
    Room(RoomId),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A message that people read.
    Text(Text),
    /// The text of an earlier message is now this.
    Edit {
        /// The message that changes.
        target: Target,
        /// Its whole new text.
        new: Text,
    },
    /// The whole set of reactions of the sender to one message; empty takes all back.
    Reaction {
        /// The message reacted to.
        target: Target,
        /// The set, in the sender's order.
        keys: Vec<String>,
    },
    /// The sender takes a message back.
    Retract {
        /// The message.
        target: Target,
    },
    /// Somebody with the right to do so takes another's message back.
    Moderate {
        /// The message.
        target: Target,
        /// Why.
        reason: Option<String>,
    },
    /// A file of any sort.
    File(Box<File>),
    /// A place on earth as a `geo:` URI (RFC 5870).
    Location {
        /// The URI.
        uri: String,
        /// What the sender calls it.
        text: Option<String>,
    },
    /// The other side has accepted the message (XEP-0184).
    Delivered {
        /// The message.
        target: Target,
    },
    /// The other person has read up to this message (XEP-0333).
    Displayed {
        /// The message.
        target: Target,
    },
    /// The sender is writing, or has stopped. Never stored.
    Typing {
        /// Whether the sender is writing.
        active: bool,
    },
    /// The sender can be reached, or not. Never stored.
    Presence {
        /// Whether the sender can be reached.
        available: bool,
        /// A line of text about it.
        status: Option<String>,
    },
    /// Somebody came, went, was asked in or was sent away.
    Membership(Membership),
    /// Somebody's rights in a room changed; the number is the network's own scale from 0 to 100,
    /// or less than 0 where they may not even speak.
    Role {
        /// Whose.
        person: PersonId,
        /// The level.
        level: i64,
    },
    /// The topic of a room.
    Topic(String),
    /// The name of a room.
    Name(String),
    /// The picture of a room changed; the id is the network's.
    Avatar(Option<ItemId>),
    /// The sender's name is now this.
    Profile {
        /// The name, or none.
        name: Option<String>,
    },
    /// The room is no more, or lives on elsewhere.
    RoomGone {
        /// Where it lives on.
        next: Option<RoomId>,
        /// Why.
        reason: Option<String>,
    },
    /// Something that nobody here can read. Both sides get one notice.
    Encrypted {
        /// The scheme, as users know it.
        scheme: String,
    },
    /// A message could not be brought to the other side.
    Failed(Failed),
}

/// Text that people read. Line ends are `\n`; control characters other than tab and `\n` have been removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// The text itself, complete for whoever shows nothing else.
    pub body: String,
    /// The same with what is formatted in it. Without it every character of the body stands for itself.
    pub rich: Option<Rich>,
    /// How it is meant.
    pub style: Style,
    /// The language as a BCP 47 tag.
    pub lang: Option<String>,
    /// The subject of a mail, or of a message that has one.
    pub subject: Option<String>,
    /// The message that this answers.
    pub reply: Option<Target>,
    /// The thread, as an id of the side that the event comes from.
    pub thread: Option<ItemId>,
}

impl Text {
    /// Ordinary text without any relation.
    #[must_use]
    pub fn plain(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

/// How a text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Ordinary speech.
    #[default]
    Normal,
    /// Something that the sender does (`/me`).
    Emote,
    /// Said by a machine.
    Notice,
}

/// A file of any sort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct File {
    /// The name that the sender gave it.
    pub name: String,
    /// How it is meant to be shown.
    pub form: FileForm,
    /// The media type.
    pub media_type: Option<String>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// Width and height in pixels.
    pub extent: Option<(u32, u32)>,
    /// How long it takes to hear or see it, in milliseconds.
    pub millis: Option<u64>,
    /// A picture of it in a few characters (BlurHash), for the time until it is there.
    pub blurhash: Option<String>,
    /// Where anybody may fetch it, if anybody may: an `https:` URL, or `aesgcm:` with its key.
    pub url: Option<String>,
    /// Where the network has it, which only its adapter can open ([`super::Adapter::open`]).
    pub source: Option<Source>,
    /// A small picture of it.
    pub thumbnail: Option<Thumbnail>,
    /// The text that goes with it.
    pub caption: Option<Text>,
    /// The message that this answers.
    pub reply: Option<Target>,
    /// The thread, as an id of the side that the event comes from.
    pub thread: Option<ItemId>,
}

impl File {
    /// Its media type and size for people (`image/png, 3.3 MiB`), as far as they are known; empty where neither is.
    #[must_use]
    pub fn about(&self) -> String {
        let size = self.size.map(|bytes| match bytes {
            0..1024 => format!("{bytes} B"),
            1024..1_048_576 => format!("{} KiB", bytes / 1024),
            _ => format!("{}.{} MiB", bytes / 1_048_576, bytes % 1_048_576 * 10 / 1_048_576),
        });
        self.media_type.iter().cloned().chain(size).collect::<Vec<_>>().join(", ")
    }
}

/// How a file is meant to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FileForm {
    /// As something to keep.
    #[default]
    Plain,
    /// As a picture.
    Image,
    /// As something to see.
    Video,
    /// As something to hear.
    Audio,
    /// As something that the sender has spoken.
    Voice,
    /// As a sticker.
    Sticker,
}

/// A small picture of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// Where the network has it.
    pub source: Source,
    /// The media type.
    pub media_type: Option<String>,
    /// Width and height in pixels.
    pub extent: Option<(u32, u32)>,
}

/// A message that another event speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Its id: on the way in, as the side that speaks wrote it; on the way out, the id on the side that is spoken to.
    /// `None` on the way out where the message is not known there.
    pub id: Option<ItemId>,
    /// Its number in the store, once the core has found it.
    pub event: Option<EventId>,
    /// On the way out: the ids of its further parts on the side that is spoken to, where it travelled as several items.
    pub parts: Vec<ItemId>,
    /// On the way out: who said it, once the core has found it.
    pub by: Option<Result<PersonId, UserId>>,
    /// For an answer: what it says, as far as it is worth quoting to who sees nothing but text; at most
    /// [`Target::QUOTE`] characters. On the way in, where the network knows it.
    pub quote: Option<String>,
    /// For an edit: that not the message changes, which is a file, but the text that goes with it.
    pub caption: bool,
}

impl Target {
    /// A target by the id that the speaking side wrote.
    #[must_use]
    pub fn by_id(id: &str) -> Self {
        Self { id: Some(ItemId::new(id)), ..Self::default() }
    }

    /// The longest quote in characters.
    pub const QUOTE: usize = 300;

    /// How many lines of a message are quoted at most.
    pub const QUOTED_LINES: usize = 3;

    /// The first lines of a message, as they are quoted: without what it quotes itself. `None` where nothing is left.
    #[must_use]
    pub fn quote(text: &str) -> Option<String> {
        let own = text.lines().filter(|line| !line.starts_with('>') && !line.trim().is_empty());
        let mut lines: Vec<&str> = own.take(Self::QUOTED_LINES + 1).collect();
        let more = lines.len() > Self::QUOTED_LINES;
        lines.truncate(Self::QUOTED_LINES);
        let whole = lines.join("\n");
        let mut quote: String = whole.chars().take(Self::QUOTE - 1).collect();
        if more || quote.len() < whole.len() {
            quote.push('…');
        }
        (!quote.is_empty()).then_some(quote)
    }
}

/// Somebody came, went, was asked in or was sent away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// The sender is in the room.
    Join {
        /// The name by which the room knows them.
        name: Option<String>,
    },
    /// The sender left.
    Leave {
        /// What they said on leaving.
        reason: Option<String>,
    },
    /// The sender asks a user of ours into a room.
    Invite {
        /// The room.
        room: RoomId,
        /// Who is asked.
        user: UserId,
        /// What they said.
        reason: Option<String>,
        /// What the room is called.
        name: Option<String>,
    },
    /// The sender sent somebody away.
    Kick {
        /// A person of the network, or
        person: Option<PersonId>,
        /// a user of ours.
        user: Option<UserId>,
        /// Why.
        reason: Option<String>,
        /// Whether they may not come back.
        ban: bool,
    },
}

/// A message could not be brought to the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The message, by its number in the store.
    pub event: EventId,
    /// What sort of failure.
    pub condition: Condition,
    /// What the sender reads.
    pub sentence: Sentence,
    /// Whether it may still arrive; `true` is a notice, `false` is the end.
    pub still_trying: bool,
}
