//! Against real servers: messages that speak of others, both ways, and once again after a restart of the gateway about what
//! was said before it. On each side the ids are looked at. Runs where `PORTWAY_E2E` is set.

use minidom::Element;
use portway_testbed::Result;
use portway_testbed::matrix::{Matrix, encode};
use portway_testbed::world::{HOST, Kind, SERVER_NAME, World, alice, ghost, in_world};
use portway_testbed::xmpp::Xmpp;
use serde_json::{Value, json};

const CORRECT: &str = "urn:xmpp:message-correct:0";
const REPLY: &str = "urn:xmpp:reply:0";
const FALLBACK: &str = "urn:xmpp:fallback:0";
const REACTIONS: &str = "urn:xmpp:reactions:0";
const RETRACT: &str = "urn:xmpp:message-retract:1";
const MARKERS: &str = "urn:xmpp:chat-markers:0";
const STATES: &str = "http://jabber.org/protocol/chatstates";
const CLIENT: &str = "jabber:client";

/// Both sides of a chat of two, and what was said before the restart.
struct Chat {
    romeo: Xmpp,
    alice: Matrix,
    room: String,
    /// What romeo said: his id and that on Matrix.
    said: (String, String),
    /// What alice said.
    heard: String,
    /// What both said at length: the parts of romeo's on Matrix, and alice's.
    long: (Vec<String>, String),
}

impl Chat {
    async fn begin(world: &World) -> Result<Self> {
        let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
        let mut alice_client = Matrix::register(world.matrix, "alice").await?;
        romeo.say(&alice(), "opening", "a question").await?;
        let room = alice_client.accept_invite(&ghost("romeo")).await?;
        let (_, event) = alice_client.wait(&ghost("romeo"), "a question").await?;
        romeo.receipt("opening").await?;
        let heard = alice_client.say(&room, "an answer").await?;
        let message = romeo.hear(&alice(), "an answer").await?;
        expect(&heard, message.attr("id"))?;
        let long = (Vec::new(), String::new());
        let mut chat = Self { romeo, alice: alice_client, room, said: ("opening".to_owned(), event), heard, long };
        // Each side takes what is too long for one message of its own as several.
        let lines: String = (0..3).map(|n| format!("part {n}{}\n", "x".repeat(40_000))).collect();
        chat.write("long", &format!("<body>{lines}</body>")).await?;
        for n in 0..3 {
            let part = format!("part {n}x");
            let starts = |event: &Value| event["content"]["body"].as_str().is_some_and(|body| body.starts_with(&part));
            let event = chat.event("a part of what is long", starts).await?;
            chat.long.0.push(event["event_id"].as_str().unwrap_or_default().to_owned());
        }
        chat.long.1 = chat.alice.say(&chat.room, &"y".repeat(60_000)).await?;
        let last = format!("{}-2", chat.long.1);
        chat.message("the last part of what is long", |stanza| stanza.attr("id") == Some(&last)).await?;
        Ok(chat)
    }

    async fn write(&mut self, id: &str, payload: &str) -> Result<()> {
        let to = alice();
        let stanza = format!("<message xmlns='{CLIENT}' to='{to}' type='chat' id='{id}'>{payload}</message>");
        self.romeo.send(&stanza).await
    }

    /// The event of romeo that is wanted.
    async fn event(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let romeo = ghost("romeo");
        self.alice.event(what, |event| event["sender"] == romeo.as_str() && wanted(event)).await
    }

    /// The message that is wanted.
    async fn message(&mut self, what: &str, wanted: impl Fn(&Element) -> bool) -> Result<Element> {
        self.romeo.wait(what, |stanza| stanza.name() == "message" && wanted(stanza)).await
    }
}

fn expect(expected: &str, found: Option<&str>) -> Result<()> {
    if found == Some(expected) { Ok(()) } else { Err(format!("{expected} was expected and {found:?} found")) }
}

fn id_in(stanza: &Element, name: &str, ns: &str) -> Option<String> {
    stanza.get_child(name, ns)?.attr("id").map(str::to_owned)
}

fn body(stanza: &Element) -> String {
    stanza.get_child("body", CLIENT).map(Element::text).unwrap_or_default()
}

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

/// What XMPP says, as Matrix sees it.
async fn to_matrix(chat: &mut Chat, round: &str, edited: &str) -> Result<()> {
    let (said, heard) = (chat.said.clone(), chat.heard.clone());
    // An edit; in the second round it names the edit of the first one.
    let edit = format!("<body>edited {round}</body><replace xmlns='{CORRECT}' id='{edited}'/>");
    chat.write(&format!("edit-{round}"), &edit).await?;
    let new = format!("edited {round}");
    let event = chat.event("the edit", |event| event["content"]["m.new_content"]["body"] == new.as_str()).await?;
    expect(&said.1, event["content"]["m.relates_to"]["event_id"].as_str())?;
    // An answer, with a quote for other clients.
    let answer = format!(
        "<body>&gt; an answer\nyes {round}</body><reply xmlns='{REPLY}' id='{heard}' to='{}'/>\
         <fallback xmlns='{FALLBACK}' for='{REPLY}'><body start='0' end='12'/></fallback>",
        alice()
    );
    chat.write(&format!("answer-{round}"), &answer).await?;
    let yes = format!("yes {round}");
    let event = chat.event("the answer", |event| event["content"]["body"] == yes.as_str()).await?;
    expect(&heard, event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"].as_str())?;
    // Reactions: the whole set each time.
    let react = |keys: &[&str]| {
        let keys: String = keys.iter().map(|key| format!("<reaction>{key}</reaction>")).collect();
        format!("<reactions xmlns='{REACTIONS}' id='{heard}'>{keys}</reactions>")
    };
    let (first, second) = if round == "one" { ("👍", "🎉") } else { ("🎈", "🚀") };
    chat.write(&format!("react-1-{round}"), &react(&[first])).await?;
    let key = |event: &Value, key: &str| event["content"]["m.relates_to"]["key"] == key;
    let one = chat.event("the first reaction", |event| key(event, first)).await?;
    expect(&heard, one["content"]["m.relates_to"]["event_id"].as_str())?;
    chat.write(&format!("react-2-{round}"), &react(&[second])).await?;
    chat.event("the second reaction", |event| key(event, second)).await?;
    let redacts = |event: &Value, id: &Value| {
        event["type"] == "m.room.redaction" && (event["redacts"] == *id || event["content"]["redacts"] == *id)
    };
    chat.event("the first reaction goes", |event| redacts(event, &one["event_id"])).await?;
    // A thread.
    for n in ["root", "second"] {
        let thread = format!("<thread>thread-{round}</thread><body>{n} {round}</body>");
        chat.write(&format!("{n}-{round}"), &thread).await?;
    }
    let (root, second) = (format!("root {round}"), format!("second {round}"));
    let root = chat.event("the root", |event| event["content"]["body"] == root.as_str()).await?;
    let event = chat.event("the second of the thread", |event| event["content"]["body"] == second.as_str()).await?;
    let relation = &event["content"]["m.relates_to"];
    expect(root["event_id"].as_str().unwrap_or_default(), relation["event_id"].as_str())?;
    expect("m.thread", relation["rel_type"].as_str())?;
    // And back: alice answers in it.
    let mut in_thread = text(&format!("in the thread {round}"));
    in_thread["m.relates_to"] = relation.clone();
    chat.alice.send(&chat.room, "m.room.message", &in_thread).await?;
    let heard_in_it = format!("in the thread {round}");
    let message = chat.message("the answer in the thread", |stanza| body(stanza) == heard_in_it).await?;
    expect(&format!("thread-{round}"), message.get_child("thread", CLIENT).map(Element::text).as_deref())?;
    if message.has_child("reply", REPLY) {
        return Err(format!(
            "what is only there for clients without threads became an answer: {}",
            String::from(&message)
        ));
    }
    // Read, writing.
    chat.write(&format!("read-{round}"), &format!("<displayed xmlns='{MARKERS}' id='{heard}'/>")).await?;
    let romeo = ghost("romeo");
    let read = |event: &Value| event["type"] == "m.receipt" && event["content"][&heard]["m.read"][&romeo].is_object();
    chat.alice.event("the mark of reading", read).await?;
    chat.alice.events.retain(|event| event["type"] != "m.typing");
    chat.write(&format!("writes-{round}"), &format!("<composing xmlns='{STATES}'/>")).await?;
    let writes = |event: &Value| {
        event["content"]["user_ids"].as_array().is_some_and(|ids| ids.iter().any(|id| id == romeo.as_str()))
    };
    chat.alice.event("romeo writes", writes).await?;
    chat.write(&format!("stops-{round}"), &format!("<paused xmlns='{STATES}'/>")).await?;
    chat.alice.event("romeo stops", |event| event["type"] == "m.typing" && !writes(event)).await?;
    // A retraction, in the dialect of older clients in the first round.
    chat.write(&format!("oops-{round}"), "<body>oops</body>").await?;
    let oops = chat.event("what is taken back", |event| event["content"]["body"] == "oops").await?;
    let gone = match round {
        "one" => format!(
            "<apply-to xmlns='urn:xmpp:fasten:0' id='oops-{round}'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to>"
        ),
        _ => format!("<retract xmlns='{RETRACT}' id='oops-{round}'/><body>took it back</body>"),
    };
    chat.write(&format!("gone-{round}"), &gone).await?;
    chat.event("the redaction", |event| redacts(event, &oops["event_id"])).await?;
    chat.alice.events.retain(|event| event["content"]["body"] != "oops");
    // A call.
    let propose = format!("<propose xmlns='urn:xmpp:jingle-message:0' id='call-{round}'/>");
    chat.write(&format!("calls-{round}"), &propose).await?;
    let reject = chat.message("the refusal", |stanza| stanza.has_child("reject", "urn:xmpp:jingle-message:0")).await?;
    expect(&format!("call-{round}"), id_in(&reject, "reject", "urn:xmpp:jingle-message:0").as_deref())?;
    chat.message("the words", |stanza| body(stanza).contains("Calls cannot be carried")).await.map(|_| ())
}

/// What Matrix says, as XMPP sees it.
async fn to_xmpp(chat: &mut Chat, round: &str) -> Result<()> {
    let (said, heard, room) = (chat.said.clone(), chat.heard.clone(), chat.room.clone());
    let new = format!("edited on Matrix {round}");
    let edit = json!({
        "msgtype": "m.text", "body": format!("* {new}"), "m.new_content": text(&new),
        "m.relates_to": { "rel_type": "m.replace", "event_id": heard },
    });
    chat.alice.send(&room, "m.room.message", &edit).await?;
    let message = chat.message("the edit", |stanza| body(stanza) == new).await?;
    expect(&heard, id_in(&message, "replace", CORRECT).as_deref())?;
    let mut answer = text(&format!("> <@romeo> a question\n\nanswered {round}"));
    answer["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": said.1 } });
    let id = chat.alice.send(&room, "m.room.message", &answer).await?;
    let message = chat.message("the answer", |stanza| stanza.attr("id") == Some(&id)).await?;
    expect(&said.0, id_in(&message, "reply", REPLY).as_deref())?;
    // The homeserver tells the text as it was last edited.
    let quoted = format!("> edited {round}\nanswered {round}");
    expect(&quoted, Some(&body(&message)))?;
    // Reactions come one by one and are told as a set.
    let annotation =
        |key: &str| json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said.1, "key": key } });
    let (first, second) = if round == "one" { ("👍", "🎉") } else { ("🎈", "🚀") };
    let set = |stanza: &Element| -> Vec<String> {
        let reactions = stanza.get_child("reactions", REACTIONS);
        reactions.map(|reactions| reactions.children().map(Element::text).collect()).unwrap_or_default()
    };
    let one = chat.alice.send(&room, "m.reaction", &annotation(first)).await?;
    let message = chat.message("the first reaction", |stanza| set(stanza).iter().any(|key| key == first)).await?;
    expect(&said.0, id_in(&message, "reactions", REACTIONS).as_deref())?;
    chat.alice.send(&room, "m.reaction", &annotation(second)).await?;
    let message = chat.message("the second reaction", |stanza| set(stanza).iter().any(|key| key == second)).await?;
    if !set(&message).iter().any(|key| key == first) {
        return Err(format!("the set is not whole: {}", String::from(&message)));
    }
    chat.alice.redact(&room, &one).await?;
    chat.message("what is left", |stanza| {
        set(stanza).iter().any(|key| key == second) && !set(stanza).iter().any(|key| key == first)
    })
    .await?;
    let word = chat.alice.send(&room, "m.reaction", &annotation(&format!("LGTM {round}"))).await?;
    let message = chat.message("the word", |stanza| stanza.attr("id") == Some(&word)).await?;
    expect(&said.0, id_in(&message, "reply", REPLY).as_deref())?;
    // A thread that begins here.
    let mut in_thread = text(&format!("a thread of alice {round}"));
    in_thread["m.relates_to"] = json!({
        "rel_type": "m.thread", "event_id": heard, "is_falling_back": true, "m.in_reply_to": { "event_id": heard },
    });
    let id = chat.alice.send(&room, "m.room.message", &in_thread).await?;
    let message = chat.message("the thread", |stanza| stanza.attr("id") == Some(&id)).await?;
    expect(&heard, message.get_child("thread", CLIENT).map(Element::text).as_deref())?;
    // Read, writing.
    let last = chat.event("the latest of romeo", |event| event["content"]["body"] == format!("second {round}")).await?;
    let last = last["event_id"].as_str().unwrap_or_default().to_owned();
    let path = format!("/rooms/{}/receipt/m.read/{}", encode(&room), encode(&last));
    chat.alice.ask("POST", &path, Some(&json!({}))).await?;
    let id = format!("second-{round}");
    chat.message("the mark of reading", |stanza| id_in(stanza, "displayed", MARKERS).as_deref() == Some(&id)).await?;
    let path = format!("/rooms/{}/typing/{}", encode(&room), encode(&chat.alice.id));
    for (typing, state) in
        [(json!({ "typing": true, "timeout": 30_000 }), "composing"), (json!({ "typing": false }), "paused")]
    {
        chat.alice.ask("PUT", &path, Some(&typing)).await?;
        chat.message(state, |stanza| stanza.has_child(state, STATES)).await?;
    }
    // A retraction.
    let oops = chat.alice.say(&room, &format!("oops {round}")).await?;
    chat.message("what is taken back", |stanza| stanza.attr("id") == Some(&oops)).await?;
    chat.alice.redact(&room, &oops).await?;
    chat.message("the retraction", |stanza| id_in(stanza, "retract", RETRACT).as_deref() == Some(&oops)).await?;
    // A call.
    let call = format!("call-{round}");
    let invite = json!({
        "call_id": call, "version": "1", "party_id": "x", "lifetime": 60_000, "offer": { "type": "offer", "sdp": "v=0" },
    });
    chat.alice.send(&room, "m.call.invite", &invite).await?;
    chat.event("the refusal", |event| event["type"] == "m.call.reject" && event["content"]["call_id"] == call.as_str())
        .await?;
    chat.message("the words", |stanza| body(stanza).contains("has tried to call you")).await.map(|_| ())
}

/// What is long goes as a whole.
async fn long(chat: &mut Chat) -> Result<()> {
    chat.write("long-gone", &format!("<retract xmlns='{RETRACT}' id='long'/>")).await?;
    for part in chat.long.0.clone() {
        chat.event("a part goes", |event| {
            event["redacts"] == part.as_str() || event["content"]["redacts"] == part.as_str()
        })
        .await?;
    }
    chat.alice.redact(&chat.room, &chat.long.1).await?;
    for part in [chat.long.1.clone(), format!("{}-2", chat.long.1)] {
        chat.message("a part goes", |stanza| id_in(stanza, "retract", RETRACT).as_deref() == Some(&part)).await?;
    }
    Ok(())
}

async fn relations(world: &mut World) -> Result<()> {
    let mut chat = Chat::begin(world).await?;
    to_matrix(&mut chat, "one", "opening").await?;
    to_xmpp(&mut chat, "one").await?;
    world.gateway.kill().await;
    world.gateway.start().await?;
    // The same about the same two messages, which were said before.
    to_matrix(&mut chat, "two", "edit-one").await?;
    to_xmpp(&mut chat, "two").await?;
    long(&mut chat).await
}

/// In a room everything but an edit names the stable id, which is that of the event; after a restart as before it.
async fn in_a_room(world: &mut World) -> Result<()> {
    let mut romeo = Xmpp::login(world.ports.c2s, "romeo").await?;
    let mut carol = Matrix::register(world.matrix, "carol").await?;
    let room = carol.make_room("garden").await?;
    let muc = format!("#garden%{SERVER_NAME}@matrix.{HOST}");
    romeo.join(&muc, "Romeo").await?;
    let ours = ghost("romeo");
    let stable = |stanza: &Element| id_in(stanza, "stanza-id", "urn:xmpp:sid:0");
    romeo.say_in(&muc, "in-room", "a question").await?;
    let said = stable(&romeo.hear(&muc, "a question").await?).ok_or("no stanza-id")?;
    carol.event("the question", |event| event["event_id"] == said.as_str()).await?;
    let heard = carol.say(&room, "an answer").await?;
    expect(&heard, stable(&romeo.hear(&muc, "an answer").await?).as_deref())?;
    let to_room = |id: &str, payload: &str| {
        format!("<message xmlns='{CLIENT}' to='{muc}' type='groupchat' id='{id}'>{payload}</message>")
    };
    for round in ["one", "two"] {
        // From XMPP.
        let edited = if round == "one" { "in-room" } else { "edit-one" };
        let edit = format!("<body>edited {round}</body><replace xmlns='{CORRECT}' id='{edited}'/>");
        romeo.send(&to_room(&format!("edit-{round}"), &edit)).await?;
        let new = format!("edited {round}");
        let event = |event: &Value| event["content"]["m.new_content"]["body"] == new.as_str();
        let event = carol.event("the edit", event).await?;
        expect(&said, event["content"]["m.relates_to"]["event_id"].as_str())?;
        let back = romeo.wait("the edit comes back", |stanza| body(stanza) == new).await?;
        expect("in-room", id_in(&back, "replace", CORRECT).as_deref())?;
        let answer = format!("<body>yes {round}</body><reply xmlns='{REPLY}' id='{heard}' to='{muc}/carol'/>");
        romeo.send(&to_room(&format!("answer-{round}"), &answer)).await?;
        let yes = format!("yes {round}");
        let event = carol.event("the answer", |event| event["content"]["body"] == yes.as_str()).await?;
        expect(&heard, event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"].as_str())?;
        let key = if round == "one" { "👍" } else { "🎉" };
        let react = format!("<reactions xmlns='{REACTIONS}' id='{heard}'><reaction>{key}</reaction></reactions>");
        romeo.send(&to_room(&format!("react-{round}"), &react)).await?;
        let reacted =
            |event: &Value| event["sender"] == ours.as_str() && event["content"]["m.relates_to"]["key"] == key;
        let event = carol.event("the reaction", reacted).await?;
        expect(&heard, event["content"]["m.relates_to"]["event_id"].as_str())?;
        let read = format!("<displayed xmlns='{MARKERS}' id='{heard}'/>");
        romeo.send(&to_room(&format!("read-{round}"), &read)).await?;
        let marks = |event: &Value| event["content"][&heard]["m.read"][&ours].is_object();
        carol.event("the mark of reading", marks).await?;
        romeo.send(&to_room(&format!("oops-{round}"), "<body>oops</body>")).await?;
        let oops = stable(&romeo.hear(&muc, "oops").await?).ok_or("no stanza-id")?;
        let gone = format!("<retract xmlns='{RETRACT}' id='{oops}'/>");
        romeo.send(&to_room(&format!("gone-{round}"), &gone)).await?;
        let redacted =
            |event: &Value| event["redacts"] == oops.as_str() || event["content"]["redacts"] == oops.as_str();
        carol.event("the redaction", redacted).await?;
        // From Matrix.
        let new = format!("edited by carol {round}");
        let edit = json!({
            "msgtype": "m.text", "body": format!("* {new}"), "m.new_content": text(&new),
            "m.relates_to": { "rel_type": "m.replace", "event_id": heard },
        });
        carol.send(&room, "m.room.message", &edit).await?;
        let stanza = romeo.wait("carol's edit", |stanza| body(stanza) == new).await?;
        expect(&heard, id_in(&stanza, "replace", CORRECT).as_deref())?;
        let mut answer = text(&format!("carol answers {round}"));
        answer["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": said } });
        let id = carol.send(&room, "m.room.message", &answer).await?;
        let stanza = romeo.wait("carol's answer", |stanza| stable(stanza).as_deref() == Some(&id)).await?;
        expect(&said, id_in(&stanza, "reply", REPLY).as_deref())?;
        let to = stanza.get_child("reply", REPLY).and_then(|reply| reply.attr("to"));
        expect(&format!("{muc}/Romeo"), to)?;
        let annotation = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said, "key": key } });
        carol.send(&room, "m.reaction", &annotation).await?;
        let stanza = romeo
            .wait("carol's reaction", |stanza| {
                let hers = stanza.attr("from").is_some_and(|from| !from.ends_with("/Romeo"));
                hers && id_in(stanza, "reactions", REACTIONS).as_deref() == Some(&said)
                    && String::from(stanza).contains(key)
            })
            .await?;
        if round == "two" && !String::from(&stanza).contains("👍") {
            return Err(format!("the set is not whole: {}", String::from(&stanza)));
        }
        // What she takes back of herself, and of another one.
        let hers = carol.say(&room, &format!("oops of carol {round}")).await?;
        romeo.hear(&muc, &format!("oops of carol {round}")).await?;
        romeo.say_in(&muc, &format!("rude-{round}"), &format!("rude {round}")).await?;
        let rude = stable(&romeo.hear(&muc, &format!("rude {round}")).await?).ok_or("no stanza-id")?;
        for (event, by_the_room) in [(&hers, false), (&rude, true)] {
            carol.redact(&room, event).await?;
            let gone = |stanza: &Element| id_in(stanza, "retract", RETRACT).as_deref() == Some(event);
            let stanza = romeo.wait("the retraction", gone).await?;
            if (stanza.attr("from") == Some(&muc)) != by_the_room {
                return Err(format!("the wrong one takes it back: {}", String::from(&stanza)));
            }
        }
        if round == "one" {
            world.gateway.kill().await;
            world.gateway.start().await?;
        }
    }
    Ok(())
}

#[test]
fn relations_in_a_room_on_prosody() {
    in_world(Kind::Prosody, in_a_room);
}

#[test]
fn relations_in_a_room_on_ejabberd() {
    in_world(Kind::Ejabberd, in_a_room);
}

#[test]
fn relations_on_prosody() {
    in_world(Kind::Prosody, relations);
}

#[test]
fn relations_on_ejabberd() {
    in_world(Kind::Ejabberd, relations);
}
