//! The real binary between a scripted component server and a homeserver in this process: what speaks of a message that was
//! said before a restart.

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use portway_testbed::stub_homeserver::{Membership, Options, Sent, StubHomeserver};
use serde_json::{Value, json};
use support::binary::{Dir, port_of, start};
use support::server::{Component, Server, attribute, body};
use tokio::process::Child;

/// How long anything may take before a test fails; not what is measured.
const PATIENCE: Duration = Duration::from_secs(60);

const ALICE: &str = "@alice:hs.test";
const JULIET: &str = "@xmpp_juliet=40bench.example:hs.test";

struct House {
    dir: Dir,
    server: Server,
    stub: StubHomeserver,
    child: Child,
    component: Component,
    pushed: u32,
}

impl House {
    async fn open() -> Self {
        let (dir, server) = (Dir::new(), Server::start().await);
        let stub = StubHomeserver::start(Options::default()).await.expect("a free port");
        stub.add_user(ALICE, "Alice");
        let (child, component) = Self::begin(&dir, &server, &stub).await;
        Self { dir, server, stub, child, component, pushed: 0 }
    }

    async fn begin(dir: &Dir, server: &Server, stub: &StubHomeserver) -> (Child, Component) {
        let config = format!(
            "[gateway]\ndata_dir = {:?}\nallow = [\"bench.example\"]\n[xmpp]\nhost = \"127.0.0.1\"\nport = {}\n\
             [http]\nlisten = \"127.0.0.1:0\"\n\
             [network.matrix]\ncomponent = \"loopback.bench.example\"\nsecret = \"s\"\nhomeserver = \"{}\"\n\
             server_name = \"hs.test\"\nlisten = \"127.0.0.1:0\"\nas_token = \"as-token\"\nhs_token = \"hs-token\"\n",
            dir.0,
            server.port(),
            stub.url()
        );
        let (child, component, printed) = start(dir, &config, server).await;
        stub.push_to(&format!("http://127.0.0.1:{}", port_of(&printed, "application service")));
        (child, component)
    }

    /// Kills the gateway once it has written down what became of everything so far, and starts it again.
    async fn restart(&mut self) {
        let id = format!("all-of-it-{:x}", rand::random::<u64>());
        self.say(&id, "<body>is it all there?</body><request xmlns='urn:xmpp:receipts'/>").await;
        self.stanza(|stanza| stanza.contains("<received") && stanza.contains(&id)).await;
        self.child.kill().await.expect("it ran");
        (self.child, self.component) = Self::begin(&self.dir, &self.server, &self.stub).await;
    }

    async fn say(&mut self, id: &str, payload: &str) {
        let stanza = format!(
            "<message from='juliet@bench.example/balcony' to='alice%hs.test@loopback.bench.example' type='chat' id='{id}'>{payload}</message>"
        );
        self.component.send(&stanza).await;
    }

    /// The next stanza that is wanted.
    async fn stanza(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        let wait = async {
            while found.is_none() {
                let seen = |stanza: &str| {
                    if found.is_none() && wanted(stanza) {
                        found = Some(stanza.to_owned());
                    }
                };
                self.component.serve(seen).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the stanza comes");
        found.expect("found")
    }

    /// What was sent to the homeserver, once it is there.
    async fn sent(&mut self, wanted: impl Fn(&Sent) -> bool) -> Sent {
        let stub = &self.stub;
        let found = |stub: &StubHomeserver| stub.all_sent().into_iter().rev().find(|sent| wanted(sent));
        let wait = async {
            let there = stub.until(|stub| found(stub).is_some());
            tokio::pin!(there);
            loop {
                tokio::select! {
                    () = &mut there => return,
                    () = self.component.serve(|_| {}) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it is sent");
        found(stub).expect("found")
    }

    /// alice says or does something; the id of it.
    async fn hear(&mut self, room: &str, type_: &str, content: Value) -> String {
        let event = self.stub.event(room, ALICE, type_, content);
        self.push(json!({ "events": [event] })).await;
        event["event_id"].as_str().expect("an id").to_owned()
    }

    async fn push(&mut self, transaction: Value) {
        self.pushed += 1;
        let answer = self.stub.push(&self.pushed.to_string(), &transaction).await.expect("an answer");
        assert_eq!(answer.0, 200, "{}", answer.1);
    }
}

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

fn relates(content: &Value) -> &Value {
    &content["m.relates_to"]
}

#[tokio::test]
async fn what_was_said_before_a_restart_is_spoken_of_after_it() {
    let mut house = House::open().await;
    house.say("m1", "<body>a question</body><origin-id xmlns='urn:xmpp:sid:0' id='o1'/>").await;
    let said = house.sent(|sent| sent.content["body"] == "a question").await;
    let room = said.room.clone();
    let joined = house.stub.change_member(&room, ALICE, ALICE, Membership::Join, json!({}));
    house.push(json!({ "events": [joined] })).await;
    let heard = house.hear(&room, "m.room.message", text("an answer")).await;
    house.stanza(|stanza| body(stanza) == "an answer").await;
    house.restart().await;

    // To Matrix.
    house.say("m2", "<body>edited</body><replace xmlns='urn:xmpp:message-correct:0' id='m1'/>").await;
    let edit = house.sent(|sent| sent.content["m.new_content"]["body"] == "edited").await;
    assert_eq!(relates(&edit.content), &json!({ "rel_type": "m.replace", "event_id": said.event_id }));
    house.say("m3", &format!("<body>yes</body><reply xmlns='urn:xmpp:reply:0' id='{heard}'/>")).await;
    let answer = house.sent(|sent| sent.content["body"] == "yes").await;
    assert_eq!(relates(&answer.content)["m.in_reply_to"]["event_id"], heard);
    let react = |keys: &str| format!("<reactions xmlns='urn:xmpp:reactions:0' id='{heard}'>{keys}</reactions>");
    house.say("m4", &react("<reaction>👍</reaction>")).await;
    let one = house.sent(|sent| relates(&sent.content)["key"] == "👍").await;
    assert_eq!((relates(&one.content)["event_id"].as_str(), one.sender.as_str()), (Some(heard.as_str()), JULIET));
    house.restart().await;
    house.say("m5", &react("<reaction>🎉</reaction>")).await;
    house.sent(|sent| relates(&sent.content)["key"] == "🎉").await;
    house.sent(|sent| sent.content["redacts"] == one.event_id.as_str()).await;
    house.say("m6", &format!("<displayed xmlns='urn:xmpp:chat-markers:0' id='{heard}'/>")).await;
    house.say("m7", "<retract xmlns='urn:xmpp:message-retract:1' id='m3'/>").await;
    house.sent(|sent| sent.content["redacts"] == answer.event_id.as_str()).await;
    assert_eq!(house.stub.receipts(), [(room.clone(), JULIET.to_owned(), heard.clone())]);

    // To XMPP.
    let mut edit = text("* better");
    edit["m.new_content"] = text("better");
    edit["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": heard });
    house.hear(&room, "m.room.message", edit).await;
    let stanza = house.stanza(|stanza| body(stanza) == "better").await;
    assert!(stanza.contains(&format!("<replace xmlns='urn:xmpp:message-correct:0' id='{heard}'/>")), "{stanza}");
    let mut answer = text("indeed");
    answer["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": said.event_id } });
    house.hear(&room, "m.room.message", answer).await;
    let stanza = house.stanza(|stanza| body(stanza).ends_with("indeed")).await;
    assert!(stanza.contains("id='o1' to='juliet@bench.example'/>"), "{stanza}");
    let annotation =
        |key: &str| json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said.event_id, "key": key } });
    let first = house.hear(&room, "m.reaction", annotation("👍")).await;
    house.stanza(|stanza| stanza.contains("<reaction>👍</reaction>") && stanza.contains("id='o1'")).await;
    house.restart().await;
    house.hear(&room, "m.reaction", annotation("🎉")).await;
    house.stanza(|stanza| stanza.contains("<reaction>👍</reaction><reaction>🎉</reaction>")).await;
    house.hear(&room, "m.room.redaction", json!({ "redacts": first })).await;
    let set = house.stanza(|stanza| stanza.contains("<reactions")).await;
    assert!(set.contains("<reaction>🎉</reaction>") && !set.contains("👍"), "{set}");
    let marks = json!({ said.event_id.clone(): { "m.read": { ALICE: { "ts": 1 } } } });
    let marks = json!({ "type": "m.receipt", "room_id": room, "content": marks });
    house.push(json!({ "events": [], "ephemeral": [marks] })).await;
    let mark = house.stanza(|stanza| stanza.contains("<displayed")).await;
    assert!(mark.contains("<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>"), "{mark}");
    house.hear(&room, "m.room.redaction", json!({ "redacts": heard })).await;
    let gone = house.stanza(|stanza| stanza.contains("<retract ")).await;
    assert!(gone.contains(&format!("<retract xmlns='urn:xmpp:message-retract:1' id='{heard}'/>")), "{gone}");
    assert_eq!(attribute(&gone, "to"), "juliet@bench.example");
}
