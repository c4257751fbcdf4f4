//! What speaks of another message: reactions, retractions, answers, threads, marks of reading; and calls.

use portway_testbed::stub_homeserver::{Fault, Sent};

use super::*;
use crate::api::{ItemId, Target};

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

fn annotation(target: &str, key: &str) -> Value {
    json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": target, "key": key } })
}

/// A chat of two in which alice has said something: its room, and the id of what she said.
async fn chat() -> (World, String, String) {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    let said = world.stub.event(&room, ALICE, "m.room.message", text("hi"));
    world.push("chat", std::slice::from_ref(&said)).await;
    (world, room, said["event_id"].as_str().unwrap().to_owned())
}

fn id(event: &Value) -> String {
    event["event_id"].as_str().unwrap().to_owned()
}

/// The kinds that came after the first message.
fn kinds(world: &World) -> Vec<Kind> {
    world.memory.events().into_iter().skip(1).map(|event| event.kind).collect()
}

fn reaction(target: &str, keys: &[&str]) -> Kind {
    Kind::Reaction { target: Target::by_id(target), keys: keys.iter().map(|key| (*key).to_owned()).collect() }
}

/// What was sent of a type: for a redaction the event that went, for a reaction its key.
fn sent(world: &World, room: &str, type_: &str) -> Vec<Sent> {
    world.stub.sent(room).into_iter().filter(|sent| sent.type_ == type_).collect()
}

fn keys(sent: &[Sent]) -> Vec<&str> {
    sent.iter().map(|sent| sent.content["m.relates_to"]["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn reactions_from_matrix_are_the_whole_set_each_time_also_over_a_restart() {
    let (world, room, _) = chat().await;
    let target = world.stub.sent(&room)[0].event_id.clone();
    let one = world.stub.event(&room, ALICE, "m.reaction", annotation(&target, "👍"));
    let two = world.stub.event(&room, ALICE, "m.reaction", annotation(&target, "🎉"));
    // Both in one transaction: the second one knows of the first.
    world.push("1", &[one.clone(), two]).await;
    assert_eq!(kinds(&world), [reaction(&target, &["👍"]), reaction(&target, &["👍", "🎉"])]);
    let world = world.restart().await;
    let back = world.stub.event(&room, ALICE, "m.room.redaction", json!({ "redacts": id(&one) }));
    world.push("2", &[back]).await;
    assert_eq!(kinds(&world)[2], reaction(&target, &["🎉"]));
    // The same event again changes nothing.
    let again = json!({ "event_id": id(&one), "type": "m.room.redaction", "room_id": room, "sender": ALICE, "content": { "redacts": "$other" } });
    world.push("3", &[again]).await;
    assert_eq!(kinds(&world).len(), 3);
}

#[tokio::test]
async fn a_reaction_that_is_no_emoji_is_said_in_words_and_taken_back_as_such() {
    let (world, room, _) = chat().await;
    let target = world.stub.sent(&room)[0].event_id.clone();
    let word = world.stub.event(&room, ALICE, "m.reaction", annotation(&target, "LGTM"));
    let long = world.stub.event(&room, ALICE, "m.reaction", annotation(&target, &"x".repeat(5000)));
    let mut picture = annotation(&target, "mxc://hs/p");
    picture["shortcode"] = json!(":party:");
    let picture = world.stub.event(&room, ALICE, "m.reaction", picture);
    world.push("1", &[word.clone(), long, picture]).await;
    let bodies = bodies(&world.memory.events());
    assert_eq!(bodies[1], "core.reacted LGTM");
    assert!(bodies[2].len() < 100, "{}", bodies[2]);
    assert_eq!(bodies[3], "core.reacted :party:");
    let Kind::Text(text) = &kinds(&world)[0] else { panic!() };
    assert_eq!(text.reply.as_ref().and_then(|reply| reply.id.clone()), Some(ItemId::new(&target)));
    let back = world.stub.event(&room, ALICE, "m.room.redaction", json!({ "redacts": id(&word) }));
    world.push("2", &[back]).await;
    assert_eq!(kinds(&world)[3], Kind::Retract { target: Target::by_id(&id(&word)) });
}

#[tokio::test]
async fn a_moderator_who_takes_a_reaction_back_changes_the_set_of_who_reacted() {
    let (world, room, _) = chat().await;
    let target = world.stub.sent(&room)[0].event_id.clone();
    let one = world.stub.event(&room, ALICE, "m.reaction", annotation(&target, "👍"));
    world.push("1", std::slice::from_ref(&one)).await;
    let back = world.stub.event(&room, "@mod:hs.test", "m.room.redaction", json!({ "redacts": id(&one) }));
    world.push("2", &[back]).await;
    let last = world.memory.events().pop().unwrap();
    assert_eq!((last.sender, last.kind), (alice(), reaction(&target, &[])));
}

#[tokio::test]
async fn a_set_to_matrix_sends_what_is_new_and_takes_back_what_is_gone() {
    let (world, room, said) = chat().await;
    let react = |number, keys: &[&str]| to(&alice(), number, reaction(&said, keys));
    world.deliver(react(2, &["👍", "🎉"])).await.unwrap();
    assert_eq!(keys(&sent(&world, &room, "m.reaction")), ["👍", "🎉"]);
    let world = world.restart().await;
    world.deliver(react(3, &["🎉", "❤️"])).await.unwrap();
    let reactions = sent(&world, &room, "m.reaction");
    assert_eq!(keys(&reactions), ["👍", "🎉", "❤️"]);
    let gone = sent(&world, &room, "m.room.redaction");
    assert_eq!(gone.iter().map(|gone| &gone.content["redacts"]).collect::<Vec<_>>(), [&json!(reactions[0].event_id)]);
    world.deliver(react(4, &[])).await.unwrap();
    assert_eq!(sent(&world, &room, "m.room.redaction").len(), 3);
    // Back again: a new one.
    world.deliver(react(5, &["👍"])).await.unwrap();
    assert_eq!(keys(&sent(&world, &room, "m.reaction")), ["👍", "🎉", "❤️", "👍"]);
}

#[tokio::test]
async fn a_set_that_fails_half_way_is_sent_once() {
    let (world, room, said) = chat().await;
    let out = to(&alice(), 2, reaction(&said, &["👍", "🎉"]));
    // The second one is taken, and its answer lost.
    let lost = Fault { after: true, ..Fault::once("m.reaction/pwtestinstall-2-1", 502, "", "") };
    world.stub.fail(lost);
    world.deliver(out.clone()).await.unwrap_err();
    world.deliver(out.clone()).await.unwrap();
    // And again, as after a crash before the outcome was written down.
    world.deliver(out).await.unwrap();
    assert_eq!(keys(&sent(&world, &room, "m.reaction")), ["👍", "🎉"]);
    assert!(sent(&world, &room, "m.room.redaction").is_empty());
}

#[tokio::test]
async fn all_parts_of_a_message_go_with_it() {
    let (world, room, _) = chat().await;
    let receipt = world.deliver(to(&alice(), 2, Kind::Text(Text::plain("x\n".repeat(40_000))))).await.unwrap();
    assert!(receipt.ids.len() > 1);
    let mut ids = receipt.ids.clone().into_iter();
    let target = Target { id: ids.next(), parts: ids.collect(), ..Target::default() };
    // A shorter text takes back the parts that it does not need.
    let edit = Kind::Edit { target: target.clone(), new: Text::plain("short") };
    world.deliver(to(&alice(), 3, edit)).await.unwrap();
    let gone = |world: &World| -> Vec<ItemId> {
        let gone = sent(world, &room, "m.room.redaction");
        gone.iter().map(|gone| ItemId::new(gone.content["redacts"].as_str().unwrap())).collect()
    };
    assert_eq!(gone(&world), receipt.ids[1..]);
    world.deliver(to(&alice(), 4, Kind::Retract { target })).await.unwrap();
    assert_eq!(gone(&world)[receipt.ids.len() - 1..], receipt.ids);
}

#[tokio::test]
async fn what_is_taken_back_before_it_comes_never_shows_also_over_a_restart() {
    let (world, room, _) = chat().await;
    let back = world.stub.event(&room, ALICE, "m.room.redaction", json!({ "redacts": "$later" }));
    world.push("1", &[back]).await;
    assert_eq!(kinds(&world), []);
    let world = world.restart().await;
    let mut late = world.stub.event(&room, ALICE, "m.room.message", text("too late"));
    late["event_id"] = json!("$later");
    let next = world.stub.event(&room, ALICE, "m.room.message", text("next"));
    world.push("2", &[late, next]).await;
    assert_eq!(kinds(&world), [Kind::Text(Text::plain("next"))]);
}

#[tokio::test]
async fn a_message_and_its_redaction_in_one_transaction_are_both_told_and_that_of_other_things_is_not() {
    let (world, room, _) = chat().await;
    let said = world.stub.event(&room, ALICE, "m.room.message", text("oops"));
    let back = world.stub.event(&room, ALICE, "m.room.redaction", json!({ "redacts": id(&said) }));
    world.push("1", &[said.clone(), back]).await;
    assert_eq!(kinds(&world)[1], Kind::Retract { target: Target::by_id(&id(&said)) });
    let state = world.stub.event(&room, ALICE, "m.room.topic", json!({ "topic": "x" }));
    let back = world.stub.event(&room, ALICE, "m.room.redaction", json!({ "redacts": id(&state) }));
    world.push("2", &[back]).await;
    assert_eq!(kinds(&world).len(), 2);
}

#[tokio::test]
async fn an_answer_brings_the_first_lines_of_what_it_answers() {
    let (world, room, said) = chat().await;
    let answers = |target: &str| json!({ "msgtype": "m.text", "body": "> <@alice:hs.test> hi\n\nyes", "m.relates_to": { "m.in_reply_to": { "event_id": target } } });
    let own = world.stub.sent(&room)[0].event_id.clone();
    let one = world.stub.event(&room, ALICE, "m.room.message", answers(&own));
    let two = world.stub.event(&room, ALICE, "m.room.message", answers(&said));
    let unknown = world.stub.event(&room, ALICE, "m.room.message", answers("$unknown"));
    world.push("1", &[one, two, unknown]).await;
    let replies: Vec<(String, Option<String>)> = kinds(&world)
        .into_iter()
        .map(|kind| match kind {
            Kind::Text(text) => (text.body, text.reply.unwrap().quote),
            other => panic!("{other:?}"),
        })
        .collect();
    let yes = |quote: Option<&str>| ("yes".to_owned(), quote.map(str::to_owned));
    assert_eq!(replies, [yes(Some("hello 1")), yes(Some("hi")), yes(None)]);
}

#[tokio::test]
async fn a_thread_that_begins_on_xmpp_keeps_its_name() {
    let (world, room, _) = chat().await;
    let said = |number, thread: Option<&str>| {
        let text = Text { thread: thread.map(ItemId::new), ..Text::plain(format!("in it {number}")) };
        to(&alice(), number, Kind::Text(text))
    };
    let root = world.deliver(said(2, Some("t-1"))).await.unwrap().ids[0].to_string();
    let world = world.restart().await;
    let second = world.deliver(said(3, Some("t-1"))).await.unwrap().ids[0].to_string();
    world.deliver(said(4, None)).await.unwrap();
    let relation = |n: usize| world.stub.sent(&room)[n].content["m.relates_to"].clone();
    assert_eq!((relation(1), relation(3)), (Value::Null, Value::Null));
    let falls_back = |last: &str| json!({ "rel_type": "m.thread", "event_id": root, "is_falling_back": true, "m.in_reply_to": { "event_id": last } });
    assert_eq!(relation(2), falls_back(&root));
    // An answer on Matrix comes under the name that XMPP knows, and answers nothing in particular.
    let mut answer = text("from the other side");
    answer["m.relates_to"] = falls_back(&second);
    let answer = world.stub.event(&room, ALICE, "m.room.message", answer);
    world.push("1", std::slice::from_ref(&answer)).await;
    let expected = Text { thread: Some(ItemId::new("t-1")), ..Text::plain("from the other side") };
    assert_eq!(kinds(&world), [Kind::Text(expected)]);
    world.deliver(said(5, Some("t-1"))).await.unwrap();
    assert_eq!(world.stub.sent(&room)[4].content["m.relates_to"], falls_back(&id(&answer)));
}

#[tokio::test]
async fn a_thread_that_begins_on_matrix_goes_by_its_first_event() {
    let (world, room, root) = chat().await;
    let mut second = text("in the thread");
    second["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root, "is_falling_back": true, "m.in_reply_to": { "event_id": root } });
    let second = world.stub.event(&room, ALICE, "m.room.message", second);
    world.push("1", std::slice::from_ref(&second)).await;
    let Kind::Text(heard) = kinds(&world).remove(0) else { panic!() };
    assert_eq!((heard.thread.clone(), heard.reply), (Some(ItemId::new(&root)), None));
    let answer = Text { thread: heard.thread, reply: Some(Target::by_id(&root)), ..Text::plain("there") };
    world.deliver(to(&alice(), 2, Kind::Text(answer))).await.unwrap();
    let relation = &world.stub.sent(&room)[1].content["m.relates_to"];
    assert_eq!((&relation["event_id"], &relation["is_falling_back"]), (&json!(root), &json!(false)));
}

#[tokio::test]
async fn marks_of_reading_go_both_ways_and_make_no_room() {
    let (world, room, said) = chat().await;
    let own = world.stub.sent(&room)[0].event_id.clone();
    let marks = json!({ "type": "m.receipt", "room_id": room, "content": { own.clone(): { "m.read": { ALICE: { "ts": 1 }, ROMEO: { "ts": 1 } } } } });
    for _ in 0..2 {
        soon(world.stub.push("r", &json!({ "events": [], "ephemeral": [marks] }))).await.unwrap();
    }
    assert_eq!(kinds(&world), [Kind::Displayed { target: Target::by_id(&own) }]);
    let read = Kind::Displayed { target: Target::by_id(&said) };
    world.deliver(to(&alice(), 2, read.clone())).await.unwrap();
    assert_eq!(world.stub.receipts(), [(room.clone(), ROMEO.to_owned(), said)]);
    // A refusal is nobody's business.
    world.stub.fail(Fault::once("/receipt/", 400, "M_UNKNOWN", "no"));
    world.deliver(to(&alice(), 3, read.clone())).await.unwrap();
    let stranger = PersonId::new("carol", "hs.test").unwrap();
    world.deliver(to(&stranger, 4, read)).await.unwrap();
    assert_eq!(world.stub.rooms(), [room]);
}

#[tokio::test]
async fn what_the_user_s_own_account_has_read_and_reacted_is_theirs_and_a_third_one_s_is_nobody_s() {
    let (world, room, said) = chat().await;
    let own = "@r.montague:hs.test";
    world.memory.link(&PersonId::new("r.montague", "hs.test").unwrap(), &romeo());
    let read = |who: &str| {
        let marks = json!({ said.clone(): { "m.read": { who: { "ts": 1 } } } });
        json!({ "events": [], "ephemeral": [{ "type": "m.receipt", "room_id": room, "content": marks }] })
    };
    for who in [own, "@third:hs.test"] {
        soon(world.stub.push(who, &read(who))).await.unwrap();
    }
    let liked = world.stub.event(&room, own, "m.reaction", annotation(&said, "👍"));
    world.push("1", &[liked]).await;
    let events = world.memory.events().split_off(1);
    assert_eq!(events.len(), 2, "{events:?}");
    for event in events {
        assert_eq!(event.chat, Chat::Direct { user: romeo(), person: alice() });
        assert_eq!(event.sender.local(), "r.montague");
    }
}

#[tokio::test]
async fn a_call_is_refused_on_matrix_and_told_on_xmpp() {
    let (world, room, _) = chat().await;
    let invite = |version: Value| json!({ "call_id": "c1", "version": version, "lifetime": 60_000, "offer": { "type": "offer", "sdp": "v=0" } });
    let now = |mut event: Value| {
        event["origin_server_ts"] = json!(1_780_000_000_000_i64);
        event
    };
    let new = now(world.stub.event(&room, ALICE, "m.call.invite", invite(json!("1"))));
    let old = now(world.stub.event(&room, ALICE, "m.call.invite", invite(json!(0))));
    // Rang while we were away.
    let late = world.stub.event(&room, ALICE, "m.call.invite", invite(json!("1")));
    world.push("1", &[new, old, late]).await;
    let refusals = sent(&world, &room, "m.call.reject");
    assert_eq!((refusals.len(), &refusals[0].content["call_id"]), (1, &json!("c1")));
    assert_eq!(sent(&world, &room, "m.call.hangup").len(), 1);
    assert_eq!(bodies(&world.memory.events())[1..], ["matrix.called @alice:hs.test"; 3]);
    let told = |world: &World| {
        sent(world, &room, "m.room.message").iter().filter(|sent| sent.content["msgtype"] == "m.notice").count()
    };
    assert_eq!(told(&world), 3);
    // MatrixRTC: said once until they have left.
    let member = |content: Value| {
        let mut event = world.stub.event(&room, ALICE, "org.matrix.msc3401.call.member", content);
        event["state_key"] = json!("_alice_device");
        event
    };
    let there = || member(json!({ "application": "m.call", "call_id": "" }));
    world.push("2", &[there(), there()]).await;
    assert_eq!((world.memory.events().len(), told(&world)), (5, 4));
    world.push("3", &[member(json!({})), there()]).await;
    assert_eq!((world.memory.events().len(), told(&world)), (6, 5));
}
