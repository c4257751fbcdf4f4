//! The conformance suite that every adapter runs, and a gateway in memory for its tests.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use super::core::{Accepted, Closed, Core, CorePort, Inbound, InboxId, InboxItem, Submission};
use super::event::Chat;
use super::failure::{Condition, Failure};
use super::id::{EventId, ItemId, PersonId, RoomId, Timestamp, UserId};
use super::media::Content;
use super::network::{Adapter, Stop};
use super::sentence::Sentence;

/// A gateway that keeps everything in memory. Cheap to clone.
#[derive(Clone, Default)]
pub struct MemoryCore(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    hosts: Vec<String>,
    events: Vec<Inbound>,
    /// Of each event: its number, and the wire item that came with it.
    numbers: Vec<(EventId, Option<Vec<u8>>)>,
    /// Chats of events that went the other way.
    sent: BTreeMap<i64, Chat>,
    once: HashSet<String>,
    seen: HashSet<(String, String, String)>,
    kv: BTreeMap<String, Vec<u8>>,
    inbox: BTreeMap<i64, Vec<u8>>,
    buried: Vec<(InboxId, String)>,
    losses: Vec<&'static str>,
    pictured: Vec<PersonId>,
    next: i64,
    refuse: bool,
    refuse_submissions: bool,
    kept_out: Vec<(PersonId, UserId)>,
    links: Vec<(PersonId, UserId)>,
    /// What is on the web: media type and bytes, or why not.
    web: BTreeMap<String, Result<(String, Vec<u8>), Failure>>,
    /// Counts changes, so that a test waits for one and never sleeps.
    changes: watch::Sender<u64>,
}

impl MemoryCore {
    /// A gateway whose users live on these hosts.
    #[must_use]
    pub fn new(hosts: &[&str]) -> Self {
        let core = Self::default();
        core.inner().hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        core
    }

    /// The handle that an adapter takes.
    #[must_use]
    pub fn core(&self) -> Core {
        Core::new(Arc::new(self.clone()))
    }

    /// Everything that was committed, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Inbound> {
        self.inner().events.clone()
    }

    /// From now on this person is this user.
    pub fn link(&self, person: &PersonId, user: &UserId) {
        self.inner().links.push((person.clone(), user.clone()));
    }

    /// From now on this file is on the web.
    pub fn serve(&self, url: &str, media_type: &str, bytes: &[u8]) {
        self.inner().web.insert(url.to_owned(), Ok((media_type.to_owned(), bytes.to_vec())));
    }

    /// From now on it cannot be fetched.
    pub fn refuse_file(&self, url: &str, why: Failure) {
        self.inner().web.insert(url.to_owned(), Err(why));
    }

    /// From now on this person may not reach this user.
    pub fn keep_out(&self, person: &PersonId, user: &UserId) {
        self.inner().kept_out.push((person.clone(), user.clone()));
    }

    /// The number of the n-th of these events.
    #[must_use]
    pub fn number(&self, n: usize) -> EventId {
        self.inner().numbers[n].0
    }

    /// Remembers where an event that goes to the network belongs, as the gateway's store does.
    pub fn remember(&self, event: EventId, chat: Chat) {
        self.inner().sent.insert(event.0, chat);
    }

    /// What was given up.
    #[must_use]
    pub fn buried(&self) -> Vec<(InboxId, String)> {
        self.inner().buried.clone()
    }

    /// Who was said to have another picture, in order.
    #[must_use]
    pub fn pictured(&self) -> Vec<PersonId> {
        self.inner().pictured.clone()
    }

    /// The kinds of losses that were counted, in order.
    #[must_use]
    pub fn losses(&self) -> Vec<&'static str> {
        self.inner().losses.clone()
    }

    /// How many raw items are not yet done.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner().inbox.len()
    }

    /// Waits until something holds; looks after each change. The caller bounds the wait.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.inner().changes.subscribe();
        while !holds(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// From now on submissions are refused while the small storage still takes values, or again taken: what a crash
    /// between the two looks like.
    pub fn refuse_submissions(&self, refuse: bool) {
        self.inner().refuse_submissions = refuse;
    }

    /// From now on nothing can be committed, or again everything.
    pub fn refuse(&self, refuse: bool) {
        self.inner().refuse = refuse;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, submission: Submission) -> Result<Accepted, Closed> {
        let mut inner = self.inner();
        if inner.refuse {
            return Err(Closed("the test refuses".to_owned()));
        }
        if let Some(once) = submission.once
            && !inner.once.insert(once)
        {
            return Ok(Accepted { repeated: true, ..Accepted::default() });
        }
        let mut accepted = Accepted::default();
        let mut original = submission.original;
        for event in submission.events {
            let id = event
                .id
                .as_ref()
                .map(|id| (format!("{:?}", event.chat), format!("{:?}", event.sender), id.to_string()));
            if id.is_some_and(|id| !inner.seen.insert(id)) {
                continue;
            }
            inner.next += 1;
            let number = EventId(inner.next);
            accepted.events.push(number);
            inner.numbers.push((number, original.take()));
            inner.events.push(event);
        }
        for raw in submission.inbox {
            inner.next += 1;
            let id = inner.next;
            inner.inbox.insert(id, raw);
        }
        if let Some(done) = submission.completes {
            inner.inbox.remove(&done.0);
        }
        for (key, value) in submission.puts {
            match value {
                Some(value) => inner.kv.insert(key, value),
                None => inner.kv.remove(&key),
            };
        }
        inner.changes.send_modify(|count| *count += 1);
        Ok(accepted)
    }
}

impl CorePort for MemoryCore {
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Accepted, Closed>> {
        async move {
            if self.inner().refuse_submissions {
                return Err(Closed("the test refuses".to_owned()));
            }
            self.commit(submission)
        }
        .boxed()
    }

    fn signal(&self, event: Inbound) {
        let mut inner = self.inner();
        inner.next += 1;
        let number = EventId(inner.next);
        inner.numbers.push((number, None));
        inner.events.push(event);
        inner.changes.send_modify(|count| *count += 1);
    }

    fn inbox(&self, after: Option<InboxId>, limit: usize) -> BoxFuture<'_, Result<Vec<InboxItem>, Closed>> {
        let after = after.map_or(0, |after| after.0);
        let inner = self.inner();
        let items = inner.inbox.range(after + 1..).take(limit);
        let items = items.map(|(id, raw)| InboxItem { id: InboxId(*id), raw: raw.clone() }).collect();
        async move { Ok(items) }.boxed()
    }

    fn bury(&self, item: InboxId, reason: &str) -> BoxFuture<'_, Result<(), Closed>> {
        let mut inner = self.inner();
        inner.inbox.remove(&item.0);
        inner.buried.push((item, reason.to_owned()));
        inner.changes.send_modify(|count| *count += 1);
        async { Ok(()) }.boxed()
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, Closed>> {
        async move { Ok(self.inner().kv.get(key).cloned()) }.boxed()
    }

    fn put<'a>(&'a self, key: &'a str, value: Option<Vec<u8>>) -> BoxFuture<'a, Result<(), Closed>> {
        async move { self.commit(Submission { puts: vec![(key.to_owned(), value)], ..Submission::default() }).map(|_| ()) }.boxed()
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Vec<u8>)>, Closed>> {
        let inner = self.inner();
        let found = inner
            .kv
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        let found = found.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect();
        async move { Ok(found) }.boxed()
    }

    fn find<'a>(&'a self, chat: &'a Chat, id: &'a ItemId) -> BoxFuture<'a, Result<Option<EventId>, Closed>> {
        let inner = self.inner();
        let found = inner.events.iter().position(|event| event.chat == *chat && event.id.as_ref() == Some(id));
        let number = found.map(|at| inner.numbers[at].0);
        async move { Ok(number) }.boxed()
    }

    fn chat_of(&self, event: EventId) -> BoxFuture<'_, Result<Option<Chat>, Closed>> {
        let inner = self.inner();
        let came = inner.numbers.iter().position(|(number, _)| *number == event);
        let chat = came.map(|at| inner.events[at].chat.clone()).or_else(|| inner.sent.get(&event.0).cloned());
        async move { Ok(chat) }.boxed()
    }

    fn original(&self, event: EventId) -> BoxFuture<'_, Result<Option<Vec<u8>>, Closed>> {
        let inner = self.inner();
        let found = inner.numbers.iter().find(|(number, _)| *number == event);
        let original = found.and_then(|(_, original)| original.clone());
        async move { Ok(original) }.boxed()
    }

    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Content, Failure>> {
        let found = self.inner().web.get(url).cloned();
        let gone = || Failure::permanent(Condition::ItemNotFound, Sentence::new("core.no-file"), "nothing is there");
        let content = found.unwrap_or_else(|| Err(gone())).map(|(media_type, bytes)| Content {
            media_type: Some(media_type),
            size: Some(bytes.len() as u64),
            body: futures::stream::iter([Ok(Bytes::from(bytes))]).boxed(),
        });
        async move { content }.boxed()
    }

    fn allows(&self, user: &UserId) -> bool {
        self.inner().hosts.iter().any(|host| host == user.host())
    }

    fn may_reach<'a>(&'a self, person: &'a PersonId, user: &'a UserId) -> BoxFuture<'a, bool> {
        let kept_out = self.inner().kept_out.iter().any(|(one, of)| one == person && of == user);
        async move { !kept_out }.boxed()
    }

    fn is_user<'a>(&'a self, person: &'a PersonId, user: &'a UserId) -> BoxFuture<'a, bool> {
        let linked = self.inner().links.iter().any(|(one, of)| one == person && of == user);
        async move { linked }.boxed()
    }

    fn hosts(&self) -> Vec<String> {
        self.inner().hosts.clone()
    }

    fn seen(&self, _who: Result<PersonId, RoomId>, _name: Option<String>) {}

    fn pictured(&self, person: PersonId) {
        let mut inner = self.inner();
        inner.pictured.push(person);
        inner.changes.send_modify(|count| *count += 1);
    }

    fn install_id(&self) -> String {
        "testinstall".to_owned()
    }

    fn key(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        for (byte, letter) in key.iter_mut().zip(purpose.bytes()) {
            *byte = letter;
        }
        key
    }

    fn text(&self, sentence: &Sentence, _lang: Option<&str>) -> String {
        let values: Vec<&str> = sentence.args.iter().map(|(_, value)| value.as_str()).collect();
        format!("{} {}", sentence.key, values.join(" ")).trim_end().to_owned()
    }

    fn now(&self) -> Timestamp {
        Timestamp(1_780_000_000_000)
    }

    fn loss(&self, kind: &'static str) {
        self.inner().losses.push(kind);
    }
}

/// What every adapter must do, whatever its network.
///
/// # Panics
/// Where it does not: this is for tests.
pub async fn conformance(adapter: Arc<dyn Adapter>, person: &PersonId) {
    let capabilities = adapter.capabilities(None);
    assert!(capabilities.max_text > 0, "a network that carries no text is none");
    let canonical = adapter.canonical(person);
    assert_eq!(adapter.canonical(&canonical), canonical, "canonical is idempotent");
    let printed = adapter.print_person(&canonical);
    match adapter.resolve(&printed) {
        Ok(super::network::Address::Person(found)) => {
            assert_eq!(adapter.canonical(&found), canonical, "what is printed leads back");
        }
        other => panic!("{printed} leads to {other:?}"),
    }
    assert!(adapter.resolve("").is_err(), "nothing is no address");
    let stop = Stop::new();
    let running = {
        let (adapter, stop) = (adapter.clone(), stop.clone());
        tokio::spawn(async move { adapter.run(MemoryCore::new(&["x.org"]).core(), stop).await })
    };
    tokio::task::yield_now().await;
    stop.cancel();
    let grace = std::time::Duration::from_secs(10);
    let ended = tokio::time::timeout(grace, running).await.expect("it stops within the grace period");
    ended.expect("it does not panic").expect("it ends without complaint");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_network_conforms() {
        for network in crate::NETWORKS {
            let descriptor = network.describe();
            let example: String = descriptor.config_example.replace(":29320", ":0").replace(":2424", ":0");
            let raw = toml::from_str(&example).expect("the example is TOML");
            let adapter = network.configure(raw).expect("the example is a good configuration");
            let person = PersonId::new("bob", "example.org").expect("an id");
            conformance(Arc::from(adapter), &person).await;
            for key in descriptor.secret_keys {
                assert!(descriptor.config_keys.contains(key), "{key}");
            }
            for row in descriptor.sentences {
                assert!(row.key.starts_with(descriptor.id), "{}", row.key);
            }
        }
    }
}
