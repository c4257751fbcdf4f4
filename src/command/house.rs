//! What commands work on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::future::BoxFuture;
use portway_bridges::api::{Adapter, Descriptor, UserId};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::doctor::resident::Resident;
use crate::identity::{Access, Directory, Quota, Rules};
use crate::route::Router;
use crate::store::{Store, StoreError};
use crate::text::Catalogue;
use crate::xmpp::jid::Jid;

/// How many users' choices are kept in memory.
const CACHE: usize = 20_000;

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Whoever may use the gateway may register, and need not.
    Optional,
    /// Whoever may use the gateway must register first.
    Required,
    /// Nobody registers any more; whoever may use the gateway may go on.
    Closed,
}

impl Registration {
    /// From the configuration.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "optional" => Self::Optional,
            "required" => Self::Required,
            "closed" => Self::Closed,
            _ => return None,
        })
    }

    /// Whether anybody may register.
    #[must_use]
    pub fn is_open(self) -> bool {
        self != Self::Closed
    }
}

/// What a user has chosen: [`crate::store::UserRow::choices`] as JSON. What is missing there is as here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choices {
    /// The name by which they go on the network, where a message brings none.
    pub name: String,
    /// The language of what the gateway says unasked; empty where it does not matter.
    pub language: String,
    /// Whether announcements are for them.
    pub announcements: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self { name: String::new(), language: String::new(), announcements: true }
    }
}

/// What commands want done on the XMPP side.
pub trait Outside: Send + Sync {
    /// The gateway (no contact) or the contact with this localpart asks to see a user's presence.
    fn subscribe(&self, contact: Option<&str>, user: &UserId);
    /// The gateway and its subscriptions leave a user.
    fn leave(&self, user: &UserId);
    /// The gateway says something to a user, unasked.
    fn say(&self, user: &UserId, text: &str);
    /// Ends the user's sessions in rooms; says how many there were.
    fn disconnect<'a>(&'a self, user: &'a UserId) -> BoxFuture<'a, usize>;
}

/// What commands work on.
pub struct House {
    /// The network's id.
    pub network: Arc<str>,
    /// What the network calls itself.
    pub descriptor: Descriptor,
    /// The network.
    pub adapter: Arc<dyn Adapter>,
    /// The component's domain.
    pub component: String,
    /// The durable memory.
    pub store: Store,
    /// Who is who.
    pub directory: Arc<Directory>,
    /// The way to the network.
    pub router: Router,
    /// Who may.
    pub access: Arc<Access>,
    /// Who is kept out.
    pub rules: Arc<Rules>,
    /// The sentences.
    pub texts: Arc<Catalogue>,
    /// The time.
    pub clock: Clock,
    /// Bare JIDs of the admins.
    pub admins: Vec<Jid>,
    /// Who may register.
    pub registration: Registration,
    /// How often a user may ask for a proof that somebody is them.
    pub proofs: Quota,
    /// How often a user may register.
    pub registrations: Quota,
    /// The XMPP side, once it is there.
    pub outside: OnceLock<Box<dyn Outside>>,
    /// What is known of who has registered, and what they have chosen.
    pub known: Mutex<HashMap<UserId, Option<Choices>>>,
    /// Who looks at what the gateway depends on, once there is a connection to look over.
    pub doctor: OnceLock<Arc<Resident>>,
}

impl House {
    /// Whether a user is an admin.
    #[must_use]
    pub fn is_admin(&self, user: &UserId) -> bool {
        self.admins.iter().any(|admin| admin.domain() == user.host() && admin.node() == Some(user.local()))
    }

    /// What a registered user has chosen; `None` for others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn choices(&self, user: &UserId) -> Result<Option<Choices>, StoreError> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(user) {
            return Ok(known.clone());
        }
        let row = self.store.user(&self.network, &user.to_string()).await?;
        let choices = row.map(|row| serde_json::from_str(&row.choices).unwrap_or_default());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CACHE {
            known.clear();
        }
        known.insert(user.clone(), choices.clone());
        Ok(choices)
    }

    /// Forgets what is in memory of a user.
    pub fn forget(&self, user: &UserId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(user);
        self.rules.forget(&user.to_string());
    }

    /// Says something to all admins.
    pub fn tell_admins(&self, text: &str) {
        let users = self.admins.iter().filter_map(crate::identity::access::user);
        for admin in users {
            self.outside(|outside| outside.say(&admin, text));
        }
    }

    /// Does something on the XMPP side, where it is there.
    pub fn outside(&self, what: impl FnOnce(&dyn Outside)) {
        if let Some(outside) = self.outside.get() {
            what(&**outside);
        }
    }
}
