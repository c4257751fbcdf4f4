//! What the homeserver pushes over HTTP: what is taken, and what is refused.

use portway_testbed::matrix::http;

use super::*;

fn url(world: &World, path: &str) -> String {
    format!("http://{}{path}", world.adapter.listeners()[0].address)
}

async fn ask(world: &World, method: &str, path: &str, token: Option<&str>) -> (u16, Value) {
    soon(http(method, &url(world, path), token, Some(&json!({ "events": [] })))).await.unwrap()
}

#[tokio::test]
async fn only_the_homeserver_is_heard() {
    let world = World::start().await;
    for (path, method) in [
        ("/_matrix/app/v1/transactions/1", "PUT"),
        ("/transactions/1", "PUT"),
        ("/_matrix/app/v1/ping", "POST"),
        ("/_matrix/app/v1/users/@xmpp_romeo=40h.test:hs.test", "GET"),
        ("/_matrix/app/v1/rooms/%23xmpp_x:hs.test", "GET"),
    ] {
        assert_eq!(ask(&world, method, path, None).await.0, 401, "{path}");
        for wrong in ["hs-toke", "hs-token2", "as-token"] {
            assert_eq!(ask(&world, method, path, Some(wrong)).await.0, 403, "{path} {wrong}");
        }
        let legacy = format!("{path}?access_token=hs-token");
        let (by_header, by_query) =
            (ask(&world, method, path, Some("hs-token")).await.0, ask(&world, method, &legacy, None).await.0);
        assert_eq!((by_header, by_query), if path.contains("/rooms/") { (404, 404) } else { (200, 200) }, "{path}");
    }
    assert_eq!(ask(&world, "GET", "/elsewhere", Some("hs-token")).await.0, 404);
}

#[tokio::test]
async fn users_of_our_namespace_exist_if_they_may_use_the_gateway() {
    let world = World::start().await;
    for (user, expected) in [
        (ROMEO, 200),
        ("@xmpp_eve=40elsewhere.test:hs.test", 404),
        ("@xmpp_rubbish=4:hs.test", 404),
        ("@alice:hs.test", 404),
    ] {
        let (status, _) = ask(&world, "GET", &format!("/_matrix/app/v1/users/{user}"), Some("hs-token")).await;
        assert_eq!(status, expected, "{user}");
    }
    assert!(world.stub.name(ROMEO).is_some());
}

async fn chat() -> (World, String) {
    let world = World::start().await;
    world.deliver(hello(1)).await.unwrap();
    let room = world.only_room();
    (world, room)
}

fn said(room: &str, id: &str, body: &str) -> Value {
    json!({ "event_id": id, "type": "m.room.message", "room_id": room, "sender": ALICE, "content": { "msgtype": "m.text", "body": body } })
}

#[tokio::test]
async fn a_transaction_that_comes_again_is_taken_once() {
    let (world, room) = chat().await;
    for _ in 0..2 {
        world.push("1", &[said(&room, "$1", "once")]).await;
    }
    let world = world.restart().await;
    world.push("1", &[said(&room, "$1", "once")]).await;
    let mut aged = said(&room, "$1", "once");
    aged["unsigned"] = json!({ "age": 77 });
    world.push("1", &[aged]).await;
    // Synapse counts from 1 again after a restart.
    world.push("1", &[said(&room, "$2", "more")]).await;
    assert_eq!(bodies(&world.memory.events()), ["once", "more"]);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_is_not_stored() {
    let (world, room) = chat().await;
    world.memory.refuse(true);
    let body = json!({ "events": [said(&room, "$1", "kept")] });
    assert_eq!(soon(world.stub.push("1", &body)).await.unwrap().0, 503);
    world.memory.refuse(false);
    world.push("1", &[said(&room, "$1", "kept")]).await;
    assert_eq!(bodies(&world.memory.events()), ["kept"]);
}

#[tokio::test]
async fn what_is_no_transaction_is_refused() {
    let world = World::start().await;
    let put = async |body: Vec<u8>| {
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        let request = http::Request::put(url(&world, "/_matrix/app/v1/transactions/1"))
            .header("authorization", "Bearer hs-token")
            .body(http_body_util::Full::new(bytes::Bytes::from(body)))
            .unwrap();
        soon(client.request(request)).await.unwrap().status().as_u16()
    };
    for rubbish in ["", "{", "5", r#"{"events":5}"#] {
        assert_eq!(put(rubbish.into()).await, 400, "{rubbish}");
    }
    let big = format!(r#"{{"events":[],"pad":"{}"}}"#, "x".repeat(17 << 20));
    assert_eq!(put(big.into()).await, 413);
    assert_eq!(world.memory.waiting(), 0);
}

/// Whatever one person can put into an event must not stop the others: a transaction that is refused comes again for
/// ever, and nothing behind it ever comes.
#[tokio::test]
async fn one_bad_event_never_fails_the_others() {
    let (world, room) = chat().await;
    let good = |id: &str, body: &str| said(&room, id, body).to_string();
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let odd = |id: &str, content: &str| {
        format!(
            r#"{{"event_id":"{id}","type":"m.room.message","room_id":"{room}","sender":"{ALICE}","content":{content}}}"#
        )
    };
    let events = [
        good("$1", "first"),
        odd("$2", &format!(r#"{{"msgtype":"m.text","body":"deep","x":{deep}}}"#)),
        odd("$3", r#"{"msgtype":"m.text","body":"half \ud800 a pair"}"#),
        odd("$4", r#"{"msgtype":"m.text","body":"huge","n":1e999}"#),
        odd("$5", r#"{"msgtype":7,"body":[]}"#),
        r#"{"event_id":5}"#.to_owned(),
        "null".to_owned(),
        "[[]]".to_owned(),
        good("$6", "last"),
    ];
    let body = format!(r#"{{"events":[{}],"ephemeral":[{deep},7]}}"#, events.join(","));
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let request = http::Request::put(url(&world, "/_matrix/app/v1/transactions/1"))
        .header("authorization", "Bearer hs-token")
        .body(http_body_util::Full::new(bytes::Bytes::from(body)))
        .unwrap();
    assert_eq!(soon(client.request(request)).await.unwrap().status(), 200);
    soon(world.memory.until(|memory| memory.waiting() == 0)).await;
    let said = bodies(&world.memory.events());
    assert_eq!((said.first().map(String::as_str), said.last().map(String::as_str)), (Some("first"), Some("last")));
    assert!(world.memory.losses().contains(&"unreadable-event"));
    assert_eq!(world.memory.buried(), []);
}

#[tokio::test]
async fn the_doctor_names_the_fault() {
    use crate::api::Level;
    use portway_testbed::stub_homeserver::Fault;
    let world = World::start().await;
    let look = async || {
        let findings = soon(world.adapter.check(true)).await;
        findings.into_iter().map(|finding| (finding.what, finding.level)).collect::<Vec<_>>()
    };
    let found =
        |rows: &[(&str, Level)]| rows.iter().map(|(what, level)| ((*what).to_owned(), *level)).collect::<Vec<_>>();
    let (ok, fail) = (Level::Ok, Level::Fail);
    assert_eq!(look().await, found(&[("homeserver", ok), ("as_token", ok), ("ping", ok)]));
    world.stub.fail(Fault::once("/ping", 502, "M_CONNECTION_FAILED", "refused"));
    assert_eq!(look().await, found(&[("homeserver", ok), ("as_token", ok), ("ping", fail)]));
    world.stub.fail(Fault::once("/ping", 404, "M_UNRECOGNIZED", "Unrecognized request"));
    assert_eq!(look().await, found(&[("homeserver", ok), ("as_token", ok), ("ping", Level::Warn)]));
    world.stub.fail(Fault::once("/whoami", 401, "M_UNKNOWN_TOKEN", "Invalid token"));
    assert_eq!(look().await, found(&[("homeserver", ok), ("as_token", fail)]));
    let raw =
        toml::from_str("homeserver = \"http://127.0.0.1:1\"\nserver_name = \"hs\"\nas_token = \"a\"\nhs_token = \"b\"");
    let nowhere = NETWORK.configure(raw.unwrap()).unwrap();
    assert_eq!(soon(nowhere.check(true)).await[0].level, fail);
}
