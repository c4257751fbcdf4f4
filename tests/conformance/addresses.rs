//! Sticky addressing (J6, J7): whatever form a user typed first is the form that answers, also after a restart.

use crate::support::gateway::{BALCONY, Gateway, JULIET, NS, US, body};
use portway_bridges::loopback::wire::Item;

/// What users type, and the localpart that the server stamps of it.
const TYPED: [(&str, &str); 6] = [
    ("bob%loopback", "bob%loopback"),
    (r"bob\40loopback", r"bob\40loopback"),
    ("%62ob%40loopback", "%62ob%40loopback"),
    ("BOB%LOOPBACK", "bob%loopback"),
    (r"BOB\40LOOPBACK", r"bob\40loopback"),
    ("=62ob%loopback", "=62ob%loopback"),
];

#[tokio::test]
async fn j6_j7_a_contact_answers_under_the_form_that_was_typed_first_also_after_a_restart() {
    for (typed, stamped) in TYPED {
        let mut gateway = Gateway::open().await;
        gateway.say("m1", typed, "hello", "<request xmlns='urn:xmpp:receipts'/>").await;
        assert_eq!(gateway.item("text").await.person.as_deref(), Some("bob@loopback"), "{typed}");
        let face = format!("{stamped}@{US}/portway");
        let receipt = gateway.stanza(|stanza| stanza.has_child("received", "urn:xmpp:receipts")).await;
        assert_eq!(receipt.attr("from"), Some(face.as_str()));
        // Another form later changes nothing: one person, one chat.
        gateway.say("m2", "bob%loopback", "hello again", "").await;
        assert_eq!(gateway.item("text").await.body.as_deref(), Some("hello again"));
        gateway.restart().await;
        gateway.hear("b1", "bob@loopback", "hi").await;
        let answer = gateway.stanza(|stanza| body(stanza) == "hi").await;
        assert_eq!(answer.attr("from"), Some(face.as_str()), "{typed}");
    }
}

#[tokio::test]
async fn j7_a_contact_that_is_only_subscribed_to_answers_under_that_form() {
    let mut gateway = Gateway::open().await;
    gateway.send(&format!(r"<presence type='subscribe' from='{JULIET}' to='bob\40loopback@{US}'/>")).await;
    gateway.stanza(|stanza| stanza.attr("type") == Some("subscribed")).await;
    gateway.restart().await;
    gateway.hear("b1", "bob@loopback", "hi").await;
    let answer = gateway.stanza(|stanza| body(stanza) == "hi").await;
    assert_eq!(answer.attr("from"), Some(format!(r"bob\40loopback@{US}/portway").as_str()));
}

#[tokio::test]
async fn j7_somebody_never_written_to_speaks_under_the_canonical_form() {
    let mut gateway = Gateway::open().await;
    gateway.hear("b1", "Bob@loopback", "hi").await;
    let answer = gateway.stanza(|stanza| body(stanza) == "hi").await;
    assert_eq!(answer.attr("from"), Some(format!("=42ob%loopback@{US}/portway").as_str()));
}

#[tokio::test]
async fn j6_j7_a_room_and_invitations_to_it_use_the_form_by_which_it_was_joined_also_after_a_restart() {
    for face in ["#town%loopback", r"#town\40loopback", "%23town%40loopback", "%23town%25loopback", "!town"] {
        let mut gateway = Gateway::open().await;
        let room = format!("{face}@{US}");
        let join =
            format!("<presence from='{BALCONY}' to='{room}/J'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
        gateway.send(&join).await;
        let subject = gateway.stanza(|stanza| stanza.has_child("subject", NS)).await;
        assert_eq!(subject.attr("from").and_then(|from| from.split('/').next()), Some(room.as_str()));
        for round in 0..2 {
            let person = Item {
                id: format!("p{round}"),
                room: Some("!town".into()),
                person: Some("bob@loopback".into()),
                name: Some("Bob".into()),
                kind: "text".into(),
                body: Some(format!("round {round}")),
                ..Item::default()
            };
            gateway.peer.say(std::iter::once(person)).await;
            let heard = gateway.stanza(|stanza| body(stanza) == format!("round {round}")).await;
            assert_eq!(heard.attr("from"), Some(format!("{room}/Bob").as_str()));
            let invitation = Item {
                id: format!("i{round}"),
                user: Some(JULIET.into()),
                person: Some("bob@loopback".into()),
                kind: "invite".into(),
                body: Some("!town".into()),
                ..Item::default()
            };
            gateway.peer.say(std::iter::once(invitation)).await;
            let invited = gateway.stanza(|stanza| stanza.has_child("x", "jabber:x:conference")).await;
            let jid = invited.get_child("x", "jabber:x:conference").unwrap().attr("jid");
            assert_eq!(jid, Some(room.as_str()), "round {round}");
            assert_eq!(invited.attr("from"), Some(format!("bob%loopback@{US}").as_str()), "round {round}");
            gateway.restart().await;
        }
    }
}
