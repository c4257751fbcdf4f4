//! The two ways of one network, put together.

use std::sync::Arc;
use std::time::Duration;

use portway_bridges::api::{Adapter, Chat, Condition, Descriptor, Failed, Kind, Sentence, Stop, UserId};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::deliver::{Delivery, Parts};
use super::item::{Item, Meta, Speaker};
use super::lane::Lanes;
use super::outbox::Outbox;
use super::said::{self, Said};
use super::settler::Settler;
use super::{event, key};
use crate::clock::Clock;
use crate::observe::Metrics;
use crate::store::{Direction, NewBatch, NewEvent, Reason, Store};
use crate::text::Catalogue;
use crate::xmpp::XmppSide;
use crate::xmpp::stream::Link;

/// How many stanzas wait for their commit at most; the reader of the component waits when it is full.
const INTAKE: usize = 1024;

/// How many stanzas are committed together at most.
const BATCH: usize = 256;

/// How long the other lines of a batch wait for a user who is still writing.
const WRITING: Duration = Duration::from_secs(60);

/// How long a line that was sent may take to the lines that wait for it.
const ARRIVES: Duration = Duration::from_secs(5);

/// The router of one network. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    network: Arc<str>,
    store: Store,
    clock: Clock,
    intake: mpsc::Sender<Item>,
    lanes: Arc<Lanes>,
    to_xmpp: Arc<Notify>,
    turned_away: Notify,
}

/// What a router is made of.
pub struct RouterParts {
    /// The network's id.
    pub network: Arc<str>,
    /// What the network calls itself.
    pub descriptor: Descriptor,
    /// The network.
    pub adapter: Arc<dyn Adapter>,
    /// The durable memory.
    pub store: Store,
    /// The sentences.
    pub texts: Arc<Catalogue>,
    /// The metrics.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// The signal to stop.
    pub stop: Stop,
    /// Set when nothing more will be read from the XMPP server: what was read is committed then, and the intake closes.
    pub drained: Stop,
}

/// A router that was built and does not run yet: the XMPP side needs it before it can be attached.
pub struct Unattached {
    intake: mpsc::Receiver<Item>,
    settler: Settler,
    metrics: Metrics,
    stop: Stop,
    drained: Stop,
}

impl Router {
    /// Builds the router.
    #[must_use]
    pub fn new(parts: RouterParts) -> (Self, Unattached) {
        let to_xmpp = Arc::new(Notify::new());
        let settler = {
            let to_xmpp = to_xmpp.clone();
            // Everything that follows from an outcome goes to XMPP.
            Settler::start(parts.store.clone(), move |_: &[NewEvent]| to_xmpp.notify_one())
        };
        let delivery = Delivery::new(Parts {
            network: parts.network.clone(),
            descriptor: parts.descriptor,
            adapter: parts.adapter,
            store: parts.store.clone(),
            settler: settler.clone(),
            texts: parts.texts,
            metrics: parts.metrics.clone(),
            clock: parts.clock.clone(),
        });
        let lanes = Lanes::new(parts.network.clone(), parts.store.clone(), delivery, parts.stop.clone());
        let (sender, receiver) = mpsc::channel(INTAKE);
        let router = Self(Arc::new(Inner {
            network: parts.network,
            store: parts.store,
            clock: parts.clock,
            intake: sender,
            lanes,
            to_xmpp,
            turned_away: Notify::new(),
        }));
        (
            router,
            Unattached { intake: receiver, settler, metrics: parts.metrics, stop: parts.stop, drained: parts.drained },
        )
    }

    /// Starts both ways. The tasks end at the stop signal.
    pub fn attach(&self, rest: Unattached, link: Link, side: Arc<dyn XmppSide>) -> Vec<JoinHandle<()>> {
        let outbox = Outbox {
            network: self.0.network.clone(),
            store: self.0.store.clone(),
            settler: rest.settler,
            link,
            side: side.clone(),
            committed: self.0.to_xmpp.clone(),
            metrics: rest.metrics.clone(),
            clock: self.0.clock.clone(),
            stop: rest.stop.clone(),
        };
        vec![
            tokio::spawn(self.0.lanes.clone().run()),
            tokio::spawn(outbox.run()),
            tokio::spawn(self.clone().commit(rest.intake, side, rest.metrics, rest.drained)),
        ]
    }

    /// Takes an event from XMPP. Returns when it is queued for its commit; waits only for the disk, never for a network
    /// or a lane. If the commit fails its sender gets an error of type `wait`.
    pub async fn accept(&self, item: Item) {
        if let Err(lost) = self.0.intake.send(item).await {
            warn!(network = %self.0.network, kind = ?std::mem::discriminant(&lost.0.kind), "stopping: not accepted");
        }
    }

    /// Commits an event of our own that goes to XMPP, such as a failure, and waits for it.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] where the store cannot take it.
    pub async fn submit(&self, batch: NewBatch) -> Result<crate::store::BatchResult, crate::store::StoreError> {
        let wake = batch.events.iter().any(|event| event.direction == Direction::ToXmpp);
        let wake_lanes = batch.events.iter().any(|event| event.direction == Direction::ToNetwork);
        let result = self.0.store.commit(batch).await?;
        if wake || result.more_to_xmpp {
            self.0.to_xmpp.notify_one();
        }
        if result.turned_away {
            self.0.turned_away.notify_one();
        }
        if wake_lanes {
            self.0.lanes.wake();
        }
        Ok(result)
    }

    /// Something was committed on the way to the network by other hands.
    pub fn wake(&self) {
        self.0.lanes.wake();
    }

    /// The gateway itself says something to a user. Returns when it is on disk: a server that is away gets it later.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] where the store cannot take it.
    pub async fn say(&self, user: &UserId, text: String) -> Result<(), crate::store::StoreError> {
        let row = said::row(&self.0.network, &Said { user: user.clone(), text, at: self.0.clock.now(), asks: false });
        self.submit(NewBatch { events: vec![row], ..NewBatch::default() }).await.map(|_| ())
    }

    /// The user of a chat of two wants to hear of the person: what was held goes out. Says how much that was.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn welcome(&self, chat: &Chat) -> Result<u64, crate::store::StoreError> {
        let released = self.0.store.welcome(&self.0.network, &key::chat(chat)).await?;
        if released > 0 {
            self.0.to_xmpp.notify_one();
        }
        Ok(released)
    }

    /// A user does not want to hear of a person, or (`None`) of any of the strangers whose words are held, or cannot be
    /// asked: they go back. Says how many words that were.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn turn_away(
        &self,
        user: &UserId,
        chat: Option<&Chat>,
        reason: Reason,
    ) -> Result<u64, crate::store::StoreError> {
        let (of_user, chat) = (key::of_user(user), chat.map(key::chat));
        let turned = self.0.store.turn_away(&self.0.network, &of_user, chat.as_deref(), reason).await?;
        if turned > 0 {
            self.0.turned_away.notify_one();
        }
        Ok(turned)
    }

    /// Waits until something was turned away since the last time.
    pub async fn something_turned_away(&self) {
        self.0.turned_away.notified().await;
    }

    /// Tries now what waits for its next try in the chat with this key. False where nothing of it is under way.
    pub fn hurry(&self, chat: &str) -> bool {
        self.0.lanes.hurry(chat)
    }

    /// Takes what waits in the chat with this key out of the queue, on the word of `by`. Each sender is told; it can be seen,
    /// and tried again, among the dead letters. False where too many chats are being emptied already.
    pub fn empty(&self, chat: &str, by: &str) -> bool {
        self.0.lanes.empty(chat, self.0.clock.now(), by)
    }

    /// The XMPP side sent a message of ours back with an error: its sender on the network is told.
    pub async fn bounced(&self, chat: &Chat, id: &str, condition: Condition, text: Option<&str>) {
        let key = key::chat(chat);
        let found = match self.0.store.find_message(&self.0.network, &key, id).await {
            Ok(found) => found,
            Err(error) => {
                error!(network = %self.0.network, %error, "a bounce cannot be looked up");
                return;
            }
        };
        let Some(message) = found.filter(|message| message.direction == Direction::ToXmpp) else { return };
        let sentence =
            Sentence::new("core.bounced").with("condition", condition.name()).with("text", text.unwrap_or_default());
        let item = Item {
            chat: chat.clone(),
            speaker: Speaker::Gateway,
            at: self.0.clock.now(),
            kind: Kind::Failed(Failed { event: message.id, condition, sentence, still_trying: false }),
            meta: Meta::default(),
        };
        let mut row = event::to_network(&self.0.network, &item);
        row.dedupe = Some(format!("bounce/{}", message.id));
        if let Err(error) = self.submit(NewBatch { events: vec![row], ..NewBatch::default() }).await {
            error!(network = %self.0.network, %error, "a bounce cannot be stored");
        }
    }

    /// A user is writing, or has stopped: lines of a batch that wait for one another wait on.
    pub fn writing(&self, chat: &Chat, active: bool) {
        let now = self.0.clock.now();
        let until = if active { now.after(WRITING) } else { now };
        self.0.lanes.writing(&key::chat(chat), now, until);
    }

    /// A user has sent a line: they are not writing it any more, but it is still on its way to the others.
    pub fn said(&self, chat: &Chat) {
        let now = self.0.clock.now();
        self.0.lanes.said(&key::chat(chat), now, now.after(ARRIVES));
    }

    /// A user went offline towards a contact: what waits for further lines goes out.
    pub fn left(&self, chat: &Chat) {
        self.0.lanes.left(&key::chat(chat), self.0.clock.now());
    }

    /// The task that commits what came from XMPP, many stanzas in one transaction.
    async fn commit(self, mut intake: mpsc::Receiver<Item>, side: Arc<dyn XmppSide>, metrics: Metrics, drained: Stop) {
        let network = self.0.network.clone();
        let mut items = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                count = intake.recv_many(&mut items, BATCH) => if count == 0 { return },
                () = drained.cancelled() => {
                    // What has been read from the socket is committed before the end.
                    intake.close();
                    if intake.recv_many(&mut items, BATCH).await == 0 {
                        return;
                    }
                }
            }
            let events = items.iter().map(|item| event::to_network(&network, item)).collect();
            match self.0.store.commit(NewBatch { events, ..NewBatch::default() }).await {
                Ok(result) => {
                    for committed in &result.events {
                        metrics.accepted(&network, Direction::ToNetwork, committed.duplicate);
                    }
                    self.0.lanes.wake();
                    if result.more_to_xmpp {
                        self.0.to_xmpp.notify_one();
                    }
                }
                Err(error) => {
                    error!(%network, %error, "messages from XMPP cannot be stored; their senders are told");
                    for item in &items {
                        side.refuse(item, Condition::InternalServerError, &Sentence::new("core.store-failed"));
                    }
                }
            }
            items.clear();
        }
    }
}
