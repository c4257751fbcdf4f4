//! The real binary between the scripted server and the loopback peer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use portway_bridges::loopback::wire::{Item, ToPeer};
use tokio::process::Child;

use super::support::binary::{Dir, loopback, port_of, start};
use super::support::peer::Peer;
use super::support::server::{Component, Server, attribute, body};
use super::{Rate, proc};

/// How many messages are written at once.
const CHUNK: usize = 500;

pub struct Gateway {
    child: Child,
    component: Component,
    peer: Peer,
    _server: Server,
    _dir: Dir,
    round: usize,
}

impl Gateway {
    pub async fn loopback() -> Self {
        let server = Server::start().await;
        let dir = Dir::new();
        let (child, component, printed) = start(&dir, &loopback(&dir, &server), &server).await;
        let peer = Peer::connect(port_of(&printed, "loopback control")).await;
        Self { child, component, peer, _server: server, _dir: dir, round: 0 }
    }

    pub fn rss_mib(&self) -> f64 {
        proc::rss_mib(self.pid())
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("running")
    }

    pub async fn stop(mut self) {
        self.child.kill().await.expect("running");
    }

    /// Messages from XMPP, until the peer has seen them all.
    pub async fn send_to_network(&mut self, count: usize, chats: usize) -> Rate {
        self.round += 1;
        let (cpu, begin, round) = (proc::cpu(self.pid()), Instant::now(), self.round);
        let mut order = Order::new();
        let mut sent = 0;
        while order.count < count {
            if sent < count && sent < order.count + 20 * CHUNK {
                let mut text = String::with_capacity(CHUNK * 200);
                for n in sent..count.min(sent + CHUNK) {
                    text.push_str(&format!(
                        "<message xmlns='jabber:component:accept' type='chat' id='bench-{round}-{n:012}' from='juliet@bench.example/balcony' \
                         to='p{}%loopback@loopback.bench.example'><body>{n} the quick brown fox jumps over the lazy dog</body></message>",
                        n % chats
                    ));
                }
                sent = count.min(sent + CHUNK);
                self.component.send(&text).await;
            }
            tokio::select! {
                biased;
                line = self.peer.next() => see(&mut order, &line),
                () = self.component.serve(|_| {}) => {}
                () = tokio::task::yield_now(), if sent < count && sent < order.count + 20 * CHUNK => {}
            }
        }
        Rate { count, wall: begin.elapsed(), cpu: proc::cpu(self.pid()).saturating_sub(cpu), in_order: order.kept }
    }

    /// Messages from the peer, until the server has seen them all.
    pub async fn send_to_xmpp(&mut self, count: usize, chats: usize) -> Rate {
        self.round += 1;
        let (cpu, begin, round) = (proc::cpu(self.pid()), Instant::now(), self.round);
        let mut order = Order::new();
        let mut sent = 0;
        while order.count < count {
            if sent < count && sent < order.count + 20 * CHUNK {
                let until = count.min(sent + CHUNK);
                self.peer.say((sent..until).map(|n| item(round, n, chats))).await;
                sent = until;
            }
            tokio::select! {
                biased;
                () = self.component.serve(|stanza| order.see(attribute(stanza, "from"), body(stanza))) => {}
                _ = self.peer.next() => {}
                () = tokio::task::yield_now(), if sent < count && sent < order.count + 20 * CHUNK => {}
            }
        }
        Rate { count, wall: begin.elapsed(), cpu: proc::cpu(self.pid()).saturating_sub(cpu), in_order: order.kept }
    }

    pub async fn latency_to_network(&mut self, count: usize, pause: Duration) -> Vec<Duration> {
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            samples.push(self.send_to_network(1, 1).await.wall);
            tokio::time::sleep(pause).await;
        }
        samples
    }

    pub async fn latency_to_xmpp(&mut self, count: usize, pause: Duration) -> Vec<Duration> {
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            samples.push(self.send_to_xmpp(1, 1).await.wall);
            tokio::time::sleep(pause).await;
        }
        samples
    }

    /// juliet adds contacts.
    pub async fn add_contacts(&mut self, count: usize) {
        self.component.send(&presences("type='subscribe'", "juliet@bench.example", count)).await;
        let mut granted = 0;
        while granted < count {
            self.component.serve(|stanza| granted += usize::from(attribute(stanza, "type") == "subscribed")).await;
        }
    }

    /// A device of juliet's comes, and her server says so to each contact and asks for each; until it has seen all of
    /// them. How long that took, and how many stanzas it was sent.
    pub async fn log_in(&mut self, contacts: usize) -> (Duration, usize) {
        let (begin, device) = (Instant::now(), "juliet@bench.example/balcony");
        self.component.send(&presences("", device, contacts)).await;
        self.component.send(&presences("type='probe'", device, contacts)).await;
        let (mut seen, mut sent) = (0, 0);
        while seen < contacts {
            let count = |stanza: &str| {
                if attribute(stanza, "to") == device {
                    sent += 1;
                    seen += usize::from(stanza.starts_with("<presence") && attribute(stanza, "type").is_empty());
                }
            };
            self.component.serve(count).await;
        }
        (begin.elapsed(), sent)
    }
}

/// A presence to each contact.
fn presences(type_: &str, from: &str, count: usize) -> String {
    (0..count).map(|n| format!("<presence {type_} from='{from}' to='p{n}%loopback@loopback.bench.example'/>")).collect()
}

fn see(order: &mut Order, line: &ToPeer) {
    if let ToPeer::Out(item) = line
        && item.kind == "text"
    {
        order.see(item.person.as_deref().unwrap_or_default(), item.body.as_deref().unwrap_or_default());
    }
}

fn item(round: usize, n: usize, chats: usize) -> Item {
    Item {
        id: format!("bench-{round}-{n}"),
        user: Some("juliet@bench.example".to_owned()),
        person: Some(format!("p{}@loopback", n % chats)),
        kind: "text".to_owned(),
        body: Some(format!("{n} the quick brown fox jumps over the lazy dog")),
        ..Item::default()
    }
}

/// Checks that the numbers of each chat come in order and counts them.
#[derive(Default)]
pub struct Order {
    last: HashMap<String, usize>,
    /// Messages seen.
    pub count: usize,
    /// Whether every chat's numbers have risen.
    pub kept: bool,
    /// When the last message was seen.
    pub at: Option<Instant>,
}

impl Order {
    pub fn new() -> Self {
        Self { kept: true, ..Self::default() }
    }

    pub fn see(&mut self, chat: &str, body: &str) {
        let number: usize = body.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX);
        let last = self.last.entry(chat.to_owned()).or_default();
        self.kept &= *last <= number;
        *last = number;
        self.count += 1;
        self.at = Some(Instant::now());
    }
}
