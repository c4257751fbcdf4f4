//! Taking mail: the protocol, its limits and its codes.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::peer::{Script, roots};
use super::wire::{Client, dialogue, session};
use super::{World, bob, file, juliet, soon, state, text};
use crate::api::rich::{Mark, Node};
use crate::api::testkit::MemoryCore;
use crate::api::{Chat, Kind, UserId};
use crate::email::config::Place;
use crate::email::receive::Listener;

fn codes(answers: &[String]) -> Vec<&str> {
    answers.iter().map(|answer| &answer[..3]).collect()
}

#[tokio::test]
async fn lmtp_answers_for_each_recipient_and_commits_first() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let answers = dialogue(
        "lmtp",
        &core,
        &[
            "LHLO mx\r\n",
            "MAIL FROM:<bob@example.com>\r\n",
            "RCPT TO:<juliet@mail.x>\r\n",
            "RCPT TO:<nobody@other.org>\r\n",
            "DATA\r\n",
            "From: Bob <bob@example.com>\r\nMessage-ID: <1@example.com>\r\nSubject: S\r\n\r\nhello\r\n.\r\n",
            "QUIT\r\n",
        ],
    )
    .await;
    assert_eq!(codes(&answers), ["220", "250", "250", "250", "550", "354", "250", "221"]);
    let events = core.events();
    assert_eq!(events.len(), 1);
    let Kind::Text(text) = &events[0].kind else { panic!("{events:?}") };
    assert_eq!((text.body.as_str(), text.subject.as_deref()), ("hello", Some("S")));
    assert!(
        matches!(&events[0].chat, Chat::Direct { user, .. } if *user == UserId::parse("juliet@capulet.lit").unwrap())
    );
}

#[tokio::test]
async fn whoever_is_kept_out_hears_it_at_the_recipient() {
    let core = MemoryCore::new(&["capulet.lit"]);
    core.keep_out(&bob(), &juliet());
    let answers = dialogue(
        "lmtp",
        &core,
        &[
            "LHLO mx\r\n",
            "MAIL FROM:<BOB@Example.com>\r\n",
            "RCPT TO:<juliet@mail.x>\r\n",
            "RCPT TO:<romeo@mail.x>\r\n",
            "RSET\r\n",
            "MAIL FROM:<carl@example.com>\r\n",
            "RCPT TO:<juliet@mail.x>\r\n",
            "QUIT\r\n",
        ],
    )
    .await;
    assert_eq!(codes(&answers), ["220", "250", "250", "550", "250", "250", "250", "250", "221"]);
}

#[tokio::test]
async fn two_mails_on_one_connection_do_not_mix() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let mail = |id: &str| format!("From: b@x.org\r\nMessage-ID: <{id}@x.org>\r\n\r\n{id}\r\n.\r\n");
    let (one, two) = (mail("one"), mail("two"));
    dialogue(
        "lmtp",
        &core,
        &[
            "LHLO mx\r\n",
            "MAIL FROM:<>\r\n",
            "RCPT TO:<juliet@mail.x>\r\n",
            "DATA\r\n",
            &one,
            "MAIL FROM:<b@x.org>\r\n",
            "RCPT TO:<romeo@mail.x>\r\n",
            "RSET\r\n",
            "MAIL FROM:<b@x.org>\r\n",
            "RCPT TO:<nurse@mail.x>\r\n",
            "DATA\r\n",
            &two,
        ],
    )
    .await;
    let to: Vec<String> = core
        .events()
        .iter()
        .map(|event| match &event.chat {
            Chat::Direct { user, .. } => user.local().to_owned(),
            Chat::Room(_) => String::new(),
        })
        .collect();
    assert_eq!(to, ["juliet", "nurse"]);
}

#[tokio::test]
async fn what_is_wrong_has_its_code() {
    let core = MemoryCore::new(&["capulet.lit"]);
    for (lines, last) in [
        (&["EHLO x\r\n"][..], "500 5.5.1"),
        (&["MAIL FROM:<a@b.org>\r\n"], "503 5.5.1"),
        (&["LHLO x\r\n", "RCPT TO:<juliet@mail.x>\r\n"], "503 5.5.1"),
        (&["LHLO x\r\n", "MAIL FROM:<a@b.org> SIZE=9999\r\n"], "552 5.3.4"),
        (&["LHLO x\r\n", "MAIL FROM:<a b@x>\r\n"], "553 5.1.7"),
        (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<x%y@mail.x>\r\n"], "550 5.1.1"),
        (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<@a,@b:juliet@mail.x>\r\n"], "550 5.1.1"),
        (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<juliet@other.org>\r\n"], "550 5.7.1"),
        (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<eve=evil.org@mail.x>\r\n"], "550 5.1.1"),
        (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<PostMaster>\r\n"], "250 2.1.5"),
        (&["LHLO x\n"], "500 5.5.2"),
        (&["DANCE\r\n"], "500 5.5.2"),
        (
            &[
                "LHLO x\r\n",
                "MAIL FROM:<a@b.org>\r\n",
                "RCPT TO:<juliet@mail.x>\r\n",
                "DATA\r\nSubject: early\r\n\r\n.\r\n",
            ],
            "554 5.5.0",
        ),
    ] {
        let answers = dialogue("lmtp", &core, lines).await;
        assert_eq!(answers.last().map(String::as_str), Some(last), "{lines:?}");
    }
}

#[tokio::test]
async fn too_big_and_smuggled_mails() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let big = format!("Subject: x\r\n\r\n{}\r\n.\r\n", "y".repeat(10_000));
    let start = ["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<juliet@mail.x>\r\n", "DATA\r\n"];
    let mut lines = start.to_vec();
    lines.push(&big);
    assert_eq!(dialogue("lmtp", &core, &lines).await.last().unwrap(), "552 5.3.4");
    let smuggled = "From: a@b.org\r\n\r\nx\n.\r\nMAIL FROM:<king@x>\r\nRCPT TO:<romeo@mail.x>\r\nDATA\r\n\r\n.\r\n";
    let mut lines = start.to_vec();
    lines.push(smuggled);
    dialogue("lmtp", &core, &lines).await;
    assert_eq!(core.events().len(), 1, "one mail, whatever is in it");
}

#[tokio::test]
async fn a_store_that_refuses_is_a_temporary_error_and_the_same_mail_counts_once() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let lines = [
        "LHLO x\r\n",
        "MAIL FROM:<a@b.org>\r\n",
        "RCPT TO:<juliet@mail.x>\r\n",
        "DATA\r\n",
        "From: a@b.org\r\nMessage-ID: <m@b.org>\r\n\r\nhi\r\n.\r\n",
    ];
    core.refuse(true);
    assert_eq!(dialogue("lmtp", &core, &lines).await.last().unwrap(), "452 4.3.1");
    core.refuse(false);
    assert_eq!(dialogue("lmtp", &core, &lines).await.last().unwrap(), "250 2.6.0");
    assert_eq!(dialogue("lmtp", &core, &lines).await.last().unwrap(), "250 2.6.0");
    assert_eq!(core.events().len(), 1);
}

#[tokio::test]
async fn chunks_carry_a_mail_too() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let answers = dialogue(
        "lmtp",
        &core,
        &[
            "LHLO x\r\n",
            "MAIL FROM:<a@b.org>\r\n",
            "RCPT TO:<juliet@mail.x>\r\n",
            "BDAT 17\r\nFrom: a@b.org\r\n\r\n",
            "BDAT 4 LAST\r\n.\r\nx",
        ],
    )
    .await;
    assert_eq!(answers.last().unwrap(), "250 2.6.0");
    let Kind::Text(text) = &core.events()[0].kind else { panic!() };
    assert_eq!(text.body, ".\nx");
}

#[tokio::test]
async fn what_is_offered_depends_on_the_face() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let mut client = session(state("lmtp", ""), &core, None).await;
    let offered = client.ask("LHLO mx\r\n").await.unwrap();
    for word in ["PIPELINING", "SIZE 26214400", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"] {
        assert!(offered.lines().any(|line| line[4..] == *word), "{word} is not in {offered}");
    }
    assert!(!offered.contains("STARTTLS"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_often_wrong_is_slowed_down_and_sent_away() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let mut client = session(state("smtp", ""), &core, None).await;
    let start = tokio::time::Instant::now();
    for _ in 0..10 {
        client.ask("AUTH PLAIN AAAA\r\n").await.unwrap();
    }
    assert!(start.elapsed().as_millis() < 1000, "ten are forgiven");
    for _ in 0..10 {
        client.ask("AUTH PLAIN AAAA\r\n").await.unwrap();
    }
    assert!(start.elapsed().as_secs() >= 10, "a second for each of the next");
    assert!(client.ask("AUTH PLAIN AAAA\r\n").await.unwrap().starts_with("421 4.7.0"));
    assert_eq!(client.ask("NOOP\r\n").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_is_sent_away() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let (near, far) = tokio::io::duplex(1 << 16);
    let memory = core.core();
    let server =
        tokio::spawn(async move { crate::email::receive::run(Box::new(far), None, &state("smtp", ""), &memory).await });
    let start = tokio::time::Instant::now();
    server.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 300);
    drop(near);
}

#[tokio::test]
async fn one_user_gets_so_many_mails_a_minute() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let mut client = session(state("lmtp", "max_rate = 2"), &core, None).await;
    client.ask("LHLO x\r\n").await.unwrap();
    client.ask("MAIL FROM:<a@b.org>\r\n").await.unwrap();
    let mut answers = Vec::new();
    for user in ["juliet", "juliet", "juliet", "nurse"] {
        answers.push(client.ask(&format!("RCPT TO:<{user}@mail.x>\r\n")).await.unwrap()[..9].to_owned());
    }
    assert_eq!(answers, ["250 2.1.5", "250 2.1.5", "451 4.7.1", "250 2.1.5"]);
}

#[tokio::test]
async fn the_trusted_server_may_name_many_who_are_unknown() {
    let core = MemoryCore::new(&["capulet.lit"]);
    let mut client = session(state("lmtp", ""), &core, None).await;
    client.ask("LHLO x\r\n").await.unwrap();
    client.ask("MAIL FROM:<a@b.org>\r\n").await.unwrap();
    for _ in 0..50 {
        assert!(client.ask("RCPT TO:<x@elsewhere.org>\r\n").await.unwrap().starts_with("550 5.7.1"));
    }
    assert!(client.ask("RCPT TO:<juliet@mail.x>\r\n").await.unwrap().starts_with("250"));
}

#[tokio::test]
async fn a_socket_in_the_file_system() {
    let folder = std::env::temp_dir().join(format!("portway-lmtp-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("lmtp.sock");
    // What an earlier run left behind is taken away.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = Listener::bind(&Place::Unix(path.clone())).await.unwrap();
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    let near = UnixStream::connect(&path).await.unwrap();
    let (far, ip) = listener.accept().await.unwrap();
    assert_eq!(ip, None);
    let core = MemoryCore::new(&["capulet.lit"]);
    let memory = core.core();
    tokio::spawn(async move { crate::email::receive::run(far, None, &state("lmtp", ""), &memory).await });
    let answer = Client::new(near).await.bring("a@b.org", "juliet@mail.x", "From: a@b.org\n\nhi").await;
    assert!(answer.starts_with("250"), "{answer}");
    // Somebody listens there: nothing is taken away from them.
    assert!(Listener::bind(&Place::Unix(path.clone())).await.is_err());
    drop(listener);
    assert!(!path.exists(), "it goes with its listener");
    std::fs::write(&path, "precious").unwrap();
    assert!(Listener::bind(&Place::Unix(path.clone())).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_dir_all(&folder).unwrap();
}

fn certificate() -> String {
    format!("tls_cert = \"{}\"\ntls_key = \"{}\"", file("tls.pem"), file("tls.key"))
}

async fn encrypt(stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots()).with_no_client_auth();
    soon(TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream)).await
}

#[tokio::test]
async fn starttls_encrypts_and_forgets_what_was_said_before() {
    let world = World::with("smtp://127.0.0.1:0", Script::default(), &certificate(), Some(&[])).await;
    let mut client = Client::new(TcpStream::connect(world.address()).await.unwrap()).await;
    assert!(client.ask("EHLO x\r\n").await.unwrap().contains("250-STARTTLS"));
    client.ask("MAIL FROM:<a@b.org>\r\n").await.unwrap();
    assert!(client.ask("STARTTLS\r\n").await.unwrap().starts_with("220"));
    let mut client = Client { stream: encrypt(client.stream).await.unwrap() };
    assert!(client.ask("RCPT TO:<juliet@mail.x>\r\n").await.unwrap().starts_with("503"), "MAIL is forgotten");
    assert!(!client.ask("EHLO x\r\n").await.unwrap().contains("STARTTLS"));
    assert!(client.ask("STARTTLS\r\n").await.unwrap().starts_with("503"));
    let answer = client.bring("a@b.org", "juliet@mail.x", "From: a@b.org\n\nhi").await;
    assert!(answer.starts_with("250"), "{answer}");
    assert_eq!(world.memory.events().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn nothing_is_taken_from_behind_starttls() {
    let world = World::with("smtp://127.0.0.1:0", Script::default(), &certificate(), Some(&[])).await;
    let mut client = Client::new(TcpStream::connect(world.address()).await.unwrap()).await;
    client.ask("EHLO x\r\n").await.unwrap();
    let answer = client.ask("STARTTLS\r\nMAIL FROM:<king@evil.org>\r\n").await.unwrap();
    assert!(answer.starts_with("554 5.5.0"), "{answer}");
    assert_eq!(client.answer().await, None, "and the connection ends");
    world.end().await;
}

#[tokio::test]
async fn without_a_certificate_there_is_no_starttls() {
    let world = World::with("smtp://127.0.0.1:0", Script::default(), "", Some(&[])).await;
    let mut client = Client::new(TcpStream::connect(world.address()).await.unwrap()).await;
    assert!(!client.ask("EHLO x\r\n").await.unwrap().contains("STARTTLS"));
    assert!(client.ask("STARTTLS\r\n").await.unwrap().starts_with("500"));
    world.end().await;
}

#[tokio::test]
async fn formats_stay_between_the_lines_that_the_gateway_adds() {
    let world = World::start(Script::default()).await;
    let mail = "From: bob@example.com\nTo: ann@x.org\nContent-Type: multipart/mixed; boundary=b\n\n\
                --b\nContent-Type: text/html\n\n<p>see <b>this</b></p>\n\
                --b\nContent-Type: image/png; name=a.png\nContent-Disposition: attachment\n\nxx\n--b--\n";
    assert!(world.mail("bob@example.com", "juliet@mail.x", mail).await.starts_with("250"));
    let events = world.memory.events();
    let said = text(&events[0]);
    let nodes = said.rich.as_ref().map(crate::api::Rich::nodes).unwrap_or_default();
    let strong = Node::Part(Mark::Strong, vec![Node::Text("this".into())]);
    assert_eq!(nodes, [Node::Text("email.also-to ann@x.org 0\nsee ".into()), strong]);
    assert_eq!(said.rich.as_ref().map(crate::api::Rich::text).as_ref(), Some(&said.body));
}

#[tokio::test]
async fn who_else_got_it_is_said() {
    let world = World::start(Script::default()).await;
    let mail =
        "From: Bob <Bob@Example.com>\nTo: Juliet@mail.x, ann@x.org\nCc: c@x.org\nReply-To: office@example.com\n\nhi";
    assert!(world.mail("bob@example.com", "juliet@mail.x", mail).await.starts_with("250"));
    let events = world.memory.events();
    assert_eq!(text(&events[0]).body, "email.also-to ann@x.org, c@x.org 0\nhi");
    assert_eq!(events[0].sender_name.as_deref(), Some("Bob"));
    // Reply-To is honoured, and only as long as it is asked for.
    world.deliver(&[super::line(1, "thanks")]).await.unwrap();
    assert!(world.peer.taken()[0].rcpt_to.starts_with("RCPT TO:<office@example.com>"));
    world.mail("bob@example.com", "juliet@mail.x", "From: Bob@Example.com\n\nagain").await;
    world.deliver(&[super::line(2, "thanks")]).await.unwrap();
    assert!(world.peer.taken()[1].rcpt_to.starts_with("RCPT TO:<Bob@Example.com>"));
    assert!(matches!(&events[0].chat, Chat::Direct { user, .. } if *user == juliet()));
    world.end().await;
}
