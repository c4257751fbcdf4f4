//! Contacts: who is subscribed to whom, who is online, and what we may do in users' rosters.
//!
//! Reading order: [`subscription`] is the table of RFC 6121, [`online`] who is there, [`caps`] what their devices can do,
//! [`privilege`] what the server lets us do, [`own`] what users have said elsewhere, [`item`] a user's own roster, [`offer`]
//! contacts for those where it is closed to us, [`shown`] how contacts are doing, [`last`] when they were last seen. What happens on a stanza is in `component/contacts.rs`.

pub mod caps;
pub mod item;
pub mod last;
pub mod offer;
pub mod online;
pub mod own;
pub mod privilege;
pub mod shown;
pub mod subscription;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portway_bridges::api::Timestamp;
use tokio::sync::Semaphore;

use self::online::Online;
use self::privilege::Privileges;
use self::shown::Shown;
use crate::store::{Store, StoreError, Subscription};

/// How many contacts one user may subscribe to.
pub const CONTACTS_OF_ONE: usize = 5_000;

/// How many subscriptions are remembered in memory, of all users.
const REMEMBERED: usize = 200_000;

/// How many contacts may ask a user for a subscription within [`ASKING`]: each is a question that the user's client shows.
const ASKS: u32 = 20;

/// In milliseconds.
const ASKING: i64 = 3_600_000;

/// How many users are remembered who were asked.
const ASKED: usize = 10_000;

/// How many devices are greeted at a time, and how many rosters are changed.
const AT_A_TIME: usize = 4;

/// The contacts of one component.
pub struct Roster {
    network: Arc<str>,
    store: Store,
    /// Who is online.
    pub online: Online,
    /// How the contacts are doing.
    pub shown: Arc<Shown>,
    /// What the servers let us do.
    pub privileges: Arc<Privileges>,
    /// Keeps greetings few.
    pub greeting: Arc<Semaphore>,
    /// Keeps changes of rosters few.
    pub changing: Arc<Semaphore>,
    /// Keeps questions for names few.
    pub naming: Arc<Semaphore>,
    /// Keeps questions to devices few.
    pub asking: Arc<Semaphore>,
    known: Mutex<Known>,
    asked: Mutex<HashMap<String, (Timestamp, u32)>>,
}

/// The subscriptions of users, as they are in the store; of a user all or none.
#[derive(Default)]
struct Known {
    count: usize,
    users: HashMap<String, HashMap<String, Subscription>>,
}

impl Roster {
    /// The contacts of the network that calls itself so. `privileges`: what the servers let us do.
    #[must_use]
    pub fn new(network: Arc<str>, store: Store, shown: Arc<Shown>, privileges: Arc<Privileges>) -> Self {
        let few = || Arc::new(Semaphore::new(AT_A_TIME));
        Self {
            network,
            store,
            online: Online::default(),
            shown,
            privileges,
            greeting: few(),
            changing: few(),
            naming: few(),
            asking: few(),
            known: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// The subscriptions between a user (bare JID) and a contact (canonical localpart; empty: the gateway itself). `None`:
    /// there never were any, as far as is remembered. [`Subscription::default`]: they have ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn state(&self, user: &str, contact: &str) -> Result<Option<Subscription>, StoreError> {
        self.load(user).await?;
        Ok(self.known().users.get(user).and_then(|contacts| contacts.get(contact)).copied())
    }

    /// The contacts (canonical localparts) whose presence a user sees.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seen_by(&self, user: &str) -> Result<Vec<String>, StoreError> {
        self.load(user).await?;
        let known = self.known();
        let contacts = known.users.get(user).into_iter().flatten();
        let mut seen: Vec<String> =
            contacts.filter(|(_, state)| state.from).map(|(contact, _)| contact.clone()).collect();
        seen.sort();
        Ok(seen)
    }

    /// A contact that sees a user's presence: the gateway itself if it does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sees(&self, user: &str) -> Result<Option<String>, StoreError> {
        self.load(user).await?;
        let known = self.known();
        let contacts = known.users.get(user).into_iter().flatten();
        Ok(contacts.filter(|(_, state)| state.to).map(|(contact, _)| contact.clone()).min())
    }

    /// Whether a user may subscribe to one more contact.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_room(&self, user: &str, contact: &str) -> Result<bool, StoreError> {
        self.load(user).await?;
        let known = self.known();
        let contacts = known.users.get(user);
        Ok(contacts.is_none_or(|contacts| contacts.len() < CONTACTS_OF_ONE || contacts.contains_key(contact)))
    }

    /// Changes the subscriptions between a user and a contact; returns what was and what is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change(
        &self,
        user: &str,
        contact: &str,
        change: impl FnOnce(Subscription) -> Subscription + Send + 'static,
    ) -> Result<(Subscription, Subscription), StoreError> {
        self.load(user).await?;
        let (before, after) = self.store.change_subscription(&self.network, user, contact, change).await?;
        let mut known = self.known();
        if let Some(contacts) = known.users.get_mut(user)
            && (after != before || contacts.contains_key(contact))
            && contacts.insert(contact.to_owned(), after).is_none()
        {
            known.count += 1;
        }
        Ok((before, after))
    }

    /// What is remembered of a user is not true any more: they have unregistered.
    pub fn forget(&self, user: &str) {
        let mut known = self.known();
        let gone = known.users.remove(user).map_or(0, |contacts| contacts.len());
        known.count -= gone;
    }

    /// Users behind `after` who have any subscription, by bare JID, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn users(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        self.store.subscribed_users(&self.network, after, limit).await
    }

    /// Whether one more contact may ask a user for a subscription now; counts it if so.
    pub fn may_ask(&self, user: &str, now: Timestamp) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED && !asked.contains_key(user) {
            asked.retain(|_, (since, _)| now.0 - since.0 < ASKING);
            if asked.len() >= ASKED {
                return false;
            }
        }
        let (since, count) = asked.entry(user.to_owned()).or_insert((now, 0));
        if now.0 - since.0 >= ASKING {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= ASKS
    }

    /// Reads a user's subscriptions into memory, if they are not there.
    async fn load(&self, user: &str) -> Result<(), StoreError> {
        if self.known().users.contains_key(user) {
            return Ok(());
        }
        let mut contacts = HashMap::new();
        let mut after = None;
        loop {
            let page = self.store.subscriptions(&self.network, user, after.as_deref(), 1000).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            contacts.extend(page);
        }
        let mut known = self.known();
        if known.count + contacts.len() > REMEMBERED || known.users.len() >= REMEMBERED {
            *known = Known::default();
        }
        if !known.users.contains_key(user) {
            known.count += contacts.len();
            known.users.insert(user.to_owned(), contacts);
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
