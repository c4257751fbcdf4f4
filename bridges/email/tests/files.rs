//! Files out of mails.

use futures::TryStreamExt;

use super::peer::Script;
use super::{World, bob, juliet, line, out, soon, text};
use crate::api::{Chat, Condition, EventId, Failure, File, FileForm, Inbound, Kind, Source, Target, Text};

const HEAD: &str = "From: Bob <bob@example.com>\nMessage-ID: <1@example.com>\nMIME-Version: 1.0\n";

async fn bring(world: &World, mail: &str) -> Vec<Inbound> {
    let before = world.memory.events().len();
    assert!(world.mail("bob@example.com", "juliet@mail.x", mail).await.starts_with("250"));
    world.memory.events()[before..].to_vec()
}

fn file(event: &Inbound) -> &File {
    match &event.kind {
        Kind::File(file) => file,
        other => panic!("{other:?}"),
    }
}

/// The bytes of a file, as the adapter opens it; in pieces of bounded size.
async fn bytes(world: &World, number: EventId, source: &Source) -> Result<Vec<u8>, Failure> {
    let content = soon(world.adapter.open(number, source)).await?;
    let pieces: Vec<_> = soon(content.body.try_collect::<Vec<_>>()).await.unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= 64 << 10));
    let bytes = pieces.concat();
    assert_eq!(content.size, Some(bytes.len() as u64));
    Ok(bytes)
}

#[tokio::test]
async fn e14_each_file_is_a_message_of_its_own_and_can_be_opened() {
    let world = World::start(Script::default()).await;
    let big = "A".repeat(400_000);
    let mail = format!(
        "{HEAD}Subject: Pictures\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nlook\n--x\nContent-Type: image/png\n\
         Content-Disposition: attachment; filename=\"../cat.png\"\nContent-Transfer-Encoding: base64\n\n{big}\n--x\n\
         Content-Type: application/pdf; name=b.pdf\n\n%PDF-\n--x--\n"
    );
    let events = bring(&world, &mail).await;
    assert_eq!(events.len(), 3);
    assert_eq!((text(&events[0]).body.as_str(), text(&events[0]).subject.as_deref()), ("look", Some("Pictures")));
    let ids: Vec<_> = events.iter().map(|event| event.id.as_ref().unwrap().as_str()).collect();
    assert_eq!(ids, ["1@example.com", "1@example.com#1", "1@example.com#2"]);
    let cat = file(&events[1]);
    assert_eq!((cat.name.as_str(), cat.form, cat.size), ("cat.png", FileForm::Image, Some(300_000)));
    assert_eq!(cat.thread, text(&events[0]).thread);
    let found = bytes(&world, world.memory.number(1), cat.source.as_ref().unwrap()).await.unwrap();
    assert_eq!(found, vec![0; 300_000]);
    let found = bytes(&world, world.memory.number(2), file(&events[2]).source.as_ref().unwrap()).await.unwrap();
    assert_eq!(found, b"%PDF-");
    // The mail again: nothing is shown twice.
    assert!(bring(&world, &mail).await.is_empty());
    // An answer to a file answers its mail.
    let reply = Some(Target::by_id("1@example.com#2"));
    world.deliver(&[line(1, "of late")]).await.unwrap();
    world.deliver(&[out(2, Kind::Text(Text { reply, ..Text::plain("nice") }))]).await.unwrap();
    assert!(world.peer.taken()[1].mail.contains("In-Reply-To: <1@example.com>"), "{}", world.peer.taken()[1].mail);
    world.end().await;
}

#[tokio::test]
async fn e14_a_mail_of_files_only() {
    let world = World::start(Script::default()).await;
    let attached = "Content-Type: image/gif\nContent-Disposition: attachment\n\nGIF89a";
    let events = bring(&world, &format!("{HEAD}{attached}")).await;
    assert_eq!((events.len(), file(&events[0]).name.as_str()), (1, "image.gif"));
    assert_eq!(events[0].id.as_ref().unwrap().as_str(), "1@example.com");
    let found = bytes(&world, world.memory.number(0), file(&events[0]).source.as_ref().unwrap()).await.unwrap();
    assert!(found.starts_with(b"GIF89a"));
    let events = bring(&world, &format!("{}Subject: The cat\n{attached}", HEAD.replace("<1@", "<2@"))).await;
    assert_eq!((text(&events[0]).body.as_str(), events.len()), ("The cat", 2));
    world.end().await;
}

#[tokio::test]
async fn what_is_no_file_or_not_kept_any_more_is_gone_for_good() {
    let world = World::start(Script::default()).await;
    let events = bring(&world, &format!("{HEAD}Content-Type: application/pdf\n\n%PDF-")).await;
    let number = world.memory.number(0);
    assert_eq!(events.len(), 1);
    for source in
        ["", "part/0/7", "part/0/6 1@example.com", "part/7/5 1@example.com", "part/0/5 other@x", "x 1@example.com"]
    {
        let failure = bytes(&world, number, &Source::new(source)).await.unwrap_err();
        assert_eq!(super::condition(&failure), Some(Condition::ItemNotFound), "{source}");
    }
    // A message of another chat opens none of this one's mails.
    world.memory.remember(
        EventId(99),
        Chat::Direct { user: crate::api::UserId::new("nurse", "capulet.lit").unwrap(), person: bob() },
    );
    let source = Source::new("part/0/7 1@example.com");
    assert!(bytes(&world, EventId(99), &source).await.is_err());
    world.memory.remember(EventId(98), Chat::Direct { user: juliet(), person: bob() });
    assert!(bytes(&world, EventId(98), &source).await.unwrap().starts_with(b"%PDF-"));
    world.end().await;
}

#[tokio::test]
async fn e15_e17_invitations_and_long_texts() {
    let world = World::start(Script::default()).await;
    let calendar = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nSUMMARY:Tea\nDTSTART:20260301T140000Z\nLOCATION:Verona\nEND:VEVENT\nEND:VCALENDAR";
    let events = bring(
        &world,
        &format!(
            "{HEAD}Content-Type: multipart/alternative; boundary=x\n\n--x\n\nCome\n--x\nContent-Type: text/calendar; method=REQUEST\n\n{calendar}\n--x--\n"
        ),
    )
    .await;
    assert_eq!(
        text(&events[0]).body,
        "email.invitation Tea\nemail.when 2026-03-01 14:00 (UTC)\nemail.where Verona\nCome"
    );
    assert_eq!((events.len(), file(&events[1]).name.as_str()), (2, "invitation.ics"));
    let long = "word ".repeat(10_000);
    let events = bring(&world, &format!("{}\n{long}", HEAD.replace("<1@", "<2@"))).await;
    assert!(text(&events[0]).body.ends_with("[...]\nemail.kept"));
    assert_eq!(
        (file(&events[1]).name.as_str(), file(&events[1]).media_type.as_deref()),
        ("mail.txt", Some("text/plain"))
    );
    let found = bytes(&world, world.memory.number(3), file(&events[1]).source.as_ref().unwrap()).await.unwrap();
    assert!(String::from_utf8(found).unwrap().starts_with(long.trim_end()));
    world.end().await;
}

#[tokio::test]
async fn e16_an_encrypted_mail_says_so() {
    let world = World::start(Script::default()).await;
    let mail = format!(
        "{HEAD}Content-Type: multipart/encrypted; boundary=x\n\n--x\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--x\n\
         Content-Type: application/octet-stream; name=encrypted.asc\n\n-----BEGIN\n--x--\n"
    );
    let events = bring(&world, &mail).await;
    assert_eq!((text(&events[0]).body.as_str(), events.len()), ("core.encrypted OpenPGP", 2));
    world.end().await;
}

#[tokio::test]
async fn e14_a_mail_of_a_thousand_parts_is_one_file_and_what_is_left_out_is_counted() {
    let world = World::start(Script::default()).await;
    let part = "--x\nContent-Disposition: attachment; filename=a\n\nx\n";
    let parts =
        |count| format!("Content-Type: multipart/mixed; boundary=x\n\n--x\n\nhello\n{}--x--\n", part.repeat(count));
    let events = bring(&world, &format!("{HEAD}{}", parts(900))).await;
    assert_eq!((events.len(), text(&events[0]).body.as_str()), (21, "hello\nemail.more-files 880"));
    let events = bring(&world, &format!("{}{}", HEAD.replace("<1@", "<2@"), parts(1100))).await;
    assert_eq!((events.len(), file(&events[0]).name.as_str()), (1, "mail.eml"));
    let found = bytes(&world, world.memory.number(21), file(&events[0]).source.as_ref().unwrap()).await.unwrap();
    assert!(found.starts_with(b"From: Bob") && found.len() as u64 == file(&events[0]).size.unwrap());
    world.end().await;
}
