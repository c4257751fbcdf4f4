//! Faces: the pictures of contacts, of the gateway itself, and of users on their stand-ins (XEP-0054, 0084, 0153, 0172,
//! 0292, 0398).
//!
//! [`convert`] makes what networks have into what clients show, without I/O. [`card`] writes names and pictures in the
//! forms of XMPP, without I/O too. [`Faces`] looks pictures up, keeps them and tells of new ones; [`own`] does the same
//! with those of users; [`gateway`] draws the gateway's.

pub mod card;
pub mod convert;
pub mod gateway;
pub mod own;
pub mod serve;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portway_bridges::api::{Adapter, PersonId, UserId};
use tokio::sync::{Semaphore, watch};
use tracing::debug;

use super::jid::Jid;
use super::roster::caps::Caps;
use super::roster::shown::{self, Shown};
use super::stanza::{Domain, OutStanza};
use super::stream::{Link, Priority};
use super::{address, iq, presence};
use crate::clock::Clock;
use crate::identity::Directory;
use crate::store::{AvatarRow, Store};

/// How many faces, and how many of those who see them, are remembered in memory.
const CACHE: usize = 20_000;

/// How many pictures are looked up at the same time.
const RUNNING: usize = 4;

/// How many look-ups wait; more are left out, because the next question comes.
const WAITING: usize = 2048;

/// How long a look-up may take: asking for the name of the picture, and fetching it.
const ASK: Duration = Duration::from_secs(10);
const FETCH: Duration = Duration::from_secs(60);

/// How long a question for a card waits for a picture that is not there yet.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a face that was looked up is not looked up again, in milliseconds: after success, and after a failure.
const FRESH: i64 = 6 * 3_600_000;
const AFTER_FAILURE: i64 = 600_000;

/// The parts.
pub struct Parts {
    /// The network's id.
    pub network: Arc<str>,
    /// The component's domain.
    pub domain: Domain,
    /// The connection.
    pub link: Link,
    /// The network.
    pub adapter: Arc<dyn Adapter>,
    /// Where pictures are kept.
    pub store: Store,
    /// Who is who.
    pub directory: Arc<Directory>,
    /// How contacts are doing.
    pub shown: Arc<Shown>,
    /// What users' devices can do.
    pub caps: Arc<Caps>,
    /// The time.
    pub clock: Clock,
}

/// The faces of one network. Cheap to clone.
#[derive(Clone)]
pub struct Faces(Arc<Inner>);

struct Inner {
    parts: Parts,
    gateway: AvatarRow,
    state: Mutex<State>,
    running: Semaphore,
    /// One at a time: decoding may take 64 MiB.
    converting: Semaphore,
    own: own::Own,
}

#[derive(Default)]
struct State {
    known: HashMap<String, Known>,
    /// Look-ups under way; the channel closes when one ends.
    flights: HashMap<String, watch::Receiver<()>>,
    /// Those of them that must be repeated: a change came while they were under way.
    stale: HashSet<String>,
    /// The users who see each contact, as far as they have asked since the start, and how many there are in all.
    watchers: HashMap<String, BTreeSet<UserId>>,
    watching: usize,
}

/// What is known of a face.
#[derive(Debug, Clone)]
struct Known {
    /// The hash; empty where there is no picture, and none where that is not known.
    hash: Option<String>,
    /// When to look again, in milliseconds.
    again: i64,
}

impl Faces {
    /// Knows nothing yet but the gateway's own face.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let bytes = gateway::draw(&parts.network);
        let gateway = AvatarRow {
            source: String::new(),
            hash: convert::hash(&bytes),
            media_type: "image/png".to_owned(),
            bytes,
            at: parts.clock.now(),
        };
        Self(Arc::new(Inner {
            parts,
            gateway,
            state: Mutex::default(),
            running: Semaphore::new(RUNNING),
            converting: Semaphore::new(1),
            own: own::Own::default(),
        }))
    }

    /// How contacts are doing, which their presence tells with their faces.
    #[must_use]
    pub fn shown(&self) -> &Arc<Shown> {
        &self.0.parts.shown
    }

    /// What users' devices can do: only those that want to hear of faces do.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.0.parts.caps
    }

    /// The picture of the gateway itself.
    #[must_use]
    pub fn gateway(&self) -> &AvatarRow {
        &self.0.gateway
    }

    /// A presence with what is known of the face of its sender, a contact or the gateway itself (XEP-0153); a presence that
    /// says that somebody is not there stays as it is. Nothing is asked of the network.
    pub async fn on(&self, mut presence: OutStanza, person: Option<&PersonId>) -> OutStanza {
        if presence.element().attr("type").is_some() {
            return presence;
        }
        let hash = match person {
            Some(person) => self.hash(person).await,
            None => Some(self.0.gateway.hash.clone()),
        };
        presence.push(card::update(hash.as_deref()));
        presence
    }

    /// A user wants to see a contact: looks the picture up where that has not been done for long, and tells when there is
    /// another one than was known.
    pub fn wanted(&self, user: &UserId, person: &PersonId) {
        let Ok(localpart) = address::of_person(person) else { return };
        {
            let mut state = self.state();
            if state.watching >= CACHE {
                state.watchers.clear();
                state.watching = 0;
            }
            if state.watchers.entry(localpart.clone()).or_default().insert(user.clone()) {
                state.watching += 1;
            }
        }
        let _ = self.look(person, localpart, false);
    }

    /// A user does not want to see a contact any more.
    pub fn unwanted(&self, user: &UserId, person: &PersonId) {
        let Ok(localpart) = address::of_person(person) else { return };
        let mut state = self.state();
        let Some(watchers) = state.watchers.get_mut(&localpart) else { return };
        if watchers.remove(user) {
            if watchers.is_empty() {
                state.watchers.remove(&localpart);
            }
            state.watching -= 1;
        }
    }

    /// The network says that a person may have another picture. Only those are looked up whom somebody sees.
    pub fn changed(&self, person: &PersonId) {
        let Ok(localpart) = address::of_person(person) else { return };
        let state = self.state();
        let seen = state.known.contains_key(&localpart) || state.watchers.contains_key(&localpart);
        drop(state);
        if seen {
            let _ = self.look(person, localpart, true);
        }
    }

    /// The hash of a person's picture: empty where there is none, `None` where that is not known.
    async fn hash(&self, person: &PersonId) -> Option<String> {
        let localpart = address::of_person(person).ok()?;
        if let Some(known) = self.state().known.get(&localpart) {
            return known.hash.clone();
        }
        let row = self.0.parts.store.avatar(&self.0.parts.network, &localpart).await.ok().flatten()?;
        // What was known before the start is looked at once more.
        self.know(&localpart, Known { hash: Some(row.hash.clone()), again: 0 });
        Some(row.hash)
    }

    /// The picture of a person, if there is one; waits for a look-up where it is not known.
    pub async fn picture(&self, person: &PersonId) -> Option<AvatarRow> {
        let localpart = address::of_person(person).ok()?;
        let store = &self.0.parts.store;
        let kept = store.avatar(&self.0.parts.network, &localpart).await.ok().flatten();
        if kept.is_none() {
            // It may have been removed, being old.
            let mut state = self.state();
            if state.known.get(&localpart).is_some_and(|known| known.hash.is_some()) {
                state.known.remove(&localpart);
            }
        }
        let flight = self.look(person, localpart.clone(), false);
        if let Some(kept) = kept.filter(|row| !row.bytes.is_empty()) {
            return Some(kept);
        }
        if let Some(mut flight) = flight {
            // It closes at the end.
            let _ = tokio::time::timeout(PATIENCE, flight.changed()).await;
        }
        let row = store.avatar(&self.0.parts.network, &localpart).await.ok().flatten();
        row.filter(|row| !row.bytes.is_empty())
    }

    /// Looks a picture up, once at a time for each person; `None` where that was done lately, or too many wait.
    fn look(&self, person: &PersonId, localpart: String, now: bool) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        if let Some(flight) = state.flights.get(&localpart).cloned() {
            if now {
                state.stale.insert(localpart);
            }
            return Some(flight);
        }
        let at = self.0.parts.clock.now().0;
        let fresh = state.known.get(&localpart).is_some_and(|known| known.again > at);
        if (fresh && !now) || state.flights.len() >= WAITING {
            return None;
        }
        let (end, flight) = watch::channel(());
        state.flights.insert(localpart.clone(), flight.clone());
        drop(state);
        let (this, person) = (self.clone(), person.clone());
        tokio::spawn(async move {
            let before = this.hash(&person).await;
            let found = loop {
                let found = {
                    let _turn = this.0.running.acquire().await;
                    this.fetch(&person, &localpart).await
                };
                // What is told from here on starts another look-up.
                let mut state = this.state();
                if !state.stale.remove(&localpart) {
                    state.flights.remove(&localpart);
                    break found;
                }
            };
            let now = this.0.parts.clock.now().0;
            let known = match found {
                Ok(hash) => Known { hash: Some(hash), again: now.saturating_add(FRESH) },
                Err(reason) => {
                    debug!(network = %this.0.parts.network, reason, "a picture could not be looked up");
                    Known { hash: before.clone(), again: now.saturating_add(AFTER_FAILURE) }
                }
            };
            let hash = known.hash.clone();
            this.know(&localpart, known);
            drop(end);
            // That there is none is no news where nothing was known: the next presence says it.
            if hash != before && (before.is_some() || hash.as_deref() != Some("")) {
                this.tell(&person, &localpart).await;
            }
        });
        Some(flight)
    }

    /// Asks the network; returns the hash of the picture that is kept then, which is empty where there is none.
    async fn fetch(&self, person: &PersonId, localpart: &str) -> Result<String, String> {
        let parts = &self.0.parts;
        let kept = parts.store.avatar(&parts.network, localpart).await.map_err(|error| error.to_string())?;
        let source = tokio::time::timeout(ASK, parts.adapter.avatar_source(person)).await;
        let source = source.map_err(|_| "no answer in time")?.map_err(|failure| failure.to_string())?;
        let source = source.unwrap_or_default();
        if let Some(kept) = kept.filter(|kept| kept.source == source) {
            return Ok(kept.hash);
        }
        let picture = match source.is_empty() {
            true => None,
            false => {
                let fetched = tokio::time::timeout(FETCH, parts.adapter.avatar(person, &source)).await;
                fetched.map_err(|_| "no picture in time")?.map_err(|failure| failure.to_string())?
            }
        };
        let (hash, media_type, bytes) = match picture {
            Some(picture) => self.convert(picture.bytes).await.unwrap_or_default(),
            None => Default::default(),
        };
        let row = AvatarRow { source, hash: hash.clone(), media_type, bytes, at: parts.clock.now() };
        parts.store.put_avatar(&parts.network, localpart, Some(row)).await.map_err(|error| error.to_string())?;
        Ok(hash)
    }

    /// Converts a picture apart from everything else: hash, media type and bytes, or nothing where it cannot be shown.
    async fn convert(&self, bytes: bytes::Bytes) -> Option<(String, String, Vec<u8>)> {
        let _turn = self.0.converting.acquire().await;
        let converted = tokio::task::spawn_blocking(move || convert::convert(&bytes)).await.ok()?;
        match converted {
            Ok(ready) => Some((convert::hash(&ready.bytes), ready.media_type.to_owned(), ready.bytes)),
            Err(reason) => {
                debug!(network = %self.0.parts.network, %reason, "a picture cannot be shown");
                None
            }
        }
    }

    /// Tells everybody who sees a contact of their new face: in presence, and as an event (XEP-0084, section 3.3) for
    /// clients that look nowhere else.
    async fn tell(&self, person: &PersonId, localpart: &str) {
        let parts = &self.0.parts;
        let mut users = self.state().watchers.get(localpart).cloned().unwrap_or_default();
        let subscribers = parts.store.subscribers(&parts.network, localpart, None, CACHE).await.unwrap_or_default();
        users.extend(
            subscribers.iter().filter(|(_, state)| state.from).filter_map(|(user, _)| UserId::parse(user).ok()),
        );
        let row = parts.store.avatar(&parts.network, localpart).await.ok().flatten();
        let name = parts.directory.name(person).await.unwrap_or_else(|| parts.adapter.print_person(person));
        for user in users {
            let Some(face) = parts.directory.face(&user, person).await else { continue };
            let (Some(us), Ok(to)) = (parts.domain.address(Some(&face), None), Jid::parse(&user.to_string())) else {
                continue;
            };
            if let Some(mut presence) = presence::available(&us, &to, Some(&name), iq::caps()) {
                shown::dress(&mut presence, &parts.shown.of(localpart));
                self.send(&self.on(presence, Some(person)).await);
            }
            if let Some(row) = &row {
                for to in parts.caps.receivers(&to, |features| features.pictures) {
                    self.send(&card::event(&us, &to, row));
                }
            }
        }
    }

    fn send(&self, stanza: &OutStanza) {
        if let Err(error) = self.0.parts.link.send(stanza, Priority::Low) {
            debug!(network = %self.0.parts.network, %error, "a face was not told of");
        }
    }

    fn know(&self, localpart: &str, known: Known) {
        let mut state = self.state();
        if state.known.len() >= CACHE {
            state.known.clear();
        }
        state.known.insert(localpart.to_owned(), known);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
