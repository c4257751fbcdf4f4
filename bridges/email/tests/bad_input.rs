//! The table of bad input, row by row: what must happen, and how long it may take.
//!
//! Rows that are tested elsewhere: ends of a mail that are none (`receive/data.rs`), line ends of what we send
//! (`send/client.rs`, `to_mail.rs`), values that would make a header line (`to_mail.rs`), recipients that would be relayed
//! (`relay.rs`), peers that hang up (`sending.rs`), words in front of the encryption (`receiving.rs`, `sending.rs`),
//! reports that are not ours (`bounces.rs`), circles (`loops.rs`), strangers of the XMPP federation and odd stanzas (the
//! scenario tests).

use std::time::{Duration, Instant};

use super::peer::Script;
use super::wire::dialogue;
use super::{NOW, World};
use crate::api::testkit::MemoryCore;
use crate::email::from_mail::{Letter, read};
use crate::email::html;

/// Reads a mail with LF and again with CR LF. An unoptimised build on a busy machine is some ten times slower than what
/// users run; what is quadratic would be slower by thousands.
fn within(seconds: u64, mail: &str) -> Letter {
    let start = Instant::now();
    let bare = read(mail.as_bytes(), NOW);
    let letter = read(mail.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes(), NOW);
    assert!(start.elapsed() < Duration::from_secs(2 * seconds), "{:?}", start.elapsed());
    assert_eq!((bare.text, bare.from), (letter.text.clone(), letter.from.clone()), "line ends make no difference");
    assert!(safe(&letter.text), "{:?}", letter.text);
    letter
}

/// Whether XML 1.0 can carry it.
fn safe(text: &str) -> bool {
    text.chars().all(|c| {
        matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
            && !('\u{7f}'..='\u{9f}').contains(&c)
    })
}

#[test]
fn deep_and_wide_mails() {
    let deep = |kind: &str| {
        let mut mail = String::from("From: a@b.org\n");
        for n in 0..50_000 {
            mail.push_str(&format!("Content-Type: {kind}; boundary=b{n}\n\n--b{n}\n"));
        }
        mail
    };
    let parts =
        format!("From: a@b.org\nContent-Type: multipart/mixed; boundary=x\n\n{}", "--x\n\nhi\n".repeat(200_000));
    for mail in [deep("multipart/mixed"), deep("message/rfc822"), parts] {
        let letter = within(10, &mail);
        assert!(letter.trimmed && letter.files.shown.len() == 1, "shown as one file");
        assert!(letter.from.is_some());
    }
}

#[test]
fn long_headers() {
    for mail in [
        format!("From: a@b.org\nSubject: {}\n\nhi", "x".repeat(5 << 20)),
        format!("From: a@b.org\nTo: {}\n\nhi", "x@y.org, ".repeat(200_000)),
        format!("From: a@b.org\nReferences: {}\n\nhi", "<x@y.org> ".repeat(400_000)),
        format!("From: a@b.org\nContent-Type: text/plain{}\n\nhi", "; n*1=x".repeat(200_000)),
        format!("From: a@b.org\nSubject: {}\n\nhi", "=?utf-8?q?x?= ".repeat(100_000)),
        format!("From: {}a@b.org\n\nhi", "(".repeat(200_000)),
    ] {
        let letter = within(10, &mail);
        assert!(letter.references.len() <= 200 && letter.recipients.len() <= 100);
    }
}

#[tokio::test]
async fn headers_over_the_limits_are_refused() {
    let world = World::start(Script::default()).await;
    for mail in [format!("Subject: {}\n\nhi", "x".repeat(300 << 10)), format!("{}\nhi", "X: y\n".repeat(1001))] {
        assert_eq!(&world.mail("a@b.org", "juliet@mail.x", &mail).await[..9], "552 5.3.4");
    }
    world.end().await;
}

#[test]
fn nested_html() {
    let start = Instant::now();
    for source in [
        "<div>".repeat(200_000),
        "<blockquote>".repeat(100_000),
        "<table><tr><td>".repeat(70_000),
        "<ul><li>".repeat(100_000),
        "<".repeat(1_000_000),
        "&".repeat(1_000_000),
        "<a href=".repeat(100_000),
        "<!--".repeat(200_000),
        "<style>".repeat(100_000),
    ] {
        html::to_text(&source);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn size_is_counted_while_reading() {
    let memory = MemoryCore::new(&["capulet.lit"]);
    let big = format!("Subject: x\r\n\r\n{}\r\n.\r\n", "y".repeat(3 << 20));
    let lines =
        ["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<juliet@mail.x>\r\n", "DATA\r\n", big.as_str(), "NOOP\r\n"];
    let answers = dialogue("lmtp", &memory, &lines).await;
    assert_eq!(&answers[5..], ["552 5.3.4", "250 2.0.0"], "and the session goes on");
}

#[test]
fn one_line_may_be_as_long_as_it_likes() {
    let letter = within(5, &format!("From: a@b.org\n\n{}", "word ".repeat(10_000)));
    assert!(letter.text.len() > 8_000 && letter.files.shown[0].size > 49_000);
}

#[test]
fn broken_charsets_and_control_characters() {
    for (head, body, wanted) in [
        ("", &b"a\0b\x07c\x1b[31md"[..], "abc[31md"),
        ("Content-Type: text/plain; charset=utf-8", b"a\xff\xfeb", "a\u{fffd}\u{fffd}b"),
        ("Content-Type: text/plain; charset=klingon", b"plain", "plain"),
        ("Content-Type: text/plain; charset=utf-7", b"A+ImIDkQ-", ""),
        ("Content-Type: text/plain; charset=windows-1252", b"\x80 5", "€ 5"),
        ("Content-Type: text/plain; charset=\"utf-8", "grüß".as_bytes(), "grüß"),
        ("", b"a\rb", "a\nb"),
        ("Content-Type: text/plain; charset=utf-8", "x\u{85}\u{9f}\u{fffe}\u{ffff}y".as_bytes(), "x\u{fffd}\u{fffd}y"),
    ] {
        let mut mail = format!("From: a@b.org\r\n{head}\r\n\r\n").into_bytes();
        if head.is_empty() {
            mail.truncate(mail.len() - 2);
        }
        mail.extend_from_slice(body);
        let letter = read(&mail, NOW);
        assert!(safe(&letter.text), "{head}: {:?}", letter.text);
        // UTF-7 is shown in some form; which one does not matter.
        assert!(wanted.is_empty() || letter.text == wanted, "{head}: {:?}", letter.text);
        assert!(!letter.text.is_empty(), "{head}");
    }
    let raw = b"From: \"B\xf6b\" <a@b.org>\r\nSubject: Gr\xfc\xdfe\0\x01\r\n\r\nhi";
    let letter = read(raw, NOW);
    assert!(letter.subject.as_deref().is_some_and(|subject| subject.starts_with("Gr") && safe(subject)), "{letter:?}");
    assert_eq!(letter.text, "hi");
}

#[test]
fn odd_and_missing_headers() {
    for (mail, text) in [
        ("From: a@b.org\nFrom: c@d.org\n\nhi", "hi"),
        ("\nhi", "hi"),
        ("hi", ""),
        ("From:\nTo:\nSubject:\nMessage-ID:\nDate:\n\nhi", "hi"),
        ("Message-ID: <>\nFrom: <>\n\nhi", "hi"),
        ("Date: Fri, 99 Foo 99999 99:99:99 +9999\n\nhi", "hi"),
        ("Date: Thu, 1 Jan 1970 00:00:00 +0000\n\nhi", "hi"),
        ("From: a@b.org\nno colon here\n\nhi", "hi"),
        (": nameless\n\nhi", "hi"),
    ] {
        let letter = within(1, mail);
        assert!(!letter.message_id.is_empty() && letter.message_id.contains('@'), "{mail}");
        assert!(letter.at.0 > 0 && letter.at <= NOW, "{mail}: {:?}", letter.at);
        assert!(letter.text == text || text.is_empty(), "{mail}: {:?}", letter.text);
    }
    let giant = within(1, &format!("Message-ID: <{}@x>\n\nhi", "a".repeat(100_000)));
    assert!(giant.message_id.len() < 250);
}

#[test]
fn broken_parts() {
    for (mail, text) in [
        ("Content-Transfer-Encoding: base64\n\naGVsbG", "hel"),
        ("Content-Transfer-Encoding: base64\n\n!!!!", ""),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\nhello\n", "hello"),
        ("Content-Type: multipart/mixed\n\nhello\n", "hello"),
        ("Content-Type: multipart/mixed; x=\"--y\"; boundary=y\n\n--y\n\nhello\n--y--\nafter", "hello"),
        ("Content-Type: multipart/alternative; boundary=x\n\n--x--\n", ""),
        ("Content-Type: garbage\n\nhello", "hello"),
        ("Content-Type: text/html\n\n<p>hello", "hello"),
        ("Content-Transfer-Encoding: quoted-printable\n\nhel=\nlo=ZZ=", "hello"),
        ("Content-Transfer-Encoding: x-unknown\n\nhello", "hello"),
    ] {
        let letter = within(1, &format!("From: a@b.org\n{mail}"));
        assert!(letter.text.contains(text), "{mail}: {letter:?}");
    }
}

#[test]
fn archives_are_named_and_never_opened() {
    let letter = within(
        1,
        "From: a@b.org\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nsee there\n--x\nContent-Type: application/zip\n\
         Content-Disposition: attachment; filename*=utf-8''..%2F..%2F%E2%80%AEbomb.zip\nContent-Transfer-Encoding: base64\n\nUEsDBA==\n--x--\n",
    );
    assert_eq!(letter.text, "see there");
    let file = &letter.files.shown[0];
    assert_eq!((file.name.as_str(), file.media_type.as_deref(), file.size), ("bomb.zip", Some("application/zip"), 4));
}

#[test]
fn broken_files_are_files_and_can_be_opened() {
    let many = "--y\n\nx\n".repeat(200);
    for part in [
        "Content-Type: image/png; name=a\nContent-Transfer-Encoding: base64\n\n!!!!\n=AAA",
        "Content-Type: image/png; name=a\nContent-Transfer-Encoding: base64\n\nAAA",
        "Content-Type: image/png; name=a\nContent-Transfer-Encoding: base64\n\n",
        "Content-Type: image/png; name=a\nContent-Transfer-Encoding: quoted-printable\n\n=ZZ=\n=",
        "Content-Type: image/png; name=a\nContent-Transfer-Encoding: x-gzip\n\nabc",
        "Content-Type: message/rfc822; name=a\n\n",
        "Content-Type: message/rfc822; name=a\nContent-Transfer-Encoding: base64\n\nRnJvbTogeA0KDQpoaQ==",
        &format!("Content-Type: message/rfc822; name=a\n\nContent-Type: multipart/mixed; boundary=y\n\n{many}--y--"),
        "Content-Type: message/rfc822; name=a\n\nContent-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nFrom: x\n\nhi",
    ] {
        for end in ["\n--x--\n", ""] {
            let mail =
                format!("From: a@b.org\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nsee\n--x\n{part}{end}");
            let letter = within(1, &mail);
            assert!(letter.text.contains("see"), "{part}: {letter:?}");
            let raw = mail.replace('\n', "\r\n");
            for file in &letter.files.shown {
                let bytes = crate::email::part::bytes(raw.as_bytes(), file.place);
                assert_eq!(bytes.map(|bytes| bytes.len() as u64), Some(file.size), "{part}: {file:?}");
            }
        }
    }
}

#[tokio::test]
async fn odd_recipients_and_senders() {
    let memory = MemoryCore::new(&["capulet.lit"]);
    let long = format!("MAIL FROM:<{}@x.org>\r\n", "a".repeat(320));
    for (line, code) in [
        ("MAIL FROM:<\"a b\"@b.org>\r\n", "250 2.1.0"),
        ("MAIL FROM:<ü@b.org> SMTPUTF8\r\n", "250 2.1.0"),
        ("MAIL FROM:<>\r\n", "250 2.1.0"),
        ("MAIL FROM:<<a@b>>\r\n", "553 5.1.7"),
        (long.as_str(), "553 5.1.7"),
        ("MAIL FROM:a@b\r\n", "501 5.5.4"),
        ("MAIL FROM:<a@b.org\r\n", "501 5.5.4"),
    ] {
        let answers = dialogue("lmtp", &memory, &["LHLO x\r\n", line]).await;
        assert_eq!(answers.last().map(String::as_str), Some(code), "{line}");
    }
    for (line, code) in [
        ("RCPT TO:<\"a b\"@mail.x>\r\n", "550 5.1.1"),
        ("RCPT TO:<ü@mail.x>\r\n", "250 2.1.5"),
        ("RCPT TO:<juliet+shop@mail.x>\r\n", "250 2.1.5"),
        ("RCPT TO:<abuse@MAIL.X>\r\n", "250 2.1.5"),
    ] {
        let answers = dialogue("lmtp", &memory, &["LHLO x\r\n", "MAIL FROM:<>\r\n", line]).await;
        assert_eq!(answers.last().map(String::as_str), Some(code), "{line}");
    }
    let endless = format!("{}\r\n", "x".repeat(5000));
    assert_eq!(dialogue("lmtp", &memory, &[&endless]).await.last().unwrap(), "500 5.5.2");
}
