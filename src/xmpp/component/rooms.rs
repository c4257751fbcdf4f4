//! The rooms of a component: what they want done is done here ([`super::super::muc`] does no I/O).

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use portway_bridges::api::{Chat, ChatInfo, Condition, EventId, Failure, RoomId, Signal, SignalKind, UserId};
use tracing::{debug, warn};

use super::{Component, Inner};
use crate::command::Outside;
use crate::identity::access;
use crate::route::item::{Item, Meta, Speaker};
use crate::xmpp::doors::Voice;
use crate::xmpp::from_stanza::{self, Parsed};
use crate::xmpp::jid::Jid;
use crate::xmpp::muc::Effect;
use crate::xmpp::roster::offer::Offered;
use crate::xmpp::stanza::{OurJid, OutStanza, Stanza, StanzaKind};
use crate::xmpp::stream::Priority;
use crate::xmpp::{error, iq, xml};

/// How long a network may take to let a user into a room.
const ENTER: Duration = Duration::from_secs(60);

/// The first wait before a user who was in a room before a restart is brought in again; each further one is twice as
/// long, up to [`ENTER`].
const AGAIN: Duration = Duration::from_secs(1);

/// How many restored sessions are asked at a time whether they are still there.
const PINGS: usize = 64;

/// What commands want done. Holds the component weakly, which holds the commands.
pub(super) struct Outdoors {
    voice: Voice,
    component: Weak<Inner>,
}

impl Outdoors {
    pub(super) fn new(voice: Voice, component: &Component) -> Self {
        Self { voice, component: Arc::downgrade(&component.0) }
    }
}

impl Outside for Outdoors {
    fn subscribe(&self, contact: Option<&str>, user: &UserId) {
        if let Some(component) = self.component.upgrade().map(Component) {
            component.ask(contact, user);
        }
    }

    fn offer(&self, user: &UserId, contacts: Vec<Offered>) {
        if let Some(component) = self.component.upgrade().map(Component) {
            component.offer(user, contacts);
        }
    }

    fn leave(&self, user: &UserId) {
        self.voice.leave(user);
        if let Some(component) = self.component.upgrade().map(Component) {
            component.forget(user);
        }
    }

    fn disconnect<'a>(&'a self, user: &'a UserId) -> BoxFuture<'a, usize> {
        Box::pin(async move {
            let Some(component) = self.component.upgrade().map(Component) else { return 0 };
            let parts = &component.0.parts;
            let sessions = parts.muc.sessions();
            let own = sessions.iter().filter(|(_, session)| access::user(session).as_ref() == Some(user));
            let mut count = 0;
            for (us, session) in own {
                let effects = parts.muc.unreachable(us, session, parts.clock.now());
                component.perform(effects).await;
                count += 1;
            }
            count
        })
    }
}

impl Component {
    /// Brings the occupants of rooms back after a restart.
    pub(super) async fn restore(&self) {
        let parts = &self.0.parts;
        match parts.store.occupants(&parts.network).await {
            Ok(rows) => {
                let effects = parts.muc.restore(rows);
                self.perform(effects).await;
                let this = self.clone();
                tokio::spawn(async move { this.look_for_sessions().await });
            }
            Err(error) => warn!(network = %parts.network, %error, "the occupants of rooms cannot be read"),
        }
    }

    /// Asks every restored session whether it is still there: a client that went while we were away could not tell us.
    async fn look_for_sessions(&self) {
        let parts = &self.0.parts;
        parts.link.wait_up().await;
        let mut asking = futures::stream::iter(parts.muc.sessions())
            .map(|(us, session)| async move {
                let ping = OutStanza::new(StanzaKind::Iq, &us, &session, Some("get"), None);
                let ping = ping.with(xml::element("ping", iq::ns::PING, &[]));
                (parts.link.iq(ping, ENTER).await, us, session)
            })
            .buffer_unordered(PINGS);
        while let Some((answer, us, session)) = asking.next().await {
            // Silence may be a client on a bad line; what it says of itself or its server of it is an answer.
            if answer.is_ok_and(|answer| gone(&answer)) {
                let effects = parts.muc.unreachable(&us, &session, parts.clock.now());
                Box::pin(self.perform(effects)).await;
            }
        }
    }

    pub(super) async fn to_room(&self, stanza: &Stanza, us: &OurJid, room: RoomId) {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let effects = match stanza.kind {
            StanzaKind::Presence => parts.muc.presence(stanza, us, room, now),
            StanzaKind::Iq => parts.muc.iq(stanza, us, &room),
            StanzaKind::Message => match from_stanza::message(stanza) {
                Parsed::Typing(active) => {
                    if let Some((room, user)) = parts.muc.speaker(stanza, us) {
                        let signal = Signal { chat: Chat::Room(room), user, kind: SignalKind::Typing(active) };
                        self.signal_network(signal);
                    }
                    return;
                }
                Parsed::Refuse(condition, sentence) => {
                    self.refuse_stanza(stanza, condition, &sentence);
                    return;
                }
                parsed => parts.muc.message(stanza, us, parsed, now),
            },
        };
        self.perform(effects).await;
    }

    /// Does what the rooms want done, in order.
    pub(super) async fn perform(&self, effects: Vec<Effect>) {
        let parts = &self.0.parts;
        for effect in effects {
            match effect {
                Effect::Send(stanza) => self.send(&stanza, Priority::Normal),
                Effect::Refuse(stanza, condition, sentence) => self.refuse_stanza(&stanza, condition, &sentence),
                Effect::Accept(item) => parts.router.accept(item).await,
                Effect::Enter { ticket, user, nick, room, again } => self.enter(ticket, user, nick, room, again),
                Effect::Admit { ticket, row } => {
                    let row = crate::store::OccupantRow { network: parts.network.to_string(), ..row };
                    // Whoever is shown a room may be invited to it the next moment, and by the same address.
                    if let Some(user) = Jid::parse(&row.session).ok().as_ref().and_then(access::user) {
                        parts.directory.joined(&user, &row.room, &row.face).await;
                    }
                    let then = match parts.store.put_occupants(vec![row]).await {
                        Ok(()) => {
                            let mut send = |stanza: &OutStanza| parts.link.send(stanza, Priority::Normal).is_ok();
                            parts.muc.admit(ticket, parts.clock.now(), &mut send)
                        }
                        Err(error) => {
                            warn!(network = %parts.network, %error, "an occupant cannot be stored");
                            parts.muc.turn_away(ticket, parts.clock.now())
                        }
                    };
                    Box::pin(self.perform(then)).await;
                }
                Effect::Moved { users, old, next } => self.follow(users, old, next),
                Effect::Forget { room, sessions } => {
                    if let Err(error) = parts.store.remove_occupants(&parts.network, Some(&room), sessions).await {
                        warn!(network = %parts.network, %error, "an occupant cannot be removed");
                    }
                }
            }
        }
    }

    /// Lets the network bring a user into a room, and tells the room how it went.
    ///
    /// `again`: they were there before a restart, so what may pass is tried until it has, or until they have left.
    fn enter(&self, ticket: u64, user: UserId, nick: String, room: RoomId, again: bool) {
        let this = self.clone();
        tokio::spawn(async move {
            let parts = &this.0.parts;
            parts.directory.seen_user(&user);
            let mut result = this.entering(&user, &nick, &room).await;
            let mut pause = AGAIN;
            while let (true, Some(hint)) = (again && parts.muc.awaits(ticket), may_pass(&result)) {
                debug!(network = %parts.network, ?pause, "an occupant waits for their room");
                tokio::time::sleep(hint.unwrap_or(pause).clamp(AGAIN, ENTER)).await;
                pause *= 2;
                pause = pause.min(ENTER);
                result = this.entering(&user, &nick, &room).await;
            }
            let effects = parts.muc.entered(ticket, result, parts.clock.now());
            Box::pin(this.perform(effects)).await;
        });
    }

    /// Lets the network bring a user into a room; what is there, and what was said.
    async fn entering(
        &self,
        user: &UserId,
        nick: &str,
        room: &RoomId,
    ) -> Result<(ChatInfo, Vec<(EventId, Item)>), Failure> {
        let parts = &self.0.parts;
        let entering = async {
            let _permit = self.0.work.acquire().await;
            let info = parts.adapter.enter(user, nick, room).await?;
            let known = parts.muc.knows_history(&info.room);
            let history = if known { Vec::new() } else { self.history(&info.room).await };
            parts.directory.seen(Err(info.room.clone()), info.name.clone());
            Ok((info, history))
        };
        tokio::time::timeout(ENTER, entering)
            .await
            .unwrap_or_else(|_| Err(Failure::temporary("entering the room took too long")))
    }

    /// What was said in a room: from our archive, and where that is empty from the network.
    async fn history(&self, room: &RoomId) -> Vec<(EventId, Item)> {
        let parts = &self.0.parts;
        let key = crate::route::key::chat(&Chat::Room(room.clone()));
        let limit = parts.muc.history_len();
        let stored = parts.store.history(&parts.network, &key, crate::store::Direction::ToXmpp, limit).await;
        let mut items: Vec<(EventId, Item)> = stored
            .unwrap_or_default()
            .into_iter()
            .filter_map(|message| Some((message.id, crate::route::stored::read(&message.body?).ok()?)))
            .collect();
        if items.len() < limit
            && let Ok(earlier) = parts.adapter.history(room, limit).await
        {
            let known: Vec<String> = items.iter().filter_map(|(_, item)| item.meta.remote_id.clone()).collect();
            let before = items.first().map(|(_, item)| item.at);
            let earlier = earlier
                .into_iter()
                .filter(|old| !known.iter().any(|id| id == old.id.as_str()))
                .filter(|old| before.is_none_or(|before| old.at <= before))
                .map(|old| {
                    let speaker = match old.sender {
                        Ok(id) => Speaker::Person { id, name: old.name },
                        Err(id) => Speaker::User { id, name: old.name },
                    };
                    let meta = Meta { remote_id: Some(old.id.to_string()), ..Meta::default() };
                    (EventId(0), Item { chat: Chat::Room(room.clone()), speaker, at: old.at, kind: old.kind, meta })
                });
            let mut all: Vec<_> = earlier.collect();
            all.append(&mut items);
            let surplus = all.len().saturating_sub(limit);
            items = all.split_off(surplus);
        }
        items
    }
}

/// Whether a result is a failure that may pass, and when to ask again. A server that does not answer may be back.
fn may_pass<T>(result: &Result<T, Failure>) -> Option<Option<Duration>> {
    match result {
        Err(Failure::Temporary { retry_after, .. }) => Some(*retry_after),
        Err(Failure::Permanent { condition: Condition::RemoteServerNotFound, .. }) => Some(None),
        _ => None,
    }
}

/// Whether the answer to a ping says that nobody is there (RFC 6121, section 8.5.3).
fn gone(answer: &Stanza) -> bool {
    let nobody = [
        Condition::ServiceUnavailable,
        Condition::ItemNotFound,
        Condition::RecipientUnavailable,
        Condition::RemoteServerNotFound,
        Condition::Gone,
    ];
    answer.type_.as_deref() == Some("error") && nobody.contains(&error::read(answer).0)
}
