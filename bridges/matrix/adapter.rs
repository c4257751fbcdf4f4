//! The adapter: what it knows, and what it does when the core asks.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::FutureExt;
use serde_json::json;
use tokio::sync::{Notify, SetOnce};
use tracing::{info, warn};

use super::client::Client;
use super::config::Config;
use super::dm::Context;
use super::error::MatrixError;
use super::id::{self, Ghosts, percent};
use super::power::Levels;
use super::signals::{Typing, Writing};
use super::{appservice, registration};
use crate::api::{
    Adapter, Address, BoxFuture, Capabilities, Chat, ChatInfo, Content, Core, EventId, Failure, Fatal, Finding,
    HistoryItem, Kind, Listener, Outbound, PersonId, Picture, Reach, Receipt, Refusal, RoomId, Signal, SignalKind,
    Source, Stop, UserId,
};

/// How many values each cache holds.
const CACHE: usize = 20_000;

/// How long a search in the homeserver's directory may take.
const SEARCH: std::time::Duration = std::time::Duration::from_secs(10);

/// What the adapter knows. Shared by its tasks.
pub struct State {
    pub config: Config,
    pub client: Client,
    pub ghosts: Ghosts,
    /// What an earlier run left may be delivered before this one has begun, and waits for it.
    core: SetOnce<Core>,
    /// Woken when the inbox has something new.
    pub arrived: Notify,
    pub bound: OnceLock<std::net::SocketAddr>,
    names: Cache<String, String>,
    /// The picture that each person's latest membership named.
    pub avatars: Cache<String, String>,
    dms: Cache<String, String>,
    /// Held while the store and the cache of chats of two change together.
    pub portals: tokio::sync::Mutex<()>,
    contexts: Cache<String, Context>,
    room_ghosts: Cache<String, String>,
    /// What each room calls each ghost.
    pub nicks: Cache<String, String>,
    /// Who may what in each room.
    pub levels: Cache<String, Arc<Levels>>,
    /// When each ghost was brought into each room.
    pub entered: Cache<String, i64>,
    /// Which ghosts are shown as writing, and where.
    pub writing: Cache<String, Writing>,
    /// Who is writing where, so that a change can be told.
    pub typing: Cache<String, Typing>,
    /// Whether anything was taken back before it came; nothing until somebody looks.
    pub gone: Mutex<Option<bool>>,
}

/// A bounded map: when it is full it starts over.
pub struct Cache<K, V>(Mutex<HashMap<K, V>>);

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// What is made of the keys that matter, with their values.
    pub fn find<T>(&self, wanted: impl Fn(&K) -> Option<T>) -> Vec<(T, V)> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter().filter_map(|(key, value)| Some((wanted(key)?, value.clone()))).collect()
    }

    /// Sets the value of a key.
    pub fn set(&self, key: K, value: V) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= CACHE {
            map.clear();
        }
        map.insert(key, value);
    }

    /// Forgets a key.
    pub fn remove<Q: Hash + Eq + ?Sized>(&self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl State {
    /// The gateway; there from the moment the adapter runs.
    pub fn core(&self) -> Result<&Core, Failure> {
        self.core.get().ok_or_else(|| Failure::temporary("the adapter does not run yet"))
    }

    pub fn cached_name(&self, mxid: &str) -> Option<String> {
        self.names.get(mxid)
    }

    pub fn cache_name(&self, mxid: &str, name: &str) {
        if self.names.get(mxid).as_deref() != Some(name) {
            self.names.set(mxid.to_owned(), name.to_owned());
        }
    }

    pub fn cached_dm(&self, key: &str) -> Option<String> {
        self.dms.get(key)
    }

    pub fn cache_dm(&self, key: &str, room: &str) {
        self.dms.set(key.to_owned(), room.to_owned());
    }

    pub fn uncache_dm(&self, key: &str) {
        self.dms.remove(key);
    }

    pub fn cached_context(&self, room: &str) -> Option<Context> {
        self.contexts.get(room)
    }

    pub fn cache_context(&self, room: &str, context: &Context) {
        self.contexts.set(room.to_owned(), context.clone());
    }

    pub fn cached_room_ghost(&self, room: &str) -> Option<String> {
        self.room_ghosts.get(room)
    }

    pub fn cache_room_ghost(&self, room: &str, ghost: &str) {
        self.room_ghosts.set(room.to_owned(), ghost.to_owned());
    }

    /// Asks the homeserver to ping us (application service API, `POST …/appservice/{id}/ping`).
    pub async fn ping(&self) -> Result<(), MatrixError> {
        self.client.post("/_matrix/client/v1/appservice/portway/ping", None, &json!({})).await.map(|_| ())
    }
}

pub struct MatrixAdapter(Arc<State>);

impl State {
    /// Knows nothing yet but its configuration.
    pub fn new(config: Config) -> Self {
        Self {
            client: Client::new(&config.homeserver, &config.as_token),
            ghosts: Ghosts {
                prefix: config.user_prefix.clone(),
                server: config.server_name.clone(),
                bot: config.bot.clone(),
            },
            config,
            core: SetOnce::new(),
            arrived: Notify::new(),
            bound: OnceLock::new(),
            names: Cache::new(),
            avatars: Cache::new(),
            dms: Cache::new(),
            portals: tokio::sync::Mutex::default(),
            contexts: Cache::new(),
            room_ghosts: Cache::new(),
            nicks: Cache::new(),
            levels: Cache::new(),
            entered: Cache::new(),
            writing: Cache::new(),
            typing: Cache::new(),
            gone: Mutex::default(),
        }
    }
}

impl MatrixAdapter {
    pub fn new(config: Config) -> Self {
        Self(Arc::new(State::new(config)))
    }
}

impl Adapter for MatrixAdapter {
    fn run<'a>(&'a self, core: Core, stop: Stop) -> BoxFuture<'a, Result<(), Fatal>> {
        async move {
            let _ = self.0.core.set(core.clone());
            let listener = appservice::bind(&self.0).await?;
            let serving = tokio::spawn(appservice::serve(self.0.clone(), core.clone(), listener, stop.clone()));
            let working = tokio::spawn(super::worker::run(self.0.clone(), core.clone(), stop.clone()));
            let typing = tokio::spawn(super::signals::keep(self.0.clone(), core.clone(), stop.clone()));
            let tidying = tokio::spawn(super::tidy::run(core, stop.clone()));
            // A homeserver that has given up on us for a while comes back at once when it is asked to ping us.
            tokio::select! {
                result = self.0.ping() => match result {
                    Ok(()) => info!("the homeserver reaches the application service"),
                    Err(error) => warn!(?error, "the homeserver does not ping us; is the registration installed, and are the tokens the same?"),
                },
                () = stop.cancelled() => {}
            }
            let _ = serving.await;
            let _ = working.await;
            let _ = typing.await;
            let _ = tidying.await;
            Ok(())
        }
        .boxed()
    }

    fn listening(&self) -> bool {
        self.0.bound.get().is_some()
    }

    fn capabilities(&self, _chat: Option<&Chat>) -> Capabilities {
        Capabilities {
            edit: true,
            reply: true,
            reaction: true,
            retract: true,
            file: true,
            location: true,
            displayed: true,
            rich: true,
            emote: true,
            subject: false,
            typing: true,
            max_text: usize::MAX,
            ..Capabilities::default()
        }
    }

    fn resolve(&self, typed: &str) -> Result<Address, Refusal> {
        id::resolve(typed)
    }

    fn print_person(&self, person: &PersonId) -> String {
        id::person(person)
    }

    fn print_room(&self, room: &RoomId) -> String {
        id::room(room)
    }

    fn print_user(&self, user: &UserId) -> Option<String> {
        self.0.ghosts.of(user)
    }

    fn deliver<'a>(&'a self, out: &'a [Outbound]) -> BoxFuture<'a, Result<Receipt, Failure>> {
        async move {
            self.0.core.wait().await;
            let mut receipt = Receipt::default();
            for one in out {
                receipt.ids.extend(self.0.deliver(one).await?.ids);
                if matches!(one.kind, Kind::File(_)) {
                    self.0.file_sent(one.id).await;
                }
            }
            Ok(receipt)
        }
        .boxed()
    }

    fn open<'a>(&'a self, _: EventId, source: &'a Source) -> BoxFuture<'a, Result<Content, Failure>> {
        State::open(&self.0, source).boxed()
    }

    fn signal<'a>(&'a self, signal: Signal) -> BoxFuture<'a, ()> {
        async move {
            let SignalKind::Typing(active) = signal.kind;
            let Some(ghost) = self.0.ghosts.of(&signal.user) else { return };
            let room = match &signal.chat {
                Chat::Room(room) => id::room(room),
                // Nobody is asked into a room because somebody began to write.
                Chat::Direct { user, person } => match self.0.cached_dm(&format!("dm/{user}/{}", id::person(person))) {
                    Some(room) => room,
                    None => return,
                },
            };
            self.0.write(&ghost, &room, active).await;
        }
        .boxed()
    }

    fn enter<'a>(
        &'a self,
        user: &'a UserId,
        nick: &'a str,
        room: &'a RoomId,
    ) -> BoxFuture<'a, Result<ChatInfo, Failure>> {
        self.0.enter(user, nick, room).boxed()
    }

    fn history<'a>(&'a self, room: &'a RoomId, limit: usize) -> BoxFuture<'a, Result<Vec<HistoryItem>, Failure>> {
        self.0.past(room, limit).boxed()
    }

    fn name<'a>(&'a self, person: &'a PersonId) -> BoxFuture<'a, Option<String>> {
        async move {
            let path = format!("/_matrix/client/v3/profile/{}", percent(&id::person(person)));
            let profile = self.0.client.get(&path, None).await.ok()?;
            profile["displayname"].as_str().map(str::to_owned).filter(|name| !name.trim().is_empty())
        }
        .boxed()
    }

    fn avatar_source<'a>(&'a self, person: &'a PersonId) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        self.0.avatar_source(person).boxed()
    }

    fn avatar<'a>(&'a self, _: &'a PersonId, source: &'a str) -> BoxFuture<'a, Result<Option<Picture>, Failure>> {
        self.0.avatar(source).boxed()
    }

    fn reach(&self, person: &PersonId) -> Vec<Reach> {
        vec![Reach::Link(format!("https://matrix.to/#/{}", percent(&id::person(person))))]
    }

    fn dress<'a>(
        &'a self,
        user: &'a UserId,
        name: Option<&'a str>,
        picture: Option<&'a Picture>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        self.0.dress(user, name, picture).boxed()
    }

    fn point<'a>(&'a self, user: &'a UserId, persons: &'a [PersonId]) -> BoxFuture<'a, Result<(), Failure>> {
        self.0.point(user, persons).boxed()
    }

    fn search<'a>(&'a self, query: &'a str, limit: usize) -> BoxFuture<'a, Vec<(PersonId, Option<String>)>> {
        async move {
            let body = json!({ "search_term": query, "limit": limit });
            let asking = self.0.client.post("/_matrix/client/v3/user_directory/search", None, &body);
            let Ok(Ok(answer)) = tokio::time::timeout(SEARCH, asking).await else { return Vec::new() };
            let results = answer["results"].as_array().into_iter().flatten().take(limit);
            results
                .filter_map(|found| {
                    // Our own ghosts are people of XMPP already.
                    let id = found["user_id"].as_str().filter(|id| !self.0.ghosts.ours(id))?;
                    let name = found["display_name"].as_str().map(str::to_owned);
                    Some((id::read_person(id)?, name.filter(|name| !name.trim().is_empty())))
                })
                .collect()
        }
        .boxed()
    }

    fn blocked<'a>(&'a self, user: &'a UserId, person: &'a PersonId) -> BoxFuture<'a, ()> {
        async move {
            if let Err(failure) = self.0.leave_dm(user, person).await {
                warn!(?failure, "a ghost does not leave the chat of two of a user who has blocked somebody");
            }
        }
        .boxed()
    }

    fn registration(&self) -> Option<String> {
        Some(registration::yaml(&self.0.config))
    }

    fn listeners(&self) -> Vec<Listener> {
        let address = self.0.bound.get().unwrap_or(&self.0.config.listen);
        vec![Listener { what: "application service", address: address.to_string() }]
    }

    fn check<'a>(&'a self, running: bool) -> BoxFuture<'a, Vec<Finding>> {
        self.0.check(running).boxed()
    }
}
