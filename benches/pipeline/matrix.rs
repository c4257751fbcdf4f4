//! The real binary between the scripted server and a homeserver that only counts.

use std::time::Instant;

use portway_testbed::stub_homeserver::{Options, StubHomeserver};
use serde_json::{Value, json};
use tokio::process::Child;

use super::support::binary::{Dir, port_of, start};
use super::support::server::{Component, Server};
use super::{Rate, proc};

/// How many messages are written at once.
const CHUNK: usize = 500;
/// How many events the homeserver puts into one transaction at most, as Synapse does.
const TRANSACTION: usize = 100;
const JULIET: &str = "juliet@bench.example";
const GHOST: &str = "@xmpp_juliet=40bench.example:hs.test";

pub struct Gateway {
    child: Child,
    component: Component,
    stub: StubHomeserver,
    _server: Server,
    _dir: Dir,
    rooms: Vec<(String, String)>,
    round: usize,
    /// Messages that went to Matrix so far.
    sent: u64,
}

impl Gateway {
    /// Starts everything and opens a chat with each of so many people.
    pub async fn with_chats(chats: usize) -> Self {
        let server = Server::start().await;
        let dir = Dir::new();
        let stub =
            StubHomeserver::start(Options { only_count: true, ..Options::default() }).await.expect("a free port");
        let config = format!(
            "[gateway]\ndata_dir = {:?}\nallow = [\"bench.example\"]\n[xmpp]\nhost = \"127.0.0.1\"\nport = {}\n\
             [http]\nlisten = \"127.0.0.1:0\"\n\
             [network.matrix]\ncomponent = \"matrix.bench.example\"\nsecret = \"s\"\nhomeserver = {:?}\n\
             server_name = \"hs.test\"\nlisten = \"127.0.0.1:0\"\nas_token = \"as-token\"\nhs_token = \"hs-token\"\n",
            dir.0,
            server.port(),
            stub.url(),
        );
        let (child, component, printed) = start(&dir, &config, &server).await;
        stub.push_to(&format!("http://127.0.0.1:{}", port_of(&printed, "application service")));
        let mut this =
            Self { child, component, stub, _server: server, _dir: dir, rooms: Vec::new(), round: 0, sent: 0 };
        for n in 0..chats {
            this.stub.add_user(&format!("@p{n}:hs.test"), &format!("Person {n}"));
        }
        this.send_to_matrix(chats, chats).await;
        this.rooms = this.opened(chats).await;
        this
    }

    /// The rooms that the gateway made, with the person in each, who now accepts the invitation.
    async fn opened(&mut self, chats: usize) -> Vec<(String, String)> {
        use portway_testbed::stub_homeserver::Membership;
        let mut rooms = Vec::with_capacity(chats);
        let mut joins = Vec::with_capacity(chats);
        for room in self.stub.rooms() {
            let person = (0..chats)
                .map(|n| format!("@p{n}:hs.test"))
                .find(|person| self.stub.member(&room, person).is_some())
                .expect("a person was invited");
            joins.push(self.stub.change_member(&room, &person, &person, Membership::Join, json!({})));
            rooms.push((room, person));
        }
        assert_eq!(rooms.len(), chats, "one room for each chat");
        self.push("joins", &joins).await;
        rooms
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("running")
    }

    pub async fn stop(mut self) {
        self.child.kill().await.expect("running");
    }

    async fn push(&mut self, txn: &str, events: &[Value]) {
        let body = json!({ "events": events });
        let (status, answer) = self.stub.push(txn, &body).await.expect("the gateway listens");
        assert_eq!(status, 200, "{answer}");
    }

    /// Messages from XMPP, until the homeserver has counted them all.
    pub async fn send_to_matrix(&mut self, count: usize, chats: usize) -> Rate {
        self.round += 1;
        let (cpu, begin, round) = (proc::cpu(self.pid()), Instant::now(), self.round);
        let mut sent = 0;
        loop {
            let done = usize::try_from(self.stub.counted() - self.sent).unwrap_or(usize::MAX);
            if done >= count {
                break;
            }
            if sent < count && sent < done + 4 * CHUNK {
                let mut text = String::with_capacity(CHUNK * 200);
                for n in sent..count.min(sent + CHUNK) {
                    text.push_str(&format!(
                        "<message xmlns='jabber:component:accept' type='chat' id='bench-{round}-{n:012}' from='{JULIET}/balcony' \
                         to='p{}%hs.test@matrix.bench.example'><body>{n} the quick brown fox jumps over the lazy dog</body></message>",
                        n % chats
                    ));
                }
                sent = count.min(sent + CHUNK);
                self.component.send(&text).await;
            }
            let more = done + CHUNK;
            tokio::select! {
                () = self.component.serve(|_| {}) => {}
                () = self.stub.until(|stub| stub.counted() - self.sent >= more.min(count) as u64) => {}
            }
        }
        self.sent += count as u64;
        Rate { count, wall: begin.elapsed(), cpu: proc::cpu(self.pid()).saturating_sub(cpu), in_order: true }
    }

    /// Messages from the homeserver, in transactions, until the XMPP server has seen them all.
    pub async fn send_to_xmpp(&mut self, count: usize) -> Rate {
        self.round += 1;
        let (cpu, begin) = (proc::cpu(self.pid()), Instant::now());
        let (mut sent, mut seen) = (0, 0);
        let mut order = super::gateway::Order::new();
        while seen < count {
            if sent < count {
                let until = count.min(sent + TRANSACTION);
                let events: Vec<Value> = (sent..until).map(|n| self.event(n)).collect();
                sent = until;
                let body = json!({ "events": events });
                let (stub, component, txn) = (&self.stub, &mut self.component, format!("{}-{sent}", self.round));
                let push = stub.push(&txn, &body);
                tokio::pin!(push);
                loop {
                    tokio::select! {
                        answer = &mut push => {
                            assert_eq!(answer.expect("the gateway listens").0, 200);
                            break;
                        }
                        () = component.serve(|stanza| see(&mut order, stanza)) => {}
                    }
                }
            } else {
                self.component.serve(|stanza| see(&mut order, stanza)).await;
            }
            seen = order.count;
        }
        Rate { count, wall: begin.elapsed(), cpu: proc::cpu(self.pid()).saturating_sub(cpu), in_order: order.kept }
    }

    fn event(&self, n: usize) -> Value {
        let (room, person) = &self.rooms[n % self.rooms.len()];
        json!({
            "event_id": format!("$bench-{}-{n}", self.round), "type": "m.room.message", "room_id": room, "sender": person,
            "origin_server_ts": 1_700_000_000_000_u64, "unsigned": { "age": 12 }, "user_id": person,
            "content": { "msgtype": "m.text", "body": format!("{n} the quick brown fox jumps over the lazy dog"), "m.mentions": {} },
        })
    }
}

fn see(order: &mut super::gateway::Order, stanza: &str) {
    use super::support::server::{attribute, body};
    if stanza.starts_with("<message") && stanza.contains("<body>") && stanza.contains(JULIET) && !stanza.contains(GHOST)
    {
        order.see(attribute(stanza, "from"), body(stanza));
    }
}
