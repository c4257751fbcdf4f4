//! From Matrix to XMPP: who is reached by what.

use portway_testbed::stub_homeserver::{Fault, Membership as Member};

use super::*;
use crate::api::Membership;

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

#[tokio::test]
async fn an_answer_reaches_the_user_and_echoes_do_not() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    let joined = world.stub.change_member(&room, ALICE, ALICE, Member::Join, json!({}));
    let echo = world.stub.event(&room, ROMEO, "m.room.message", text("hello 1"));
    let answer = world.stub.event(&room, ALICE, "m.room.message", text("good morrow"));
    world.push("1", &[joined, echo, answer]).await;
    let events = world.memory.events();
    assert_eq!(bodies(&events), ["good morrow"]);
    assert_eq!(events[0].chat, Chat::Direct { user: romeo(), person: alice() });
    assert_eq!(events[0].sender_name.as_deref(), Some("Alice"));
}

#[tokio::test]
async fn who_asks_a_ghost_in_and_writes_first_reaches_the_user() {
    let world = World::start().await;
    let room = world.stub.make_room(None, &[ALICE]);
    let invite = world.stub.change_member(&room, ALICE, ROMEO, Member::Invite, json!({ "is_direct": true }));
    // Said before the ghost comes, and never pushed.
    world.stub.event(&room, ALICE, "m.room.message", text("before"));
    world.push("1", &[invite]).await;
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Join));
    let after = world.stub.event(&room, ALICE, "m.room.message", text("after"));
    world.push("2", &[after]).await;
    assert_eq!(bodies(&world.memory.events()), ["before", "after"]);
    // The answer goes there, also after a restart.
    let world = world.restart().await;
    world.deliver(hello(1)).await.unwrap();
    assert_eq!(world.stub.sent(&world.only_room()).len(), 1);
}

#[tokio::test]
async fn an_invitation_by_who_may_not_reach_the_user_is_declined() {
    let world = World::start().await;
    let stranger = "@xmpp_eve=40elsewhere.test:hs.test";
    world.stub.add_user(stranger, "");
    let room = world.stub.make_room(None, &[ALICE]);
    let invite = world.stub.change_member(&room, ALICE, stranger, Member::Invite, json!({ "is_direct": true }));
    world.push("1", &[invite]).await;
    assert_eq!(world.stub.member(&room, stranger), Some(Member::Leave));
    assert_eq!(world.memory.events(), []);
}

#[tokio::test]
async fn an_invitation_by_somebody_who_is_kept_out_is_declined() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    world.memory.keep_out(&alice(), &romeo());
    let room = world.stub.make_room(None, &[ALICE]);
    let invite = world.stub.change_member(&room, ALICE, ROMEO, Member::Invite, json!({ "is_direct": true }));
    world.push("1", &[invite]).await;
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Leave));
    assert_eq!(world.memory.events(), []);
}

#[tokio::test]
async fn an_invitation_to_a_room_is_offered_to_the_user() {
    let world = World::start().await;
    let room = world.stub.make_room(None, &[ALICE, "@bob:hs.test", "@carol:hs.test"]);
    let mut invite = world.stub.change_member(&room, ALICE, ROMEO, Member::Invite, json!({}));
    invite["unsigned"] =
        json!({ "invite_room_state": [{ "type": "m.room.name", "state_key": "", "content": { "name": "Town" } }] });
    world.push("1", &[invite]).await;
    let events = world.memory.events();
    let Some(Kind::Membership(Membership::Invite { user, name, .. })) = events.first().map(|event| &event.kind) else {
        panic!("{events:?}");
    };
    assert_eq!((user, name.as_deref(), events.len()), (&romeo(), Some("Town"), 1));
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Invite));
}

#[tokio::test]
async fn a_look_up_that_fails_for_a_while_keeps_the_order() {
    let world = World::start().await;
    let room = world.stub.make_room(None, &[ALICE]);
    let invite = world.stub.change_member(&room, ALICE, ROMEO, Member::Invite, json!({ "is_direct": true }));
    let busy = Fault::once("/join/", 429, "M_LIMIT_EXCEEDED", "Too Many Requests");
    world.stub.fail(Fault { retry_after_ms: Some(1), times: 3, ..busy });
    let first = world.stub.event(&room, ALICE, "m.room.message", text("first"));
    let second = world.stub.event(&room, ALICE, "m.room.message", text("second"));
    world.push("1", &[invite, first]).await;
    world.push("2", &[second]).await;
    assert_eq!(bodies(&world.memory.events()), ["first", "second"]);
    assert_eq!(world.stub.times_asked("/join/"), 4);
}

#[tokio::test]
async fn encrypted_messages_are_noticed_once_on_both_sides() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    let secret = || json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x" });
    let one = world.stub.event(&room, ALICE, "m.room.encrypted", secret());
    let two = world.stub.event(&room, ALICE, "m.room.encrypted", secret());
    world.push("1", &[one, two]).await;
    let world = world.restart().await;
    let three = world.stub.event(&room, ALICE, "m.room.encrypted", secret());
    world.push("2", &[three]).await;
    let encrypted = |event: &Inbound| matches!(event.kind, Kind::Encrypted { .. });
    assert_eq!(world.memory.events().iter().filter(|event| encrypted(event)).count(), 1);
    let notices = world.stub.sent(&room).into_iter().filter(|sent| sent.content["msgtype"] == "m.notice").count();
    assert_eq!(notices, 1);
    assert_eq!(world.memory.losses(), ["encrypted", "encrypted"]);
}

/// The mark that a notice was given must not be on disk before the notice itself is.
#[tokio::test]
async fn a_crash_between_the_notice_and_its_event_costs_neither() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    let secret = world.stub.event(&room, ALICE, "m.room.encrypted", json!({ "ciphertext": "x" }));
    let busy = Fault::once("/send/", 429, "M_LIMIT_EXCEEDED", "Too Many Requests");
    world.stub.fail(Fault { retry_after_ms: Some(1), times: usize::MAX, ..busy });
    assert_eq!(soon(world.stub.push("1", &json!({ "events": [secret] }))).await.unwrap().0, 200);
    world.memory.refuse_submissions(true);
    world.stub.heal();
    soon(world.stub.until(|stub| stub.sent(&room).len() == 2)).await;
    let world = world.restart().await;
    world.memory.refuse_submissions(false);
    let world = world.restart().await;
    soon(world.memory.until(|memory| memory.waiting() == 0)).await;
    assert!(matches!(world.memory.events()[0].kind, Kind::Encrypted { .. }));
    assert_eq!(world.stub.sent(&room).len(), 2);
}

/// A room on a server that is gone must not stop what comes behind it.
#[tokio::test]
async fn an_invitation_that_cannot_be_followed_is_given_up() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let chat = world.only_room();
    let room = world.stub.make_room(None, &[ALICE]);
    let invite = world.stub.change_member(&room, ALICE, ROMEO, Member::Invite, json!({ "is_direct": true }));
    let gone = Fault::once("/join/", 502, "M_UNKNOWN", "Failed to make_join via any server");
    world.stub.fail(Fault { retry_after_ms: Some(1), times: usize::MAX, ..gone });
    let behind = world.stub.event(&chat, ALICE, "m.room.message", text("behind it"));
    world.push("1", &[invite, behind]).await;
    assert_eq!(bodies(&world.memory.events()), ["behind it"]);
    assert_eq!(world.memory.losses(), ["lookup"]);
}

#[tokio::test]
async fn a_bounce_is_shown_in_the_chat() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let failed = Failed {
        event: EventId(1),
        condition: Condition::ItemNotFound,
        sentence: crate::api::Sentence::new("matrix.no-such-user").with("person", "x"),
        still_trying: false,
    };
    world.deliver(to(&alice(), 2, Kind::Failed(failed))).await.unwrap();
    let notice = world.stub.sent(&world.only_room()).pop().unwrap();
    assert_eq!(notice.content["msgtype"], "m.notice");
    assert!(notice.content["body"].as_str().unwrap().contains("matrix.no-such-user x"));
}

#[tokio::test]
async fn typing_is_passed_on_under_either_name_and_in_both_directions() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    let writes = |who: &[&str]| json!([{ "type": "m.typing", "room_id": room, "content": { "user_ids": who } }]);
    for body in [
        json!({ "events": [], "ephemeral": writes(&[ALICE, ROMEO]) }),
        json!({ "events": [], "de.sorunome.msc2409.ephemeral": writes(&[]) }),
    ] {
        soon(world.stub.push("t", &body)).await.unwrap();
    }
    let signals: Vec<Kind> = world.memory.events().into_iter().map(|signal| signal.kind).collect();
    assert_eq!(signals, [Kind::Typing { active: true }, Kind::Typing { active: false }]);
    let chat = Chat::Direct { user: romeo(), person: alice() };
    let kind = crate::api::SignalKind::Typing(true);
    soon(world.adapter.signal(crate::api::Signal { chat, user: romeo(), kind })).await;
    assert_eq!(world.stub.typing(), [(room.clone(), ROMEO.to_owned(), true)]);
    // The message says that its writer has stopped; further ones need not.
    for number in [2, 3] {
        world.deliver(hello(number)).await.unwrap();
    }
    assert_eq!(world.stub.typing()[1..], [(room, ROMEO.to_owned(), false)]);
}

/// Somebody's client makes a second chat: both are read, and the answer goes where they wrote last.
#[tokio::test]
async fn of_several_chats_with_one_person_the_latest_is_answered() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let first = world.only_room();
    let joined = world.stub.change_member(&first, ALICE, ALICE, Member::Join, json!({}));
    let second = world.stub.make_room(None, &[ALICE]);
    let invite = world.stub.change_member(&second, ALICE, ROMEO, Member::Invite, json!({ "is_direct": true }));
    world.push("1", &[joined, invite]).await;
    let said = world.stub.event(&second, ALICE, "m.room.message", text("in the second"));
    world.push("2", &[said]).await;
    world.deliver(hello(2)).await.unwrap();
    assert_eq!(world.stub.sent(&second).len(), 1);
    let said = world.stub.event(&first, ALICE, "m.room.message", text("in the first"));
    world.push("3", &[said]).await;
    let world = world.restart().await;
    world.deliver(hello(3)).await.unwrap();
    assert_eq!((world.stub.sent(&first).len(), world.stub.sent(&second).len()), (2, 1));
    let events = world.memory.events();
    assert_eq!(bodies(&events), ["in the second", "in the first"]);
    assert!(events.iter().all(|event| event.chat == Chat::Direct { user: romeo(), person: alice() }));
}

#[tokio::test]
async fn who_left_and_asks_in_again_is_followed_and_the_ghost_does_not_stay_behind() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let first = world.only_room();
    let left = world.stub.change_member(&first, ALICE, ALICE, Member::Leave, json!({}));
    world.push("1", &[left]).await;
    assert_eq!(world.stub.member(&first, ROMEO), Some(Member::Leave));
    let second = world.stub.make_room(None, &[ALICE]);
    let invite = world.stub.change_member(&second, ALICE, ROMEO, Member::Invite, json!({ "is_direct": true }));
    let said = world.stub.event(&second, ALICE, "m.room.message", text("me again"));
    world.push("2", &[invite, said]).await;
    assert_eq!(bodies(&world.memory.events()), ["me again"]);
    world.deliver(hello(2)).await.unwrap();
    assert_eq!(world.stub.sent(&second).len(), 1);
    // The first one again, as whoever left may be asked back into it.
    world.stub.change_member(&first, ALICE, ALICE, Member::Join, json!({}));
    let invite = world.stub.change_member(&first, ALICE, ROMEO, Member::Invite, json!({}));
    world.push("3", &[invite]).await;
    world.deliver(hello(3)).await.unwrap();
    assert_eq!(world.stub.sent(&first).len(), 2);
}

#[tokio::test]
async fn a_third_person_in_a_chat_is_announced_and_heard() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    world.stub.add_user("@carol:hs.test", "Carol");
    let carol = "@carol:hs.test";
    let joined = world.stub.change_member(&room, carol, carol, Member::Join, json!({}));
    let mut renamed = world.stub.change_member(&room, carol, carol, Member::Join, json!({ "displayname": "C." }));
    renamed["unsigned"] = json!({ "prev_content": { "membership": "join" } });
    let said = world.stub.event(&room, carol, "m.room.message", text("hi all"));
    world.push("1", &[joined, renamed, said]).await;
    let events = world.memory.events();
    assert_eq!(bodies(&events), ["matrix.third-person Carol @carol:hs.test", "hi all"]);
    assert_eq!(events[0].chat, Chat::Direct { user: romeo(), person: alice() });
    assert_eq!(events[1].chat, Chat::Direct { user: romeo(), person: PersonId::new("carol", "hs.test").unwrap() });
    // The chat with Alice is where it was, also when the third person goes.
    let left = world.stub.change_member(&room, carol, carol, Member::Leave, json!({}));
    world.push("2", &[left]).await;
    world.deliver(hello(2)).await.unwrap();
    assert_eq!((world.stub.rooms().len(), world.stub.sent(&room).len()), (1, 2));
}

#[tokio::test]
async fn an_upgraded_chat_is_followed() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let old = world.only_room();
    for (txn, open) in [("1", true), ("2", false)] {
        let next = world.stub.make_room(open.then_some("#next:hs.test"), &[ALICE]);
        let mut gone =
            world.stub.event(&old, ALICE, "m.room.tombstone", json!({ "body": "moved", "replacement_room": next }));
        gone["state_key"] = json!("");
        world.push(txn, &[gone]).await;
        if !open {
            // As Element does after an upgrade, in a room that has a name.
            let mut invite = world.stub.change_member(&next, ALICE, ROMEO, Member::Invite, json!({}));
            invite["unsigned"] = json!({ "invite_room_state": [{ "type": "m.room.name", "state_key": "", "content": { "name": "Us" } }] });
            world.push("3", &[invite]).await;
        }
        world.deliver(hello(if open { 2 } else { 3 })).await.unwrap();
        assert_eq!(world.stub.sent(&next).len(), 1, "{open}");
    }
    assert_eq!(world.memory.events(), []);
}

/// The user has let their own account into the chat; what it says there is theirs, in the chat with the other one.
#[tokio::test]
async fn the_user_s_own_account_speaks_in_the_chat_with_the_other_one() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    let own = PersonId::new("romeo", "hs.test").unwrap();
    let said = |id: &str, body: &str| {
        json!({ "event_id": id, "type": "m.room.message", "room_id": room, "sender": "@romeo:hs.test",
                "origin_server_ts": 1, "content": { "msgtype": "m.text", "body": body } })
    };
    world.push("1", &[said("$1", "before")]).await;
    world.memory.link(&own, &romeo());
    world.push("2", &[said("$2", "after")]).await;
    let chats: Vec<_> = world.memory.events().into_iter().map(|event| (event.chat, event.sender)).collect();
    let with = |person: &PersonId| Chat::Direct { user: romeo(), person: person.clone() };
    assert_eq!(chats, [(with(&own), own.clone()), (with(&alice()), own.clone())]);
}
