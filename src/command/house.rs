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
use crate::xmpp::roster::offer::Offered;

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

/// What becomes of the words of people whom a user does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They are delivered like any others.
    Deliver,
    /// They are held until the user says what is to become of them.
    Ask,
    /// They go back.
    Refuse,
}

impl Policy {
    /// All policies, from the loosest.
    pub const ALL: [Self; 3] = [Self::Deliver, Self::Ask, Self::Refuse];

    /// As the configuration and users' choices name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Ask => "ask",
            Self::Refuse => "refuse",
        }
    }

    /// From that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
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
    /// What becomes of strangers' words, by the name of a [`Policy`]; empty: what the admin says.
    pub strangers: String,
}

impl Default for Choices {
    fn default() -> Self {
        Self { name: String::new(), language: String::new(), announcements: true, strangers: String::new() }
    }
}

/// What commands want done on the XMPP side.
pub trait Outside: Send + Sync {
    /// The gateway (no contact) or the contact with this localpart asks to see a user's presence.
    fn subscribe(&self, contact: Option<&str>, user: &UserId);
    /// Offers contacts for the user's roster, where that can be done and they are not in it.
    fn offer(&self, user: &UserId, contacts: Vec<Offered>);
    /// The gateway and its subscriptions leave a user.
    fn leave(&self, user: &UserId);
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
    /// What becomes of strangers' words where their user has not chosen.
    pub strangers: Policy,
    /// How often a user may ask for a proof that somebody is them.
    pub proofs: Quota,
    /// How often a user may register.
    pub registrations: Quota,
    /// Somebody's links have changed.
    pub relinked: tokio::sync::Notify,
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

    /// What becomes of the words of strangers to a user with these choices. What the admin refuses no user lets in.
    #[must_use]
    pub fn policy(&self, choices: Option<&Choices>) -> Policy {
        let chosen = choices.and_then(|choices| Policy::from_name(&choices.strangers));
        match self.strangers {
            Policy::Refuse => Policy::Refuse,
            admins => chosen.unwrap_or(admins),
        }
    }

    /// Whether it is known without a look into the store that strangers' words to a user are delivered.
    #[must_use]
    pub fn delivers(&self, user: &UserId) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(user).is_some_and(|choices| self.policy(choices.as_ref()) == Policy::Deliver)
    }

    /// Forgets what is in memory of a user.
    pub fn forget(&self, user: &UserId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(user);
        self.rules.forget(&user.to_string());
    }

    /// Says something to all admins.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tell_admins(&self, text: &str) -> Result<(), StoreError> {
        for admin in self.admins.iter().filter_map(crate::identity::access::user) {
            self.router.say(&admin, text.to_owned()).await?;
        }
        Ok(())
    }

    /// Does something on the XMPP side, where it is there.
    pub fn outside(&self, what: impl FnOnce(&dyn Outside)) {
        if let Some(outside) = self.outside.get() {
            what(&**outside);
        }
    }
}
