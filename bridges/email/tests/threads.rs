//! Which mail answers which, and by what name both sides know a conversation.

use super::peer::Script;
use super::{NOW, World, line, out, text};
use crate::api::{ItemId, Kind, Outbound, Target, Text, Timestamp};

async fn mail(world: &World, id: &str, more: &str) {
    let mail = format!("From: bob@example.com\nMessage-ID: <{id}@example.com>\n{more}\n{id}");
    assert!(world.mail("bob@example.com", "juliet@mail.x", &mail).await.starts_with("250"));
}

fn answered(world: &World) -> Vec<Option<String>> {
    let line = |mail: String| mail.lines().find_map(|line| line.strip_prefix("In-Reply-To: ").map(str::to_owned));
    world.peer.taken().into_iter().map(|taken| line(taken.mail)).collect()
}

fn in_thread(number: i64, name: &str) -> Outbound {
    out(number, Kind::Text(Text { thread: Some(ItemId::new(name)), ..Text::plain("x") }))
}

#[tokio::test]
async fn a_conversation_has_one_name_both_ways() {
    let world = World::start(Script::default()).await;
    mail(&world, "a", "Subject: S\n").await;
    mail(&world, "b", "Subject: Re: S\nReferences: <a@example.com>\n").await;
    mail(&world, "other", "Subject: T\n").await;
    let names: Vec<String> =
        world.memory.events().iter().map(|event| text(event).thread.as_ref().unwrap().to_string()).collect();
    assert_eq!(names[0], names[1]);
    assert_ne!(names[0], names[2]);
    assert_eq!(names[0].len(), 26);
    // The user's client writes in the first conversation, though the other one is newer.
    world.deliver(&[in_thread(1, &names[0])]).await.unwrap();
    assert_eq!(answered(&world), [Some("<b@example.com>".to_owned())]);
    world.end().await;
}

#[tokio::test]
async fn the_name_that_the_client_gave_comes_back() {
    let world = World::start(Script::default()).await;
    world.deliver(&[in_thread(1, "my own name")]).await.unwrap();
    mail(&world, "a", "References: <pw.testinstall.1@mail.x>\n").await;
    assert_eq!(text(&world.memory.events()[0]).thread, Some(ItemId::new("my own name")));
    world.deliver(&[in_thread(2, "my own name")]).await.unwrap();
    assert_eq!(answered(&world), [None, Some("<a@example.com>".to_owned())]);
    world.end().await;
}

#[tokio::test]
async fn pointing_comes_before_the_thread_and_the_thread_before_the_last_mail() {
    let world = World::start(Script::default()).await;
    mail(&world, "a", "").await;
    mail(&world, "b", "").await;
    mail(&world, "c", "").await;
    let thread = text(&world.memory.events()[1]).thread.clone();
    let both = Text { reply: Some(Target::by_id("a@example.com")), thread: thread.clone(), ..Text::plain("x") };
    world.deliver(&[out(1, Kind::Text(both))]).await.unwrap();
    world.deliver(&[out(2, Kind::Text(Text { thread, ..Text::plain("x") }))]).await.unwrap();
    mail(&world, "d", "").await;
    world.deliver(&[line(3, "x")]).await.unwrap();
    let wanted = ["<a@example.com>", "<b@example.com>", "<d@example.com>"];
    assert_eq!(answered(&world), wanted.map(|id| Some(id.to_owned())));
    world.end().await;
}

#[tokio::test]
async fn an_old_mail_is_answered_only_when_it_is_pointed_at() {
    let world = World::start(Script::default()).await;
    mail(&world, "a", "").await;
    let later = |outbound: Outbound| Outbound { at: Timestamp(NOW.0 + 15 * 86_400_000), ..outbound };
    world.deliver(&[later(line(1, "x"))]).await.unwrap();
    let pointing = Text { reply: Some(Target::by_id("a@example.com")), ..Text::plain("x") };
    world.deliver(&[later(out(2, Kind::Text(pointing)))]).await.unwrap();
    assert_eq!(answered(&world), [None, Some("<a@example.com>".to_owned())]);
    world.end().await;
}
