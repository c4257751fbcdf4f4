//! What the network in memory remembers: few things, all of them bounded.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::wire::{self, ToPeer};
use crate::api::{Chat, Condition, EventId, Failure, Occupant, PersonId, RoomId, Sentence};

/// How many delivered items are remembered, so that a repeated delivery is not shown twice.
const REMEMBERED: usize = 65_536;

/// How many people a room remembers, and how many rooms there are.
const MEMBERS: usize = 1000;

#[derive(Default)]
pub struct State(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    seen: HashSet<EventId>,
    order: VecDeque<EventId>,
    failing: HashMap<String, bool>,
    rooms: HashMap<RoomId, BTreeMap<PersonId, Option<String>>>,
    gone: HashMap<RoomId, RoomId>,
    faces: HashMap<PersonId, (String, Vec<u8>)>,
    names: HashMap<PersonId, String>,
    peers: Vec<mpsc::Sender<ToPeer>>,
    address: Option<SocketAddr>,
}

impl State {
    /// Whether this event is delivered for the first time.
    pub fn first_time(&self, id: EventId) -> bool {
        let mut inner = self.inner();
        if !inner.seen.insert(id) {
            return false;
        }
        inner.order.push_back(id);
        if inner.order.len() > REMEMBERED
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.seen.remove(&oldest);
        }
        true
    }

    /// How a delivery to this chat fails, if the peers want that.
    pub fn failure(&self, chat: &Chat) -> Option<Failure> {
        let name = match chat {
            Chat::Direct { person, .. } => wire::print_person(person),
            Chat::Room(RoomId::Alias { local, .. }) => format!("#{local}"),
            Chat::Room(RoomId::Id { opaque, .. }) => format!("!{opaque}"),
        };
        let permanent = *self.inner().failing.get(&name)?;
        Some(if permanent {
            Failure::permanent(Condition::Forbidden, Sentence::new("loopback.refused"), "the peers want it to fail")
        } else {
            Failure::temporary("the peers want it to fail for now")
        })
    }

    /// Lets deliveries to this person or room fail, or work again.
    pub fn fail(&self, to: &str, how: Option<&str>) -> Result<(), String> {
        let mut inner = self.inner();
        match how {
            None => {
                inner.failing.remove(to);
            }
            Some(how @ ("temporary" | "permanent")) => {
                if inner.failing.len() >= MEMBERS {
                    return Err("too many fail already".to_owned());
                }
                inner.failing.insert(to.to_owned(), how == "permanent");
            }
            Some(other) => return Err(format!("{other} is neither temporary nor permanent")),
        }
        Ok(())
    }

    /// Notes that a person is in a room, or has left it.
    pub fn member(&self, room: &RoomId, person: &PersonId, name: Option<String>, present: bool) {
        let mut inner = self.inner();
        if inner.rooms.len() >= MEMBERS && !inner.rooms.contains_key(room) {
            return;
        }
        let members = inner.rooms.entry(room.clone()).or_default();
        if !present {
            members.remove(person);
        } else if members.len() < MEMBERS {
            members.insert(person.clone(), name);
        }
    }

    /// Notes that a room lives on as another one.
    pub fn go(&self, room: &RoomId, next: &RoomId) {
        let mut inner = self.inner();
        if inner.gone.len() < MEMBERS {
            inner.gone.insert(room.clone(), next.clone());
        }
    }

    /// Where a room lives on.
    pub fn next(&self, room: &RoomId) -> Option<RoomId> {
        self.inner().gone.get(room).cloned()
    }

    /// The people in a room.
    pub fn members(&self, room: &RoomId) -> Vec<Occupant> {
        let inner = self.inner();
        let members = inner.rooms.get(room).into_iter().flatten();
        members.map(|(person, name)| Occupant { person: person.clone(), name: name.clone(), level: 0 }).collect()
    }

    /// Sets the name of a person; while there are as many as may be, new people get none.
    pub fn set_name(&self, person: &PersonId, name: String) {
        let mut inner = self.inner();
        if inner.names.len() < MEMBERS || inner.names.contains_key(person) {
            inner.names.insert(person.clone(), name);
        }
    }

    /// The name of a person.
    pub fn name(&self, person: &PersonId) -> Option<String> {
        self.inner().names.get(person).cloned()
    }

    /// Sets the picture of a person, or takes it away; while there are as many as may be, new people get none.
    pub fn set_face(&self, person: &PersonId, picture: Option<Vec<u8>>) {
        let mut inner = self.inner();
        match picture {
            None => drop(inner.faces.remove(person)),
            Some(picture) if inner.faces.len() < MEMBERS || inner.faces.contains_key(person) => {
                let mut hasher = DefaultHasher::new();
                picture.hash(&mut hasher);
                inner.faces.insert(person.clone(), (format!("{:x}", hasher.finish()), picture));
            }
            Some(_) => {}
        }
    }

    /// The name of a person's picture, and the picture.
    pub fn face(&self, person: &PersonId) -> Option<(String, Vec<u8>)> {
        self.inner().faces.get(person).cloned()
    }

    /// A peer has connected and wants to see what is delivered.
    pub fn connect(&self, peer: mpsc::Sender<ToPeer>) {
        self.inner().peers.push(peer);
    }

    /// Shows something to all peers; waits for slow ones, forgets those that are gone.
    pub async fn show(&self, item: ToPeer) {
        let peers = self.inner().peers.clone();
        let mut gone = false;
        for peer in &peers {
            gone |= peer.send(item.clone()).await.is_err();
        }
        if gone {
            self.inner().peers.retain(|peer| !peer.is_closed());
        }
    }

    /// Where the control socket is bound.
    pub fn address(&self) -> Option<SocketAddr> {
        self.inner().address
    }

    /// Notes where the control socket is bound.
    pub fn bound(&self, address: SocketAddr) {
        self.inner().address = Some(address);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
