//! Chats of two, from XMPP to Matrix.

use portway_testbed::stub_homeserver::{Fault, Membership as Member};

use super::*;

#[tokio::test]
async fn the_first_message_makes_the_room_and_later_ones_use_it_also_after_a_restart() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    world.deliver(hello(2)).await.unwrap();
    let world = world.restart().await;
    world.deliver(hello(3)).await.unwrap();
    let room = world.only_room();
    assert_eq!(world.stub.member(&room, ALICE), Some(Member::Invite));
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Join));
    assert_eq!(world.stub.name(ROMEO).as_deref(), Some("Romeo"));
    let sent = world.stub.sent(&room);
    let said: Vec<_> =
        sent.iter().map(|sent| (sent.sender.as_str(), sent.txn.as_str(), &sent.content["body"])).collect();
    let expected = ["hello 1", "hello 2", "hello 3"].map(|body| json!(body));
    let txns = ["pwtestinstall-1-0", "pwtestinstall-2-0", "pwtestinstall-3-0"];
    assert_eq!(said, [0, 1, 2].map(|n| (ROMEO, txns[n], &expected[n])));
    assert_eq!(world.stub.times_asked("/register"), 1);
}

#[tokio::test]
async fn a_repeated_delivery_shows_once() {
    let world = World::start().await;
    let first = world.deliver(hello(1)).await.unwrap();
    // The homeserver took it, and its answer was lost.
    world.stub.fail(Fault { after: true, ..Fault::once("/send/", 502, "M_UNKNOWN", "lost") });
    assert_eq!(condition(&world.deliver(hello(2)).await.unwrap_err()), None);
    world.deliver(hello(2)).await.unwrap();
    let world = world.restart().await;
    assert_eq!(world.deliver(hello(1)).await.unwrap(), first);
    assert_eq!(world.stub.sent(&world.only_room()).len(), 2);
}

#[tokio::test]
async fn a_crash_between_the_room_and_our_store_makes_no_second_room() {
    let world = World::start().await;
    world.stub.fail(Fault { after: true, ..Fault::once("createRoom", 504, "M_UNKNOWN", "lost") });
    assert_eq!(condition(&world.deliver(hello(1)).await.unwrap_err()), None);
    let world = world.restart().await;
    world.deliver(hello(1)).await.unwrap();
    assert_eq!(world.stub.sent(&world.only_room()).len(), 1);
}

/// Synapse makes the room before it invites, so that the room can be there and nobody in it.
#[tokio::test]
async fn a_room_whose_invitation_failed_is_not_written_into_before_the_person_is_asked_again() {
    let world = World::start().await;
    world.stub.fail(Fault::once("createRoom/invite", 500, "M_UNKNOWN", "Internal server error"));
    assert_eq!(condition(&world.deliver(hello(1)).await.unwrap_err()), None);
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    assert_eq!(world.stub.member(&room, ALICE), Some(Member::Invite));
    assert_eq!(world.stub.sent(&room).len(), 1);
}

/// What was left behind by a crash may have been left by the person too, before we looked.
#[tokio::test]
async fn a_room_found_by_its_alias_that_the_person_has_left_is_made_anew() {
    let world = World::start().await;
    world.stub.fail(Fault { after: true, ..Fault::once("createRoom", 504, "M_UNKNOWN", "lost") });
    world.deliver(hello(1)).await.unwrap_err();
    let first = world.only_room();
    world.stub.change_member(&first, ALICE, ALICE, Member::Leave, json!({}));
    world.deliver(hello(1)).await.unwrap();
    assert_eq!(world.stub.rooms().len(), 2);
    assert_eq!(world.stub.sent(&first).len(), 0);
    assert_eq!(world.stub.sent(&world.stub.rooms()[1]).len(), 1);
}

#[tokio::test]
async fn a_chat_that_the_other_side_left_is_made_anew_once() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let first = world.only_room();
    let left = world.stub.change_member(&first, ALICE, ALICE, Member::Leave, json!({}));
    world.push("1", &[left]).await;
    world.deliver(hello(2)).await.unwrap();
    let world = world.restart().await;
    world.deliver(hello(3)).await.unwrap();
    let rooms = world.stub.rooms();
    assert_eq!(rooms.len(), 2);
    assert_eq!(world.stub.sent(&rooms[1]).len(), 2);
    assert_eq!(world.stub.member(&rooms[1], ALICE), Some(Member::Invite));
}

#[tokio::test]
async fn a_chat_that_the_ghost_was_sent_out_of_is_made_anew() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    // Nobody told us: the next message finds out.
    world.stub.change_member(&world.only_room(), ALICE, ROMEO, Member::Ban, json!({}));
    world.deliver(hello(2)).await.unwrap();
    assert_eq!(world.stub.sent(&world.stub.rooms()[1]).len(), 1);
}

/// The chat was given up while a message was on its way, which then wrote down the old room again: the next message must
/// not be stuck on it for ever.
#[tokio::test]
async fn a_room_that_was_given_up_in_between_is_not_written_into_again() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let first = world.only_room();
    let given_up = br#"{"room":null,"generation":1}"#.to_vec();
    world.memory.core().put("dm/romeo@h.test/@alice:hs.test", Some(given_up)).await.unwrap();
    world.stub.change_member(&first, ROMEO, ROMEO, Member::Leave, json!({}));
    world.deliver(hello(2)).await.unwrap();
    assert_eq!(world.stub.sent(&world.stub.rooms()[1]).len(), 1);
}

#[tokio::test]
async fn a_homeserver_in_trouble_is_asked_again_when_it_says() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let busy = Fault::once("/send/", 429, "M_LIMIT_EXCEEDED", "Too Many Requests");
    world.stub.fail(Fault { retry_after_ms: Some(1234), ..busy });
    let Failure::Temporary { retry_after, .. } = world.deliver(hello(2)).await.unwrap_err() else {
        panic!("permanent")
    };
    assert_eq!(retry_after, Some(Duration::from_millis(1234)));
    world.stub.fail(Fault::once("/send/", 500, "M_UNKNOWN", "Internal server error"));
    assert_eq!(condition(&world.deliver(hello(2)).await.unwrap_err()), None);
    // A token that is wrong for a while is for the admin to mend.
    world.stub.fail(Fault::once("/send/", 401, "M_UNKNOWN_TOKEN", "Invalid access token"));
    assert_eq!(condition(&world.deliver(hello(2)).await.unwrap_err()), None);
    world.deliver(hello(2)).await.unwrap();
    assert_eq!(world.stub.sent(&world.only_room()).len(), 2);
}

#[tokio::test]
async fn a_homeserver_that_is_down_is_a_failure_that_may_pass() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let raw = format!(
        "homeserver = \"http://{address}\"\nserver_name = \"hs.test\"\nlisten = \"127.0.0.1:0\"\nas_token = \"a\"\nhs_token = \"b\""
    );
    let adapter: Arc<dyn Adapter> = Arc::from(NETWORK.configure(toml::from_str(&raw).unwrap()).unwrap());
    let memory = MemoryCore::new(&["h.test"]);
    // The adapter knows its core from the first moment that it runs.
    let (stop, mut running) = (Stop::new(), adapter.run(memory.core(), Stop::new()));
    let out = [hello(1)];
    let failure = tokio::select! {
        _ = &mut running => panic!("it stopped"),
        result = soon(adapter.deliver(&out)) => result.unwrap_err(),
    };
    stop.cancel();
    assert_eq!(condition(&failure), None);
}

#[tokio::test]
async fn who_cannot_be_reached_is_told_on_that_very_message() {
    let world = World::start().await;
    world.stub.kill_server("dead.test");
    for (number, local, server, expected) in [
        (1, "nobody", "hs.test", Condition::ItemNotFound),
        (2, "nobody", "far.test", Condition::ItemNotFound),
        (3, "bob", "dead.test", Condition::RemoteServerNotFound),
    ] {
        let person = PersonId::new(local, server).unwrap();
        let failure = world.deliver(to(&person, number, Kind::Text(Text::plain("hi")))).await.unwrap_err();
        assert_eq!(condition(&failure), Some(expected), "{local} {server}");
    }
    world.stub.fail(Fault::once("createRoom/invite", 403, "M_FORBIDDEN", "You are not permitted to do that"));
    assert_eq!(condition(&world.deliver(hello(4)).await.unwrap_err()), Some(Condition::Forbidden));
    world.stub.add_user("@carol:whitelist.test", "Carol");
    let carol = PersonId::new("carol", "whitelist.test").unwrap();
    world.stub.fail(Fault::once("/profile/", 403, "M_FORBIDDEN", "Federation denied with whitelist.test."));
    let failure = world.deliver(to(&carol, 5, Kind::Text(Text::plain("hi")))).await.unwrap_err();
    assert_eq!(condition(&failure), Some(Condition::RemoteServerNotFound));
    assert_eq!(world.stub.all_sent(), []);
}

/// Homeservers may keep profiles to those who share a room; that says nothing about whether a person can be asked in.
#[tokio::test]
async fn a_profile_that_may_not_be_seen_stops_nobody() {
    let world = World::start().await;
    let refusals = ["Profile isn't available.", "Profile lookup over federation is disabled on this homeserver"];
    for (number, why) in (1..).zip(refusals) {
        let person = PersonId::new(&format!("shy{number}"), "far.test").unwrap();
        world.stub.add_user(&format!("@shy{number}:far.test"), "Shy");
        world.stub.fail(Fault::once("GET /_matrix/client/v3/profile/", 403, "M_FORBIDDEN", why));
        world.deliver(to(&person, number, Kind::Text(Text::plain("hi")))).await.unwrap();
    }
    assert_eq!(world.stub.all_sent().len(), 2);
}

#[tokio::test]
async fn long_text_and_long_edits_arrive_whole() {
    let world = World::start().await;
    let receipt = world.deliver(hello(1)).await.unwrap();
    let target = crate::api::Target { id: receipt.ids.first().cloned(), ..Default::default() };
    // What JSON writes in two bytes each.
    let bodies = ["\"\n".repeat(40_000), "x".repeat(70_000), "\u{1f600}".repeat(20_000)];
    for (number, body) in (2..).zip(&bodies) {
        let receipt = world.deliver(to(&alice(), number, Kind::Text(Text::plain(body.clone())))).await.unwrap();
        let whole: String = receipt.ids.iter().map(|id| said(&world, id.as_str())).collect();
        assert!(receipt.ids.len() > 1 && whole == *body);
        let new = Text::plain(body.clone());
        let edit = Kind::Edit { target: target.clone(), new };
        world.deliver(to(&alice(), number + 10, edit)).await.unwrap();
    }
}

fn said(world: &World, event: &str) -> String {
    let sent = world.stub.all_sent().into_iter().find(|sent| sent.event_id == event).unwrap();
    sent.content["body"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ghost_goes_by_its_users_name_and_is_told_only_of_changes() {
    let world = World::start().await;
    let renames = |world: &World| world.stub.times_asked("PUT /_matrix/client/v3/profile/");
    for (number, name) in [(1, Some("Romeo")), (2, Some("Romeo")), (3, None)] {
        world.deliver(Outbound { name: name.map(str::to_owned), ..hello(number) }).await.unwrap();
    }
    assert_eq!((renames(&world), world.stub.name(ROMEO).as_deref()), (1, Some("Romeo")));
    let world = world.restart().await;
    world.deliver(hello(4)).await.unwrap();
    assert_eq!(renames(&world), 1);
    world.deliver(Outbound { name: Some("R. Montague".into()), ..hello(5) }).await.unwrap();
    assert_eq!((renames(&world), world.stub.name(ROMEO).as_deref()), (2, Some("R. Montague")));
    // Another one, who never said what they are called.
    let juliet = UserId::new("juliet", "h.test").unwrap();
    let chat = Chat::Direct { user: juliet.clone(), person: alice() };
    world.deliver(Outbound { user: juliet, chat, name: None, ..hello(6) }).await.unwrap();
    assert_eq!(world.stub.name("@xmpp_juliet=40h.test:hs.test").as_deref(), Some("juliet"));
}

#[tokio::test]
async fn an_address_too_long_for_a_ghost_is_refused() {
    let world = World::start().await;
    let long = UserId::new(&"r".repeat(250), "h.test").unwrap();
    let out = Outbound { user: long.clone(), chat: Chat::Direct { user: long, person: alice() }, ..hello(1) };
    assert_eq!(condition(&world.deliver(out).await.unwrap_err()), Some(Condition::JidMalformed));
}

#[tokio::test]
async fn a_person_s_name_is_asked_of_the_homeserver() {
    let world = World::start().await;
    assert_eq!(world.adapter.name(&alice()).await.as_deref(), world.stub.name(ALICE).as_deref());
    assert_eq!(world.adapter.name(&PersonId::new("nobody", "hs").unwrap()).await, None);
}

#[tokio::test]
async fn the_ghost_leaves_whoever_is_blocked_and_a_later_message_makes_another_room() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    soon(world.adapter.blocked(&romeo(), &alice())).await;
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Leave));
    // Nobody to leave is no fault.
    soon(world.adapter.blocked(&romeo(), &alice())).await;
    world.deliver(hello(2)).await.unwrap();
    assert_eq!(world.stub.rooms().len(), 2);
}

#[tokio::test]
async fn people_are_found_in_the_homeserver_s_directory_and_our_ghosts_are_not() {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    world.stub.add_user("@alina:other.test", "Alina");
    let found = soon(world.adapter.search("ali", 10)).await;
    let expected = [(alice(), "Alice"), (PersonId::new("alina", "other.test").unwrap(), "Alina")];
    assert_eq!(found, expected.map(|(person, name)| (person, Some(name.to_owned()))));
    assert_eq!(soon(world.adapter.search("romeo", 10)).await, []);
    assert_eq!(soon(world.adapter.search("ali", 1)).await.len(), 1);
    world.stub.fail(Fault::once("user_directory", 500, "M_UNKNOWN", "broken"));
    assert_eq!(soon(world.adapter.search("ali", 10)).await, []);
}

/// Whoever is sent back is told where they said it. A user who has blocked them has left that chat: no other one is made.
#[tokio::test]
async fn a_failure_is_told_in_the_chat_that_there_is_and_makes_none_with_whom_the_user_blocks() {
    let world = World::start().await;
    let failed = |number: i64| {
        let sentence = crate::api::Sentence::new("stranger.refused");
        let failed = Failed { event: EventId(1), condition: Condition::PolicyViolation, sentence, still_trying: false };
        to(&alice(), number, Kind::Failed(failed))
    };
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    world.deliver(failed(2)).await.unwrap();
    let told = world.stub.sent(&room).last().map(|sent| sent.content.clone()).unwrap();
    assert!(told["msgtype"] == "m.notice" && told["body"].as_str().unwrap().contains("stranger.refused"), "{told}");
    world.memory.keep_out(&alice(), &romeo());
    world.deliver(failed(3)).await.unwrap();
    assert_eq!(world.stub.sent(&room).len(), 3, "the ghost is there yet");
    soon(world.adapter.blocked(&romeo(), &alice())).await;
    assert_eq!(world.deliver(failed(4)).await.unwrap(), Receipt::default());
    assert_eq!((world.stub.rooms().len(), world.stub.sent(&room).len()), (1, 3));
}
