//! The adapter: what it knows, and what it does when the core asks.

use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SetOnce};
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use super::address::{self, Users};
use super::auth::check::Checker;
use super::compose;
use super::config::{Config, Face};
use super::dkim::Signer;
use super::files;
use super::outgoing;
use super::reactions::Reactors;
use super::receive::{self, Rate};
use super::send::Sender;
use super::tidy;
use crate::api::{
    Adapter, Address, Batch, BoxFuture, Capabilities, Chat, Closed, Content, Core, Dns, EventId, Failure, Fatal,
    Finding, Listener, Outbound, PersonId, Reach, Receipt, Refusal, Source, Stop, Timestamp, UserId,
};

/// How long the first of some lines waits at most, in silences.
const MAX_WAIT: u32 = 13;

/// How many lines travel in one mail.
const MAX_LINES: usize = 200;

/// How many files may be read out of mails at the same time: each holds its bytes in memory until they have been read.
const OPENED: usize = 4;

/// How many mails with files may be in the making at the same time.
const PACKING: usize = 2;

/// What the adapter knows. Shared by its tasks.
pub struct State {
    pub config: Config,
    pub bound: OnceLock<std::net::SocketAddr>,
    pub sender: Sender,
    pub rate: Rate,
    /// How many files may be read out of mails at the same time.
    pub opened: Arc<Semaphore>,
    /// Who sends reactions.
    pub reactors: Reactors,
    /// How many mails with files may be in the making at the same time.
    pub packing: Semaphore,
    /// What an earlier run left may be delivered before this one has begun, and waits for it: it is no failure to be tried
    /// again in a minute.
    core: SetOnce<Core>,
    acceptor: OnceLock<TlsAcceptor>,
    checker: OnceLock<Checker>,
    signer: OnceLock<Signer>,
}

impl State {
    pub fn new(config: Config) -> Self {
        let sender = Sender::new(config.smarthost.clone(), &config.domain);
        Self {
            sender,
            config,
            bound: OnceLock::new(),
            rate: Rate::default(),
            opened: Arc::new(Semaphore::new(OPENED)),
            packing: Semaphore::new(PACKING),
            reactors: Reactors::default(),
            core: SetOnce::new(),
            acceptor: OnceLock::new(),
            checker: OnceLock::new(),
            signer: OnceLock::new(),
        }
    }

    /// The same with other names, and other certificates to trust, than the system's.
    #[cfg(test)]
    pub fn with(mut self, checker: Option<Checker>, roots: Option<rustls::RootCertStore>) -> Self {
        if let Some(checker) = checker {
            let _ = self.checker.set(checker);
        }
        if let Some(roots) = roots {
            self.sender = self.sender.trusting(roots);
        }
        self
    }

    /// Our users' addresses.
    pub fn users(&self, core: &Core) -> Users {
        Users { domain: self.config.domain.clone(), hosts: core.hosts() }
    }

    /// The user behind an alias, while they may use the gateway.
    pub async fn alias(&self, core: &Core, alias: &str) -> Result<Option<UserId>, Closed> {
        let bytes = core.get(&format!("alias/{alias}")).await?;
        let user = bytes.and_then(|bytes| UserId::parse(&String::from_utf8(bytes).ok()?).ok());
        Ok(user.filter(|user| core.allows(user)))
    }

    /// A user's address; for one that mail cannot carry, a stored alias.
    pub async fn user_address(&self, core: &Core, user: &UserId) -> Result<String, Closed> {
        if let Some(address) = self.users(core).address(user) {
            return Ok(address);
        }
        let hash = Sha256::digest(user.to_string());
        let alias: String = hash[..10].iter().map(|byte| format!("{byte:02x}")).collect();
        let key = format!("alias/{alias}");
        if core.get(&key).await?.is_none() {
            core.put(&key, Some(user.to_string().into_bytes())).await?;
        }
        Ok(format!("u-{alias}@{}", self.config.domain))
    }

    /// The acceptor of STARTTLS, where there is a certificate.
    pub fn acceptor(&self) -> Option<&TlsAcceptor> {
        self.acceptor.get()
    }

    /// Who looks at SPF, DKIM and DMARC.
    pub fn checker(&self) -> Option<&Checker> {
        self.checker.get()
    }

    /// The mail with its DKIM signature, where there is a key.
    pub fn sign(&self, mail: Vec<u8>, at: Timestamp) -> Result<Vec<u8>, Failure> {
        match self.signer.get() {
            Some(signer) => signer.sign(&mail, at).map_err(Failure::temporary),
            None => Ok(mail),
        }
    }

    /// Reads the files and asks the system for its resolvers.
    fn prepare(&self) -> Result<(), Fatal> {
        if let Some((cert, key)) = &self.config.tls {
            let acceptor = receive::acceptor(cert, key);
            let _ = self.acceptor.set(acceptor.map_err(|error| Fatal(format!("network.email.tls_cert: {error}")))?);
        }
        if let Some((selector, file)) = &self.config.dkim {
            let signer = Signer::read(&self.config.domain, selector, file);
            let _ = self.signer.set(signer.map_err(|error| Fatal(format!("network.email.dkim_key_file: {error}")))?);
        }
        if self.config.face == Face::Smtp && self.checker.get().is_none() {
            match Checker::system() {
                Ok(checker) => drop(self.checker.set(checker)),
                Err(error) => warn!(error, "the system names no resolvers: no mail can be proven, and all is marked"),
            }
        }
        Ok(())
    }
}

/// The key of the address that answers to a person go to.
pub fn spelling_key(user: &UserId, person: &PersonId) -> String {
    format!("to/{user}/{}", address::print(person))
}

pub struct EmailAdapter(Arc<State>);

impl EmailAdapter {
    pub fn new(config: Config) -> Self {
        Self::of(State::new(config))
    }

    /// An adapter with this state.
    pub fn of(state: State) -> Self {
        Self(Arc::new(state))
    }
}

impl Adapter for EmailAdapter {
    fn run<'a>(&'a self, core: Core, stop: Stop) -> BoxFuture<'a, Result<(), Fatal>> {
        async move {
            let _ = self.0.core.set(core.clone());
            self.0.prepare()?;
            if let Err(error) = self.0.reactors.load(&core).await {
                warn!(%error, "who sends reactions cannot be read: they get words until they send one");
            }
            let listener = receive::bind(&self.0).await?;
            let serve = receive::serve(self.0.clone(), core.clone(), listener, stop.clone());
            futures::future::join(serve, tidy::run(core, stop)).await;
            Ok(())
        }
        .boxed()
    }

    fn listening(&self) -> bool {
        self.0.bound.get().is_some()
    }

    fn capabilities(&self, chat: Option<&Chat>) -> Capabilities {
        let silence = self.0.config.batch;
        let reaction = matches!(chat, Some(Chat::Direct { person, .. }) if self.0.reactors.has(person));
        Capabilities {
            reply: true,
            rich: true,
            emote: true,
            subject: true,
            file: true,
            reaction,
            max_text: usize::MAX,
            batch: Some(Batch { silence, max_wait: silence * MAX_WAIT, max_lines: MAX_LINES, orders: compose::ORDERS }),
            ..Capabilities::default()
        }
    }

    fn first_retry(&self) -> Option<std::time::Duration> {
        Some(self.0.config.retry_first)
    }

    fn resolve(&self, typed: &str) -> Result<Address, Refusal> {
        address::resolve(typed)
    }

    fn canonical(&self, person: &PersonId) -> PersonId {
        address::canonical(person)
    }

    fn print_person(&self, person: &PersonId) -> String {
        address::print(person)
    }

    fn reach(&self, person: &PersonId) -> Vec<Reach> {
        vec![Reach::Mail(address::print(person))]
    }

    fn print_room(&self, _room: &crate::api::RoomId) -> String {
        String::new()
    }

    fn print_user(&self, user: &UserId) -> Option<String> {
        self.0.users(self.0.core.get()?).address(user)
    }

    fn deliver<'a>(&'a self, out: &'a [Outbound]) -> BoxFuture<'a, Result<Receipt, Failure>> {
        async move {
            let core = self.0.core.wait().await;
            outgoing::deliver(&self.0, core, out).await
        }
        .boxed()
    }

    fn open<'a>(&'a self, event: EventId, source: &'a Source) -> BoxFuture<'a, Result<Content, Failure>> {
        async move {
            let core = self.0.core.wait().await;
            files::open(&self.0.opened, core, event, source).await
        }
        .boxed()
    }

    fn check<'a>(&'a self, _running: bool) -> BoxFuture<'a, Vec<Finding>> {
        self.0.check().boxed()
    }

    fn check_names<'a>(&'a self, dns: &'a dyn Dns) -> BoxFuture<'a, Vec<Finding>> {
        self.0.check_names(dns).boxed()
    }

    fn listeners(&self) -> Vec<Listener> {
        let what = if self.0.config.face == Face::Lmtp { "lmtp" } else { "smtp" };
        let place = self.0.bound.get().map_or_else(|| self.0.config.listen.to_string(), ToString::to_string);
        vec![Listener { what, address: place }]
    }
}
