//! What comes back, both ways: reports to us about our mails, and reports of ours about mails that XMPP did not take.

use mail_parser::MessageParser;

use super::peer::{Script, Step};
use super::{World, bob, chat, line, out};
use crate::api::{Condition, CorePort, EventId, Failed, Kind, Sentence};

/// A failure as the core hands it over when the XMPP server sent a stanza back.
fn came_back(event: EventId, condition: Condition) -> Kind {
    let sentence = Sentence::new("core.bounced").with("condition", condition.name()).with("text", "gone\r\nX: y");
    Kind::Failed(Failed { event, condition, sentence, still_trying: false })
}

const MAIL: &str = "From: Bob <bob@example.com>\nTo: juliet@mail.x\nSubject: News\nMessage-ID: <1@example.com>\n";

#[tokio::test]
async fn whoever_wrote_a_mail_that_xmpp_sent_back_is_told_once() {
    let world = World::start(Script { extensions: vec!["DSN"], ..Script::default() }).await;
    assert!(world.mail("bob@example.com", "juliet@mail.x", &format!("{MAIL}\nhello")).await.starts_with("250"));
    let event = world.memory.number(0);
    for _ in 0..2 {
        // A retry, and a second error for the same stanza.
        world.deliver(&[out(9, came_back(event, Condition::ItemNotFound))]).await.unwrap();
    }
    let taken = world.peer.taken();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert!(taken[0].mail_from.starts_with("MAIL FROM:<>"));
    assert_eq!(taken[0].rcpt_to, "RCPT TO:<bob@example.com> NOTIFY=NEVER ORCPT=rfc822;bob@example.com");
    let report = MessageParser::default().parse(taken[0].mail.as_bytes()).unwrap();
    let header = |name: &str| report.header_raw(name.to_owned()).map(str::trim).map(str::to_owned);
    assert_eq!(header("Auto-Submitted").as_deref(), Some("auto-replied"));
    assert_eq!(header("In-Reply-To").as_deref(), Some("<1@example.com>"));
    assert_eq!(header("X"), None, "the server's words make no field");
    assert!(header("Content-Type").unwrap().starts_with("multipart/report; report-type=delivery-status"));
    let kinds: Vec<&str> = report.parts[1..]
        .iter()
        .map(|part| {
            use mail_parser::MimeHeaders;
            part.content_type().and_then(|kind| kind.subtype()).unwrap()
        })
        .collect();
    assert_eq!(kinds, ["plain", "delivery-status", "rfc822-headers"]);
    let status = String::from_utf8_lossy(report.parts[2].contents()).into_owned();
    for field in
        ["Reporting-MTA: dns; mail.x", "Final-Recipient: rfc822; juliet@mail.x", "Action: failed", "Status: 5.1.1"]
    {
        assert!(status.contains(field), "{field} is not in\n{status}");
    }
    assert!(String::from_utf8_lossy(report.parts[3].contents()).contains("Subject: News"));
    world.end().await;
}

#[tokio::test]
async fn nobody_is_told_where_that_is_not_safe() {
    for (sender, more) in [
        ("", ""),
        ("bob@example.com", "Auto-Submitted: auto-generated\n"),
        ("bob@example.com", "List-Id: <l.example.com>\n"),
        ("bob@example.com", "Precedence: bulk\n"),
        ("bob@example.com", "X-Auto-Response-Suppress: All\n"),
        ("bob@example.com", "Content-Type: multipart/report; boundary=x\n"),
    ] {
        let world = World::start(Script::default()).await;
        let answer = world.mail(sender, "juliet@mail.x", &format!("{MAIL}{more}\nhello")).await;
        assert!(answer.starts_with("250"), "{answer}");
        let event = world.memory.number(0);
        world.deliver(&[out(9, came_back(event, Condition::ItemNotFound))]).await.unwrap();
        assert!(world.peer.taken().is_empty(), "{sender} {more}");
        assert!(world.memory.losses().contains(&"unreported-bounce"));
        world.end().await;
    }
}

#[tokio::test]
async fn the_envelope_sender_must_be_proven_where_that_is_looked_at() {
    let table = [("example.com", "v=spf1 ip4:127.0.0.1 -all"), ("forged.org", "v=spf1 -all")];
    for (face, more, field, sender, told) in [
        ("smtp", "", "", "bob@example.com", true),
        ("smtp", "", "", "bob@forged.org", false),
        (
            "lmtp",
            "authserv_id = \"mx\"",
            "Authentication-Results: mx; spf=pass smtp.mailfrom=example.com\n",
            "bob@example.com",
            true,
        ),
        (
            "lmtp",
            "authserv_id = \"mx\"",
            "Authentication-Results: mx; spf=softfail smtp.mailfrom=example.com\n",
            "bob@example.com",
            false,
        ),
        ("lmtp", "authserv_id = \"mx\"", "Authentication-Results: other; spf=pass\n", "bob@example.com", false),
        // Nothing is configured: the mail server in front answers for it.
        ("lmtp", "", "", "bob@example.com", true),
    ] {
        let world = World::with(&format!("{face}://127.0.0.1:0"), Script::default(), more, Some(&table)).await;
        let answer = world.mail(sender, "juliet@mail.x", &format!("{field}{MAIL}\nhello")).await;
        assert!(answer.starts_with("250"), "{answer}");
        world.deliver(&[out(9, came_back(world.memory.number(0), Condition::ItemNotFound))]).await.unwrap();
        assert_eq!(world.peer.taken().len(), usize::from(told), "{face} {sender} {field}");
        world.end().await;
    }
}

#[tokio::test]
async fn a_report_is_tried_again_and_its_own_refusal_ends_it() {
    for (answer, again) in [("450 later", true), ("550 no", false)] {
        let world = World::start(Script::answer(Step::Rcpt, answer)).await;
        world.mail("bob@example.com", "juliet@mail.x", &format!("{MAIL}\nhello")).await;
        let failed = out(9, came_back(world.memory.number(0), Condition::ResourceConstraint));
        assert_eq!(world.deliver(std::slice::from_ref(&failed)).await.is_err(), again);
        world.deliver(&[failed]).await.unwrap();
        assert_eq!(world.peer.taken().len(), usize::from(again));
        world.end().await;
    }
}

/// A report of another mail server to the bounce address of event 7.
async fn report(world: &World, action: &str, status: &str, token: Option<&str>) -> String {
    let own = crate::email::bounce::token(&world.memory.key("bounce"), EventId(7));
    let to = format!("{}@mail.x", token.unwrap_or(&own));
    let mail = format!(
        "From: MAILER-DAEMON@mx.test\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nSorry.\n\
         --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; bob@example.com\n\
         Action: {action}\nStatus: {status}\nDiagnostic-Code: smtp; {status} words\n\n--b--"
    );
    world.mail("", &to, &mail).await
}

#[tokio::test]
async fn a_delay_is_one_notice_and_a_failure_one_error() {
    let world = World::start(Script::default()).await;
    world.memory.remember(EventId(7), chat());
    for (action, status) in
        [("delayed", "4.4.1"), ("delayed", "4.4.1"), ("relayed", "2.0.0"), ("failed", "5.1.1"), ("failed", "5.1.1")]
    {
        assert!(report(&world, action, status, None).await.starts_with("250"));
    }
    let found: Vec<(bool, Condition)> = world
        .memory
        .events()
        .iter()
        .map(|event| match &event.kind {
            Kind::Failed(failed) => {
                assert_eq!((failed.event, &event.sender), (EventId(7), &bob()));
                (failed.still_trying, failed.condition)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, [(true, Condition::RemoteServerTimeout), (false, Condition::ItemNotFound)]);
    world.end().await;
}

#[tokio::test]
async fn forged_and_foreign_reports_are_dropped_and_counted() {
    let world = World::start(Script::default()).await;
    world.memory.remember(EventId(7), chat());
    assert!(report(&world, "failed", "5.1.1", Some("b-7-00000000000000000000")).await.starts_with("250"));
    // A real token of a message that nobody remembers.
    let old = crate::email::bounce::token(&world.memory.key("bounce"), EventId(8));
    assert!(report(&world, "failed", "5.1.1", Some(&old)).await.starts_with("250"));
    assert!(world.memory.events().is_empty());
    assert_eq!(world.memory.losses(), ["forged-bounce", "late-bounce"]);
    world.end().await;
}

#[tokio::test]
async fn a_refusal_that_is_only_a_notice_is_not_reported() {
    let world = World::start(Script::default()).await;
    world.mail("bob@example.com", "juliet@mail.x", &format!("{MAIL}\nhello")).await;
    let Kind::Failed(failed) = came_back(world.memory.number(0), Condition::ItemNotFound) else { panic!() };
    world.deliver(&[out(9, Kind::Failed(Failed { still_trying: true, ..failed }))]).await.unwrap();
    assert!(world.peer.taken().is_empty());
    world.deliver(&[line(10, "the chat goes on")]).await.unwrap();
    world.end().await;
}
