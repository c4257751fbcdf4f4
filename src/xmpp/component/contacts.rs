//! The contacts of a component: what their server does with presence (RFC 6121, sections 3 and 4), and whom it greets.

use std::time::Duration;

use portway_bridges::api::{Availability, Chat, Condition, PersonId, Picture, Sentence, UserId};
use tracing::{debug, warn};

use super::Component;
use crate::identity::{Meant, access};
use crate::store::{StoreError, Subscription};
use crate::xmpp::address::{self, Parsed};
use crate::xmpp::jid::Jid;
use crate::xmpp::roster::item::{self, Wanted};
use crate::xmpp::roster::privilege;
use crate::xmpp::roster::shown::{self, Pass};
use crate::xmpp::roster::subscription::{Change, inbound, outbound};
use crate::xmpp::stanza::{OurJid, OutStanza, Stanza, StanzaKind};
use crate::xmpp::stream::Priority;
use crate::xmpp::to_stanza::bare_jid;
use crate::xmpp::{iq, presence};

/// How long a device that came is left to its own server, which asks for every contact (RFC 6121, section 4.2.2).
const SETTLE: Duration = Duration::from_millis(1500);

/// How long a device counts as greeted behind that.
const LINGER: Duration = Duration::from_secs(5);

/// How many presences are sent in one go, and the pause behind them.
const BATCH: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// How many users are probed in one go when the link comes up, and the pause behind them.
const PROBES: usize = 50;
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// How long a server may take to answer about a roster.
const ROSTER: Duration = Duration::from_secs(20);

/// Who a stanza is for.
#[derive(Clone)]
struct Contact {
    /// The canonical localpart; empty: the gateway itself.
    key: String,
    /// Whose address it is.
    us: OurJid,
    /// Nobody for the gateway itself.
    person: Option<PersonId>,
}

impl Component {
    /// Takes what a server says of its privileges, and what came back of our own. True where the stanza is dealt with.
    pub(super) fn privileged(&self, stanza: &Stanza) -> bool {
        if privilege::is_our_own(stanza) {
            return true;
        }
        let parts = &self.0.parts;
        if let (StanzaKind::Presence, Some(from), Some(to)) = (stanza.kind, &stanza.from, &stanza.to)
            && to.node().is_none()
            && matches!(stanza.type_.as_deref(), None | Some("unavailable"))
            && !parts.access.allows_jid(from)
        {
            // A server that shows us its users shows us all of them: those who may not use us have not asked to.
            return self.0.roster.privileges.of(from.domain()).is_some_and(|grants| grants.presence);
        }
        let known = self.0.roster.privileges.learn(stanza, &parts.access.hosts());
        if known {
            debug!(network = %parts.network, "the server has said what we may do for its users");
        }
        known
    }

    /// Presence to a contact or to the gateway itself.
    pub(super) async fn presence(&self, stanza: &Stanza, us: &OurJid) {
        let parts = &self.0.parts;
        let Some(from) = stanza.from.as_ref() else { return };
        if let Some(user) = access::user(from) {
            parts.faces.user(stanza, &user);
        }
        let type_ = stanza.type_.as_deref();
        let contact = match us.jid().node() {
            None => Contact { key: String::new(), us: us.clone(), person: None },
            Some(node) => match self.contact(node, us) {
                Ok(Some(contact)) => contact,
                Ok(None) if matches!(type_, Some("subscribe") | None) => {
                    return self.refuse_stanza(stanza, Condition::ItemNotFound, &Sentence::new("core.no-rooms"));
                }
                Ok(None) => return,
                Err((condition, sentence)) => return self.nobody(stanza, us, condition, &sentence),
            },
        };
        let done = match type_ {
            None => {
                self.shows_itself(from, stanza, us);
                self.came(from);
                Ok(())
            }
            Some("unavailable") => {
                self.0.roster.online.went(from);
                parts.faces.caps().went(from);
                if let (Some(user), Some(person)) = (access::user(from), &contact.person) {
                    parts.router.left(&Chat::Direct { user, person: person.clone() });
                }
                Ok(())
            }
            Some("subscribe") => self.subscribe(stanza, from, &contact).await,
            Some("probe") => self.probe(from, &contact, stanza.id.as_deref()).await,
            Some(type_) => match Change::from_type(type_) {
                Some(change) => self.changed(from, &contact, change).await,
                None => Ok(()),
            },
        };
        if let Err(error) = done {
            warn!(network = %parts.network, %error, "a subscription cannot be stored");
            if type_ == Some("subscribe") {
                self.refuse_stanza(stanza, Condition::ResourceConstraint, &Sentence::new("core.store-failed"));
            }
        }
    }

    /// Who is meant by a localpart: `None` for a room.
    fn contact(&self, node: &str, us: &OurJid) -> Result<Option<Contact>, (Condition, Sentence)> {
        let refused = |refusal: portway_bridges::api::Refusal| (refusal.condition, refusal.sentence);
        match self.0.parts.directory.resolve(node).map_err(refused)? {
            Meant::Room(_) => Ok(None),
            Meant::Person(person) => {
                let key = self.0.parts.directory.localpart(&Meant::Person(person.clone())).map_err(refused)?;
                Ok(Some(Contact { key, us: us.clone(), person: Some(person) }))
            }
        }
    }

    /// An address that means nothing.
    fn nobody(&self, stanza: &Stanza, us: &OurJid, condition: Condition, sentence: &Sentence) {
        match stanza.type_.as_deref() {
            Some("subscribe") | None => self.refuse_stanza(stanza, condition, sentence),
            // There is nobody to be seen (RFC 6121, section 4.3.2); the user's server forgets the subscription.
            Some("probe") => {
                if let Some(from) = &stanza.from {
                    self.answer(us, &from.to_bare(), "unsubscribed", stanza.id.as_deref());
                }
            }
            Some(_) => {}
        }
    }

    /// Every subscription is granted, and asked for in return once: so the user's server tells us when they come and go.
    async fn subscribe(&self, stanza: &Stanza, from: &Jid, contact: &Contact) -> Result<(), StoreError> {
        let (parts, user) = (&self.0.parts, from.bare_str());
        if !self.0.roster.has_room(user, &contact.key).await? {
            self.refuse_stanza(stanza, Condition::ResourceConstraint, &Sentence::new("roster.full"));
            return Ok(());
        }
        if let (Some(user), Some(person), Some(node)) = (access::user(from), &contact.person, contact.us.jid().node()) {
            parts.directory.addressed(&user, person, node).await;
        }
        self.wants_to_hear(from, contact).await?;
        let grant = |state| outbound(inbound(state, Change::Subscribe).state, Change::Subscribed).state;
        let (_, after) = self.0.roster.change(user, &contact.key, grant).await?;
        // Whoever has it already and asks again is told again (RFC 6121, section 3.1.3).
        self.answer(&contact.us, &from.to_bare(), "subscribed", stanza.id.as_deref());
        self.show(contact, &from.to_bare()).await;
        self.tell_name(contact, from, true).await;
        if !after.to && !after.pending_out {
            self.bind(from, contact.clone());
        }
        Ok(())
    }

    /// Makes the user's side of it whole: in the user's roster where we may, else by asking.
    fn bind(&self, from: &Jid, contact: Contact) {
        let (this, user) = (self.clone(), from.to_bare());
        tokio::spawn(async move {
            if !this.entered(&user, &contact).await {
                this.ask_back(&user, &contact).await;
            }
        });
    }

    /// Whether the server of this user lets us read and change their roster.
    fn may_write(&self, user: &Jid) -> bool {
        self.0.roster.privileges.of(user.domain()).is_some_and(|grants| grants.roster_get && grants.roster_set)
    }

    /// Makes user and contact see each other by way of the user's roster. False where that is not ours to do, or did not
    /// come out.
    async fn entered(&self, user: &Jid, contact: &Contact) -> bool {
        if !self.may_write(user) {
            return false;
        }
        let _few = self.0.roster.changing.clone().acquire_owned().await;
        if !self.write_into_roster(user, contact).await {
            return false;
        }
        let both = |_| Subscription { to: true, from: true, ..Subscription::default() };
        if let Err(error) = self.0.roster.change(user.as_str(), &contact.key, both).await {
            warn!(network = %self.0.parts.network, %error, "a subscription cannot be stored");
        }
        true
    }

    /// Writes a contact into the roster of a user whose server lets us, and looks whether it is there: ejabberd ignores
    /// what we say of the subscription, and version 23.01 refuses.
    async fn write_into_roster(&self, user: &Jid, contact: &Contact) -> bool {
        let parts = &self.0.parts;
        let Some(bare) = contact.us.resource(None) else { return false };
        // The name in a roster counts more than any that a client hears of later, so it is worth a question.
        let wanted = Wanted {
            contact: bare.jid().as_str().to_owned(),
            name: self.name_or_ask(contact).await,
            group: parts.descriptor.name.to_owned(),
        };
        let read = || async {
            let answer = parts.link.iq(item::get(&parts.domain, user), ROSTER).await.ok()?;
            item::find(&answer, &wanted.contact)
        };
        let Some(there) = read().await else { return false };
        let Some(entry) = item::amended(&there, &wanted) else { return true };
        let written = parts.link.iq(item::set(&parts.domain, user, &wanted.contact, &entry), ROSTER).await;
        written.is_ok_and(|answer| item::is_done(&answer)) && read().await.is_some_and(|entry| entry.both)
    }

    /// A contact asks to see the user's presence: never twice, and never many at once.
    async fn ask_back(&self, user: &Jid, contact: &Contact) {
        let parts = &self.0.parts;
        if !self.0.roster.may_ask(user.as_str(), parts.clock.now()) {
            return;
        }
        // It may have been granted meanwhile, or the user may have gone back on it.
        let ask = |state: Subscription| match state.from && !state.to {
            true => outbound(state, Change::Subscribe).state,
            false => state,
        };
        match self.0.roster.change(user.as_str(), &contact.key, ask).await {
            Ok((before, after)) if after.pending_out && !before.pending_out => self.question(contact, user).await,
            Ok(_) => {}
            Err(error) => warn!(network = %parts.network, %error, "a subscription cannot be stored"),
        }
    }

    /// The gateway (no localpart), or the contact with this one, comes into a user's roster because the user wants it to: by
    /// our own hand where we may, else by asking to see the user's presence.
    pub(super) fn ask(&self, localpart: Option<&str>, user: &UserId) {
        let Some(user) = bare_jid(user) else { return };
        let (this, us) = (self.clone(), self.0.parts.domain.address(localpart, None));
        let contact = match (localpart, us) {
            (Some(node), Some(us)) => self.contact(node, &us).ok().flatten(),
            (_, us) => us.map(|us| Contact { key: String::new(), us, person: None }),
        };
        let Some(contact) = contact else { return };
        tokio::spawn(async move {
            let room = this.0.roster.has_room(user.as_str(), &contact.key).await.unwrap_or(false);
            if room && this.entered(&user, &contact).await {
                this.show(&contact, &user).await;
                return this.tell_name(&contact, &user, true).await;
            }
            let ask = |state: Subscription| match state.to {
                true => state,
                false => outbound(state, Change::Subscribe).state,
            };
            match this.0.roster.change(user.as_str(), &contact.key, ask).await {
                Ok((_, after)) if after.pending_out => this.question(&contact, &user).await,
                Ok(_) => {}
                Err(error) => warn!(network = %this.0.parts.network, %error, "a subscription cannot be stored"),
            }
        });
    }

    /// A user has gone: nothing of them is remembered, their stand-in on the network looks like anybody, and the gateway is
    /// no entry in their roster any more, which ending the subscriptions alone would leave behind.
    pub(super) fn forget(&self, user: &UserId) {
        self.0.roster.forget(&user.to_string());
        let (this, user) = (self.clone(), user.clone());
        tokio::spawn(async move {
            let parts = &this.0.parts;
            if let Some(jid) = bare_jid(&user).filter(|jid| this.may_write(jid)) {
                let remove = item::remove(&parts.domain, &jid, parts.domain.as_str());
                // Whoever had no such entry, or has taken it out already, is answered with an error, and that is all right.
                let _ = parts.link.iq(remove, ROSTER).await;
            }
            if let Err(failure) = parts.adapter.dress(&user, None, Some(&Picture::none())).await {
                warn!(network = %parts.network, %failure, "the picture of a user who has gone stays on their stand-in");
            }
        });
    }

    /// The user has answered a contact, or has turned away from it.
    async fn changed(&self, from: &Jid, contact: &Contact, change: Change) -> Result<(), StoreError> {
        let user = from.bare_str();
        if change == Change::Subscribed {
            self.wants_to_hear(from, contact).await?;
        }
        let (before, after) =
            self.0.roster.change(user, &contact.key, move |state| inbound(state, change).state).await?;
        if change == Change::Unsubscribe && before != after {
            if let (Some(user), Some(person)) = (access::user(from), &contact.person) {
                self.0.parts.faces.unwanted(&user, person);
            }
            self.answer(&contact.us, &from.to_bare(), "unsubscribed", None);
            if before.from {
                self.hide(contact, &from.to_bare());
            }
            // Nobody watches somebody who does not watch them: the user's roster is left clean.
            let leave = |state| outbound(state, Change::Unsubscribe).state;
            let (before, after) = self.0.roster.change(user, &contact.key, leave).await?;
            if before != after {
                self.answer(&contact.us, &from.to_bare(), "unsubscribe", None);
            }
        }
        Ok(())
    }

    /// A user takes a person for a contact: nothing that they say needs a question any more.
    async fn wants_to_hear(&self, from: &Jid, contact: &Contact) -> Result<(), StoreError> {
        if let (Some(user), Some(person)) = (access::user(from), contact.person.clone()) {
            self.0.parts.router.welcome(&Chat::Direct { user, person }).await?;
        }
        Ok(())
    }

    /// A user's server asks how a contact is doing.
    async fn probe(&self, from: &Jid, contact: &Contact, id: Option<&str>) -> Result<(), StoreError> {
        let user = from.bare_str();
        match self.0.roster.state(user, &contact.key).await? {
            Some(state) if state.from => {}
            // It has ended (RFC 6121, section 4.3.2).
            Some(_) => {
                self.answer(&contact.us, &from.to_bare(), "unsubscribed", id);
                return Ok(());
            }
            // Their server asks for subscribers only. We granted it, and have lost it: it holds.
            None if self.0.roster.has_room(user, &contact.key).await? => {
                self.0.roster.change(user, &contact.key, |state| Subscription { from: true, ..state }).await?;
            }
            None => {}
        }
        // Nothing is known of what it can do.
        let _ = self.0.parts.faces.caps().came(from, None);
        self.came(from);
        if self.0.roster.online.shows(from, &contact.key) {
            self.show(contact, from).await;
            self.tell_name(contact, from, false).await;
        }
        Ok(())
    }

    /// A device has shown itself. Its server asks for every contact, but for a device that was there before us: so whom it
    /// has not asked for a little later is shown unasked.
    fn came(&self, device: &Jid) {
        if !self.0.roster.online.came(device) {
            return;
        }
        let (this, device) = (self.clone(), device.clone());
        tokio::spawn(async move {
            tokio::time::sleep(SETTLE).await;
            {
                let _few = this.0.roster.greeting.clone().acquire_owned().await;
                if let Err(error) = this.greet(&device).await {
                    warn!(network = %this.0.parts.network, %error, "subscriptions cannot be read");
                }
            }
            tokio::time::sleep(LINGER).await;
            this.0.roster.online.greeted(&device);
        });
    }

    async fn greet(&self, device: &Jid) -> Result<(), StoreError> {
        let mut sent = 0;
        for key in self.0.roster.seen_by(device.bare_str()).await? {
            if !self.0.roster.online.has(device.bare_str()) {
                break;
            }
            let Some(contact) = self.contact_of(device, &key).await else { continue };
            if self.0.roster.online.shows(device, &key) {
                self.show(&contact, device).await;
                sent += 1;
                if sent % BATCH == 0 {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        debug!(network = %self.0.parts.network, sent, "a device was greeted");
        Ok(())
    }

    /// The contact of a canonical localpart, under the address by which the user knows it.
    async fn contact_of(&self, user: &Jid, key: &str) -> Option<Contact> {
        let parts = &self.0.parts;
        if key.is_empty() {
            return Some(Contact { key: String::new(), us: parts.domain.jid(), person: None });
        }
        let Ok(Parsed::Person(person)) = address::parse(key) else { return None };
        let face = parts.directory.face(&access::user(user)?, &person).await?;
        let us = parts.domain.address(Some(&face), None)?;
        Some(Contact { key: key.to_owned(), us, person: Some(person) })
    }

    /// A new connection: nothing that was known of servers and devices holds. Users who have contacts here are asked
    /// whether they are there, and see the gateway itself.
    pub(super) fn begin_presence(&self) {
        self.0.roster.online.forget();
        self.0.parts.faces.caps().forget();
        self.0.roster.privileges.forget();
        let this = self.clone();
        tokio::spawn(async move {
            let mut after: Option<String> = None;
            loop {
                let page = match this.0.roster.users(after.as_deref(), PROBES).await {
                    Ok(page) => page,
                    Err(error) => {
                        warn!(network = %this.0.parts.network, %error, "subscriptions cannot be read");
                        return;
                    }
                };
                let Some(last) = page.last() else { return };
                after = Some(last.clone());
                for user in &page {
                    this.look_for(user).await;
                }
                tokio::time::sleep(PROBE_PAUSE).await;
            }
        });
    }

    /// Asks a user's server whether they are there, in the name of somebody who may; whoever sees the gateway is shown it.
    async fn look_for(&self, user: &str) {
        let Ok(user) = Jid::parse(user) else { return };
        if !self.0.parts.access.allows_jid(&user) {
            return;
        }
        let roster = &self.0.roster;
        if roster.state(user.as_str(), "").await.is_ok_and(|state| state.is_some_and(|state| state.from))
            && let Some(gateway) = self.contact_of(&user, "").await
        {
            self.show(&gateway, &user).await;
        }
        if let Ok(Some(key)) = roster.sees(user.as_str()).await
            && let Some(contact) = self.contact_of(&user, &key).await
        {
            self.answer(&contact.us, &user, "probe", None);
        }
    }

    /// Tells users who are there how a contact is doing, where that is news.
    pub(super) fn passes_on(&self, person: &PersonId, availability: Availability) {
        let Ok(key) = address::of_person(person) else { return };
        let now = self.0.parts.clock.now();
        let wait = match self.0.roster.shown.note(&key, availability, now) {
            Pass::No => return,
            Pass::Now => None,
            Pass::After(wait) => Some(wait),
        };
        let this = self.clone();
        tokio::spawn(async move {
            if let Some(wait) = wait {
                tokio::time::sleep(wait).await;
                if !this.0.roster.shown.due(&key, this.0.parts.clock.now()) {
                    return;
                }
            }
            let _few = this.0.roster.greeting.clone().acquire_owned().await;
            if let Err(error) = this.show_to_all(&key).await {
                warn!(network = %this.0.parts.network, %error, "subscriptions cannot be read");
            }
        });
    }

    async fn show_to_all(&self, key: &str) -> Result<(), StoreError> {
        let parts = &self.0.parts;
        let mut after: Option<String> = None;
        loop {
            let page = parts.store.subscribers(&parts.network, key, after.as_deref(), BATCH).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (user, _) in page.iter().filter(|(user, state)| state.from && self.0.roster.online.has(user)) {
                let Ok(user) = Jid::parse(user) else { continue };
                if let Some(contact) = self.contact_of(&user, key).await {
                    self.show(&contact, &user).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A bare presence of a contact: about subscriptions, or a probe.
    fn answer(&self, us: &OurJid, to: &Jid, type_: &str, id: Option<&str>) {
        if let Some(bare) = us.resource(None) {
            self.send(&OutStanza::new(StanzaKind::Presence, &bare, to, Some(type_), id), Priority::Low);
        }
    }

    /// Asks to see a user's presence, by name: whoever is asked wants to know who it is (XEP-0172, section 4.2).
    async fn question(&self, contact: &Contact, to: &Jid) {
        let Some(bare) = contact.us.resource(None) else { return };
        let name = self.name_or_ask(contact).await;
        self.send(&presence::question(&bare, to, &name), Priority::Low);
    }

    /// What a contact is called, after a question to the network where nobody knows yet.
    async fn name_or_ask(&self, contact: &Contact) -> String {
        let name = match &contact.person {
            Some(person) => self.0.parts.directory.name_or_ask(person).await,
            None => None,
        };
        match name {
            Some(name) => name,
            None => self.shown_name(contact).await,
        }
    }

    /// Shows a contact to a user or to one of their devices.
    async fn show(&self, contact: &Contact, to: &Jid) {
        let name = self.shown_name(contact).await;
        let parts = &self.0.parts;
        let presence = match contact.person {
            Some(_) => presence::available(&contact.us, to, Some(&name), iq::caps()),
            None => {
                let caps = iq::gateway_caps(&parts.descriptor, &parts.texts, &parts.about);
                presence::available(&contact.us, to, Some(&name), &caps)
            }
        };
        let Some(mut presence) = presence else { return };
        if contact.person.is_some() {
            shown::dress(&mut presence, &self.0.roster.shown.of(&contact.key));
        }
        self.send(&parts.faces.on(presence, contact.person.as_ref()).await, Priority::Low);
        if let (Some(user), Some(person)) = (access::user(to), &contact.person) {
            parts.faces.wanted(&user, person);
        }
    }

    /// A contact is not to be seen any more.
    fn hide(&self, contact: &Contact, to: &Jid) {
        if let Some(presence) = presence::unavailable(&contact.us, to) {
            self.send(&presence, Priority::Low);
        }
    }

    async fn shown_name(&self, contact: &Contact) -> String {
        let parts = &self.0.parts;
        match &contact.person {
            Some(person) => {
                let name = parts.directory.name(person).await;
                name.unwrap_or_else(|| parts.adapter.print_person(person))
            }
            None => parts.texts.text(&iq::gateway_name(&parts.descriptor), None),
        }
    }

    /// Tells what a contact is called to those clients that do not look at presence for it (XEP-0172, section 4.3); where
    /// nobody knows, the network is asked. `always`: also where presence has said it.
    async fn tell_name(&self, contact: &Contact, to: &Jid, always: bool) {
        let Some(person) = contact.person.clone() else { return };
        match self.0.parts.directory.name(&person).await {
            Some(name) if always => self.call(&contact.us, to, &name),
            Some(_) => {}
            None => self.ask_name(contact.clone(), to.clone(), person),
        }
    }

    fn call(&self, us: &OurJid, to: &Jid, name: &str) {
        for to in self.0.parts.faces.caps().receivers(to, |features| features.names) {
            if let Some(nick) = presence::nick(us, &to, name) {
                self.send(&nick, Priority::Low);
            }
        }
    }

    /// Asks the network what somebody is called, and tells whoever wants to see them. Few at a time: a login with hundreds
    /// of nameless contacts asks for some of them, and the next one for others.
    fn ask_name(&self, contact: Contact, to: Jid, person: PersonId) {
        let Ok(permit) = self.0.roster.naming.clone().try_acquire_owned() else { return };
        let this = self.clone();
        tokio::spawn(async move {
            if let Some(name) = this.0.parts.directory.name_or_ask(&person).await {
                this.show(&contact, &to.to_bare()).await;
                this.call(&contact.us, &to, &name);
            }
            drop(permit);
        });
    }
}
