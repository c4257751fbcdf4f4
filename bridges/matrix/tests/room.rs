//! Rooms: the way in, what is said there, the way out.

use portway_testbed::stub_homeserver::{Fault, Membership as Member};

use super::*;
use crate::api::{ItemId, Membership, RoomId};

const TOWN: &str = "#town:hs.test";

fn alias() -> RoomId {
    RoomId::alias("town", "hs.test").unwrap()
}

/// A public room with Alice in it, and Romeo's ghost after it entered.
async fn town() -> (World, String, RoomId) {
    let world = World::start().await;
    let room = world.stub.make_room(Some(TOWN), &[ALICE]);
    world.stub.set_state(&room, "m.room.name", json!({ "name": "Town" }));
    world.stub.set_state(&room, "m.room.topic", json!({ "topic": "squares" }));
    world.stub.set_state(&room, "m.room.power_levels", json!({ "users": { ALICE: 100 } }));
    world.stub.event(&room, ALICE, "m.room.message", json!({ "msgtype": "m.text", "body": "one" }));
    world.stub.event(&room, ALICE, "m.room.message", json!({ "msgtype": "m.text", "body": "two" }));
    let info = soon(world.adapter.enter(&romeo(), "Romeo", &alias())).await.unwrap();
    assert_eq!(info.room, RoomId::id(room.trim_start_matches('!'), None).unwrap());
    assert_eq!((info.name.as_deref(), info.topic.as_deref()), (Some("Town"), Some("squares")));
    assert_eq!((info.member_count, info.members.len()), (1, 1));
    assert_eq!((info.members[0].person.clone(), info.members[0].level), (alice(), 100));
    (world, room, info.room)
}

fn say(room: &RoomId, number: i64, kind: Kind) -> Outbound {
    Outbound { chat: Chat::Room(room.clone()), ..to(&alice(), number, kind) }
}

#[tokio::test]
async fn into_a_room_and_out_of_it() {
    let (world, room, id) = town().await;
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Join));
    let history = soon(world.adapter.history(&id, 20)).await.unwrap();
    let kinds: Vec<Kind> = history.into_iter().map(|item| item.kind).collect();
    assert_eq!(kinds, ["one", "two"].map(|body| Kind::Text(Text::plain(body))));
    world.deliver(say(&id, 1, Kind::Text(Text::plain("three")))).await.unwrap();
    assert_eq!(world.stub.sent(&room)[0].sender, ROMEO);
    let kind = Kind::Membership(Membership::Leave { reason: None });
    for number in [2, 3] {
        let at = world.memory.core().now().after(Duration::from_secs(60));
        world.deliver(Outbound { at, ..say(&id, number, kind.clone()) }).await.unwrap();
    }
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Leave));
}

#[tokio::test]
async fn each_occupant_has_a_ghost_of_their_own() {
    let (world, room, id) = town().await;
    let juliet = UserId::new("juliet", "h.test").unwrap();
    soon(world.adapter.enter(&juliet, "Juliet", &alias())).await.unwrap();
    world.deliver(Outbound { user: juliet, ..say(&id, 1, Kind::Text(Text::plain("hi"))) }).await.unwrap();
    assert_eq!(world.stub.sent(&room)[0].sender, "@xmpp_juliet=40h.test:hs.test");
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Join));
}

#[tokio::test]
async fn a_ghost_that_was_sent_out_comes_back_to_speak_unless_it_may_not() {
    let (world, room, id) = town().await;
    world.stub.change_member(&room, ALICE, ROMEO, Member::Leave, json!({}));
    world.deliver(say(&id, 1, Kind::Text(Text::plain("back")))).await.unwrap();
    assert_eq!(world.stub.sent(&room).len(), 1);
    world.stub.change_member(&room, ALICE, ROMEO, Member::Ban, json!({}));
    let failure = world.deliver(say(&id, 2, Kind::Text(Text::plain("again")))).await.unwrap_err();
    assert_eq!(condition(&failure), Some(Condition::Forbidden));
}

#[tokio::test]
async fn the_way_in_fails_with_the_reason() {
    let world = World::start().await;
    world.stub.kill_server("dead.test");
    let closed = world.stub.make_room(None, &[ALICE]);
    for (room, expected) in [
        (RoomId::alias("nowhere", "hs.test").unwrap(), Some(Condition::ItemNotFound)),
        (RoomId::alias("town", "dead.test").unwrap(), Some(Condition::RemoteServerNotFound)),
        (RoomId::id(closed.trim_start_matches('!'), None).unwrap(), Some(Condition::Forbidden)),
    ] {
        let failure = soon(world.adapter.enter(&romeo(), "Romeo", &room)).await.unwrap_err();
        assert_eq!(condition(&failure), expected, "{room:?}");
    }
    world.stub.fail(Fault::once("/join/", 500, "M_UNKNOWN", "Internal server error"));
    let failure = soon(world.adapter.enter(&romeo(), "Romeo", &alias())).await.unwrap_err();
    assert_eq!(condition(&failure), None);
}

#[tokio::test]
async fn what_happens_in_a_room() {
    let (world, room, id) = town().await;
    world.stub.add_user("@bob:hs.test", "Bob");
    let bob = "@bob:hs.test";
    let came = world.stub.change_member(&room, bob, bob, Member::Join, json!({}));
    let said = world.stub.event(&room, bob, "m.room.message", json!({ "msgtype": "m.emote", "body": "waves" }));
    let liked = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said["event_id"], "key": "👍" } });
    let liked = world.stub.event(&room, ALICE, "m.reaction", liked);
    let kicked = world.stub.change_member(&room, ALICE, bob, Member::Leave, json!({ "reason": "rude" }));
    let out = world.stub.change_member(&room, ALICE, ROMEO, Member::Ban, json!({}));
    world.push("1", &[came, said.clone(), liked, kicked, out]).await;
    let events = world.memory.events();
    assert!(events.iter().all(|event| event.chat == Chat::Room(id.clone())));
    let person = PersonId::new("bob", "hs.test").unwrap();
    let emote = Text { style: crate::api::Style::Emote, ..Text::plain("waves") };
    let target = crate::api::Target { id: said["event_id"].as_str().map(ItemId::new), ..Default::default() };
    let kick = |person, user, reason: Option<&str>, ban| {
        Kind::Membership(Membership::Kick { person, user, reason: reason.map(str::to_owned), ban })
    };
    let kinds: Vec<Kind> = events.into_iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Membership(Membership::Join { name: Some("Bob".into()) }),
            Kind::Text(emote),
            Kind::Reaction { target, keys: vec!["👍".into()] },
            kick(Some(person), None, Some("rude"), false),
            kick(None, Some(romeo()), None, true),
        ]
    );
}

/// One user, two rooms, two nicks: neither shows in the other, nor in the profile.
#[tokio::test]
async fn a_nick_is_the_rooms_and_a_name_is_the_users() {
    let (world, room, id) = town().await;
    let nicks =
        |world: &World| world.stub.times_asked("PUT /_matrix/client/v3/rooms/") - world.stub.times_asked("/send/");
    world.deliver(Outbound { name: Some("Romeo M.".into()), ..hello(1) }).await.unwrap();
    let second = world.stub.make_room(Some("#other:hs.test"), &[ALICE]);
    let other = RoomId::alias("other", "hs.test").unwrap();
    let other = soon(world.adapter.enter(&romeo(), "masked", &other)).await.unwrap().room;
    let named = |world: &World, room: &str| world.stub.name_in(room, ROMEO).unwrap();
    assert_eq!((named(&world, &room), named(&world, &second)), ("Romeo".to_owned(), "masked".to_owned()));
    assert_eq!(world.stub.name(ROMEO).as_deref(), Some("Romeo M."));
    let say_as = |room: &RoomId, number, nick: &str| Outbound {
        name: Some(nick.to_owned()),
        ..say(room, number, Kind::Text(Text::plain("hi")))
    };
    for (number, room, nick) in [(2, &id, "Romeo"), (3, &other, "masked"), (4, &id, "Romeo")] {
        world.deliver(say_as(room, number, nick)).await.unwrap();
    }
    // One on each way in, and one that the new name had overwritten.
    assert_eq!(nicks(&world), 3, "told only of changes");
    // After a restart it is looked up, not set again; a new nick is set.
    let world = world.restart().await;
    let before = nicks(&world);
    world.deliver(say_as(&other, 5, "masked")).await.unwrap();
    assert_eq!(nicks(&world), before);
    world.deliver(say_as(&other, 6, "unmasked")).await.unwrap();
    assert_eq!((named(&world, &second), world.stub.name(ROMEO).unwrap()), ("unmasked".into(), "Romeo M.".into()));
    assert_eq!(nicks(&world), before + 1);
}

/// A homeserver writes a new name of the profile into every membership, over the nicks.
#[tokio::test]
async fn a_new_name_leaves_the_nicks_as_they_were() {
    let (world, room, _) = town().await;
    world.deliver(Outbound { name: Some("R. Montague".into()), ..hello(1) }).await.unwrap();
    assert_eq!(world.stub.name_in(&room, ROMEO).as_deref(), Some("Romeo"));
    // Some homeservers do it later.
    let clobbered = json!({ "displayname": "R. Montague" });
    let event = world.stub.change_member(&room, ROMEO, ROMEO, Member::Join, clobbered);
    world.push("1", &[event]).await;
    assert_eq!(world.stub.name_in(&room, ROMEO).as_deref(), Some("Romeo"));
    // What comes late, from before, changes nothing.
    let event = world.stub.change_member(&room, ROMEO, ROMEO, Member::Join, json!({ "displayname": "romeo" }));
    let asked = world.stub.times_asked("PUT /_matrix/client/v3/rooms/");
    world.push("2", &[event]).await;
    assert_eq!(world.stub.times_asked("PUT /_matrix/client/v3/rooms/"), asked);
}

fn kinds(world: &World) -> Vec<Kind> {
    world.memory.events().into_iter().map(|event| event.kind).collect()
}

fn state_event(world: &World, room: &str, type_: &str, content: Value) -> Value {
    world.stub.set_state(room, type_, content.clone());
    let mut event = world.stub.event(room, ALICE, type_, content);
    event["state_key"] = json!("");
    event
}

#[tokio::test]
async fn new_power_levels_are_told_for_whom_they_change() {
    let (world, room, _) = town().await;
    let bob = PersonId::new("bob", "hs.test").unwrap();
    world.stub.change_member(&room, "@bob:hs.test", "@bob:hs.test", Member::Join, json!({}));
    let role = |person: &PersonId, level| Kind::Role { person: person.clone(), level };
    let up = state_event(
        &world,
        &room,
        "m.room.power_levels",
        json!({ "users": { ALICE: 100, "@bob:hs.test": 50, ROMEO: 50 } }),
    );
    world.push("1", &[up]).await;
    assert_eq!(kinds(&world), [role(&bob, 50)]);
    // Who is not listed any more, and in a room where only some may speak.
    let quiet = json!({ "users": { ALICE: 100 }, "events_default": 50 });
    let down = state_event(&world, &room, "m.room.power_levels", quiet);
    world.push("2", std::slice::from_ref(&down)).await;
    assert_eq!(kinds(&world)[1..], [role(&bob, -1)]);
    let odd = state_event(&world, &room, "m.room.power_levels", json!({ "users": [5], "events_default": {} }));
    world.push("3", &[odd]).await;
    // Everybody who is in the room has other rights.
    assert_eq!(kinds(&world)[2..], [role(&alice(), 0), role(&bob, 0)]);
}

#[tokio::test]
async fn names_topics_and_aliases_live() {
    let (world, room, _) = town().await;
    let named = state_event(&world, &room, "m.room.name", json!({ "name": "New Town" }));
    let topic = state_event(&world, &room, "m.room.topic", json!({ "topic": "new squares" }));
    let ignored = state_event(&world, &room, "m.room.canonical_alias", json!({ "alias": "#elsewhere:hs.test" }));
    world.push("1", &[named, topic, ignored]).await;
    assert_eq!(kinds(&world), [Kind::Name("New Town".into()), Kind::Topic("new squares".into())]);
    world.stub.set_state(&room, "m.room.name", json!({}));
    let alias = state_event(&world, &room, "m.room.canonical_alias", json!({ "alias": "#elsewhere:hs.test" }));
    world.push("2", &[alias]).await;
    assert_eq!(kinds(&world)[2..], [Kind::Name("#elsewhere:hs.test".into())]);
}

#[tokio::test]
async fn encryption_is_noticed_when_it_is_switched_on() {
    let (world, room, _) = town().await;
    // Also before anybody is back after a restart.
    let world = world.restart().await;
    let on = state_event(&world, &room, "m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
    let secret = world.stub.event(&room, ALICE, "m.room.encrypted", json!({ "ciphertext": "x" }));
    world.push("1", &[on, secret]).await;
    assert_eq!(kinds(&world), [Kind::Encrypted { scheme: "Matrix".into() }]);
    let notices = world.stub.sent(&room).into_iter().filter(|sent| sent.content["msgtype"] == "m.notice").count();
    assert_eq!(notices, 1);
}

/// The way out is queued behind what was said; who has come back meanwhile stays.
#[tokio::test]
async fn a_late_way_out_does_not_undo_coming_back() {
    let (world, room, id) = town().await;
    let leave =
        |at| Outbound { at: Timestamp(at), ..say(&id, 1, Kind::Membership(Membership::Leave { reason: None })) };
    let now = world.memory.core().now().0;
    world.deliver(leave(now - 1000)).await.unwrap();
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Join));
    world.deliver(leave(now + 60_000)).await.unwrap();
    assert_eq!(world.stub.member(&room, ROMEO), Some(Member::Leave));
}

#[tokio::test]
async fn an_upgraded_room_is_told_and_found_by_its_server() {
    let (world, room, _) = town().await;
    let next = world.stub.make_room(Some("#next:hs.test"), &[ALICE]);
    let gone = state_event(&world, &room, "m.room.tombstone", json!({ "body": "moved", "replacement_room": next }));
    world.push("1", &[gone]).await;
    let id = RoomId::id(next.trim_start_matches('!'), None).unwrap();
    assert_eq!(kinds(&world), [Kind::RoomGone { next: Some(id.clone()), reason: Some("moved".into()) }]);
    let world = world.restart().await;
    soon(world.adapter.enter(&romeo(), "Romeo", &id)).await.unwrap();
    let asked = world.stub.queries("/join/");
    assert!(asked.last().unwrap().contains("via=hs.test"), "{asked:?}");
    // Whoever comes to the old room later is told as well; the alias leads there until somebody moves it.
    let old = soon(world.adapter.enter(&romeo(), "Romeo", &alias())).await.unwrap();
    assert_eq!(old.next, Some(id));
    // A homeserver that gives the whole event says by which server the next one can be reached.
    let next = world.stub.make_room(None, &[ALICE]);
    let event = json!({ "sender": "@alice:far.test", "content": { "replacement_room": next } });
    world.stub.set_state(&room, "m.room.tombstone", event);
    let id = RoomId::id(next.trim_start_matches('!'), None).unwrap();
    assert_eq!(soon(world.adapter.enter(&romeo(), "Romeo", &alias())).await.unwrap().next, Some(id.clone()));
    let _ = soon(world.adapter.enter(&romeo(), "Romeo", &id)).await;
    let asked = world.stub.queries("/join/");
    assert!(asked.last().unwrap().contains("via=far.test"), "{asked:?}");
    for nonsense in [json!({ "replacement_room": "#x" }), json!({ "replacement_room": 1 }), json!({ "body": "closed" })]
    {
        world.stub.set_state(&room, "m.room.tombstone", nonsense);
        assert_eq!(soon(world.adapter.enter(&romeo(), "Romeo", &alias())).await.unwrap().next, None);
    }
}
