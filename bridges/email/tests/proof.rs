//! What a user sees of the proof, or the want of it, that a mail is from whom it says.

use super::peer::Script;
use super::{World, text};

const TABLE: &[(&str, &str)] = &[
    ("example.com", "v=spf1 ip4:127.0.0.1 -all"),
    ("_dmarc.example.com", "v=DMARC1; p=reject"),
    ("_dmarc.strict.org", "v=DMARC1; p=reject"),
    ("_dmarc.mild.org", "v=DMARC1; p=none"),
];

async fn smtp(from: &str) -> (String, Option<(String, Option<String>)>) {
    let world = World::with("smtp://127.0.0.1:0", Script::default(), "", Some(TABLE)).await;
    let answer =
        world.mail(from, "juliet@mail.x", &format!("From: The King <{from}>\nReply-To: x@evil.org\n\nhi")).await;
    let shown = world.memory.events().first().map(|event| (text(event).body.clone(), event.sender_name.clone()));
    world.end().await;
    (answer, shown)
}

#[tokio::test]
async fn by_smtp_a_mail_without_proof_is_marked_and_its_name_is_not_used() {
    let (answer, shown) = smtp("bob@example.com").await;
    assert_eq!((&answer[..3], shown.unwrap()), ("250", ("hi".into(), Some("The King".into()))));
    for from in ["bob@mild.org", "bob@nowhere.test"] {
        let (answer, shown) = smtp(from).await;
        let marked = format!("email.doubtful {from}\nhi");
        assert_eq!((&answer[..3], shown.unwrap()), ("250", (marked, None)), "{from}");
    }
    let (answer, shown) = smtp("bob@strict.org").await;
    assert!(answer.starts_with("550 5.7.1") && shown.is_none(), "{answer}");
}

#[tokio::test]
async fn a_mail_without_proof_does_not_say_where_answers_go() {
    let world = World::with("smtp://127.0.0.1:0", Script::default(), "", Some(TABLE)).await;
    let forged = "From: bob@mild.org\nReply-To: eve@evil.org\n\nhi";
    world.mail("eve@evil.org", "juliet@mail.x", forged).await;
    let crate::api::Chat::Direct { user, person } = world.memory.events()[0].chat.clone() else { panic!() };
    let answer = crate::api::Outbound { chat: crate::api::Chat::Direct { user, person }, ..super::line(1, "hi") };
    world.deliver(&[answer]).await.unwrap();
    assert!(world.peer.taken()[0].rcpt_to.contains("bob@mild.org"));
    world.end().await;
}

#[tokio::test]
async fn by_lmtp_the_trusted_server_s_word_counts_and_no_other() {
    for (more, fields, marked) in [
        ("", "", false),
        ("", "Authentication-Results: mx; dmarc=fail\n", false),
        ("authserv_id = \"mx\"", "", false),
        ("authserv_id = \"mx\"", "Authentication-Results: mx; dmarc=fail\n", true),
        ("authserv_id = \"mx\"", "Authentication-Results: mx; dmarc=pass\n", false),
        ("authserv_id = \"mx\"", "Authentication-Results: evil; dmarc=fail\n", false),
        (
            "authserv_id = \"mx\"",
            "Authentication-Results: evil; dmarc=pass\nAuthentication-Results: mx; dmarc=fail\n",
            true,
        ),
    ] {
        let world = World::with("lmtp://127.0.0.1:0", Script::default(), more, None).await;
        world.mail("b@example.com", "juliet@mail.x", &format!("{fields}From: Bob <b@example.com>\n\nhi")).await;
        let event = &world.memory.events()[0];
        assert_eq!(text(event).body.starts_with("email.doubtful"), marked, "{more} {fields}");
        assert_eq!(event.sender_name.is_none(), marked, "{more} {fields}");
        world.end().await;
    }
}
