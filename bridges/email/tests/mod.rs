//! The adapter as a whole: scripted mail servers on one side, the gateway in memory on the other. No network but the
//! loopback, no names but a table.
//!
//! The keys in `keys/` were made for these tests and are used by nothing else.

mod attach;
mod bad_input;
mod bounces;
mod files;
mod loops;
mod orders;
mod peer;
mod proof;
mod receiving;
mod relay;
mod sending;
mod signals;
mod signing;
mod threads;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use self::peer::{Peer, Script};
use super::adapter::{EmailAdapter, State};
use super::auth::check::Checker;
use crate::api::testkit::MemoryCore;
use crate::api::{
    Adapter, Chat, Condition, EventId, Failure, Fatal, Inbound, Kind, Outbound, PersonId, Receipt, Stop, Text,
    Timestamp, UserId,
};

const NOW: Timestamp = Timestamp(1_780_000_000_000);

/// Only bounds a hang; nothing depends on how long anything takes.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it hangs")
}

/// A file of this folder.
fn file(name: &str) -> String {
    format!("{}/email/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn juliet() -> UserId {
    UserId::new("juliet", "capulet.lit").unwrap()
}

fn bob() -> PersonId {
    PersonId::new("bob", "example.com").unwrap()
}

fn chat() -> Chat {
    Chat::Direct { user: juliet(), person: bob() }
}

fn out(number: i64, kind: Kind) -> Outbound {
    Outbound {
        id: EventId(number),
        chat: chat(),
        user: juliet(),
        name: Some("Juliet".into()),
        at: NOW,
        kind,
        attempt: 0,
    }
}

fn line(number: i64, text: &str) -> Outbound {
    out(number, Kind::Text(Text::plain(text)))
}

fn condition(failure: &Failure) -> Option<Condition> {
    match failure {
        Failure::Permanent { condition, .. } => Some(*condition),
        Failure::Temporary { .. } => None,
    }
}

/// The text of an event.
fn text(event: &Inbound) -> &Text {
    match &event.kind {
        Kind::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// A section of the configuration; `more` is TOML.
fn section(listen: &str, smarthost: &str, more: &str) -> toml::Table {
    let text = format!("domain = \"mail.x\"\nlisten = \"{listen}\"\nsmarthost = \"{smarthost}\"\n{more}");
    toml::from_str(&text).unwrap()
}

/// A state without an adapter, for sessions.
fn state(face: &str, more: &str) -> State {
    let raw = section(&format!("{face}://127.0.0.1:0"), "smtp://127.0.0.1:1", more);
    State::new(super::config::read(&raw).unwrap())
}

struct World {
    peer: Peer,
    memory: MemoryCore,
    adapter: Arc<dyn Adapter>,
    stop: Stop,
    task: JoinHandle<Result<(), Fatal>>,
}

impl World {
    /// An adapter that listens by LMTP; its smarthost follows the script.
    async fn start(script: Script) -> Self {
        Self::with("lmtp://127.0.0.1:0", script, "", None).await
    }

    async fn with(listen: &str, script: Script, more: &str, table: Option<&[(&str, &str)]>) -> Self {
        let peer = Peer::start(script).await;
        let raw = section(listen, &peer.url(), more);
        let roots = peer::roots();
        let state = State::new(super::config::read(&raw).unwrap());
        let state = state.with(table.map(Checker::table), Some(roots));
        let adapter: Arc<dyn Adapter> = Arc::new(EmailAdapter::of(state));
        let memory = MemoryCore::new(&["capulet.lit"]);
        let stop = Stop::new();
        let (running, core, signal) = (adapter.clone(), memory.core(), stop.clone());
        let task = tokio::spawn(async move { running.run(core, signal).await });
        let world = Self { peer, memory, adapter, stop, task };
        // It has begun when it can be asked for an address.
        soon(async {
            while world.adapter.print_user(&juliet()).is_none() || world.address().ends_with(":0") {
                tokio::task::yield_now().await;
            }
        })
        .await;
        world
    }

    /// Where it listens.
    fn address(&self) -> String {
        self.adapter.listeners()[0].address.clone()
    }

    async fn deliver(&self, out: &[Outbound]) -> Result<Receipt, Failure> {
        soon(self.adapter.deliver(out)).await
    }

    /// Brings a mail by LMTP or SMTP; the answer.
    async fn mail(&self, from: &str, to: &str, mail: &str) -> String {
        let stream = tokio::net::TcpStream::connect(self.address()).await.unwrap();
        let mut client = wire::Client::new(stream).await;
        client.bring(from, to, mail).await
    }

    async fn end(self) {
        self.stop.cancel();
        soon(self.task).await.unwrap().unwrap();
    }
}
