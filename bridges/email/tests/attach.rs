//! Files on their way into a mail.

use mail_parser::{MessageParser, MimeHeaders};

use super::peer::Script;
use super::{World, condition, line, out};
use crate::api::{Condition, File, Kind, Outbound, Target, Text};

fn file(number: i64, url: &str) -> Outbound {
    let name = url.rsplit('/').next().unwrap().to_owned();
    out(number, Kind::File(Box::new(File { name, url: Some(url.to_owned()), ..File::default() })))
}

/// The text of the n-th mail, and its files.
fn read(world: &World, n: usize) -> (String, Vec<(String, Vec<u8>)>) {
    let taken = world.peer.taken();
    let mail = MessageParser::default().parse(taken[n].mail.as_bytes()).unwrap();
    let files = mail.attachments().map(|part| (part.attachment_name().unwrap().to_owned(), part.contents().to_vec()));
    (mail.body_text(0).unwrap().trim().to_owned(), files.collect())
}

#[tokio::test]
async fn e27_files_travel_with_the_lines_that_they_belong_to() {
    let world = World::start(Script::default()).await;
    world.memory.serve("https://x/cat.png", "image/png", b"\x89PNG");
    world.memory.serve("https://x/b.txt", "image/png", b"one\n.\ntwo");
    let caption = Some(Text::plain("the cat"));
    let mut cat = file(2, "https://x/cat.png");
    if let Kind::File(file) = &mut cat.kind {
        file.caption = caption;
    }
    world.deliver(&[line(1, "look"), cat, file(3, "https://x/b.txt"), line(4, "bye")]).await.unwrap();
    let (text, files) = read(&world, 0);
    assert_eq!(text.replace("\r\n", "\n"), "look\nthe cat\nbye");
    assert_eq!(files, [("cat.png".to_owned(), b"\x89PNG".to_vec()), ("b.txt".to_owned(), b"one\n.\ntwo".to_vec())]);
    // A file alone, as an answer.
    let Kind::File(alone) = file(5, "https://x/cat.png").kind else { panic!() };
    let reply = Some(Target::by_id("pw.testinstall.1@mail.x"));
    world.deliver(&[out(5, Kind::File(Box::new(File { reply, ..*alone })))]).await.unwrap();
    assert_eq!((read(&world, 1).0.as_str(), read(&world, 1).1.len()), ("", 1));
    assert!(world.peer.taken()[1].mail.contains("In-Reply-To: <pw.testinstall.1@mail.x>"));
    // The first of all is called after its name.
    world.end().await;
    let world = World::start(Script::default()).await;
    world.memory.serve("https://x/cat.png", "image/png", b"\x89PNG");
    world.deliver(&[file(5, "https://x/cat.png")]).await.unwrap();
    assert!(world.peer.taken()[0].mail.contains("Subject: cat.png"));
    world.end().await;
}

#[tokio::test]
async fn e27_what_does_not_fit_goes_as_a_link() {
    for (more, script) in [
        ("attach_max = \"3KiB\"", Script::default()),
        ("", Script { extensions: vec!["SIZE 135300"], ..Script::default() }),
    ] {
        let world = World::with("lmtp://127.0.0.1:0", script, more, None).await;
        for (url, size) in [("https://x/a", 2000), ("https://x/b", 2000), ("https://x/c", 500)] {
            world.memory.serve(url, "image/png", &vec![7; size]);
        }
        world
            .deliver(&[
                file(1, "https://x/a"),
                file(2, "https://x/b"),
                file(3, "https://x/c"),
                file(4, "https://x/gone"),
            ])
            .await
            .unwrap();
        let (text, files) = read(&world, 0);
        assert_eq!(files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "c"], "{more}");
        assert!(
            text.contains("core.file b") && text.contains("https://x/b") && text.contains("https://x/gone"),
            "{text}"
        );
        assert!(!text.contains("https://x/a"), "{text}");
        world.end().await;
    }
}

#[tokio::test]
async fn e27_an_encrypted_file_is_attached_or_refused_and_never_a_link() {
    let world = World::with("lmtp://127.0.0.1:0", Script::default(), "attach_max = \"3KiB\"", None).await;
    world.memory.serve("aesgcm://x/ok#00", "image/png", &[7; 10]);
    world.memory.serve("aesgcm://x/big#00", "image/png", &[7; 4000]);
    world.deliver(&[file(1, "aesgcm://x/ok#00")]).await.unwrap();
    assert_eq!(read(&world, 0).1.len(), 1);
    for (number, url, wanted) in
        [(2, "aesgcm://x/big#00", Condition::NotAcceptable), (3, "aesgcm://x/gone#00", Condition::ItemNotFound)]
    {
        let failure = world.deliver(&[file(number, url)]).await.unwrap_err();
        assert_eq!(condition(&failure), Some(wanted));
    }
    assert_eq!(world.peer.taken().len(), 1);
    assert!(!world.peer.taken()[0].mail.contains("aesgcm"));
    world.end().await;
}
