//! Handing mail over: what each answer means, and what happens where the peer hangs up.

use super::peer::{Script, Step, Turn};
use super::{World, condition, line};
use crate::api::{Condition, Failure};

#[tokio::test]
async fn a_mail_with_all_that_is_offered() {
    let script = Script { extensions: vec!["SIZE 100000", "8BITMIME", "DSN", "SMTPUTF8"], ..Script::default() };
    let world = World::start(script).await;
    let receipt = world.deliver(&[line(7, "Hello Bob"), line(8, "and again")]).await.unwrap();
    assert_eq!(receipt.ids[0].as_str(), "pw.testinstall.7@mail.x");
    let taken = world.peer.taken();
    assert_eq!(taken.len(), 1);
    assert!(taken[0].mail_from.starts_with("MAIL FROM:<b-7-"), "{:?}", taken[0]);
    assert!(taken[0].mail_from.contains(" RET=HDRS ENVID=pw.testinstall.7@mail.x"), "{:?}", taken[0]);
    assert_eq!(taken[0].rcpt_to, "RCPT TO:<bob@example.com> NOTIFY=FAILURE,DELAY ORCPT=rfc822;bob@example.com");
    for part in [
        "From: Juliet <juliet@mail.x>",
        "Jabber-ID: juliet@capulet.lit",
        "Hello Bob\r\nand again",
        "Subject: Hello Bob",
    ] {
        assert!(taken[0].mail.contains(part), "{part} is not in\n{}", taken[0].mail);
    }
    world.end().await;
}

#[tokio::test]
async fn without_extensions_there_are_no_parameters() {
    let world = World::start(Script::default()).await;
    world.deliver(&[line(7, "x")]).await.unwrap();
    assert!(world.peer.taken()[0].mail_from.ends_with('>'));
    assert_eq!(world.peer.taken()[0].rcpt_to, "RCPT TO:<bob@example.com>");
    world.end().await;
}

#[tokio::test]
async fn only_the_number_decides() {
    for (step, answer, wanted) in [
        (Step::Rcpt, "550 5.1.1 4.2.2 come back 450", Some(Condition::ItemNotFound)),
        (Step::Rcpt, "450 5.1.1 no such user, permanent failure 550", None),
        (Step::Rcpt, "550-first\r\n550 5.2.2 full", Some(Condition::ResourceConstraint)),
        (Step::Mail, "550 5.7.1 not you", Some(Condition::PolicyViolation)),
        (Step::Mail, "421 going down", None),
        (Step::Data, "554 5.6.0 no", Some(Condition::NotAcceptable)),
        (Step::Data, "451 later", None),
        (Step::Dot, "554 5.7.1 spam", Some(Condition::PolicyViolation)),
        (Step::Dot, "452 4.3.1 full", None),
        // Not an answer at all, or one to something else: whatever it means, it is not yes.
        (Step::Rcpt, "999 what", None),
        (Step::Rcpt, "hello", None),
        (Step::Dot, "354 more", None),
        (Step::Greeting, "554 go away", None),
    ] {
        let world = World::start(Script::answer(step, answer)).await;
        let failure = world.deliver(&[line(1, "x")]).await.unwrap_err();
        assert_eq!(condition(&failure), wanted, "{step:?} {answer}: {failure}");
        assert!(world.peer.taken().is_empty());
        // The next mail is not hurt by it.
        world.deliver(&[line(2, "y")]).await.unwrap();
        assert_eq!(world.peer.taken().len(), 1, "{step:?} {answer}");
        world.end().await;
    }
}

#[tokio::test]
async fn one_bad_recipient_does_not_cost_the_connection() {
    let world = World::start(Script::answer(Step::Rcpt, "550 5.1.1 no")).await;
    world.deliver(&[line(1, "x")]).await.unwrap_err();
    assert_eq!(world.peer.commands().last().map(String::as_str), Some("RSET"));
    assert_eq!(world.peer.connections(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_peer_that_hangs_up_anywhere_costs_no_mail() {
    let text = "one\ntwo\nthree\n.\nfour";
    for step in [
        Step::Greeting,
        Step::Hello,
        Step::Mail,
        Step::Rcpt,
        Step::Data,
        Step::Line(0),
        Step::Line(1),
        Step::Line(9),
        Step::Line(15),
        Step::Dot,
        Step::Accepted,
    ] {
        let world = World::start(Script::turn(Turn { hang_up: Some(step), ..Turn::default() })).await;
        let first = world.deliver(&[line(1, text)]).await;
        if step == Step::Accepted {
            // It has said yes: that is that.
            first.unwrap();
        } else {
            let failure = first.unwrap_err();
            assert!(matches!(failure, Failure::Temporary { .. }), "{step:?}: {failure}");
            world.deliver(&[line(1, text)]).await.unwrap();
        }
        let taken = world.peer.taken();
        assert_eq!(taken.len(), 1, "{step:?}: once, and not twice");
        assert!(taken[0].mail.contains("three\r\n.\r\nfour"), "{:?}", taken[0]);
        world.end().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_may_cost_a_second_copy_with_the_same_id() {
    // RFC 1047: the peer has it, and we cannot know.
    let world = World::start(Script::turn(Turn { hang_up: Some(Step::Accepted), ..Turn::default() })).await;
    world.deliver(&[line(1, "x")]).await.unwrap();
    world.deliver(&[line(1, "x")]).await.unwrap();
    let taken = world.peer.taken();
    let id = |n: usize| taken[n].mail.lines().find(|line| line.starts_with("Message-ID")).map(str::to_owned);
    assert_eq!((taken.len(), id(0)), (2, id(1)));
    assert_eq!(taken[0].mail, taken[1].mail, "it is the very same mail");
    world.end().await;
}

#[tokio::test]
async fn encryption_is_used_where_it_is_offered() {
    let script = Script { extensions: vec!["STARTTLS"], tls: true, ..Script::default() };
    let world = World::start(script).await;
    world.deliver(&[line(1, "x")]).await.unwrap();
    assert!(world.peer.taken()[0].encrypted);
    world.end().await;
}

#[tokio::test]
async fn encryption_that_does_not_work_is_left_out_on_a_new_connection() {
    let script = Script { extensions: vec!["STARTTLS"], tls: false, ..Script::default() };
    let world = World::start(script).await;
    world.deliver(&[line(1, "x")]).await.unwrap();
    assert_eq!((world.peer.taken()[0].encrypted, world.peer.connections()), (false, 2));
    world.end().await;
}

#[tokio::test]
async fn words_in_front_of_the_encryption_are_refused() {
    // What lettre's connection takes for the answer to EHLO inside (RFC 3207, section 5).
    let injected = Turn { injected: "250-evil.test\r\n250 AUTH PLAIN\r\n", ..Turn::default() };
    let script = Script { extensions: vec!["STARTTLS"], tls: true, turns: vec![injected] };
    let world = World::start(script).await;
    let failure = world.deliver(&[line(1, "x")]).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Temporary { detail, .. } if detail.contains("before the encryption")),
        "{failure}"
    );
    assert_eq!(world.peer.connections(), 1, "and there is no second try in the clear");
    world.deliver(&[line(1, "x")]).await.unwrap();
    assert!(world.peer.taken()[0].encrypted, "a server that behaves is used");
    world.end().await;
}

#[tokio::test]
async fn a_mail_over_the_size_of_the_server_is_not_even_tried() {
    let world = World::start(Script { extensions: vec!["SIZE 300"], ..Script::default() }).await;
    let failure = world.deliver(&[line(1, &"x".repeat(1000))]).await.unwrap_err();
    assert_eq!(condition(&failure), Some(Condition::NotAcceptable));
    assert!(!world.peer.commands().iter().any(|command| command.starts_with("MAIL")));
    world.end().await;
}
