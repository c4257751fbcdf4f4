//! Reactions, and what says that a mail was read.

use super::peer::Script;
use super::{World, bob, chat, line, out, text};
use crate::api::{Inbound, Kind, Target};

const HEAD: &str = "From: Bob <bob@example.com>\nMIME-Version: 1.0\n";

async fn bring(world: &World, mail: &str) -> Inbound {
    assert!(world.mail("bob@example.com", "juliet@mail.x", mail).await.starts_with("250"));
    world.memory.events().last().unwrap().clone()
}

fn reaction_mail(id: &str, to: &str) -> String {
    format!(
        "{HEAD}Message-ID: <{id}@example.com>\nIn-Reply-To: <{to}>\nContent-Type: text/plain; charset=utf-8\nContent-Disposition: reaction\n\n👍\n"
    )
}

#[tokio::test]
async fn e29_a_reaction_is_one_where_its_mail_is_known_and_its_sender_gets_reactions() {
    let world = World::start(Script::default()).await;
    // To something that nobody here knows: a mail like any other.
    let event = bring(&world, &reaction_mail("r0", "unknown@mail.x")).await;
    assert_eq!(text(&event).body, "👍");
    assert!(!world.adapter.capabilities(Some(&chat())).reaction);
    bring(&world, &format!("{HEAD}Message-ID: <1@example.com>\nSubject: S\n\nhello")).await;
    let event = bring(&world, &reaction_mail("r1", "1@example.com")).await;
    assert_eq!(event.kind, Kind::Reaction { target: Target::by_id("1@example.com"), keys: vec!["👍".into()] });
    assert!(world.adapter.capabilities(Some(&chat())).reaction);
    assert!(!world.adapter.capabilities(None).reaction);
    // It is no mail that is answered; ours is a reaction, too.
    let reaction = Kind::Reaction { target: Target::by_id("1@example.com"), keys: vec!["❤".into()] };
    world.deliver(&[out(5, reaction.clone())]).await.unwrap();
    let mail = world.peer.taken()[0].mail.clone();
    for part in ["Content-Disposition: reaction", "In-Reply-To: <1@example.com>", "Subject: Re: S", "=E2=9D=A4"] {
        assert!(mail.contains(part), "{part} is not in\n{mail}");
    }
    world.deliver(&[line(6, "words")]).await.unwrap();
    assert!(world.peer.taken()[1].mail.contains("In-Reply-To: <1@example.com>"));
    // Taken back: there is no way to say so.
    let Kind::Reaction { target, .. } = reaction else { panic!() };
    world.deliver(&[out(7, Kind::Reaction { target, keys: Vec::new() })]).await.unwrap();
    assert_eq!(world.peer.taken().len(), 2);
    // It is still known after a restart.
    let again = super::super::reactions::Reactors::default();
    again.load(&world.memory.core()).await.unwrap();
    assert!(again.has(&bob()));
    world.end().await;
}

#[tokio::test]
async fn e19_a_notice_of_display_marks_the_message() {
    let world = World::start(Script::default()).await;
    bring(&world, &format!("{HEAD}Message-ID: <1@example.com>\n\nhello")).await;
    let notice = |id: &str, of: &str| {
        format!(
            "{HEAD}Message-ID: <{id}@example.com>\nContent-Type: multipart/report; report-type=disposition-notification; boundary=x\n\n--x\n\nread\n--x\n\
             Content-Type: message/disposition-notification\n\nOriginal-Message-ID: <{of}>\nDisposition: manual-action/MDN-sent-manually; displayed\n\n--x--\n"
        )
    };
    let event = bring(&world, &notice("n1", "1@example.com")).await;
    assert_eq!(event.kind, Kind::Displayed { target: Target::by_id("1@example.com") });
    // Of what is not known here it says nothing, and is a mail.
    let event = bring(&world, &notice("n2", "other@example.com")).await;
    assert!(!matches!(event.kind, Kind::Displayed { .. }));
    world.end().await;
}
