//! Users who have registered, and what belongs to them: subscriptions, rules, links to their own identities elsewhere. And
//! the pictures of their contacts.
//!
//! The types, what an engine implements ([`Accounts`]), and what the rest of the gateway calls ([`Store`]).

use portway_bridges::api::Timestamp;

use super::Store;
use super::backend::Outcome;

/// A registered user of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The bare JID.
    pub user: String,
    /// Since when.
    pub since: Timestamp,
    /// What they have chosen, as a JSON object.
    pub choices: String,
}

/// The presence subscriptions between a user and a contact, seen from the contact (RFC 6121, section 3 and appendix A).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// The contact sees the user's presence.
    pub to: bool,
    /// The user sees the contact's presence.
    pub from: bool,
    /// The contact has asked to see the user's presence, and has no answer yet.
    pub pending_out: bool,
    /// The user has asked to see the contact's presence, and has no answer yet.
    pub pending_in: bool,
}

impl Subscription {
    /// As it is stored: one bit each, from the lowest: to, from, pending out, pending in.
    #[must_use]
    pub fn bits(self) -> u8 {
        u8::from(self.to) | u8::from(self.from) << 1 | u8::from(self.pending_out) << 2 | u8::from(self.pending_in) << 3
    }

    /// From how it is stored; unknown bits mean nothing.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        let bit = |n: u8| bits >> n & 1 == 1;
        Self { to: bit(0), from: bit(1), pending_out: bit(2), pending_in: bit(3) }
    }
}

/// A rule about who may reach whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whose it is: a bare JID, or empty where it holds for everybody.
    pub user: String,
    /// A glob (`*` and `?`) over the name of a person or a user as their own side writes it.
    pub pattern: String,
    /// Whether it lets through or keeps out.
    pub allow: bool,
    /// When it was made.
    pub at: Timestamp,
}

/// A person of a network who is a user of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// The person, as their network writes them.
    pub remote: String,
    /// The user's bare JID.
    pub user: String,
    /// Since when.
    pub since: Timestamp,
}

/// What became of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked {
    /// It is new.
    New,
    /// It was there.
    Known,
    /// The person belongs to this other user, and stays theirs.
    Taken(String),
}

/// A proof under way: the user says who they are elsewhere, and a code was sent there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The person whom the user claims to be, as their network writes them.
    pub remote: String,
    /// A keyed hash of the code.
    pub code: Vec<u8>,
    /// Until when the code holds.
    pub expires: Timestamp,
    /// How often a wrong one was tried.
    pub tries: u32,
}

/// A picture, ready for XMPP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvatarRow {
    /// What the network calls the picture; a new one has a new name.
    pub source: String,
    /// The SHA-1 of the bytes in lower-case hexadecimal (XEP-0153, XEP-0084).
    pub hash: String,
    /// The media type.
    pub media_type: String,
    /// The picture itself; empty where the network's picture cannot be shown.
    pub bytes: Vec<u8>,
    /// When it was fetched.
    pub at: Timestamp,
}

/// How many rows went with a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Whether the user was registered.
    pub registered: bool,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Rules of their own.
    pub rules: u64,
    /// Links.
    pub links: u64,
}

/// What a database engine implements of this; see the methods of [`Store`] with the same names.
#[expect(missing_docs, reason = "the methods of `Store` say it")]
pub trait Accounts {
    fn register(&mut self, network: &str, user: &UserRow) -> Outcome<bool>;
    fn forget_user(&mut self, network: &str, user: &str) -> Outcome<Forgotten>;
    fn user(&mut self, network: &str, user: &str) -> Outcome<Option<UserRow>>;
    fn users(&mut self, network: &str, after: Option<&str>, limit: usize) -> Outcome<Vec<UserRow>>;
    fn subscription(&mut self, network: &str, user: &str, contact: &str) -> Outcome<Subscription>;
    fn put_subscription(&mut self, network: &str, user: &str, contact: &str, state: Subscription) -> Outcome<()>;
    fn subscriptions(
        &mut self,
        network: &str,
        user: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<(String, Subscription)>>;
    fn subscribers(
        &mut self,
        network: &str,
        contact: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<(String, Subscription)>>;
    fn subscribed_users(&mut self, network: &str, after: Option<&str>, limit: usize) -> Outcome<Vec<String>>;
    fn put_rule(&mut self, network: &str, rule: &Rule) -> Outcome<()>;
    fn remove_rule(&mut self, network: &str, user: &str, pattern: &str) -> Outcome<bool>;
    fn rules(&mut self, network: &str, user: &str) -> Outcome<Vec<Rule>>;
    fn link(&mut self, network: &str, link: &LinkRow) -> Outcome<Linked>;
    fn unlink(&mut self, network: &str, remote: &str) -> Outcome<bool>;
    fn link_of(&mut self, network: &str, remote: &str) -> Outcome<Option<LinkRow>>;
    fn links(&mut self, network: &str, user: Option<&str>, after: Option<&str>, limit: usize) -> Outcome<Vec<LinkRow>>;
    fn put_proof(&mut self, network: &str, user: &str, proof: Option<&Proof>) -> Outcome<()>;
    fn proof(&mut self, network: &str, user: &str) -> Outcome<Option<Proof>>;
    fn put_avatar(&mut self, network: &str, who: &str, avatar: Option<&AvatarRow>) -> Outcome<()>;
    fn avatar(&mut self, network: &str, who: &str) -> Outcome<Option<AvatarRow>>;
}

impl Store {
    /// Registers a user, or brings what they have chosen up to date (the time of registration stays). Says whether the
    /// user is new.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn register(&self, network: &str, user: UserRow) -> Outcome<bool> {
        let network = network.to_owned();
        self.write(move |db| db.register(&network, &user)).await
    }

    /// Removes a user and all that is theirs: subscriptions, rules, links, a proof under way,
    /// what is known of their own picture. What waits for delivery stays.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn forget_user(&self, network: &str, user: &str) -> Outcome<Forgotten> {
        let (network, user) = (network.to_owned(), user.to_owned());
        self.write(move |db| db.forget_user(&network, &user)).await
    }

    /// A registered user by their bare JID.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn user(&self, network: &str, user: &str) -> Outcome<Option<UserRow>> {
        let (network, user) = (network.to_owned(), user.to_owned());
        self.read(move |db| db.user(&network, &user)).await
    }

    /// Registered users behind `after`, by bare JID, at most `limit`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn users(&self, network: &str, after: Option<&str>, limit: usize) -> Outcome<Vec<UserRow>> {
        let (network, after) = (network.to_owned(), after.map(str::to_owned));
        self.read(move |db| db.users(&network, after.as_deref(), limit)).await
    }

    /// The subscriptions between a user and a contact (the canonical localpart; empty: the gateway itself). Read behind
    /// all writes that were asked for before.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn subscription(&self, network: &str, user: &str, contact: &str) -> Outcome<Subscription> {
        let (network, user, contact) = (network.to_owned(), user.to_owned(), contact.to_owned());
        self.write(move |db| db.subscription(&network, &user, &contact)).await
    }

    /// Applies a change to the subscriptions between a user and a contact in one step; returns what was and what is.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn change_subscription(
        &self,
        network: &str,
        user: &str,
        contact: &str,
        change: impl FnOnce(Subscription) -> Subscription + Send + 'static,
    ) -> Outcome<(Subscription, Subscription)> {
        let (network, user, contact) = (network.to_owned(), user.to_owned(), contact.to_owned());
        self.write(move |db| {
            let before = db.subscription(&network, &user, &contact)?;
            let after = change(before);
            if after != before {
                db.put_subscription(&network, &user, &contact, after)?;
            }
            Ok((before, after))
        })
        .await
    }

    /// A user's subscriptions behind the contact `after`, by contact, at most `limit`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn subscriptions(
        &self,
        network: &str,
        user: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<(String, Subscription)>> {
        let (network, user, after) = (network.to_owned(), user.to_owned(), after.map(str::to_owned));
        self.read(move |db| db.subscriptions(&network, &user, after.as_deref(), limit)).await
    }

    /// The users who have any subscription with a contact, behind the user `after`, at most `limit`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn subscribers(
        &self,
        network: &str,
        contact: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<(String, Subscription)>> {
        let (network, contact, after) = (network.to_owned(), contact.to_owned(), after.map(str::to_owned));
        self.read(move |db| db.subscribers(&network, &contact, after.as_deref(), limit)).await
    }

    /// The users who have any subscription at all, each once, behind the user `after`, at most `limit`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn subscribed_users(&self, network: &str, after: Option<&str>, limit: usize) -> Outcome<Vec<String>> {
        let (network, after) = (network.to_owned(), after.map(str::to_owned));
        self.read(move |db| db.subscribed_users(&network, after.as_deref(), limit)).await
    }

    /// Makes a rule, or changes the one with the same owner and pattern.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn put_rule(&self, network: &str, rule: Rule) -> Outcome<()> {
        let network = network.to_owned();
        self.write(move |db| db.put_rule(&network, &rule)).await
    }

    /// Removes a rule; says whether there was one.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn remove_rule(&self, network: &str, user: &str, pattern: &str) -> Outcome<bool> {
        let (network, user, pattern) = (network.to_owned(), user.to_owned(), pattern.to_owned());
        self.write(move |db| db.remove_rule(&network, &user, &pattern)).await
    }

    /// The rules of a user (empty: those for everybody), by pattern.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn rules(&self, network: &str, user: &str) -> Outcome<Vec<Rule>> {
        let (network, user) = (network.to_owned(), user.to_owned());
        self.read(move |db| db.rules(&network, &user)).await
    }

    /// Links a person to a user. A person has one user; a user may have several persons.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn link(&self, network: &str, link: LinkRow) -> Outcome<Linked> {
        let network = network.to_owned();
        self.write(move |db| db.link(&network, &link)).await
    }

    /// Removes a link; says whether there was one.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn unlink(&self, network: &str, remote: &str) -> Outcome<bool> {
        let (network, remote) = (network.to_owned(), remote.to_owned());
        self.write(move |db| db.unlink(&network, &remote)).await
    }

    /// The link of a person.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn link_of(&self, network: &str, remote: &str) -> Outcome<Option<LinkRow>> {
        let (network, remote) = (network.to_owned(), remote.to_owned());
        self.read(move |db| db.link_of(&network, &remote)).await
    }

    /// Links of a user or of all, behind the person `after`, at most `limit`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn links(
        &self,
        network: &str,
        user: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Outcome<Vec<LinkRow>> {
        let (network, user, after) = (network.to_owned(), user.map(str::to_owned), after.map(str::to_owned));
        self.read(move |db| db.links(&network, user.as_deref(), after.as_deref(), limit)).await
    }

    /// Notes a user's proof under way in place of any other; `None` ends it.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn put_proof(&self, network: &str, user: &str, proof: Option<Proof>) -> Outcome<()> {
        let (network, user) = (network.to_owned(), user.to_owned());
        self.write(move |db| db.put_proof(&network, &user, proof.as_ref())).await
    }

    /// A user's proof under way, with one more try counted against it in the same step.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn try_proof(&self, network: &str, user: &str) -> Outcome<Option<Proof>> {
        let (network, user) = (network.to_owned(), user.to_owned());
        self.write(move |db| {
            let Some(proof) = db.proof(&network, &user)? else { return Ok(None) };
            let counted = Proof { tries: proof.tries.saturating_add(1), ..proof };
            db.put_proof(&network, &user, Some(&counted))?;
            Ok(Some(counted))
        })
        .await
    }

    /// Keeps the picture of a person or room in place of an earlier one; `None`: there is none any more.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn put_avatar(&self, network: &str, who: &str, avatar: Option<AvatarRow>) -> Outcome<()> {
        let (network, who) = (network.to_owned(), who.to_owned());
        self.write(move |db| db.put_avatar(&network, &who, avatar.as_ref())).await
    }

    /// The picture of a person or room.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn avatar(&self, network: &str, who: &str) -> Outcome<Option<AvatarRow>> {
        let (network, who) = (network.to_owned(), who.to_owned());
        self.read(move |db| db.avatar(&network, &who)).await
    }
}
