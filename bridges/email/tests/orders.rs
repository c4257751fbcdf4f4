//! `/send`, `/full` and `/subject`.

use super::peer::Script;
use super::{World, line, out, text};
use crate::api::{Kind, Style, Target, Text};

const QUOTED: &str = "From: Bob <bob@example.com>\nMessage-ID: <1@example.com>\nSubject: S\n\nYes.\n\nOn Tue, 3 Mar 2026, J <j@x> wrote:\n> Coming?\n";

#[tokio::test]
async fn full_shows_what_was_cut_once_and_sends_nothing() {
    let world = World::start(Script::default()).await;
    world.mail("bob@example.com", "juliet@mail.x", QUOTED).await;
    world.mail("bob@example.com", "juliet@mail.x", "From: bob@example.com\nMessage-ID: <2@example.com>\n\nshort").await;
    assert_eq!(text(&world.memory.events()[0]).body, "Yes.\n[...]");
    for _ in 0..2 {
        // The second one is a retry of the core.
        world.deliver(&[line(5, "/full")]).await.unwrap();
    }
    let events = world.memory.events();
    assert_eq!(events.len(), 3);
    assert_eq!(text(&events[2]).body, "Yes.\n\nOn Tue, 3 Mar 2026, J <j@x> wrote:\n> Coming?");
    assert_eq!(text(&events[2]).style, Style::Notice);
    // Asked again by the user, it is shown again; of the mail that they point at, if they do.
    world.deliver(&[line(6, "/full")]).await.unwrap();
    let pointing = Text { reply: Some(Target::by_id("2@example.com")), ..Text::plain("/full") };
    world.deliver(&[out(7, Kind::Text(pointing))]).await.unwrap();
    let bodies: Vec<String> = world.memory.events()[3..].iter().map(|event| text(event).body.clone()).collect();
    assert_eq!(bodies, ["Yes.\n\nOn Tue, 3 Mar 2026, J <j@x> wrote:\n> Coming?", "short"]);
    assert!(world.peer.taken().is_empty());
    world.end().await;
}

#[tokio::test]
async fn full_without_a_mail_says_so() {
    let world = World::start(Script::default()).await;
    world.deliver(&[line(5, "/full")]).await.unwrap();
    assert_eq!(text(&world.memory.events()[0]).body, "email.no-full");
    world.end().await;
}

#[tokio::test]
async fn send_is_not_mailed_and_unknown_words_are() {
    let world = World::start(Script::default()).await;
    world.deliver(&[line(1, "/send")]).await.unwrap();
    assert!(world.peer.taken().is_empty());
    world.deliver(&[line(2, "/shrug")]).await.unwrap();
    assert!(world.peer.taken()[0].mail.contains("\r\n\r\n/shrug\r\n"));
    world.end().await;
}

#[tokio::test]
async fn a_subject_alone_waits_for_the_next_letter_and_starts_a_thread() {
    let world = World::start(Script::default()).await;
    world.mail("bob@example.com", "juliet@mail.x", QUOTED).await;
    world.deliver(&[line(1, "/subject Plans")]).await.unwrap();
    assert!(world.peer.taken().is_empty());
    world.deliver(&[line(2, "hello")]).await.unwrap();
    world.deliver(&[line(3, "more")]).await.unwrap();
    let taken = world.peer.taken();
    assert!(
        taken[0].mail.contains("Subject: Plans\r\n") && !taken[0].mail.contains("In-Reply-To"),
        "{}",
        taken[0].mail
    );
    assert!(
        taken[1].mail.contains("Subject: Re: Plans\r\n") && taken[1].mail.contains("In-Reply-To: <pw.testinstall.2@")
    );
    world.end().await;
}
