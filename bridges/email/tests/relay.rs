//! We relay for nobody. The other half, that no stranger of the XMPP federation gets a mail out, is in the scenario tests
//! (`strangers_get_nowhere_either_way`), because it is the core that asks who may.

use super::peer::Script;
use super::wire::session;
use super::{World, condition, line, state};
use crate::api::testkit::MemoryCore;
use crate::api::{Chat, Condition, Outbound, PersonId};

#[tokio::test]
async fn every_known_trick_is_refused() {
    for face in ["lmtp", "smtp"] {
        let memory = MemoryCore::new(&["capulet.lit", "montague.lit"]);
        for (recipient, code) in [
            ("victim@elsewhere.org", "550 5.7.1"),
            ("victim%elsewhere.org@mail.x", "550 5.1.1"),
            ("victim%elsewhere.org", "550 5.1.1"),
            ("@mail.x:victim@elsewhere.org", "550 5.7.1"),
            ("@elsewhere.org,@mail.x:juliet=capulet.lit@mail.x", "550 5.1.1"),
            ("victim@elsewhere.org@mail.x", "550 5.1.1"),
            ("elsewhere.org!victim@mail.x", "550 5.1.1"),
            ("elsewhere.org!victim", "550 5.1.1"),
            ("\"victim@elsewhere.org\"@mail.x", "550 5.1.1"),
            ("\"victim%elsewhere.org\"@mail.x", "550 5.1.1"),
            ("|/bin/sh@mail.x", "550 5.1.1"),
            ("/etc/passwd@mail.x", "550 5.1.1"),
            ("a\\b@mail.x", "550 5.1.1"),
            ("juliet", "550 5.1.1"),
            ("victim=elsewhere.org@mail.x", "550 5.1.1"),
            ("juliet=capulet.lit@sub.mail.x", "550 5.7.1"),
            ("juliet=capulet.lit@mail.x.evil.org", "550 5.7.1"),
            ("juliet=capulet.lit@[127.0.0.1]", "550 5.7.1"),
            ("u-00000000000000000000@mail.x", "550 5.1.1"),
            ("", "550 5.1.1"),
            // And who is meant is reached.
            ("juliet=capulet.lit@mail.x", "250 2.1.5"),
            ("JULIET=capulet.LIT@MAIL.X", "250 2.1.5"),
        ] {
            let mut client = session(state(face, ""), &memory, None).await;
            let hello = if face == "lmtp" { "LHLO x\r\n" } else { "EHLO x\r\n" };
            client.ask(hello).await.unwrap();
            client.ask("MAIL FROM:<a@b.org>\r\n").await.unwrap();
            let answer = client.ask(&format!("RCPT TO:<{recipient}>\r\n")).await.unwrap();
            assert_eq!(&answer[..9], code, "{face} {recipient}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_mail_to_our_own_domain_does_not_leave() {
    let world = World::start(Script::default()).await;
    let person = PersonId::new("romeo", "mail.x").unwrap();
    let outbound = line(1, "x");
    let chat = Chat::Direct { user: outbound.user.clone(), person };
    let failure = world.deliver(&[Outbound { chat, ..outbound }]).await.unwrap_err();
    assert_eq!(condition(&failure), Some(Condition::ItemNotFound));
    assert!(world.peer.taken().is_empty());
    world.end().await;
}

#[tokio::test]
async fn no_address_reaches_a_command_line_unchecked() {
    let world = World::start(Script::default()).await;
    for (local, domain) in
        [("a>b", "x.org"), ("a b", "x.org"), ("a\r\nRSET", "x.org"), ("a", "x.org> NOTIFY=NEVER"), ("a", "x\r\n")]
    {
        let person = PersonId::new(local, domain).unwrap();
        let outbound = line(1, "x");
        let chat = Chat::Direct { user: outbound.user.clone(), person };
        let failure = world.deliver(&[Outbound { chat, ..outbound }]).await.unwrap_err();
        assert_eq!(condition(&failure), Some(Condition::JidMalformed), "{local}@{domain}");
    }
    assert_eq!(world.peer.connections(), 0);
    world.end().await;
}
