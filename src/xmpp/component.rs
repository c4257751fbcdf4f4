//! One attached component: what comes from the link goes to the part that it is for.

mod bookmarks;
mod contacts;
mod devices;
mod rooms;

use std::borrow::Cow;
use std::sync::Arc;

use portway_bridges::api::{
    Adapter, Availability, Chat, Condition, Descriptor, EventId, Kind, PersonId, RoomId, Sentence, Signal, SignalKind,
    UserId,
};
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};

use super::about::About;
use super::doors::{Doors, Voice};
use super::error::{self, ErrorType};
use super::face::Faces;
use super::file::Linking;
use super::from_stanza::{self, Parsed};
use super::jid::Jid;
use super::muc::Muc;
use super::rich::Features;
use super::roster::privilege::Privileges;
use super::roster::{self, Roster};
use super::stanza::{Domain, NS_CLIENT, OurJid, OutStanza, Stanza, StanzaKind};
use super::stream::{Link, LinkEvent, Priority};
use super::{XmppSide, calls, iq, to_stanza, xml};
use crate::clock::Clock;
use crate::identity::{Access, Directory, Limiter, Meant, Newcomers, access, newcomers};
use crate::observe::{Health, Metrics};
use crate::route::Router;
use crate::route::item::{Item, Meta, Speaker};
use crate::route::said::Said;
use crate::store::{Reason, Store};
use crate::text::Catalogue;

/// How many answers to IQs and joins may be in the making; more requests are told to come back later.
const WORK: usize = 512;

/// The parts of a component.
pub struct Parts {
    /// The network's id.
    pub network: Arc<str>,
    /// What the network calls itself.
    pub descriptor: Descriptor,
    /// The network.
    pub adapter: Arc<dyn Adapter>,
    /// The component's domain.
    pub domain: Domain,
    /// The connection.
    pub link: Link,
    /// The way to the network.
    pub router: Router,
    /// The durable memory.
    pub store: Store,
    /// Who may.
    pub access: Arc<Access>,
    /// How many messages and presences.
    pub limiter: Limiter,
    /// How many requests.
    pub iqs: Limiter,
    /// How many new people a user may write to.
    pub newcomers: Newcomers,
    /// Who is who.
    pub directory: Arc<Directory>,
    /// The faces.
    pub faces: Faces,
    /// The rooms.
    pub muc: Muc,
    /// What the gateway itself can be asked for.
    pub doors: Arc<Doors>,
    /// The sentences.
    pub texts: Arc<Catalogue>,
    /// How files get their URLs.
    pub linking: Linking,
    /// What the gateway says of itself.
    pub about: Arc<About>,
    /// The metrics.
    pub metrics: Metrics,
    /// What is ready.
    pub health: Health,
    /// What the servers let us do.
    pub privileges: Arc<Privileges>,
    /// The time.
    pub clock: Clock,
}

/// One attached component. Cheap to clone.
#[derive(Clone)]
pub struct Component(Arc<Inner>);

struct Inner {
    parts: Parts,
    roster: Roster,
    work: Arc<Semaphore>,
}

impl Component {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (network, store, shown) = (parts.network.clone(), parts.store.clone(), parts.faces.shown().clone());
        let roster = Roster::new(network, store, shown, parts.privileges.clone());
        let component = Self(Arc::new(Inner { parts, roster, work: Arc::new(Semaphore::new(WORK)) }));
        let parts = &component.0.parts;
        let voice = Voice { domain: parts.domain.clone(), link: parts.link.clone() };
        let outside = rooms::Outdoors::new(voice, &component);
        let _ = parts.doors.commander.house.outside.set(Box::new(outside));
        component
    }

    /// Takes what comes from the link until it ends.
    pub async fn run(self, mut events: mpsc::Receiver<LinkEvent>) {
        let parts = &self.0.parts;
        let mut restored = false;
        while let Some(event) = events.recv().await {
            match event {
                LinkEvent::Up { .. } => {
                    if !restored {
                        restored = true;
                        self.restore().await;
                    }
                    self.begin_presence();
                    parts.health.set(&parts.network, true);
                }
                LinkEvent::Down { reason } => {
                    debug!(network = %parts.network, %reason, "the link is down");
                    parts.health.set(&parts.network, false);
                }
                LinkEvent::Stanza(stanza) => self.stanza(*stanza).await,
                LinkEvent::Rejected { kind, from, to, id, type_, why } => {
                    debug!(network = %parts.network, ?why, "a stanza over a limit");
                    let element = xml::element(kind.name(), NS_CLIENT, &[]);
                    if let Some(stanza) = Stanza::from_element(element) {
                        let stanza = Stanza { from, to, id, type_, ..stanza };
                        self.refuse_stanza(&stanza, Condition::PolicyViolation, &Sentence::new("core.too-big"));
                    }
                }
            }
        }
    }

    async fn stanza(&self, stanza: Stanza) {
        let parts = &self.0.parts;
        let (Some(from), Some(us)) = (&stanza.from, stanza.to.as_ref().and_then(|to| parts.domain.own(to))) else {
            debug!(network = %parts.network, "a stanza without a usable address");
            return;
        };
        if from.domain() == parts.domain.as_str() {
            // Our own words came back; there is nobody to talk to.
            return;
        }
        if self.privileged(&stanza) {
            return;
        }
        // Anybody may ask the gateway what it is; its server does so as soon as it is connected.
        let public = us.jid().node().is_none() && iq::is_public(&stanza);
        if !public && !parts.access.allows_jid(from) {
            if from.node().is_none() && stanza.kind != StanzaKind::Iq {
                // A server speaks (XEP-0356 does): nobody to be taught the rules of the house.
                return;
            }
            // Of presence only what asks for something: an answer to a probe would say who is known here.
            let asks =
                stanza.kind != StanzaKind::Presence || matches!(stanza.type_.as_deref(), None | Some("subscribe"));
            if asks {
                self.refuse_stanza(&stanza, Condition::RegistrationRequired, &Sentence::new("core.not-allowed"));
            }
            return;
        }
        // Answers and errors of a client are not the doing of its user.
        let asked = !matches!(stanza.type_.as_deref(), Some("result" | "error" | "unavailable"));
        let limiter = if stanza.kind == StanzaKind::Iq { &parts.iqs } else { &parts.limiter };
        if asked && !limiter.allows(from.bare_str(), parts.clock.now()) {
            self.refuse_stanza(&stanza, Condition::ResourceConstraint, &Sentence::new("core.too-fast"));
            return;
        }
        if asked && let Some((condition, sentence)) = self.kept_out(from, public).await {
            self.refuse_stanza(&stanza, condition, &sentence);
            return;
        }
        if let Some(room) = self.room(&us) {
            return self.to_room(&stanza, &us, room).await;
        }
        match stanza.kind {
            StanzaKind::Iq => self.iq(stanza, us),
            StanzaKind::Presence => self.presence(&stanza, &us).await,
            StanzaKind::Message => self.message(stanza, &us).await,
        }
    }

    /// The room that an address means, if it means one: in our grammar, or as somebody typed it (`%23town%3aserver`).
    fn room(&self, us: &OurJid) -> Option<RoomId> {
        let parts = &self.0.parts;
        let face = us.jid().node().filter(|node| parts.descriptor.rooms && node.starts_with(['#', '!', '%']))?;
        match parts.directory.resolve(face) {
            Ok(Meant::Room(room)) => Some(room),
            Ok(Meant::Person(_)) | Err(_) => None,
        }
    }

    fn iq(&self, stanza: Stanza, us: OurJid) {
        if let (Some(session), Some(node), Some(from)) = (calls::session(&stanza), us.jid().node(), &stanza.from)
            && self.0.parts.directory.resolve(node).is_ok()
        {
            self.refuse_stanza(&stanza, Condition::ServiceUnavailable, &self.no_calls());
            self.say_no_calls(session, &us, from, stanza.lang.as_deref());
            return;
        }
        let Ok(permit) = self.0.work.clone().try_acquire_owned() else {
            self.refuse_stanza(&stanza, Condition::ResourceConstraint, &Sentence::new("core.store-failed"));
            return;
        };
        let this = self.clone();
        tokio::spawn(async move {
            let parts = &this.0.parts;
            let context = iq::Context {
                descriptor: &parts.descriptor,
                adapter: &*parts.adapter,
                directory: &parts.directory,
                texts: &parts.texts,
                faces: &parts.faces,
                about: &parts.about,
                now: parts.clock.now(),
            };
            let answer = match parts.doors.iq(&stanza, &us).await {
                Some(answer) => Some(answer),
                None => iq::answer(&stanza, &us, &context).await,
            };
            if let Some(answer) = answer {
                this.send(&answer, Priority::Urgent);
            }
            drop(permit);
        });
    }

    async fn message(&self, stanza: Stanza, us: &OurJid) {
        let parts = &self.0.parts;
        let Some((from, user)) = stanza.from.clone().and_then(|from| Some((from.clone(), access::user(&from)?))) else {
            return;
        };
        if stanza.type_.as_deref() == Some("groupchat") {
            // Contacts are not rooms (RFC 6121, section 5.2.2).
            self.refuse_stanza(&stanza, Condition::ServiceUnavailable, &Sentence::new("core.not-a-room"));
            return;
        }
        if parts.doors.reported(&stanza, us, &user).await {
            return;
        }
        let parsed = from_stanza::message(&stanza);
        let Some(node) = us.jid().node() else {
            match parsed {
                Parsed::Event { kind: Kind::Text(text), .. } => self.line(stanza, us.clone(), user, text.body),
                Parsed::Bounce { id: Some(id), .. } if id.starts_with(to_stanza::QUESTION) => {
                    self.cannot_be_asked(&user).await;
                }
                _ => {}
            }
            return;
        };
        let meant = match parts.directory.resolve(node) {
            Ok(meant) => meant,
            Err(refusal) => {
                if !matches!(parsed, Parsed::Bounce { .. }) {
                    self.refuse_stanza(&stanza, refusal.condition, &refusal.sentence);
                }
                return;
            }
        };
        let Meant::Person(person) = meant else {
            self.refuse_stanza(&stanza, Condition::ItemNotFound, &Sentence::new("core.no-rooms"));
            return;
        };
        if !matches!(parsed, Parsed::Bounce { .. } | Parsed::Ignore)
            && let Some((condition, sentence)) = parts.doors.keeps_out(&user, Some(&person)).await
        {
            self.refuse_stanza(&stanza, condition, &sentence);
            return;
        }
        let chat = Chat::Direct { user: user.clone(), person: person.clone() };
        match parsed {
            // Nothing that this network could show; it must not end the wait of lines for one another.
            Parsed::Event { kind: Kind::Displayed { .. }, .. }
                if !parts.adapter.capabilities(Some(&chat)).displayed => {}
            Parsed::Event { kind, more, origin_id, receipt, nick } => {
                match parts.newcomers.too_many(&user, &person).await {
                    Ok(None) => {}
                    Ok(Some(wait)) => {
                        let sentence = Sentence::new("core.too-many-people").with("time", newcomers::in_words(wait));
                        return self.refuse_stanza(&stanza, Condition::ResourceConstraint, &sentence);
                    }
                    Err(error) => {
                        warn!(network = %parts.network, %error, "the people whom a user has written to cannot be counted");
                        let sentence = Sentence::new("core.store-failed");
                        return self.refuse_stanza(&stanza, Condition::InternalServerError, &sentence);
                    }
                }
                let face = parts.directory.addressed(&user, &person, node).await;
                parts.directory.seen(Ok(person), None);
                parts.directory.seen_user(&user);
                let meta = Meta {
                    id: stanza.id.clone(),
                    origin_id,
                    from: Some(from.to_string()),
                    face: Some(face),
                    receipt: receipt && stanza.id.is_some(),
                    lang: stanza.lang.clone(),
                    ..Meta::default()
                };
                if !matches!(kind, Kind::Displayed { .. }) {
                    parts.router.said(&chat);
                }
                let name = match nick {
                    Some(nick) => Some(nick),
                    None => parts.doors.chosen_name(&user).await,
                };
                let speaker = Speaker::User { id: user, name };
                let kinds: Vec<Kind> = std::iter::once(kind).chain(more).collect();
                let last = kinds.len() - 1;
                for ((part, n), kind) in (0..).zip(0..).zip(kinds) {
                    // The receipt says that all of it has arrived, and a chat's events arrive in order.
                    let meta = Meta { part, receipt: meta.receipt && n == last, ..meta.clone() };
                    let (chat, speaker) = (chat.clone(), speaker.clone());
                    parts.router.accept(Item { chat, speaker, at: parts.clock.now(), kind, meta }).await;
                }
            }
            Parsed::Typing(active) => {
                parts.router.writing(&chat, active);
                self.signal_network(Signal { chat, user, kind: SignalKind::Typing(active) });
            }
            Parsed::Call(call) => {
                let device = us.resource(Some(to_stanza::RESOURCE)).unwrap_or_else(|| us.clone());
                self.send(&call.refused(&device, &from), Priority::Normal);
                self.say_no_calls(call.id(), &device, &from, stanza.lang.as_deref());
            }
            Parsed::Bounce { id, condition, text } => {
                if let Some(id) = id {
                    parts.router.bounced(&chat, &id, condition, text.as_deref()).await;
                }
            }
            Parsed::Refuse(condition, sentence) => self.refuse_stanza(&stanza, condition, &sentence),
            Parsed::Ignore => {}
        }
    }

    /// A user's server has sent back a question about strangers: what is held for the user would wait for nobody.
    async fn cannot_be_asked(&self, user: &UserId) {
        let parts = &self.0.parts;
        if let Err(error) = parts.router.turn_away(user, None, Reason::Unreachable).await {
            warn!(network = %parts.network, %error, "what is held for somebody who is not there cannot be sent back");
        }
    }

    /// Says in words that calls are not carried.
    fn say_no_calls(&self, call: &str, us: &OurJid, to: &Jid, lang: Option<&str>) {
        let parts = &self.0.parts;
        let body = parts.texts.text(&self.no_calls(), lang);
        self.send(&calls::words(call, us, to, &body), Priority::Normal);
    }

    fn no_calls(&self) -> Sentence {
        Sentence::new("core.no-calls").with("network", self.0.parts.descriptor.name)
    }

    /// Passes something of the moment on, if there is capacity for it.
    fn signal_network(&self, signal: Signal) {
        let parts = &self.0.parts;
        if !parts.adapter.capabilities(Some(&signal.chat)).typing {
            return;
        }
        let Ok(permit) = self.0.work.clone().try_acquire_owned() else { return };
        let adapter = parts.adapter.clone();
        tokio::spawn(async move {
            adapter.signal(signal).await;
            drop(permit);
        });
    }

    /// Answers a line that was written to the gateway itself.
    fn line(&self, stanza: Stanza, us: OurJid, user: UserId, text: String) {
        let Ok(permit) = self.0.work.clone().try_acquire_owned() else {
            self.refuse_stanza(&stanza, Condition::ResourceConstraint, &Sentence::new("core.store-failed"));
            return;
        };
        let this = self.clone();
        tokio::spawn(async move {
            if let Some(answer) = this.0.parts.doors.line(&stanza, &us, &user, &text).await {
                this.send(&answer, Priority::Normal);
            }
            drop(permit);
        });
    }

    /// What the admin's rules say of whoever sent a stanza. What anybody may ask, they may as well.
    async fn kept_out(&self, from: &Jid, public: bool) -> Option<(Condition, Sentence)> {
        if public {
            return None;
        }
        self.0.parts.doors.keeps_out(&access::user(from)?, None).await
    }

    /// The item with a name for its speaker: clients that do not take the escapes out of addresses show nothing better.
    fn named<'a>(&self, item: &'a Item) -> Cow<'a, Item> {
        let shown = matches!(item.kind, Kind::Text(_) | Kind::Edit { .. } | Kind::File(_) | Kind::Location { .. });
        let (Speaker::Person { id, name: None }, true) = (&item.speaker, shown) else { return Cow::Borrowed(item) };
        let name = Some(self.0.parts.adapter.print_person(id));
        Cow::Owned(Item { speaker: Speaker::Person { id: id.clone(), name }, ..item.clone() })
    }

    fn refuse_stanza(&self, stanza: &Stanza, condition: Condition, sentence: &Sentence) {
        let parts = &self.0.parts;
        let Some(us) = stanza.to.as_ref().and_then(|to| parts.domain.own(to)) else { return };
        if let Some(answer) = error::refusal(stanza, &us, condition, sentence, &parts.texts) {
            self.send(&answer, if stanza.kind == StanzaKind::Iq { Priority::Urgent } else { Priority::Normal });
        }
    }

    fn send(&self, stanza: &OutStanza, priority: Priority) {
        if let Err(error) = self.0.parts.link.send(stanza, priority) {
            debug!(network = %self.0.parts.network, %error, "a stanza was not sent");
        }
    }
}

impl XmppSide for Component {
    fn render(&self, id: EventId, item: &Item) -> Vec<OutStanza> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        match &item.chat {
            Chat::Direct { user, .. } => {
                let features = self.shows(user, &item.kind);
                let (domain, texts, linking) = (&parts.domain, &*parts.texts, &parts.linking);
                let context = to_stanza::Context { domain, texts, linking, now, features };
                match &item.speaker {
                    Speaker::User { id: user, .. } => {
                        roster::own::render(item, id, &context, self.0.roster.privileges.of(user.host()).as_ref())
                    }
                    _ => to_stanza::direct(&self.named(item), id, &context),
                }
            }
            Chat::Room(_) => {
                let out = parts.muc.render(id, item, now);
                let behind = parts.muc.behind();
                if !behind.is_empty() {
                    let this = self.clone();
                    tokio::spawn(async move { this.perform(behind).await });
                }
                out
            }
        }
    }

    fn say(&self, id: EventId, said: &Said) -> Vec<OutStanza> {
        let parts = &self.0.parts;
        let (domain, texts, linking) = (&parts.domain, &*parts.texts, &parts.linking);
        let (now, features) = (parts.clock.now(), Features::default());
        let context = to_stanza::Context { domain, texts, linking, now, features };
        to_stanza::said(said, id, &context)
    }

    fn refuse(&self, item: &Item, condition: Condition, sentence: &Sentence) {
        let parts = &self.0.parts;
        let (Some(to), Some(id)) = (item.meta.from.as_deref().and_then(|from| Jid::parse(from).ok()), &item.meta.id)
        else {
            return;
        };
        let from = item.meta.face.as_deref().and_then(|face| parts.domain.address(Some(face), None));
        let Some(from) = from else { return };
        let text = parts.texts.text(sentence, item.meta.lang.as_deref());
        let lang = Some(parts.texts.language(sentence, item.meta.lang.as_deref()));
        let stanza = error::bare(StanzaKind::Message, &from, &to, Some(id), condition, ErrorType::Wait, &text, lang);
        self.send(&stanza, Priority::Normal);
    }

    fn available(&self, person: &PersonId, availability: Availability) {
        self.passes_on(person, availability);
    }

    fn signal(&self, item: &Item) {
        let parts = &self.0.parts;
        match &item.chat {
            Chat::Direct { .. } => {
                let (domain, texts, linking) = (&parts.domain, &*parts.texts, &parts.linking);
                let (now, features) = (parts.clock.now(), Features::default());
                let context = to_stanza::Context { domain, texts, linking, now, features };
                for stanza in to_stanza::direct(item, EventId(0), &context) {
                    self.send(&stanza, Priority::Normal);
                }
            }
            Chat::Room(_) => {
                for stanza in parts.muc.signal(item) {
                    self.send(&stanza, Priority::Normal);
                }
            }
        }
    }
}
