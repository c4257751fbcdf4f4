//! The gateway as one adapter sees it.

use std::sync::Arc;

use futures::FutureExt;
use portway_bridges::api::{
    Accepted, Adapter, Availability, BoxFuture, Chat, Closed, Content, CorePort, EventId, Failure, Inbound, InboxId,
    InboxItem, ItemId, Kind, Membership, PersonId, RoomId, Sentence, Submission, Timestamp, UserId, Whereabouts,
};
use tokio::sync::Semaphore;
use tracing::debug;

use super::item::Speaker;
use super::{consent, event, key, router::Router};
use crate::clock::Clock;
use crate::command::House;
use crate::command::house::Policy;
use crate::identity::{Access, Directory, Rules};
use crate::media::Fetcher;
use crate::observe::Metrics;
use crate::store::{Direction, NewBatch, Store, StoreError};
use crate::text::Catalogue;
use crate::xmpp::XmppSide;
use crate::xmpp::face::Faces;

/// The gateway's side of [`portway_bridges::api::Core`] for one network.
pub struct Port {
    /// The network's id.
    pub network: Arc<str>,
    /// The durable memory.
    pub store: Store,
    /// The way to XMPP.
    pub router: Router,
    /// The network, for how it writes people.
    pub adapter: Arc<dyn Adapter>,
    /// The XMPP side, for what is not stored.
    pub side: Arc<dyn XmppSide>,
    /// Who may.
    pub access: Arc<Access>,
    /// Who is kept out.
    pub rules: Arc<Rules>,
    /// What users have chosen.
    pub house: Arc<House>,
    /// How many signals may be looked at.
    pub looking: Arc<Semaphore>,
    /// Who is who.
    pub directory: Arc<Directory>,
    /// The faces.
    pub faces: Faces,
    /// Gets files from the web.
    pub fetcher: Fetcher,
    /// The sentences.
    pub texts: Arc<Catalogue>,
    /// The metrics.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
}

impl CorePort for Port {
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Accepted, Closed>> {
        self.commit(submission).boxed()
    }

    fn signal(&self, inbound: Inbound) {
        let Chat::Direct { user, person } = inbound.chat.clone() else {
            return self.side.signal(&event::from_inbound(&inbound));
        };
        // What is known without asking the store keeps the order of signals.
        if self.house.delivers(&user) {
            return self.side.signal(&event::from_inbound(&inbound));
        }
        let Ok(permit) = self.looking.clone().try_acquire_owned() else { return };
        let (house, side) = (self.house.clone(), self.side.clone());
        tokio::spawn(async move {
            if matches!(heard(&house, &user, &person).await, Ok(true)) {
                side.signal(&event::from_inbound(&inbound));
            }
            drop(permit);
        });
    }

    fn available(&self, person: &PersonId, availability: Availability) {
        if availability.state == Whereabouts::Here {
            self.directory.seen(Ok(person.clone()), None);
        }
        self.side.available(person, availability);
    }

    fn inbox(&self, after: Option<InboxId>, limit: usize) -> BoxFuture<'_, Result<Vec<InboxItem>, Closed>> {
        async move {
            let rows = self.store.inbox(&self.network, after, limit).await.map_err(closed)?;
            Ok(rows.into_iter().map(|(id, raw)| InboxItem { id, raw }).collect())
        }
        .boxed()
    }

    fn bury(&self, item: InboxId, reason: &str) -> BoxFuture<'_, Result<(), Closed>> {
        let reason = reason.to_owned();
        async move {
            self.metrics.dead(&self.network, Direction::ToXmpp);
            self.store.bury(&self.network, item, &reason).await.map_err(closed)
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, Closed>> {
        async move { self.store.kv_get(&self.network, key).await.map_err(closed) }.boxed()
    }

    fn put<'a>(&'a self, key: &'a str, value: Option<Vec<u8>>) -> BoxFuture<'a, Result<(), Closed>> {
        async move { self.store.kv_put(&self.network, key, value).await.map_err(closed) }.boxed()
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Vec<u8>)>, Closed>> {
        async move { self.store.kv_scan(&self.network, prefix, after, limit).await.map_err(closed) }.boxed()
    }

    fn find<'a>(&'a self, chat: &'a Chat, id: &'a ItemId) -> BoxFuture<'a, Result<Option<EventId>, Closed>> {
        async move {
            let found = self.store.find_message(&self.network, &key::chat(chat), id.as_str()).await.map_err(closed)?;
            Ok(found.map(|message| message.id))
        }
        .boxed()
    }

    fn chat_of(&self, event: EventId) -> BoxFuture<'_, Result<Option<Chat>, Closed>> {
        async move {
            let found = self.store.message(event).await.map_err(closed)?;
            Ok(found.and_then(|message| key::read_direct(&message.chat)))
        }
        .boxed()
    }

    fn original(&self, event: EventId) -> BoxFuture<'_, Result<Option<Vec<u8>>, Closed>> {
        async move { self.store.original(event).await.map_err(closed) }.boxed()
    }

    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Content, Failure>> {
        self.fetcher.fetch(url).boxed()
    }

    fn allows(&self, user: &UserId) -> bool {
        self.access.allows(user)
    }

    fn may_reach<'a>(&'a self, person: &'a PersonId, user: &'a UserId) -> BoxFuture<'a, bool> {
        // Without the store there is no saying; what is submitted is looked at again.
        async move {
            !matches!(self.rules.between(user, person).await, Ok(Some(_)))
                && !matches!(self.refused(user, person).await, Ok(true))
        }
        .boxed()
    }

    fn is_user<'a>(&'a self, person: &'a PersonId, user: &'a UserId) -> BoxFuture<'a, bool> {
        async move { self.linked(person, user).await.unwrap_or(false) }.boxed()
    }

    fn hosts(&self) -> Vec<String> {
        self.access.hosts()
    }

    fn seen(&self, who: Result<PersonId, RoomId>, name: Option<String>) {
        self.directory.seen(who, name);
    }

    fn pictured(&self, person: PersonId) {
        self.faces.changed(&person);
    }

    fn install_id(&self) -> String {
        self.store.install_id().to_owned()
    }

    fn key(&self, purpose: &str) -> [u8; 32] {
        self.store.key(purpose)
    }

    fn text(&self, sentence: &Sentence, lang: Option<&str>) -> String {
        self.texts.text(sentence, lang)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn loss(&self, kind: &'static str) {
        self.metrics.lost(&self.network, kind);
    }
}

/// Whether a user hears of a person now, without being asked.
async fn heard(house: &House, user: &UserId, person: &PersonId) -> Result<bool, StoreError> {
    let policy = house.policy(house.choices(user).await?.as_ref());
    Ok(policy == Policy::Deliver || consent::knows(house, user, person).await?)
}

impl Port {
    /// Whether a user wants to hear nothing of strangers, and the person is one.
    async fn refused(&self, user: &UserId, person: &PersonId) -> Result<bool, StoreError> {
        let policy = self.house.policy(self.house.choices(user).await?.as_ref());
        Ok(policy == Policy::Refuse && !consent::knows(&self.house, user, person).await?)
    }

    async fn linked(&self, person: &PersonId, user: &UserId) -> Result<bool, StoreError> {
        let link = self.store.link_of(&self.network, &self.adapter.print_person(person)).await?;
        Ok(link.is_some_and(|link| link.user == user.to_string()))
    }

    async fn commit(&self, submission: Submission) -> Result<Accepted, Closed> {
        let network = self.network.to_string();
        let mut original = submission.original;
        let mut batch = NewBatch {
            once: submission.once.map(|name| (network.clone(), name)),
            completes: submission.completes,
            inbox: submission.inbox.into_iter().map(|raw| (network.clone(), raw)).collect(),
            puts: submission.puts.into_iter().map(|(key, value)| (network.clone(), key, value)).collect(),
            ..NewBatch::default()
        };
        for inbound in &submission.events {
            if let Chat::Direct { user, .. } = &inbound.chat
                && !self.access.allows(user)
            {
                // Nothing of a network reaches the federation of XMPP through us.
                debug!(%network, "an event for somebody who may not use the gateway was left out");
                self.metrics.lost(&self.network, "not-allowed");
                continue;
            }
            if let Chat::Direct { user, .. } = &inbound.chat
                && !matches!(inbound.kind, Kind::Failed(_))
                && self.rules.between(user, &inbound.sender).await.map_err(closed)?.is_some()
            {
                debug!(%network, "an event of somebody who is kept out was left out");
                self.metrics.lost(&self.network, "blocked");
                continue;
            }
            let mut item = event::from_inbound(inbound);
            if let Chat::Direct { user, person } = &inbound.chat
                && inbound.sender != *person
            {
                // Somebody else speaks in a chat of two: the user, if that account is theirs.
                if self.linked(&inbound.sender, user).await.map_err(closed)? {
                    item.speaker = Speaker::User { id: user.clone(), name: inbound.sender_name.clone() };
                }
            }
            if let Chat::Direct { user, person } = &inbound.chat {
                item.meta.face = self.directory.face(user, person).await;
                if let Kind::Membership(Membership::Invite { room, .. }) = &inbound.kind {
                    item.meta.room = self.directory.room_face(user, room).await;
                }
            }
            if let Kind::Failed(failed) = &inbound.kind {
                // Whoever wrote that message hears of it, on that message and where it came from.
                let Some(message) = self.store.message(failed.event).await.map_err(closed)? else {
                    debug!(%network, "a failure of a message that is not known was left out");
                    continue;
                };
                item.at = message.at;
                item.meta.id = message.source_ids.first().cloned();
                item.meta.to = message.reply_to;
            }
            let consent = consent::of_event(&self.house, inbound, &item).await.map_err(closed)?;
            batch.events.push(event::to_xmpp(&self.network, inbound, &item, original.take(), consent));
        }
        for inbound in &submission.events {
            self.directory.seen(Ok(inbound.sender.clone()), inbound.sender_name.clone());
        }
        let result = self.router.submit(batch).await.map_err(closed)?;
        for committed in &result.events {
            self.metrics.accepted(&self.network, Direction::ToXmpp, committed.duplicate);
        }
        Ok(Accepted { events: result.events.iter().map(|committed| committed.id).collect(), repeated: result.repeated })
    }
}

fn closed(error: StoreError) -> Closed {
    Closed(error.to_string())
}
