//! Files: opened with our token, decrypted on the way, uploaded once.

use aes::Aes256;
use aes::cipher::{KeyIvInit, StreamCipher};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use ctr::Ctr128BE;
use futures::TryStreamExt;
use portway_testbed::stub_homeserver::Fault;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ALICE, World, alice, condition, soon, to};
use crate::api::{
    Condition, Content, EventId, Failure, File, FileForm, ItemId, Kind, Outbound, Sentence, Source, Target, Text,
};

const URL: &str = "https://up.example/cat.png";

async fn bytes(content: Content) -> std::io::Result<Vec<u8>> {
    Ok(content.body.try_collect::<Vec<Bytes>>().await?.concat())
}

async fn open(world: &World, source: &Source) -> Result<Content, Failure> {
    soon(world.adapter.open(EventId(1), source)).await
}

fn cat() -> File {
    File {
        name: "cat.png".into(),
        form: FileForm::Image,
        media_type: Some("image/png".into()),
        url: Some(URL.into()),
        ..File::default()
    }
}

fn sent_file(number: i64, file: File) -> Outbound {
    to(&alice(), number, Kind::File(Box::new(file)))
}

/// What the only message of the only room says.
fn said(world: &World) -> Value {
    let sent = world.stub.sent(&world.only_room());
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent[0].content.clone()
}

#[tokio::test]
async fn f4_a_file_is_opened_with_our_token_and_no_other_way() {
    let world = World::start().await;
    let uri = world.stub.add_media("image/png", b"a cat".to_vec());
    let content = open(&world, &Source::new(&uri)).await.unwrap();
    assert_eq!((content.media_type.as_deref(), content.size), (Some("image/png"), Some(5)));
    assert_eq!(bytes(content).await.unwrap(), b"a cat");
    assert_eq!(world.stub.times_asked("GET /_matrix/client/v1/media/download/hs.test/"), 1);
    world.stub.fail(Fault::once("/client/v1/media/download", 404, "M_UNRECOGNIZED", "Unrecognized request"));
    assert!(open(&world, &Source::new(&uri)).await.is_ok());
    assert_eq!(world.stub.times_asked("GET /_matrix/media/v3/download/"), 1);
    world.stub.fail(Fault::once("/client/v1/media/download", 502, "M_UNKNOWN", "far away"));
    assert!(matches!(open(&world, &Source::new(&uri)).await, Err(Failure::Temporary { .. })));
    let asked = world.stub.times_asked("/media/");
    let gone = open(&world, &Source::new("mxc://hs.test/gone")).await.unwrap_err();
    assert_eq!(condition(&gone), Some(Condition::ItemNotFound));
    for bad in ["", "http://127.0.0.1/", "mxc://hs.test/../x", "mxc://hs.test/x short keys here"] {
        assert_eq!(
            condition(&open(&world, &Source::new(bad)).await.unwrap_err()),
            Some(Condition::ItemNotFound),
            "{bad}"
        );
    }
    assert_eq!(world.stub.times_asked("/media/"), asked + 1);
}

#[tokio::test]
async fn f4_an_encrypted_file_is_decrypted_and_a_wrong_one_never_ends_well() {
    let world = World::start().await;
    let plain: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let (key, iv) = ([3; 32], [0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut sealed = plain.clone();
    Ctr128BE::<Aes256>::new(&key.into(), &iv.into()).apply_keystream(&mut sealed);
    let hash = STANDARD_NO_PAD.encode(Sha256::digest(&sealed));
    let source = |uri: &str, hash: &str| {
        Source::new(&format!("{uri} {} {} {hash}", URL_SAFE_NO_PAD.encode(key), STANDARD_NO_PAD.encode(iv)))
    };
    let uri = world.stub.add_media("application/octet-stream", sealed.clone());
    let content = open(&world, &source(&uri, &hash)).await.unwrap();
    assert_eq!((content.media_type.clone(), content.size), (None, Some(200_000)));
    assert_eq!(bytes(content).await.unwrap(), plain);
    // One bit of it is another one: the last piece does not come.
    sealed[100_000] ^= 1;
    let changed = world.stub.add_media("application/octet-stream", sealed);
    let mut body = open(&world, &source(&changed, &hash)).await.unwrap().body;
    let mut got = 0;
    let error = loop {
        match body.try_next().await {
            Ok(Some(piece)) => got += piece.len(),
            other => break other,
        }
    };
    assert!(error.is_err() && got < plain.len(), "{got}");
    // Padding, which some clients write, does no harm.
    assert!(open(&world, &source(&uri, &format!("{hash}="))).await.is_ok());
}

#[tokio::test]
async fn f5_a_file_is_uploaded_once_and_shown_as_what_it_is() {
    let world = World::start().await;
    world.memory.serve(URL, "application/octet-stream", b"a cat");
    world.stub.fail(Fault::once("/send/m.room.message", 502, "M_UNKNOWN", "away"));
    let file =
        File { caption: Some(Text::plain("look")), reply: Some(Target::by_id("$q")), extent: Some((3, 4)), ..cat() };
    assert!(world.deliver(sent_file(1, file.clone())).await.is_err());
    let world = world.restart().await;
    assert_eq!(world.deliver(sent_file(1, file)).await.unwrap().ids.len(), 1);
    assert_eq!(world.stub.times_asked("POST /_matrix/media/v3/upload"), 1);
    let content = said(&world);
    let uri = content["url"].as_str().unwrap();
    assert_eq!(world.stub.media(uri), Some(("image/png".to_owned(), b"a cat".to_vec())));
    assert_eq!(
        content,
        json!({
            "msgtype": "m.image", "body": "look", "filename": "cat.png", "url": uri,
            "info": { "mimetype": "image/png", "size": 5, "w": 3, "h": 4 },
            "m.relates_to": { "m.in_reply_to": { "event_id": "$q" } },
        })
    );
    assert!(world.stub.queries("/media/v3/upload")[0].contains("filename=cat.png"));
    // Nothing of it is kept once it has arrived.
    let kept = soon(world.memory.core().scan("upload/", None, 10)).await.unwrap();
    assert!(kept.is_empty(), "{kept:?}");
}

#[tokio::test]
async fn f5_a_sticker_is_an_event_of_its_own() {
    let world = World::start().await;
    world.memory.serve(URL, "image/webp", b"a cat");
    let sticker = File { form: FileForm::Sticker, name: "😘".into(), media_type: None, ..cat() };
    world.deliver(sent_file(1, sticker)).await.unwrap();
    let sent = world.stub.sent(&world.only_room());
    assert_eq!((sent[0].type_.as_str(), &sent[0].content["body"]), ("m.sticker", &json!("😘")));
    assert_eq!(sent[0].content["info"]["mimetype"], "image/webp");
}

/// Whatever form a file has, it answers and belongs to a thread as a text does.
#[tokio::test]
async fn f5_files_answer_and_belong_to_threads() {
    let world = World::start().await;
    world.memory.serve(URL, "image/webp", b"a cat");
    let thread = Some(ItemId::new("t-1"));
    world.deliver(sent_file(1, File { thread: thread.clone(), ..cat() })).await.unwrap();
    let sticker = File { form: FileForm::Sticker, ..cat() };
    world.deliver(sent_file(2, File { thread, ..sticker.clone() })).await.unwrap();
    let room = world.only_room();
    let root = world.stub.sent(&room)[0].event_id.clone();
    let reply = Some(Target::by_id(&root));
    world.deliver(sent_file(3, File { reply, ..sticker })).await.unwrap();
    let sent = world.stub.sent(&room);
    assert_eq!(
        sent.iter().map(|sent| sent.type_.as_str()).collect::<Vec<_>>(),
        ["m.room.message", "m.sticker", "m.sticker"]
    );
    let relation = |n: usize| sent[n].content["m.relates_to"].clone();
    assert_eq!(relation(0), Value::Null, "it is the root of the thread");
    assert_eq!((&relation(1)["rel_type"], &relation(1)["event_id"]), (&json!("m.thread"), &json!(root)));
    assert_eq!(relation(2), json!({ "m.in_reply_to": { "event_id": root } }));
}

/// What cannot be carried as a file goes as its link; what nobody can get is told to its sender.
#[tokio::test]
async fn f5_what_is_no_upload_is_a_link_or_an_error() {
    let world = World::start().await;
    let link = |failed: Value| assert_eq!(failed, json!({ "msgtype": "m.text", "body": format!("look\n{URL}") }));
    let captioned = || File { caption: Some(Text::plain("look")), ..cat() };
    // The homeserver takes no more than this.
    world.memory.serve(URL, "image/png", &[0; 100]);
    world.stub.largest_upload(99);
    world.deliver(sent_file(1, captioned())).await.unwrap();
    link(said(&world));
    assert_eq!(world.stub.times_asked("/upload"), 0);
    assert_eq!(world.memory.losses(), ["file"]);
    // Refused by our own rules.
    world
        .memory
        .refuse_file(URL, Failure::permanent(Condition::PolicyViolation, Sentence::new("core.no-file"), "too large"));
    world.deliver(sent_file(2, captioned())).await.unwrap();
    link(world.stub.sent(&world.only_room())[1].content.clone());
    // Not there for now: for a while it is waited for, but not for ever.
    world.memory.refuse_file(URL, Failure::temporary("the server is away"));
    assert!(matches!(world.deliver(sent_file(3, captioned())).await, Err(Failure::Temporary { .. })));
    let last = Outbound { attempt: 5, ..sent_file(3, captioned()) };
    world.deliver(last).await.unwrap();
    link(world.stub.sent(&world.only_room())[2].content.clone());
    // Gone, and an encrypted one that is too large: nobody could get it by its link.
    world.memory.refuse_file(URL, Failure::permanent(Condition::ItemNotFound, Sentence::new("core.no-file"), "gone"));
    let gone = world.deliver(sent_file(4, cat())).await.unwrap_err();
    assert_eq!(condition(&gone), Some(Condition::ItemNotFound));
    let sealed = File { url: Some("aesgcm://up.example/x#00".into()), ..cat() };
    world.memory.serve("aesgcm://up.example/x#00", "image/png", &[0; 100]);
    let large = world.deliver(sent_file(5, sealed)).await.unwrap_err();
    assert_eq!(condition(&large), Some(Condition::PolicyViolation));
    world.memory.refuse_file("aesgcm://up.example/x#00", Failure::temporary("the server is away"));
    let sealed = File { url: Some("aesgcm://up.example/x#00".into()), ..cat() };
    let away = Outbound { attempt: 5, ..sent_file(6, sealed) };
    assert_eq!(condition(&world.deliver(away).await.unwrap_err()), Some(Condition::RemoteServerTimeout));
    assert_eq!(world.stub.sent(&world.only_room()).len(), 3);
}

#[tokio::test]
async fn places_go_both_ways() {
    let world = World::start().await;
    let place = |text: Option<&str>| Kind::Location { uri: "geo:1,2".into(), text: text.map(str::to_owned) };
    world.deliver(to(&alice(), 1, place(None))).await.unwrap();
    assert_eq!(said(&world), json!({ "msgtype": "m.location", "body": "geo:1,2", "geo_uri": "geo:1,2" }));
    let room = world.only_room();
    let content = json!({ "msgtype": "m.location", "body": "here", "geo_uri": "geo:1,2" });
    let event = world.stub.event(&room, ALICE, "m.room.message", content);
    world.push("1", &[event]).await;
    assert_eq!(world.memory.events()[0].kind, place(Some("here")));
}
