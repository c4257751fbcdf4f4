//! Whatever a homeserver, or a person through it, can push: the process stays up, and what is beside it in the same
//! transaction is served.

use super::*;
use crate::api::Membership;

/// Pushes a body as it is and waits until it has been worked on; the status.
async fn push_raw(world: &World, txn: &str, body: String) -> u16 {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let url = format!("http://{}/_matrix/app/v1/transactions/{txn}", world.adapter.listeners()[0].address);
    let request = http::Request::put(url)
        .header("authorization", "Bearer hs-token")
        .body(http_body_util::Full::new(bytes::Bytes::from(body)))
        .unwrap();
    let status = soon(client.request(request)).await.unwrap().status().as_u16();
    soon(world.memory.until(|memory| memory.waiting() == 0)).await;
    status
}

fn said(room: &str, id: &str, sender: &str, body: &str) -> Value {
    json!({ "event_id": id, "type": "m.room.message", "room_id": room, "sender": sender, "origin_server_ts": 1, "content": { "msgtype": "m.text", "body": body } })
}

/// A chat of two and a room, each with Alice.
async fn world() -> (World, String, String) {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let chat = world.only_room();
    let room = world.stub.make_room(Some("#town:hs.test"), &[ALICE]);
    let alias = crate::api::RoomId::alias("town", "hs.test").unwrap();
    soon(world.adapter.enter(&romeo(), "Romeo", &alias)).await.unwrap();
    (world, chat, room)
}

/// Every field of every event that is read, with a value of every other sort.
#[tokio::test]
async fn the_wrong_type_in_any_field() {
    let (world, chat, room) = world().await;
    let content = json!({
        "msgtype": "m.text", "body": "x", "filename": "f", "geo_uri": "geo:1,2", "info": { "mimetype": "a/b", "size": 1 },
        "m.new_content": { "msgtype": "m.text", "body": "y" }, "redacts": "$1",
        "m.relates_to": { "rel_type": "m.replace", "event_id": "$1", "key": "k", "m.in_reply_to": { "event_id": "$1" } },
        "membership": "join", "displayname": "N", "reason": "r", "is_direct": true, "topic": "t", "name": "n", "alias": "#a:b",
        "replacement_room": "!z", "users": { ALICE: 1 }, "users_default": 0, "events": { "m.room.message": 1 }, "events_default": 1,
    });
    let types = [
        "m.room.message",
        "m.sticker",
        "m.room.redaction",
        "m.reaction",
        "m.room.topic",
        "m.room.name",
        "m.room.tombstone",
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.encrypted",
        "m.room.encryption",
        "org.example.dance",
    ];
    let odd =
        [json!(null), json!(true), json!(-1), json!(1e300), json!("\u{0}\u{fffe}"), json!([[]]), json!({ "a": [1] })];
    let mut events = Vec::new();
    for type_ in types {
        for place in [&chat, &room] {
            let whole = json!({
                "event_id": "$base", "type": type_, "room_id": place, "sender": ALICE, "state_key": ALICE,
                "origin_server_ts": 1, "content": content, "unsigned": { "prev_content": { "membership": "join" } },
            });
            let mut paths: Vec<String> = whole.as_object().unwrap().keys().map(|key| format!("/{key}")).collect();
            paths.extend(content.as_object().unwrap().keys().map(|key| format!("/content/{key}")));
            for path in paths {
                for value in &odd {
                    let mut event = whole.clone();
                    event["event_id"] = json!(format!("${}", events.len()));
                    *event.pointer_mut(&path).unwrap() = value.clone();
                    events.push(event);
                }
            }
        }
    }
    assert!(events.len() > 4000);
    for (n, batch) in events.chunks(100).enumerate() {
        let mut batch = batch.to_vec();
        let marker = format!("marker {n}");
        batch.push(said(&chat, &format!("$m{n}"), ALICE, &marker));
        let body = json!({ "events": batch, "ephemeral": batch }).to_string();
        assert_eq!(push_raw(&world, &n.to_string(), body).await, 200);
        let events = world.memory.events();
        assert!(bodies(&events).contains(&marker), "{n}");
    }
    assert_eq!(world.memory.buried(), []);
    // Nothing of it is text that people cannot have written, and nothing is out of bounds.
    for event in world.memory.events() {
        if let Kind::Text(text) = &event.kind {
            assert!(!text.body.contains('\u{0}'), "{text:?}");
        }
        if let Kind::Role { level, .. } = event.kind {
            assert!((-1..=100).contains(&level));
        }
    }
}

#[tokio::test]
async fn things_that_are_too_much() {
    let (world, chat, room) = world().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let with = |id: &str, key: &str, value: &str| {
        format!(
            r#"{{"event_id":"{id}","type":"m.room.message","room_id":"{chat}","sender":"{ALICE}","content":{{"msgtype":"m.text","body":"odd","{key}":{value}}}}}"#
        )
    };
    let control = "\u{1}\u{202e}a\n".repeat(2500);
    let long_name = json!({
        "event_id": "$n", "type": "m.room.member", "room_id": room, "sender": ALICE, "state_key": ALICE,
        "content": { "membership": "join", "displayname": control },
    });
    let stranger = format!("@{}:hs.test", "x".repeat(300));
    let events = [
        said(&chat, "$first", ALICE, "first").to_string(),
        with("$deep", "x", &deep),
        with("$surrogate", "x", r#""\ud800""#),
        with("$number", "x", &"9".repeat(400)),
        with("$exponent", "x", "1e99999"),
        with("$key", "body", &format!("\"{}\"", "\\u0000".repeat(1000))),
        said(&chat, "$long sender", &stranger, "who?").to_string(),
        said(&chat, &format!("${}", "i".repeat(70_000)), ALICE, "long id").to_string(),
        said("", "$no room", ALICE, "nowhere").to_string(),
        json!({ "event_id": "$none", "type": "m.room.message", "sender": ALICE, "content": {} }).to_string(),
        said(&chat, "$ with spaces & <signs>", ALICE, "spaces").to_string(),
        said(&chat, "$nul", ALICE, "a\u{0}b\u{fffe}\u{ffff}").to_string(),
        said(&chat, "$big", ALICE, &"\u{1f600}".repeat(16_000)).to_string(),
        long_name.to_string(),
        said(&room, "$last", ALICE, "last").to_string(),
    ];
    let body = format!(r#"{{"events":[{}],"ephemeral":[{deep}]}}"#, events.join(","));
    assert_eq!(push_raw(&world, "1", body).await, 200);
    let events = world.memory.events();
    let said = bodies(&events);
    for expected in ["first", "spaces", "last"] {
        assert!(said.iter().any(|body| body == expected), "{expected}");
    }
    for (unexpected, why) in [("who?", "no such id"), ("long id", "no such id"), ("nowhere", "no room")] {
        assert!(!said.iter().any(|body| body == unexpected), "{unexpected}: {why}");
    }
    let big = said.iter().find(|body| body.starts_with('\u{1f600}')).unwrap();
    assert_eq!(big.chars().count(), 16_000, "long, and whole");
    assert!(said.iter().any(|body| body.starts_with("ab")), "{said:?}");
    let name = events.iter().find_map(|event| match &event.kind {
        Kind::Membership(Membership::Join { name }) => name.clone(),
        _ => None,
    });
    let name = name.unwrap();
    assert!(name.chars().count() <= 255 && !name.chars().any(char::is_control), "{name:?}");
    assert!(events.iter().all(|event| event.sender_name.as_ref().is_none_or(|name| name.chars().count() <= 255)));
    assert_eq!(world.memory.buried(), []);
}

#[tokio::test]
async fn ten_thousand_events_at_once() {
    let (world, chat, _) = world().await;
    let events: Vec<Value> = (0..10_000).map(|n| said(&chat, &format!("$t{n}"), ALICE, &n.to_string())).collect();
    assert_eq!(push_raw(&world, "1", json!({ "events": events }).to_string()).await, 200);
    let expected: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    assert!(bodies(&world.memory.events()) == expected);
}
