//! The adapter as a whole: a stub homeserver on one side, the gateway in memory on the other.

mod appservice;
mod config;
mod direct;
mod file;
mod hostile;
mod inward;
mod picture;
mod pointer;
mod relations;
mod room;

use std::sync::Arc;
use std::time::Duration;

use portway_testbed::stub_homeserver::{Options, StubHomeserver};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::NETWORK;
use crate::api::testkit::MemoryCore;
use crate::api::{
    Adapter, Chat, Condition, EventId, Failed, Failure, Fatal, Inbound, Kind, Network, Outbound, PersonId, Receipt,
    Stop, Text, Timestamp, UserId,
};

const ALICE: &str = "@alice:hs.test";
const ROMEO: &str = "@xmpp_romeo=40h.test:hs.test";

/// Only bounds a hang; nothing depends on how long anything takes.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it hangs")
}

fn romeo() -> UserId {
    UserId::new("romeo", "h.test").unwrap()
}

fn alice() -> PersonId {
    PersonId::new("alice", "hs.test").unwrap()
}

fn to(person: &PersonId, number: i64, kind: Kind) -> Outbound {
    Outbound {
        id: EventId(number),
        chat: Chat::Direct { user: romeo(), person: person.clone() },
        user: romeo(),
        name: Some("Romeo".into()),
        at: Timestamp(1),
        kind,
        attempt: 0,
    }
}

fn hello(number: i64) -> Outbound {
    to(&alice(), number, Kind::Text(Text::plain(format!("hello {number}"))))
}

fn condition(failure: &Failure) -> Option<Condition> {
    match failure {
        Failure::Permanent { condition, .. } => Some(*condition),
        Failure::Temporary { .. } => None,
    }
}

/// The body that each event said.
fn bodies(events: &[Inbound]) -> Vec<String> {
    let body = |event: &Inbound| match &event.kind {
        Kind::Text(text) => text.body.clone(),
        other => format!("{other:?}"),
    };
    events.iter().map(body).collect()
}

struct World {
    stub: StubHomeserver,
    memory: MemoryCore,
    adapter: Arc<dyn Adapter>,
    stop: Stop,
    task: JoinHandle<Result<(), Fatal>>,
}

fn section(stub: &StubHomeserver) -> toml::Table {
    let text = format!(
        "homeserver = \"{}\"\nserver_name = \"hs.test\"\nlisten = \"127.0.0.1:0\"\nas_token = \"as-token\"\nhs_token = \"hs-token\"",
        stub.url()
    );
    toml::from_str(&text).unwrap()
}

/// An adapter that runs and listens.
async fn run(stub: &StubHomeserver, memory: &MemoryCore) -> (Arc<dyn Adapter>, Stop, JoinHandle<Result<(), Fatal>>) {
    let adapter: Arc<dyn Adapter> = Arc::from(NETWORK.configure(section(stub)).unwrap());
    let (stop, core, running) = (Stop::new(), memory.core(), adapter.clone());
    let signal = stop.clone();
    let pings = stub.times_asked("/ping");
    let task = tokio::spawn(async move { running.run(core, signal).await });
    // It asks for a ping when it listens.
    soon(stub.until(|stub| stub.times_asked("/ping") > pings)).await;
    stub.push_to(&format!("http://{}", adapter.listeners()[0].address));
    (adapter, stop, task)
}

impl World {
    async fn start() -> Self {
        let stub = StubHomeserver::start(Options::default()).await.unwrap();
        stub.add_user(ALICE, "Alice");
        let memory = MemoryCore::new(&["h.test"]);
        let (adapter, stop, task) = run(&stub, &memory).await;
        Self { stub, memory, adapter, stop, task }
    }

    /// Stops the adapter and starts another on the same store.
    async fn restart(self) -> Self {
        let Self { stub, memory, stop, task, .. } = self;
        stop.cancel();
        soon(task).await.unwrap().unwrap();
        let (adapter, stop, task) = run(&stub, &memory).await;
        Self { stub, memory, adapter, stop, task }
    }

    async fn deliver(&self, out: Outbound) -> Result<Receipt, Failure> {
        soon(self.adapter.deliver(&[out])).await
    }

    /// Pushes events and waits until they have been worked on.
    async fn push(&self, txn: &str, events: &[Value]) {
        let answer = soon(self.stub.push(txn, &json!({ "events": events }))).await.unwrap();
        assert_eq!(answer, (200, json!({})));
        soon(self.memory.until(|memory| memory.waiting() == 0)).await;
    }

    /// The only room there is.
    fn only_room(&self) -> String {
        let rooms = self.stub.rooms();
        assert_eq!(rooms.len(), 1, "{rooms:?}");
        rooms[0].clone()
    }
}
