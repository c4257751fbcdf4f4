//! What goes round in circles stops.

use super::World;
use super::peer::Script;

async fn answer(sender: &str, mail: &str) -> String {
    let world = World::start(Script::default()).await;
    let answer = world.mail(sender, "juliet@mail.x", mail).await;
    world.end().await;
    answer[..9].to_owned()
}

#[tokio::test]
async fn loops_are_refused() {
    let stations = "Received: from a by b\n".repeat(51);
    for (sender, mail, wanted) in [
        ("a@b.org", "From: a@b.org\nX-Portway-Trace: testinstall\n\nours", "554 5.4.6"),
        ("a@b.org", "From: a@b.org\nX-Portway-Trace: another\n\nof another gateway", "250 2.6.0"),
        ("a@b.org", "From: juliet@mail.x\n\nour domain, from outside", "554 5.4.6"),
        // A list sends what one of us wrote to another of us.
        (
            "l@lists.org",
            "From: romeo@mail.x\nX-Portway-Trace: testinstall\nList-Id: <l.lists.org>\n\npost",
            "250 2.6.0",
        ),
        // The mail server in front may have our domain.
        ("", "From: MAILER-DAEMON@mail.x\n\nbounce", "250 2.6.0"),
        ("a@b.org", &format!("{stations}From: a@b.org\n\nfar travelled"), "554 5.4.6"),
        ("a@b.org", &format!("{}From: a@b.org\n\nfar travelled", &stations[..22 * 50]), "250 2.6.0"),
        ("a@b.org", "Received: x\nDelivered-To: Juliet@mail.x\nFrom: a@b.org\n\nhere before", "554 5.4.6"),
        ("a@b.org", "Received: x\nDelivered-To: somebody@else.org\nFrom: a@b.org\n\nforwarded", "250 2.6.0"),
        // Written by the mail server in front, just now.
        ("a@b.org", "Delivered-To: juliet@mail.x\nReceived: x\nFrom: a@b.org\n\nnew", "250 2.6.0"),
    ] {
        assert_eq!(answer(sender, mail).await, wanted, "{mail}");
    }
}

#[tokio::test]
async fn two_gateways_that_face_each_other_are_silent_after_one_report() {
    // A report that comes to us is answered by nothing, whatever becomes of it.
    let world = World::start(Script::default()).await;
    let report = "From: postmaster@other.gateway\nAuto-Submitted: auto-replied\nX-Portway-Trace: another\n\
                  Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nno\n--b--";
    assert!(world.mail("", "juliet@mail.x", report).await.starts_with("250"));
    let sentence = crate::api::Sentence::new("core.bounced");
    let failed = crate::api::Failed {
        event: world.memory.number(0),
        condition: crate::api::Condition::ItemNotFound,
        sentence,
        still_trying: false,
    };
    world.deliver(&[super::out(1, crate::api::Kind::Failed(failed))]).await.unwrap();
    assert!(world.peer.taken().is_empty());
    world.end().await;
}
