//! The component link against a scripted server. A name that begins with a number proves that requirement of
//! `docs/src/developer/requirements.md`.

use std::time::Duration;

use crate::support::fake_server::{Connection, FakeServer, is_ping};
use minidom::Element;
use portway::config::Secret;
use portway::xmpp::jid::Jid;
use portway::xmpp::stanza::{Domain, NS_CLIENT, OutStanza, StanzaKind};
use portway::xmpp::stream::{
    DownReason, IqError, Limits, Link, LinkConfig, LinkEvent, Lost, Priority, RejectReason, SendError, Timers,
};
use portway::xmpp::xml;
use portway_bridges::api::Stop;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

const US: &str = "gw.example.org";
const SERVER: &str = "example.org";

struct Fixture {
    server: FakeServer,
    link: Link,
    events: Receiver<LinkEvent>,
    task: JoinHandle<()>,
    stop: Stop,
}

impl Fixture {
    async fn new(change: impl FnOnce(&mut LinkConfig)) -> Self {
        let server = FakeServer::start(&[(US, "secret")]).await;
        let mut config = LinkConfig {
            domain: Domain::new(US).unwrap(),
            server: Domain::new(SERVER).unwrap(),
            secret: Secret::new("secret"),
            host: "127.0.0.1".to_owned(),
            port: server.port(),
            tls: None,
            limits: Limits::default(),
            timers: Timers { backoff_min: Duration::from_millis(1), ..Timers::default() },
        };
        change(&mut config);
        let stop = Stop::new();
        let (link, events, task) = Link::start(config, stop.clone());
        Self { server, link, events, task, stop }
    }

    /// Accepts the connection and swallows the event.
    async fn up(&mut self) -> Connection {
        let connection = self.server.accept().await;
        match self.event().await {
            LinkEvent::Up { .. } => connection,
            event => panic!("{event:?} instead of Up"),
        }
    }

    async fn event(&mut self) -> LinkEvent {
        tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await.expect("an event").expect("a link")
    }

    async fn down(&mut self) -> DownReason {
        match self.event().await {
            LinkEvent::Down { reason } => reason,
            event => panic!("{event:?} instead of Down"),
        }
    }

    async fn id(&mut self) -> String {
        match self.event().await {
            LinkEvent::Stanza(stanza) => stanza.id.unwrap_or_default(),
            event => panic!("{event:?} instead of a stanza"),
        }
    }
}

fn out(kind: StanzaKind, type_: Option<&str>, id: Option<&str>) -> OutStanza {
    let us = Domain::new(US).unwrap().jid();
    OutStanza::new(kind, &us, &Jid::parse("romeo@example.org").unwrap(), type_, id)
}

fn message(id: &str) -> OutStanza {
    out(StanzaKind::Message, None, Some(id)).with(xml::text("body", NS_CLIENT, "hi"))
}

fn id(element: &Element) -> &str {
    element.attr("id").unwrap_or_default()
}

/// The next stanza but for the link's pings, which stay without an answer.
async fn unanswered(connection: &mut Connection) -> Element {
    loop {
        let element = connection.stanza().await;
        if !is_ping(&element) {
            return element;
        }
    }
}

#[tokio::test]
async fn l1_what_comes_in_one_piece_with_the_handshake_is_not_lost() {
    let mut fixture = Fixture::new(|_| {}).await;
    let (mut connection, right) = fixture.server.greet().await;
    assert!(right);
    connection.send("<handshake/><message from='example.org' to='gw.example.org' id='privileges'/>").await;
    assert!(matches!(fixture.event().await, LinkEvent::Up { generation: 1 }));
    assert_eq!(fixture.id().await, "privileges");
    assert!(fixture.link.is_up());
}

#[tokio::test]
async fn l4_each_refusal_is_explained_and_tried_again() {
    let mut fixture = Fixture::new(|config| config.secret = Secret::new("wrong")).await;
    for (condition, hint) in [
        ("not-authorized", "secrets differ"),
        ("host-unknown", "portway generate server"),
        ("conflict", "kick_old"),
        ("see-other-host", "another host"),
        ("reset", "log"),
    ] {
        let (connection, right) = fixture.server.greet().await;
        assert!(!right);
        let (_, reason) = tokio::join!(connection.fail(condition, "some words"), fixture.down());
        let DownReason::Stream { condition: read, text } = &reason else { panic!("{reason:?}") };
        assert_eq!((read.as_str(), text.as_deref()), (condition, Some("some words")));
        assert!(reason.hint().contains(hint), "{condition}: {}", reason.hint());
    }
    let (mut connection, _) = fixture.server.greet().await;
    connection.send("<handshake/>").await;
    assert!(matches!(fixture.event().await, LinkEvent::Up { generation: 1 }));
}

#[tokio::test]
async fn l4_a_stream_error_and_broken_xml_end_one_connection_only() {
    let mut fixture = Fixture::new(|_| {}).await;
    let connection = fixture.up().await;
    let (_, reason) = tokio::join!(connection.fail("system-shutdown", "bye"), fixture.down());
    assert!(matches!(&reason, DownReason::Stream { condition, .. } if condition == "system-shutdown"), "{reason:?}");
    for broken in ["<a></b>", "<?php x?>", "<message>\u{1}</message>", "<!DOCTYPE a>"] {
        let mut connection = fixture.up().await;
        connection.send(broken).await;
        let reason = fixture.down().await;
        assert!(matches!(reason, DownReason::Xml(_)), "{broken}: {reason:?}");
    }
    let connection = fixture.up().await;
    drop(connection);
    assert!(matches!(fixture.down().await, DownReason::Closed | DownReason::Io(_)));
    assert_eq!(fixture.link.stats().reconnects, 5);
}

#[tokio::test]
async fn l5_the_old_socket_is_closed_before_a_new_one_is_opened() {
    let mut fixture = Fixture::new(|_| {}).await;
    let mut old = fixture.up().await;
    old.send("<a></b>").await;
    fixture.down().await;
    let _new = fixture.up().await;
    // It would wait here in vain: the script itself never closes the old socket.
    old.closed().await;
}

#[tokio::test]
async fn l8_a_ticket_is_redeemed_by_the_barrier_behind_its_batch_and_by_any_answer_to_it() {
    let mut fixture = Fixture::new(|_| {}).await;
    let mut connection = fixture.up().await;
    connection.pongs = false;
    let first = connection.stanza().await;
    assert!(is_ping(&first), "the probe");
    connection.pong(&first).await;
    let mut ticket = fixture.link.write(vec![message("1"), message("2")]).await;
    assert_eq!(id(&connection.stanza().await), "1");
    assert_eq!(id(&connection.stanza().await), "2");
    let ping = connection.stanza().await;
    assert!(is_ping(&ping));
    assert_eq!((ping.attr("from"), ping.attr("to")), (Some(US), Some(SERVER)));
    assert!(futures::poll!(&mut ticket).is_pending());
    let error = format!(
        "<iq type='error' id='{}' from='{SERVER}' to='{US}'><error type='cancel'>\
         <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
        id(&ping)
    );
    connection.send(&error).await;
    assert_eq!(ticket.await, Ok(()));
}

#[tokio::test]
async fn l8_batches_share_a_barrier_while_one_is_on_its_way() {
    let mut fixture = Fixture::new(|_| {}).await;
    let mut connection = fixture.up().await;
    connection.pongs = false;
    let probe = connection.stanza().await;
    let mut tickets = Vec::new();
    for n in 0..5 {
        tickets.push(fixture.link.write(vec![message(&n.to_string())]).await);
        assert_eq!(id(&connection.stanza().await), n.to_string());
    }
    connection.pong(&probe).await;
    let barrier = connection.stanza().await;
    assert!(is_ping(&barrier));
    assert!(tickets.iter_mut().all(|ticket| futures::FutureExt::now_or_never(ticket).is_none()));
    connection.pong(&barrier).await;
    for ticket in tickets {
        assert_eq!(ticket.await, Ok(()));
    }
}

#[tokio::test]
async fn l8_what_no_barrier_covers_is_lost_and_can_be_sent_again() {
    let mut fixture = Fixture::new(|_| {}).await;
    let mut connection = fixture.up().await;
    connection.pongs = false;
    let ticket = fixture.link.write(vec![message("1")]).await;
    assert_eq!(id(&unanswered(&mut connection).await), "1");
    drop(connection);
    assert_eq!(ticket.await, Err(Lost::Connection));
    fixture.down().await;
    let (ticket, mut connection) =
        tokio::join!(fixture.link.write(vec![message("1")]), async { fixture.server.accept().await });
    assert_eq!(id(&connection.stanza().await), "1");
    tokio::select! {
        result = ticket => assert_eq!(result, Ok(())),
        _ = connection.next() => panic!("nothing else was to be sent"),
    }
}

#[tokio::test]
async fn l8_a_server_that_drops_pings_is_confirmed_by_pings_to_ourselves_from_then_on() {
    let mut fixture = Fixture::new(|config| config.timers.probe = Duration::from_millis(40)).await;
    let mut connection = fixture.up().await;
    connection.pongs = false;
    let ticket = fixture.link.write(vec![message("1")]).await;
    let own = format!("{US}/barrier");
    let echoed = loop {
        let element = connection.stanza().await;
        if element.attr("to") == Some(own.as_str()) {
            break element;
        }
    };
    connection.echo(&echoed).await;
    // The barrier may have been written before the batch; then there is one more.
    tokio::pin!(ticket);
    loop {
        tokio::select! {
            result = &mut ticket => { assert_eq!(result, Ok(())); break }
            element = connection.stanza() => if is_ping(&element) { connection.echo(&element).await },
        }
    }
    drop(connection);
    fixture.down().await;
    let mut connection = fixture.up().await;
    connection.pongs = false;
    assert_eq!(connection.stanza().await.attr("to"), Some(own.as_str()), "it remembers");
    // And if that way is closed now, it goes back.
    assert_eq!(connection.stanza().await.attr("to"), Some(SERVER));
}

#[tokio::test]
async fn l6_a_half_open_connection_is_noticed() {
    let mut fixture = Fixture::new(|config| {
        config.timers.probe = Duration::from_millis(20);
        config.timers.barrier = Duration::from_millis(60);
    })
    .await;
    let mut connection = fixture.up().await;
    connection.pongs = false;
    let ticket = fixture.link.write(vec![message("1")]).await;
    assert_eq!(fixture.down().await, DownReason::Dead);
    assert_eq!(ticket.await, Err(Lost::Connection));
    fixture.up().await;
}

#[tokio::test]
async fn l6_an_idle_connection_is_kept_alive() {
    let mut fixture = Fixture::new(|config| config.timers.ping_after = Duration::from_millis(20)).await;
    let mut connection = fixture.up().await;
    connection.pongs = false;
    for _ in 0..4 {
        let ping = connection.stanza().await;
        assert!(is_ping(&ping));
        connection.pong(&ping).await;
    }
    assert!(fixture.link.is_up());
}

#[tokio::test]
async fn l6_a_slow_component_is_not_taken_for_a_dead_server() {
    let mut fixture = Fixture::new(|config| {
        config.timers.probe = Duration::from_millis(20);
        config.timers.barrier = Duration::from_millis(60);
    })
    .await;
    let mut connection = fixture.up().await;
    // More than the channel holds, so that the answers to the barriers are stuck behind them.
    let many: String = (0..3000).map(|n| format!("<message from='a@b' to='{US}' id='{n}'/>")).collect();
    connection.send(&many).await;
    let ticket = fixture.link.write(vec![message("1")]).await;
    let serving = async { while connection.next().await.is_some() {} };
    // Much longer than a barrier may take; the connection must outlive it.
    assert!(tokio::time::timeout(Duration::from_millis(400), serving).await.is_err(), "it was closed");
    for n in 0..3000 {
        assert_eq!(fixture.id().await, n.to_string());
    }
    let serving = async { while connection.next().await.is_some() {} };
    tokio::select! {
        result = ticket => assert_eq!(result, Ok(())),
        () = serving => panic!("it was closed"),
    }
    assert_eq!(fixture.link.stats().reconnects, 0);
}

#[tokio::test]
async fn l12_the_window_stops_batches_but_nothing_urgent() {
    let mut fixture = Fixture::new(|config| config.limits.window = 1000).await;
    let mut connection = fixture.up().await;
    connection.pongs = false;
    let probe = connection.stanza().await;
    let body = "b".repeat(1200);
    let big = |id: &str| out(StanzaKind::Message, None, Some(id)).with(xml::text("body", NS_CLIENT, &body));
    fixture.link.send(&big("1"), Priority::Normal).unwrap();
    assert_eq!(id(&connection.stanza().await), "1");
    fixture.link.send(&big("2"), Priority::Normal).unwrap();
    fixture.link.send(&out(StanzaKind::Iq, Some("result"), Some("urgent")), Priority::Urgent).unwrap();
    assert_eq!(id(&connection.stanza().await), "urgent");
    assert_eq!(fixture.link.stats().queued, 1);
    connection.pong(&probe).await;
    let barrier = connection.stanza().await;
    assert!(is_ping(&barrier), "the window is confirmed although nobody holds a ticket");
    connection.pong(&barrier).await;
    assert_eq!(id(&connection.stanza().await), "2");
}

#[tokio::test]
async fn l9_an_iq_takes_the_answer_of_the_one_it_asked() {
    let mut fixture = Fixture::new(|_| {}).await;
    let mut connection = fixture.up().await;
    let request = || out(StanzaKind::Iq, Some("get"), None).with(Element::bare("query", "urn:q"));
    let asking = fixture.link.iq(request(), Duration::from_secs(20));
    let script = async {
        let asked = connection.stanza().await;
        let id = id(&asked).to_owned();
        for (type_, from) in
            [("set", "romeo@example.org"), ("result", "mallory@example.org"), ("result", "romeo@example.org")]
        {
            connection.send(&format!("<iq type='{type_}' from='{from}' to='{US}' id='{id}'/>")).await;
        }
        id
    };
    let (answer, asked) = tokio::join!(asking, script);
    let answer = answer.unwrap();
    assert_eq!(answer.from.unwrap().as_str(), "romeo@example.org");
    assert_eq!(answer.type_.as_deref(), Some("result"));
    // The request with the same id went where requests go.
    assert_eq!(fixture.id().await, asked);
    assert_eq!(fixture.link.iq(request(), Duration::from_millis(1)).await.unwrap_err(), IqError::NoAnswer);
}

#[tokio::test]
async fn an_iq_ends_with_the_connection_or_with_an_unusable_answer() {
    let mut fixture = Fixture::new(|_| {}).await;
    let mut connection = fixture.up().await;
    let request = || out(StanzaKind::Iq, Some("get"), None).with(Element::bare("query", "urn:q"));
    let script = async {
        let id = id(&connection.stanza().await).to_owned();
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        connection.send(&format!("<iq type='result' from='romeo@example.org' id='{id}'>{deep}</iq>")).await;
    };
    let (answer, ()) = tokio::join!(fixture.link.iq(request(), Duration::from_secs(60)), script);
    assert_eq!(answer.unwrap_err(), IqError::NoAnswer);
    let script = async {
        connection.stanza().await;
        drop(connection);
    };
    let (answer, ()) = tokio::join!(fixture.link.iq(request(), Duration::from_secs(60)), script);
    assert_eq!(answer.unwrap_err(), IqError::NoAnswer);
    fixture.down().await;
    assert_eq!(fixture.link.iq(request(), Duration::from_secs(60)).await.unwrap_err(), IqError::Send(SendError::Down));
}

#[tokio::test]
async fn s3_a_stanza_over_a_limit_is_reported_unless_it_is_an_error() {
    let mut fixture = Fixture::new(|_| {}).await;
    let mut connection = fixture.up().await;
    let deep = format!("{}{}", "<a>".repeat(20_000), "</a>".repeat(20_000));
    for type_ in ["error", "chat"] {
        let bad = format!("<message type='{type_}' id='{type_}' from='a@b/c' to='x@{US}'>{deep}</message>");
        connection.send(&bad).await;
    }
    connection.send("<message id='good'/>").await;
    match fixture.event().await {
        LinkEvent::Rejected { kind, from, to, id, type_, why } => {
            assert_eq!((kind, why), (StanzaKind::Message, RejectReason::Depth));
            assert_eq!(from.unwrap().as_str(), "a@b/c");
            assert_eq!(to.unwrap().as_str(), format!("x@{US}"));
            assert_eq!((id.as_deref(), type_.as_deref()), (Some("chat"), Some("chat")));
        }
        event => panic!("{event:?}"),
    }
    assert_eq!(fixture.id().await, "good");
    assert_eq!(fixture.link.stats().rejected, 2);
}

#[tokio::test]
async fn l2_what_xml_forbids_does_not_end_our_stream() {
    let mut fixture = Fixture::new(|_| {}).await;
    let mut connection = fixture.up().await;
    let text = "a\u{0}b\u{8}c\u{1f}d\u{ffff}e]]>\r\n😀";
    let bad = out(StanzaKind::Message, None, Some(text)).with(xml::text("body", NS_CLIENT, text));
    fixture.link.send(&bad, Priority::Normal).unwrap();
    let read = connection.stanza().await;
    let expected = "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e]]>\r\n😀";
    assert_eq!(read.get_child("body", "jabber:component:accept").unwrap().text(), expected);
    assert_eq!(id(&read), expected);
}

#[tokio::test]
async fn stopping_writes_what_waits_and_ends_the_stream() {
    let mut fixture = Fixture::new(|_| {}).await;
    let mut connection = fixture.up().await;
    for n in 0..500 {
        fixture.link.send(&message(&n.to_string()), Priority::Normal).unwrap();
    }
    fixture.stop.cancel();
    for n in 0..500 {
        assert_eq!(id(&connection.stanza().await), n.to_string());
    }
    assert!(connection.ends().await);
    fixture.task.await.unwrap();
    assert!(!fixture.link.is_up());
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_server_that_does_not_read() {
    let mut fixture = Fixture::new(|config| {
        config.timers.grace = Duration::from_millis(50);
        config.limits.window = usize::MAX;
    })
    .await;
    let _connection = fixture.up().await;
    let body = "b".repeat(200_000);
    // More than any socket buffers.
    for _ in 0..200 {
        let big = out(StanzaKind::Message, None, None).with(xml::text("body", NS_CLIENT, &body));
        fixture.link.send(&big, Priority::Normal).unwrap();
    }
    fixture.stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), fixture.task).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn stopping_ends_an_attempt_to_connect() {
    let fixture = Fixture::new(|_| {}).await;
    let _silent = fixture.server.greet().await;
    fixture.stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), fixture.task).await.expect("it stops").unwrap();
}
