//! The adapter: what it knows, and what it does when the core asks.

use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use sha2::{Digest, Sha256};

use super::address::{self, Users};
use super::bounce;
use super::config::Config;
use super::receive;
use super::send::Sender;
use super::subject;
use super::thread::{self, Known};
use super::to_mail::{self, Parts};
use crate::api::{
    Adapter, Address, Batch, BoxFuture, Capabilities, Chat, Closed, Condition, Core, Failure, Fatal, Kind, Listener,
    Outbound, PersonId, Receipt, Refusal, Sentence, Stop, Style, UserId,
};

/// How long the first of some lines waits at most, in silences.
const MAX_WAIT: u32 = 13;

/// How many lines travel in one mail.
const MAX_LINES: usize = 200;

/// What the adapter knows. Shared by its tasks.
pub struct State {
    pub config: Config,
    pub bound: OnceLock<std::net::SocketAddr>,
    core: OnceLock<Core>,
    sender: Sender,
}

impl State {
    pub fn new(config: Config) -> Self {
        let sender = Sender::new(config.smarthost.clone(), &config.domain);
        Self { sender, config, bound: OnceLock::new(), core: OnceLock::new() }
    }

    /// Our users' addresses.
    pub fn users(&self, core: &Core) -> Users {
        Users { domain: self.config.domain.clone(), hosts: core.hosts() }
    }

    /// The user behind an alias.
    pub async fn alias(&self, core: &Core, alias: &str) -> Result<Option<UserId>, Closed> {
        let bytes = core.get(&format!("alias/{alias}")).await?;
        Ok(bytes.and_then(|bytes| UserId::parse(&String::from_utf8(bytes).ok()?).ok()))
    }

    /// A user's address; for one that mail cannot carry, a stored alias.
    async fn user_address(&self, core: &Core, user: &UserId) -> Result<String, Closed> {
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

    async fn deliver(&self, out: &[Outbound]) -> Result<Receipt, Failure> {
        let core = self.core.get().ok_or_else(|| Failure::temporary("the adapter does not run yet"))?;
        let closed = |error: Closed| Failure::temporary(error.to_string());
        let (Some(first), Some(last)) = (out.first(), out.last()) else { return Ok(Receipt::default()) };
        let Chat::Direct { user, person } = &first.chat else {
            return Err(Failure::permanent(
                Condition::ItemNotFound,
                Sentence::new("core.no-rooms"),
                "mail has no rooms",
            ));
        };
        if address::split(&address::print(person)).is_none() {
            let sentence = Sentence::new("email.bad-address").with("typed", address::print(person));
            return Err(Failure::permanent(Condition::JidMalformed, sentence, "not an address"));
        }
        let name = first.name.clone().unwrap_or_else(|| user.local().to_owned());
        let Some(letter) = compose(out, &name) else { return Ok(Receipt::default()) };
        let spelling = core.get(&spelling_key(user, person)).await.map_err(closed)?;
        let to = spelling.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| address::print(person));
        let from = self.user_address(core, user).await.map_err(closed)?;

        // What it answers: what the user pointed at, else the last mail of this chat.
        let last_key = thread::last_key(user, person);
        let pointed = match &letter.reply {
            Some(id) => core.get(&thread::mail_key(user, person, id)).await.map_err(closed)?,
            None => None,
        };
        let recent = match pointed {
            Some(bytes) => Known::read(&bytes),
            None => core.get(&last_key).await.map_err(closed)?.and_then(|bytes| Known::read(&bytes)),
        };
        let recent = recent.filter(|known| letter.reply.is_some() || known.recent(first.at));
        let message_id = format!("pw.{}.{}@{}", core.install_id(), first.id, self.config.domain);
        // A retry finds its own mail as the last one.
        let recent = recent.filter(|known| known.id != message_id);
        let new_subject = letter.subject.as_deref().filter(|given| {
            recent
                .as_ref()
                .and_then(|known| known.subject.as_deref())
                .is_none_or(|old| subject::base(old) != subject::base(given))
        });
        let answered = if new_subject.is_some() { None } else { recent };
        let subject = match (&letter.subject, &answered) {
            (Some(given), None) => given.clone(),
            (_, Some(known)) => {
                known.subject.as_deref().map_or_else(|| subject::of_text(&letter.text, &name), subject::answer)
            }
            (None, None) => subject::of_text(&letter.text, &name),
        };
        let references = answered.as_ref().map(Known::references_of_answer).unwrap_or_default();
        let trace = core.install_id();
        let mail = to_mail::mail(&Parts {
            from: &from,
            name: &name,
            to: &to,
            subject: &subject,
            text: &letter.text,
            message_id: &message_id,
            references: &references,
            at: first.at,
            trace: &trace,
        })
        .map_err(|error| {
            let sentence = Sentence::new("email.bad-address").with("typed", to.clone());
            Failure::permanent(Condition::JidMalformed, sentence, error)
        })?;
        let envelope = format!("{}@{}", bounce::token(&core.key("bounce"), first.id), self.config.domain);
        self.sender.send(&envelope, &to, &mail).await?;
        let known = Known { id: message_id.clone(), references, subject: Some(subject), at: last.at.0 };
        // If this is not written, the next line starts a thread of its own; the mail itself is out.
        let _ = core.put(&last_key, Some(known.bytes())).await;
        let _ = core.put(&thread::mail_key(user, person, &message_id), Some(known.bytes())).await;
        Ok(Receipt { ids: vec![crate::api::ItemId::new(&message_id)] })
    }
}

/// The key of the address that answers to a person go to.
pub fn spelling_key(user: &UserId, person: &PersonId) -> String {
    format!("to/{user}/{}", address::print(person))
}

/// What the lines of a batch say together.
struct Composed {
    subject: Option<String>,
    text: String,
    reply: Option<String>,
}

/// Puts lines together. `None` where there is nothing to say.
fn compose(out: &[Outbound], name: &str) -> Option<Composed> {
    let mut lines = Vec::new();
    let mut subject = None;
    let mut reply = None;
    for outbound in out {
        let Kind::Text(text) = &outbound.kind else { continue };
        subject = subject.or_else(|| text.subject.clone());
        reply = reply.or_else(|| text.reply.as_ref()?.id.as_ref().map(ToString::to_string));
        lines.push(match text.style {
            Style::Emote => format!("* {name} {}", text.body),
            Style::Normal | Style::Notice => text.body.clone(),
        });
    }
    let mut text = lines.join("\n");
    // People who are used to such gateways write the subject as the first line.
    if subject.is_none()
        && let Some(rest) = text.strip_prefix("Subject: ")
        && let Some((line, body)) = rest.split_once('\n')
        && !body.trim().is_empty()
    {
        subject = Some(line.trim().to_owned());
        text = body.trim_start_matches('\n').to_owned();
    }
    (!text.trim().is_empty()).then_some(Composed { subject, text, reply })
}

pub struct EmailAdapter(Arc<State>);

impl EmailAdapter {
    pub fn new(config: Config) -> Self {
        Self(Arc::new(State::new(config)))
    }
}

impl Adapter for EmailAdapter {
    fn run<'a>(&'a self, core: Core, stop: Stop) -> BoxFuture<'a, Result<(), Fatal>> {
        async move {
            let _ = self.0.core.set(core.clone());
            let listener = receive::bind(&self.0).await?;
            receive::serve(self.0.clone(), core, listener, stop).await;
            Ok(())
        }
        .boxed()
    }

    fn listening(&self) -> bool {
        self.0.bound.get().is_some()
    }

    fn capabilities(&self, _chat: Option<&Chat>) -> Capabilities {
        let silence = self.0.config.batch;
        Capabilities {
            reply: true,
            emote: true,
            subject: true,
            max_text: usize::MAX,
            batch: Some(Batch { silence, max_wait: silence * MAX_WAIT, max_lines: MAX_LINES }),
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

    fn print_room(&self, _room: &crate::api::RoomId) -> String {
        String::new()
    }

    fn print_user(&self, user: &UserId) -> Option<String> {
        self.0.users(self.0.core.get()?).address(user)
    }

    fn deliver<'a>(&'a self, out: &'a [Outbound]) -> BoxFuture<'a, Result<Receipt, Failure>> {
        self.0.deliver(out).boxed()
    }

    fn listeners(&self) -> Vec<Listener> {
        let address = self.0.bound.get().unwrap_or(&self.0.config.listen);
        let what = if self.0.config.face == super::config::Face::Lmtp { "lmtp" } else { "smtp" };
        vec![Listener { what, address: address.to_string() }]
    }
}
