//! From the localpart that a user wrote to, to a person or a room, and back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portway_bridges::api::{Adapter, Address, Condition, PersonId, Refusal, RoomId, Sentence, Timestamp, UserId};
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::clock::Clock;
use crate::store::{Identity, IdentityKind, Store, TouchResult};
use crate::xmpp::address::{self, Parsed};

/// How many people and rooms, and how many faces, are remembered in memory.
const CACHE: usize = 20_000;

/// How long a sighting is not written again, in milliseconds.
const AGAIN: i64 = 3_600_000;

/// How long the network may take to say what somebody is called.
const ASK: Duration = Duration::from_secs(5);

/// How many sightings wait to be written; more are left out, because the next one comes.
const SIGHTINGS: usize = 4096;

/// The directory of one network.
pub struct Directory {
    network: String,
    component: String,
    store: Store,
    adapter: Arc<dyn Adapter>,
    clock: Clock,
    seen: Mutex<HashMap<String, Sighting>>,
    faces: Mutex<HashMap<(String, String), String>>,
    sightings: mpsc::Sender<Identity>,
}

/// The last sighting of somebody.
#[derive(Clone)]
struct Sighting {
    /// When it was.
    at: Timestamp,
    /// When one was written last.
    written: Timestamp,
    name: Option<String>,
}

/// What a localpart means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// A person, in the canonical spelling.
    Person(PersonId),
    /// A room.
    Room(RoomId),
}

impl Directory {
    /// A directory; its task writes sightings until the last handle is gone.
    #[must_use]
    pub fn new(network: &str, component: &str, store: Store, adapter: Arc<dyn Adapter>, clock: Clock) -> Arc<Self> {
        let (sightings, receiver) = mpsc::channel(SIGHTINGS);
        tokio::spawn(write(store.clone(), receiver));
        Arc::new(Self {
            network: network.to_owned(),
            component: component.to_owned(),
            store,
            adapter,
            clock,
            seen: Mutex::default(),
            faces: Mutex::default(),
            sightings,
        })
    }

    /// Makes sense of a localpart. Pure but for the network's own rules.
    ///
    /// # Errors
    /// [`Refusal`]: `jid-malformed` with what to write instead.
    pub fn resolve(&self, localpart: &str) -> Result<Meant, Refusal> {
        let parsed = address::parse(localpart).map_err(|error| self.malformed(&error.to_string()))?;
        let meant = match parsed {
            Parsed::Person(person) => Meant::Person(self.adapter.canonical(&person)),
            Parsed::Room(room) => Meant::Room(room),
            Parsed::Typed(text) => match self.adapter.resolve(&text)? {
                Address::Person(person) => Meant::Person(self.adapter.canonical(&person)),
                Address::Room(room) => Meant::Room(room),
            },
        };
        // What cannot be printed as an address could not answer.
        self.localpart(&meant)?;
        Ok(meant)
    }

    /// The canonical localpart.
    ///
    /// # Errors
    /// [`Refusal`] where it would be too long.
    pub fn localpart(&self, meant: &Meant) -> Result<String, Refusal> {
        match meant {
            Meant::Person(person) => address::of_person(person),
            Meant::Room(room) => address::of_room(room),
        }
        .map_err(|error| self.malformed(&error.to_string()))
    }

    fn malformed(&self, why: &str) -> Refusal {
        Refusal {
            condition: Condition::JidMalformed,
            sentence: Sentence::new("core.bad-address").with("why", why).with("component", self.component.clone()),
        }
    }

    /// The localpart under which a user knows a person: the one that the user wrote to first.
    pub async fn face(&self, user: &UserId, person: &PersonId) -> Option<String> {
        Some(self.known_as(user, address::of_person(person).ok()?).await)
    }

    /// The localpart under which a user knows a room: the one by which the user joined it first.
    pub async fn room_face(&self, user: &UserId, room: &RoomId) -> Option<String> {
        Some(self.known_as(user, address::of_room(room).ok()?).await)
    }

    async fn known_as(&self, user: &UserId, canonical: String) -> String {
        let key = (user.to_string(), canonical.clone());
        if let Some(face) = self.faces().get(&key) {
            return face.clone();
        }
        let face = self.store.face(&self.network, &key.0, &canonical).await.ok().flatten().unwrap_or(canonical);
        self.remember(key, face.clone());
        face
    }

    /// Notes the localpart that a user wrote to; the first one ever noted holds.
    pub async fn addressed(&self, user: &UserId, person: &PersonId, localpart: &str) -> String {
        let Ok(canonical) = address::of_person(person) else { return localpart.to_owned() };
        self.note(user, canonical, localpart).await
    }

    /// Notes the localpart by which a user has joined a room, whose canonical one is `canonical`; the first one ever noted
    /// holds.
    pub async fn joined(&self, user: &UserId, canonical: &str, localpart: &str) {
        self.note(user, canonical.to_owned(), localpart).await;
    }

    async fn note(&self, user: &UserId, canonical: String, localpart: &str) -> String {
        let key = (user.to_string(), canonical.clone());
        if let Some(face) = self.faces().get(&key) {
            return face.clone();
        }
        // The canonical form needs no row: it is what holds where there is none.
        let face = match self.store.face(&self.network, &key.0, &canonical).await {
            Ok(Some(face)) => face,
            Ok(None) if localpart == canonical => canonical,
            Ok(None) => self
                .store
                .put_face(&self.network, &key.0, &canonical, localpart)
                .await
                .unwrap_or_else(|_| localpart.to_owned()),
            Err(_) => localpart.to_owned(),
        };
        self.remember(key, face.clone());
        face
    }

    fn remember(&self, key: (String, String), face: String) {
        let mut faces = self.faces();
        if faces.len() >= CACHE {
            faces.clear();
        }
        faces.insert(key, face);
    }

    fn faces(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), String>> {
        self.faces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a person or a room was seen, and what they are called. Written at most once an hour, or when the name
    /// has changed.
    pub fn seen(&self, who: Result<PersonId, RoomId>, name: Option<String>) {
        let (kind, localpart, remote) = match &who {
            Ok(person) => (IdentityKind::Person, address::of_person(person), self.adapter.print_person(person)),
            Err(room) => (IdentityKind::Room, address::of_room(room), self.adapter.print_room(room)),
        };
        if let Ok(localpart) = localpart {
            self.sighted(kind, localpart, remote, name);
        }
    }

    /// Notes that a user of ours was seen, and what the network calls them.
    pub fn seen_user(&self, user: &UserId) {
        if let Some(remote) = self.adapter.print_user(user) {
            self.sighted(IdentityKind::User, user.to_string(), remote, None);
        }
    }

    fn sighted(&self, kind: IdentityKind, localpart: String, remote: String, name: Option<String>) {
        let now = self.clock.now();
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = seen.get_mut(&localpart)
                && now.0 - known.written.0 < AGAIN
                && (name.is_none() || known.name == name)
            {
                known.at = now;
                return;
            }
            if seen.len() >= CACHE {
                seen.clear();
            }
            seen.insert(localpart.clone(), Sighting { at: now, written: now, name: name.clone() });
        }
        let sighting = Identity {
            network: self.network.clone(),
            kind,
            localpart: localpart.clone(),
            remote,
            display: name,
            first_seen: now,
            last_seen: now,
        };
        if self.sightings.try_send(sighting).is_err() {
            // It was not written, so the next one counts.
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&localpart);
        }
    }

    /// What a person is called.
    pub async fn name(&self, person: &PersonId) -> Option<String> {
        let localpart = address::of_person(person).ok()?;
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&localpart).cloned();
        if let Some(Sighting { name: Some(name), .. }) = known {
            return Some(name);
        }
        self.store
            .identity_by_localpart(&self.network, IdentityKind::Person, &localpart)
            .await
            .ok()
            .flatten()
            .and_then(|identity| identity.display)
    }

    /// How long ago a person was last seen: to the second since the start of the gateway, to the hour from before. `None`:
    /// never.
    pub async fn idle(&self, person: &PersonId) -> Option<Duration> {
        let localpart = address::of_person(person).ok()?;
        let known =
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&localpart).map(|sighting| sighting.at);
        let at = match known {
            Some(at) => at,
            None => {
                let identity =
                    self.store.identity_by_localpart(&self.network, IdentityKind::Person, &localpart).await.ok()??;
                identity.last_seen
            }
        };
        Some(self.clock.now().since(at))
    }

    /// What a person is called; the network is asked where that is not known yet.
    pub async fn name_or_ask(&self, person: &PersonId) -> Option<String> {
        if let Some(name) = self.name(person).await {
            return Some(name);
        }
        let name = tokio::time::timeout(ASK, self.adapter.name(person)).await.ok().flatten()?;
        self.seen(Ok(person.clone()), Some(name.clone()));
        Some(name)
    }
}

async fn write(store: Store, mut sightings: mpsc::Receiver<Identity>) {
    let mut batch = Vec::new();
    while sightings.recv_many(&mut batch, 256).await > 0 {
        match store.touch_identities(std::mem::take(&mut batch)).await {
            Ok(results) => {
                for result in results {
                    if let TouchResult::Clash(other) = result {
                        warn!(network = other.network, "two identities claim the same address; the earlier one stays");
                    }
                }
            }
            Err(error) => error!(%error, "identities cannot be written"),
        }
    }
}
