//! The link as the whole process keeps it: several components, readiness, bursts, a network that stands still.

use std::time::Duration;

use portway_bridges::loopback::wire::Item;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::binary::{Dir, port_of};
use crate::support::fake_server::FakeServer;
use crate::support::gateway::{BALCONY, Gateway, JULIET, US, body, get, spawn};

#[tokio::test]
async fn l1_the_stream_is_for_the_component_s_domain_and_nothing_else() {
    let gateway = Gateway::open().await;
    assert!(gateway.connection.head.contains(&format!(" to='{US}'>")), "{}", gateway.connection.head);
    assert!(gateway.connection.head.contains("xmlns='jabber:component:accept'"));
}

#[tokio::test]
async fn l10_the_server_s_own_questions_are_answered_at_once() {
    let mut gateway = Gateway::open().await;
    // A network that stands still does not matter.
    gateway.peer.fail("carl@loopback", Some("temporary")).await;
    for n in 0..100 {
        gateway.say(&format!("m{n}"), "carl%loopback", "x", "").await;
    }
    for (payload, expected) in [
        ("<query xmlns='http://jabber.org/protocol/disco#info'/>", "category='gateway'"),
        ("<query xmlns='http://jabber.org/protocol/disco#items'/>", "disco#items"),
        ("<query xmlns='jabber:iq:version'/>", "<name>Portway</name>"),
        ("<ping xmlns='urn:xmpp:ping'/>", "type='result'"),
    ] {
        let asking = gateway.iq("get", "bench.example", US, payload);
        let answer = tokio::time::timeout(Duration::from_secs(5), asking).await.expect("at once");
        let text = String::from(&answer).replace('"', "'");
        assert!(answer.attr("type") == Some("result") && text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn l14_several_components_from_one_process_each_with_its_own_secret_and_ready_means_all_of_them() {
    let (dir, mail) = (Dir::new(), "mail.bench.example");
    let server = FakeServer::start(&[(US, "one"), (mail, "two")]).await;
    let config = format!(
        "[gateway]\ndata_dir = {:?}\n[xmpp]\nport = {}\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [network.loopback]\ncomponent = \"{US}\"\nsecret = \"one\"\n\
         [network.email]\ncomponent = \"{mail}\"\nsecret = \"two\"\ndomain = \"{mail}\"\nlisten = \"lmtp://127.0.0.1:0\"\n\
         smarthost = \"smtp://127.0.0.1:9\"\n",
        dir.0,
        server.port()
    );
    let mut child = spawn(&dir, &config, "info");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().expect("the HTTP listener comes first");
    let port = port_of(&[first], "http");
    let (mut one, right) = server.greet().await;
    assert!(right, "{}", one.domain);
    assert_eq!(get(port, "/live").await.0, 200);
    let (status, missing) = get(port, "/ready").await;
    assert!(status == 503 && missing.contains("email") && missing.contains("loopback"), "{missing}");
    let (mut two, right) = server.greet().await;
    assert!(right && one.domain != two.domain);
    one.send("<handshake/>").await;
    // It has read that: its first barrier comes.
    one.pongs = false;
    one.stanza().await;
    let (status, missing) = get(port, "/ready").await;
    assert!(status == 503 && !missing.contains("store"), "{missing}");
    two.send("<handshake/>").await;
    let mut printed = Vec::new();
    loop {
        let line = lines.next_line().await.unwrap().expect("it says ready");
        if line == "ready" {
            break;
        }
        printed.push(line);
    }
    // One line for each listener; the loopback network has none here.
    let email: Vec<_> = printed.iter().filter_map(|line| line.strip_prefix("listening: lmtp 127.0.0.1:")).collect();
    assert!(printed.len() == 1 && email.len() == 1 && email[0] != "0", "{printed:?}");
    assert_eq!(get(port, "/ready").await, (200, "ready\n".to_owned()));
    drop(two);
    // The reconnect stays without an answer, so it is not ready until then.
    let (_again, _) = server.greet().await;
    let (status, missing) = get(port, "/ready").await;
    assert!(status == 503 && !missing.contains("store"), "{missing}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_it_without_failure_and_with_the_stream_closed() {
    let mut gateway = Gateway::open().await;
    let pid = gateway.child.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
    assert!(sent.success());
    while gateway.connection.next().await.is_some() {}
    let status = tokio::time::timeout(Duration::from_secs(30), gateway.child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn l7_a_network_that_stands_still_stops_neither_the_link_nor_other_chats() {
    let mut gateway = Gateway::open().await;
    gateway.peer.fail("carl@loopback", Some("temporary")).await;
    let mut burst = String::new();
    for n in 0..12_000 {
        burst.push_str(&format!(
            "<message from='{BALCONY}' to='carl%loopback@{US}' type='chat' id='l7-{n:024}'><body>{n}</body></message>"
        ));
    }
    // Ejabberd drops a component behind which 10,000 stanzas wait: they must be read, not left in the socket.
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, gateway.send(&burst)).await.expect("it reads although carl is stuck");
    gateway.say("free", "bob%loopback", "free", "").await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("free"));
    gateway.iq("get", BALCONY, US, "<ping xmlns='urn:xmpp:ping'/>").await;
    gateway.peer.fail("carl@loopback", None).await;
    for n in 0..12_000 {
        assert_eq!(gateway.item("text").await.body, Some(n.to_string()));
    }
    let (_, metrics) = gateway.page("/metrics").await;
    assert!(metrics.contains("portway_link_reconnects{network=\"loopback\"} 0"), "{metrics}");
}

#[tokio::test]
async fn l11_text_over_the_ceiling_travels_in_parts_and_nothing_of_it_is_lost() {
    let mut gateway = Gateway::open().await;
    let text: String = (0..60_000).map(|n| format!("{n} ☂ ")).collect();
    gateway.hear("big", "bob@loopback", &text).await;
    let mut whole = String::new();
    while whole.len() < text.len() {
        let part = gateway.stanza(|stanza| !body(stanza).is_empty()).await;
        assert!(String::from(&part).len() < 100 << 10, "a stanza of {}", String::from(&part).len());
        whole.push_str(&body(&part));
    }
    assert!(whole == text, "{} of {}", whole.len(), text.len());
}

/// Whatever comes, each stanza of ours has a sender in our domain and an addressee: one that has not would end the stream
/// on Prosody and ejabberd.
#[tokio::test]
async fn l2_every_stanza_comes_from_our_domain_and_goes_to_somebody() {
    let mut gateway = Gateway::open().await;
    let mut n = 0;
    for to in
        ["", "bob%loopback@", "=zz%x@", r"bob\40loopback@", "#town%loopback@", "!x@", "%@", "%40@", "a%b%c@", "😀@"]
    {
        for resource in ["", "/portway", "/😀 x", "/a@b/c"] {
            for (kind, type_, payload) in [
                ("message", "chat", "<body>x</body><request xmlns='urn:xmpp:receipts'/>"),
                ("message", "groupchat", "<body>x</body>"),
                ("message", "error", ""),
                ("presence", "subscribe", ""),
                ("presence", "probe", ""),
                ("presence", "unsubscribe", ""),
                ("iq", "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
            ] {
                for from in [BALCONY, JULIET, "😀@bench.example/👩‍💻", "bench.example", "eve@evil.example/x"] {
                    n += 1;
                    let stanza = format!(
                        "<{kind} from='{from}' to='{to}{US}{resource}' type='{type_}' id='f{n}'>{payload}</{kind}>"
                    );
                    gateway.send(&stanza).await;
                }
            }
        }
    }
    gateway.hear("b1", "a/b@c@loopback", "hi").await;
    let person = Item {
        id: "p1".into(),
        user: Some(JULIET.into()),
        person: Some("\u{0}<'&>@\u{ffff}".into()),
        kind: "text".into(),
        body: Some("the end".into()),
        ..Item::default()
    };
    gateway.peer.say(std::iter::once(person)).await;
    let last = gateway.stanza(|stanza| body(stanza) == "the end").await;
    let mut all = gateway.rest().await;
    all.push(last);
    assert!(all.len() > 200, "{}", all.len());
    for stanza in all {
        let text = String::from(&stanza);
        let from = portway::xmpp::jid::Jid::parse(stanza.attr("from").expect("from")).expect("an address");
        assert_eq!(from.domain(), US, "{text}");
        let to = stanza.attr("to").expect("to");
        assert!(portway::xmpp::jid::Jid::parse(to).is_ok(), "{text}");
    }
}

#[tokio::test]
async fn metrics_count_what_waits_what_arrived_what_was_lost_and_who_is_known() {
    let mut gateway = Gateway::open().await;
    gateway.peer.fail("carl@loopback", Some("temporary")).await;
    gateway.say("m1", "bob%loopback", "hello", "<request xmlns='urn:xmpp:receipts'/>").await;
    gateway.stanza(|stanza| stanza.has_child("received", "urn:xmpp:receipts")).await;
    gateway.say("m2", "carl%loopback", "wait", "").await;
    gateway.hear("b1", "bob@loopback", "hi").await;
    gateway.stanza(|stanza| body(stanza) == "hi").await;
    let stranger = Item {
        id: "x".into(),
        user: Some("eve@evil.example".into()),
        person: Some("bob@loopback".into()),
        kind: "text".into(),
        body: Some("psst".into()),
        ..Item::default()
    };
    gateway.peer.say(std::iter::once(stranger)).await;
    gateway.hear("b2", "bob@loopback", "after").await;
    gateway.stanza(|stanza| body(stanza) == "after").await;
    let expected = [
        "portway_queue_depth{network=\"loopback\",direction=\"to_network\"} 1",
        "portway_queue_age_seconds{network=\"loopback\",direction=\"to_network\"} ",
        "portway_delivery_seconds_count{network=\"loopback\",direction=\"to_network\"} 1",
        "portway_delivery_seconds_count{network=\"loopback\",direction=\"to_xmpp\"} ",
        "portway_losses_total{network=\"loopback\",kind=\"not-allowed\"} 1",
        "portway_link_up{network=\"loopback\"} 1",
        "portway_link_reconnects{network=\"loopback\"} 0",
        "portway_identities{network=\"loopback\",kind=\"person\"} 2",
        "portway_identities{network=\"loopback\",kind=\"room\"} 0",
    ];
    // What is counted is counted a moment after it can be seen.
    let mut missing = Vec::new();
    for _ in 0..100 {
        let (status, text) = gateway.page("/metrics").await;
        assert_eq!(status, 200);
        missing = expected.iter().filter(|line| !text.contains(**line)).collect();
        if missing.is_empty() {
            return;
        }
        gateway.rest().await;
    }
    panic!("{missing:#?}");
}
