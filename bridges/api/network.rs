//! What an adapter is.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;

use super::capability::Capabilities;
use super::core::Core;
use super::dns::Dns;
use super::event::{Chat, Kind};
use super::failure::{Condition, Failure, Refusal};
use super::id::{EventId, ItemId, PersonId, RoomId, Timestamp, UserId};
use super::media::{Content, Source};
use super::picture::{Picture, Reach};
use super::sentence::{Sentence, SentenceDef};

/// The signal to stop. A task that sees it ends within the grace period (10 s).
pub type Stop = tokio_util::sync::CancellationToken;

/// A kind of network: one static per folder.
pub trait Network: Send + Sync {
    /// Names and texts. Pure.
    fn describe(&self) -> Descriptor;

    /// Checks the section `[network.<id>]` and builds the adapter. Does no I/O. The keys that are the core's own
    /// (`component`, `secret`, `strangers`) have been taken out of `raw`.
    ///
    /// # Errors
    /// Every fault of the section at once, each with its key.
    fn configure(&self, raw: toml::Table) -> Result<Box<dyn Adapter>, ConfigErrors>;
}

/// What a network calls itself.
#[derive(Debug, Clone)]
pub struct Descriptor {
    /// The name of the configuration section and of the metrics label: `matrix`.
    pub id: &'static str,
    /// What users read: `Matrix`.
    pub name: &'static str,
    /// The type of the XEP-0030 identity of category `gateway`: `matrix`, `smtp`.
    pub disco_type: &'static str,
    /// The keys of the configuration section, with comments, as TOML without the section's header.
    pub config_example: &'static str,
    /// The keys that the section may have, for suggestions on unknown ones.
    pub config_keys: &'static [&'static str],
    /// Which of the keys are secrets, and so may be given as `<key>_file`.
    pub secret_keys: &'static [&'static str],
    /// The network's own sentences.
    pub sentences: &'static [SentenceDef],
    /// Whether the network has rooms.
    pub rooms: bool,
    /// Waits between tries of a delivery; the last one repeats until `give_up`. Jittered by the core.
    pub retry: &'static [Duration],
    /// How long after the first try the core gives up and tells the sender.
    pub give_up: Duration,
    /// After which delays the sender hears that we are still trying.
    pub notices: &'static [Duration],
}

/// One network, attached. All methods may be called at the same time from many tasks.
pub trait Adapter: Send + Sync {
    /// Connects, receives, and returns after `stop`.
    ///
    /// # Errors
    /// [`Fatal`] where going on makes no sense (a listener that cannot be bound); the gateway then ends.
    fn run<'a>(&'a self, core: Core, stop: Stop) -> BoxFuture<'a, Result<(), Fatal>>;

    /// What can be carried, in a chat or in general. Cheap.
    fn capabilities(&self, chat: Option<&Chat>) -> Capabilities;

    /// The first wait after a temporary failure, where the configuration sets another than the descriptor: the whole
    /// schedule is scaled by it.
    fn first_retry(&self) -> Option<Duration> {
        None
    }

    /// Resolves what a user typed or pasted to a person or a room. Does not ask the network whether it exists.
    ///
    /// # Errors
    /// [`Refusal`] with what to type instead.
    fn resolve(&self, typed: &str) -> Result<Address, Refusal>;

    /// The one spelling of a person's id by which the gateway knows them (mail folds case here). Idempotent.
    fn canonical(&self, person: &PersonId) -> PersonId {
        person.clone()
    }

    /// The person as their own network writes them: `@alice:hs`, `bob@example.com`.
    fn print_person(&self, person: &PersonId) -> String;

    /// The room as its own network writes it: `#town:hs`, `!id:hs`.
    fn print_room(&self, room: &RoomId) -> String;

    /// The user as the network sees them, where it shows them at all: `@xmpp_juliet=40capulet.lit:hs`.
    fn print_user(&self, user: &UserId) -> Option<String> {
        let _ = user;
        None
    }

    /// Brings events of one chat and one user to the network. More than one only where the capabilities say `batch`;
    /// they then travel as one item. Idempotent by the id of the first one, also across a restart: called again with
    /// the same ids it must not show anything twice where the network can tell.
    ///
    /// Never sleeps to retry; that is the core's.
    ///
    /// # Errors
    /// [`Failure`].
    fn deliver<'a>(&'a self, out: &'a [Outbound]) -> BoxFuture<'a, Result<Receipt, Failure>>;

    /// Opens a file of an event that came from this network, to be read from its start. The caller limits size and time.
    ///
    /// # Errors
    /// [`Failure`]: `Permanent` where it is gone for good.
    fn open<'a>(&'a self, event: EventId, source: &'a Source) -> BoxFuture<'a, Result<Content, Failure>> {
        let _ = (event, source);
        Box::pin(async {
            Err(Failure::permanent(Condition::ItemNotFound, Sentence::new("core.no-file"), "this network has no files"))
        })
    }

    /// Passes on what is not worth storing (typing, presence). Best effort, no retry.
    fn signal<'a>(&'a self, signal: Signal) -> BoxFuture<'a, ()> {
        let _ = signal;
        Box::pin(async {})
    }

    /// Brings the user into the room and tells what is there. Idempotent: a user who is already there stays.
    ///
    /// # Errors
    /// [`Failure`]: `Temporary` becomes an error of type `wait`, so that clients keep their bookmarks.
    fn enter<'a>(
        &'a self,
        user: &'a UserId,
        nick: &'a str,
        room: &'a RoomId,
    ) -> BoxFuture<'a, Result<ChatInfo, Failure>> {
        let _ = (user, nick, room);
        Box::pin(async {
            Err(Failure::permanent(
                Condition::ItemNotFound,
                Sentence::new("core.no-rooms"),
                "this network has no rooms",
            ))
        })
    }

    /// The latest items of a room, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Failure`].
    fn history<'a>(&'a self, room: &'a RoomId, limit: usize) -> BoxFuture<'a, Result<Vec<HistoryItem>, Failure>> {
        let _ = (room, limit);
        Box::pin(async { Ok(Vec::new()) })
    }

    /// What a person calls themselves, asked of the network. `None` where it does not tell; never an empty name. The
    /// caller limits how long it waits.
    fn name<'a>(&'a self, person: &'a PersonId) -> BoxFuture<'a, Option<String>> {
        let _ = person;
        Box::pin(async { None })
    }

    /// What the network calls the picture of a person now; `None` where there is none. Cheap: the picture itself is not
    /// fetched.
    ///
    /// # Errors
    /// [`Failure`] where the network did not say.
    fn avatar_source<'a>(&'a self, person: &'a PersonId) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        let _ = person;
        Box::pin(async { Ok(None) })
    }

    /// The picture of that name, which [`Adapter::avatar_source`] gave; small is enough (256 pixels). `None` where it is
    /// gone or larger than [`super::picture::LARGEST`]. The caller limits how long it waits.
    ///
    /// # Errors
    /// [`Failure`] where it cannot be had now.
    fn avatar<'a>(&'a self, person: &'a PersonId, source: &'a str) -> BoxFuture<'a, Result<Option<Picture>, Failure>> {
        let _ = (person, source);
        Box::pin(async { Ok(None) })
    }

    /// Other ways to reach a person, for their card. Pure.
    fn reach(&self, person: &PersonId) -> Vec<Reach> {
        let _ = person;
        Vec::new()
    }

    /// Gives a user's stand-in the name and the picture of the user, where the network has a place for them. `None`
    /// leaves what is there; a picture without bytes takes the earlier one away. Idempotent.
    ///
    /// # Errors
    /// [`Failure`].
    fn dress<'a>(
        &'a self,
        user: &'a UserId,
        name: Option<&'a str>,
        picture: Option<&'a Picture>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let _ = (user, name, picture);
        Box::pin(async { Ok(()) })
    }

    /// These people are the user, by links that were proved; nobody where there are none any more. The user's stand-in
    /// points to them, where the network has a place for that. Idempotent.
    ///
    /// # Errors
    /// [`Failure`].
    fn point<'a>(&'a self, user: &'a UserId, persons: &'a [PersonId]) -> BoxFuture<'a, Result<(), Failure>> {
        let _ = (user, persons);
        Box::pin(async { Ok(()) })
    }

    /// People who go by something like this, as the network's own directory finds them: each with what they call
    /// themselves, at most `limit`. Best effort: nobody where there is no directory or it does not answer.
    fn search<'a>(&'a self, query: &'a str, limit: usize) -> BoxFuture<'a, Vec<(PersonId, Option<String>)>> {
        let _ = (query, limit);
        Box::pin(async { Vec::new() })
    }

    /// The user wants to hear nothing more of this person: the network stops what it can of it (a ghost leaves the chat).
    /// Best effort; what comes all the same is kept out by the core.
    fn blocked<'a>(&'a self, user: &'a UserId, person: &'a PersonId) -> BoxFuture<'a, ()> {
        let _ = (user, person);
        Box::pin(async {})
    }

    /// Text that the network's own administrator must install (for Matrix the application service's registration), if
    /// there is such a thing.
    fn registration(&self) -> Option<String> {
        None
    }

    /// What this adapter listens on, for the line that `portway run` prints.
    fn listeners(&self) -> Vec<Listener> {
        Vec::new()
    }

    /// Whether all of that is listened on by now; the gateway is not ready before.
    fn listening(&self) -> bool {
        true
    }

    /// Looks at the network and tells what works. The adapter does not run then, in this process; where `running`, it
    /// does in another one.
    fn check<'a>(&'a self, running: bool) -> BoxFuture<'a, Vec<Finding>> {
        let _ = running;
        Box::pin(async { Vec::new() })
    }

    /// Looks at what the world's names say of this network, where it depends on them.
    fn check_names<'a>(&'a self, dns: &'a dyn Dns) -> BoxFuture<'a, Vec<Finding>> {
        let _ = dns;
        Box::pin(async { Vec::new() })
    }
}

/// What a user meant by what they typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A person.
    Person(PersonId),
    /// A room.
    Room(RoomId),
}

/// An event on its way to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Its number in the store: derive the idempotence key from it together with [`Core::install_id`].
    pub id: EventId,
    /// Where it goes.
    pub chat: Chat,
    /// Who says it.
    pub user: UserId,
    /// The name by which they go in this chat (nick, or what they call themselves).
    pub name: Option<String>,
    /// When it was said.
    pub at: Timestamp,
    /// What it is. `Target`s hold ids of this network.
    pub kind: Kind,
    /// How many tries there have been before this one.
    pub attempt: u32,
}

/// The network has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// The network's ids of what was made of it, in order: the first one is the message, the rest are its further parts.
    pub ids: Vec<ItemId>,
}

/// Something that is not worth storing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Where.
    pub chat: Chat,
    /// Who.
    pub user: UserId,
    /// What.
    pub kind: SignalKind,
}

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    /// The user is writing, or has stopped.
    Typing(bool),
}

/// A room as a user finds it on entering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatInfo {
    /// The id that never changes, whatever alias was asked for.
    pub room: RoomId,
    /// What it is called.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// The people of the network who are in it (ghosts left out), staff and recently active first.
    pub members: Vec<Occupant>,
    /// How many there are in truth.
    pub member_count: usize,
    /// Where the room lives on, if it is no more: nobody is let in, and everybody is told.
    pub next: Option<RoomId>,
}

/// A person in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// Who.
    pub person: PersonId,
    /// The name by which the room knows them.
    pub name: Option<String>,
    /// Their rights on a scale from 0 to 100; less than 0 where they may not even speak.
    pub level: i64,
}

/// An earlier item of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryItem {
    /// The network's id.
    pub id: ItemId,
    /// Who said it: a person of the network, or a user of ours through their ghost.
    pub sender: Result<PersonId, UserId>,
    /// The name by which the room knew them.
    pub name: Option<String>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
}

/// Something that an adapter listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What speaks there: `application service`, `lmtp`.
    pub what: &'static str,
    /// Where.
    pub address: String,
}

/// What a look at the network found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub text: String,
    /// What mends it, to be copied as it is: lines of a configuration file, a command, a DNS record. `None` where all is
    /// well, or where no text could.
    pub fix: Option<String>,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(what: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, what: what.into(), text: text.into(), fix: None }
    }

    /// It works, but.
    #[must_use]
    pub fn warn(what: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level: Level::Warn, ..Self::ok(what, text) }
    }

    /// It does not work.
    #[must_use]
    pub fn fail(what: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level: Level::Fail, ..Self::ok(what, text) }
    }

    /// The same finding with what mends it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// All is well.
    Ok,
    /// It works, but.
    Warn,
    /// It does not work.
    Fail,
}

/// All faults of a configuration section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigErrors(pub Vec<(String, String)>);

impl ConfigErrors {
    /// Adds the fault `text` of the key `key`.
    pub fn add(&mut self, key: &str, text: impl Into<String>) {
        self.0.push((key.to_owned(), text.into()));
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (key, text)) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{key}: {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Going on makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);
