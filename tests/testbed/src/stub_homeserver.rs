//! A homeserver in this process, for the tests and benchmarks of the Matrix network: it keeps just enough of the rooms
//! to be right about who may do what, can be told to fail, and records what it was asked.
//!
//! What it answers follows the client-server API v1.11 and Synapse's words where the specification leaves them open.
//! Rooms have version 12 ids (no server part), as new rooms on real homeservers do.

mod media;
mod rooms;
mod routes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::rooms::Membership;
use self::rooms::Rooms;
use crate::Result;
use crate::matrix::http;

/// How many requests, sent events and transaction ids are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 10_000;

/// What the stub is.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name behind the colon.
    pub server_name: String,
    /// The application service's token.
    pub as_token: String,
    /// Our token for the application service.
    pub hs_token: String,
    /// How the localparts of its ghosts start.
    pub user_prefix: String,
    /// The localpart of its bot.
    pub bot: String,
    /// Whether sent events are only counted: no look at rooms, no history. For benchmarks.
    pub only_count: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server_name: "hs.test".to_owned(),
            as_token: "as-token".to_owned(),
            hs_token: "hs-token".to_owned(),
            user_prefix: "xmpp_".to_owned(),
            bot: "xmppbot".to_owned(),
            only_count: false,
        }
    }
}

/// A failure to order: the next `times` requests whose method and path fit get this answer.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What the request's `METHOD /path` must contain, such as `PUT /_matrix/client/v3/rooms` or `createRoom`. The
    /// invitations that are part of making a room ask for `createRoom/invite`; a fault there leaves the room behind,
    /// as it does on Synapse.
    pub on: String,
    /// The HTTP status.
    pub status: u16,
    /// The `errcode`.
    pub code: String,
    /// The `error`.
    pub error: String,
    /// The `retry_after_ms`, for 429.
    pub retry_after_ms: Option<u64>,
    /// How often it happens.
    pub times: usize,
    /// Whether the request takes effect all the same, as when only the answer is lost on the way.
    pub after: bool,
}

impl Fault {
    /// A fault that happens once, before the request takes effect.
    #[must_use]
    pub fn once(on: &str, status: u16, code: &str, error: &str) -> Self {
        Self {
            on: on.to_owned(),
            status,
            code: code.to_owned(),
            error: error.to_owned(),
            retry_after_ms: None,
            times: 1,
            after: false,
        }
    }
}

/// An event that a client (for us: a ghost) sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The event's id.
    pub event_id: String,
    /// The room.
    pub room: String,
    /// Who.
    pub sender: String,
    /// The event's type; `m.room.redaction` for a redaction.
    pub type_: String,
    /// The client's transaction id.
    pub txn: String,
    /// What.
    pub content: Value,
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `METHOD /path`, without the query.
    pub what: String,
    /// The query.
    pub query: String,
    /// The user that the application service spoke as.
    pub user: Option<String>,
}

struct Shared {
    options: Options,
    world: Mutex<World>,
    /// Counts answers, so that a test waits for one and never sleeps.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct World {
    rooms: Rooms,
    /// Everybody on this server, and people elsewhere who exist, with their names.
    users: BTreeMap<String, String>,
    dead_servers: BTreeSet<String>,
    faults: Vec<Fault>,
    asked: VecDeque<Asked>,
    sent: VecDeque<Sent>,
    /// Answers to transactions that were seen: (user, transaction id) to event id.
    transactions: VecDeque<((String, String), String)>,
    counted: u64,
    next: u64,
    appservice: Option<String>,
    typing: Vec<(String, String, bool)>,
    /// Who has read up to what: room, user, event.
    receipts: VecDeque<(String, String, String)>,
    /// Media by `server/id`: type and bytes; the oldest are forgotten.
    media: VecDeque<(String, String, Vec<u8>)>,
    /// Media that is only zeros, by `server/id`: how many.
    zeros: BTreeMap<String, u64>,
    /// The largest file that is taken, where it is said.
    largest_upload: Option<u64>,
    /// Further fields of profiles: user and name to value.
    fields: BTreeMap<(String, String), Value>,
    /// What it says of the versions that it speaks.
    versions: Option<Value>,
    /// The picture of each profile, as `mxc:` URI.
    pictures: BTreeMap<String, String>,
}

impl World {
    /// A fresh id.
    fn fresh(&mut self, sigil: char) -> String {
        self.next += 1;
        format!("{sigil}{:08}", self.next)
    }

    /// The fault that was ordered for this request, if any; counts it down.
    fn fault(&mut self, what: &str) -> Option<Fault> {
        let fault = self.faults.iter_mut().find(|fault| fault.times > 0 && what.contains(&fault.on))?;
        fault.times -= 1;
        Some(fault.clone())
    }
}

/// Appends, and forgets the oldest where there would be more than [`REMEMBERED`].
fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= REMEMBERED {
        list.pop_front();
    }
    list.push_back(item);
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an id is in the namespace of the application service, or its bot.
    fn ghost(&self, id: &str) -> bool {
        let local = id.strip_prefix('@').and_then(|id| id.strip_suffix(&format!(":{}", self.options.server_name)));
        local.is_some_and(|local| local.starts_with(&self.options.user_prefix) || local == self.options.bot)
    }
}

/// The stub. It ends when it is dropped.
pub struct StubHomeserver {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for StubHomeserver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StubHomeserver {
    /// Starts on a free port of the loopback interface.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(options: Options) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let mut world = World::default();
        world.users.insert(format!("@{}:{}", options.bot, options.server_name), options.bot.clone());
        let shared = Arc::new(Shared { options, world: Mutex::new(world), changes: watch::Sender::new(0) });
        let app = routes::router(shared.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { shared, address, task })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the application service takes transactions.
    pub fn push_to(&self, url: &str) {
        self.shared.world().appservice = Some(url.trim_end_matches('/').to_owned());
    }

    /// Adds a person, here or elsewhere.
    pub fn add_user(&self, id: &str, name: &str) {
        self.shared.world().users.insert(id.to_owned(), name.to_owned());
    }

    /// From now on nothing of this server can be reached.
    pub fn kill_server(&self, name: &str) {
        self.shared.world().dead_servers.insert(name.to_owned());
    }

    /// Orders a fault.
    pub fn fail(&self, fault: Fault) {
        self.shared.world().faults.push(fault);
    }

    /// Takes back the faults that have not happened.
    pub fn heal(&self) {
        self.shared.world().faults.clear();
    }

    /// Makes a room with these people in it; returns its id. With an alias (`#name:server`) anybody may join.
    pub fn make_room(&self, alias: Option<&str>, members: &[&str]) -> String {
        let mut world = self.shared.world();
        let id = world.fresh('!');
        world.rooms.make(&id, alias.map(str::to_owned), alias.is_some());
        for member in members {
            world.rooms.set_member(&id, member, Membership::Join);
        }
        id
    }

    /// Sets a state of a room, such as `m.room.topic`.
    pub fn set_state(&self, room: &str, type_: &str, content: Value) {
        self.shared.world().rooms.set_state(room, type_, content);
    }

    /// What a user is in a room.
    #[must_use]
    pub fn member(&self, room: &str, user: &str) -> Option<Membership> {
        self.shared.world().rooms.member(room, user)
    }

    /// Makes a user join, leave, … and returns the membership event as the homeserver would push it.
    pub fn change_member(&self, room: &str, sender: &str, user: &str, to: Membership, extra: Value) -> Value {
        let mut world = self.shared.world();
        world.rooms.set_member(room, user, to);
        let name = world.users.get(user).cloned();
        let mut content = json!({ "membership": to.name() });
        if let (Some(name), Membership::Join) = (name, to) {
            content["displayname"] = Value::String(name);
        }
        for (key, value) in extra.as_object().into_iter().flatten() {
            content[key] = value.clone();
        }
        if let Some(name) = extra["displayname"].as_str() {
            world.rooms.set_name(room, user, name);
        }
        let id = world.fresh('$');
        json!({
            "event_id": id, "type": "m.room.member", "room_id": room, "sender": sender, "state_key": user,
            "origin_server_ts": 1_700_000_000_000_u64, "content": content,
        })
    }

    /// An event as the homeserver would push it; it also enters the room's history.
    pub fn event(&self, room: &str, sender: &str, type_: &str, content: Value) -> Value {
        let mut world = self.shared.world();
        let id = world.fresh('$');
        let event = json!({
            "event_id": id, "type": type_, "room_id": room, "sender": sender,
            "origin_server_ts": 1_700_000_000_000_u64, "content": content,
        });
        world.rooms.add_history(room, event.clone());
        event
    }

    /// Pushes a transaction with our token; the status and the answer.
    ///
    /// # Errors
    /// The application service does not answer.
    pub async fn push(&self, txn: &str, body: &Value) -> Result<(u16, Value)> {
        let url = self.shared.world().appservice.clone().ok_or("nobody said where to push to")?;
        let path = format!("{url}/_matrix/app/v1/transactions/{txn}");
        http("PUT", &path, Some(&self.shared.options.hs_token), Some(body)).await
    }

    /// What was sent into a room, in order; what came twice under the same transaction id is there once.
    #[must_use]
    pub fn sent(&self, room: &str) -> Vec<Sent> {
        self.shared.world().sent.iter().filter(|sent| sent.room == room).cloned().collect()
    }

    /// Everything that was sent, in order.
    #[must_use]
    pub fn all_sent(&self) -> Vec<Sent> {
        self.shared.world().sent.iter().cloned().collect()
    }

    /// How many events were sent, also where they are only counted.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.shared.world().counted
    }

    /// How many of the remembered requests contain this in their `METHOD /path`.
    #[must_use]
    pub fn times_asked(&self, what: &str) -> usize {
        self.shared.world().asked.iter().filter(|asked| asked.what.contains(what)).count()
    }

    /// The queries of the remembered requests that contain this in their `METHOD /path`, in order.
    #[must_use]
    pub fn queries(&self, what: &str) -> Vec<String> {
        let world = self.shared.world();
        world.asked.iter().filter(|asked| asked.what.contains(what)).map(|asked| asked.query.clone()).collect()
    }

    /// Who was writing where, in order: room, user, whether.
    #[must_use]
    pub fn typing(&self) -> Vec<(String, String, bool)> {
        self.shared.world().typing.clone()
    }

    /// Who has read up to what, in order: room, user, event.
    #[must_use]
    pub fn receipts(&self) -> Vec<(String, String, String)> {
        self.shared.world().receipts.iter().cloned().collect()
    }

    /// What a room calls a user.
    #[must_use]
    pub fn name_in(&self, room: &str, user: &str) -> Option<String> {
        let world = self.shared.world();
        world.rooms.name(room, user).or_else(|| world.users.get(user).cloned())
    }

    /// The name of a user.
    #[must_use]
    pub fn name(&self, user: &str) -> Option<String> {
        self.shared.world().users.get(user).cloned()
    }

    /// Sets what it says of the versions that it speaks; v1.11 otherwise.
    pub fn set_versions(&self, versions: Value) {
        self.shared.world().versions = Some(versions);
    }

    /// A field of a profile besides name and picture.
    #[must_use]
    pub fn field(&self, user: &str, name: &str) -> Option<Value> {
        self.shared.world().fields.get(&(user.to_owned(), name.to_owned())).cloned()
    }

    /// The ids of all rooms, in the order in which they were made.
    #[must_use]
    pub fn rooms(&self) -> Vec<String> {
        self.shared.world().rooms.ids()
    }

    /// Waits until something holds; looks after each answered request. The caller bounds the wait.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !holds(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
