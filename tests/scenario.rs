//! The real binary between a scripted component server and the loopback network: what users see, one behaviour a test.

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portway_bridges::loopback::wire::{Item, ToPeer};
use support::binary::{Dir, loopback, port_of, start};
use support::peer::Peer;
use support::server::{Component, Server, attribute, body};
use tokio::process::Child;

/// How long anything may take before a test fails; not what is measured.
const PATIENCE: Duration = Duration::from_secs(60);

struct House {
    dir: Dir,
    server: Server,
    child: Child,
    component: Component,
    peer: Peer,
}

impl House {
    async fn open() -> Self {
        let (dir, server) = (Dir::new(), Server::start().await);
        let (child, component, printed) = start(&dir, &loopback(&dir, &server), &server).await;
        let peer = Peer::connect(port_of(&printed, "loopback control")).await;
        Self { dir, server, child, component, peer }
    }

    /// Kills the gateway and starts it again on the same store.
    async fn crash(&mut self) {
        self.child.kill().await.expect("it ran");
        let (child, component, printed) = start(&self.dir, &loopback(&self.dir, &self.server), &self.server).await;
        self.child = child;
        self.component = component;
        self.peer = Peer::connect(port_of(&printed, "loopback control")).await;
    }

    /// The next stanza from the gateway that `wanted` accepts.
    async fn stanza(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        let wait = async {
            while found.is_none() {
                self.component
                    .serve(|stanza| {
                        if found.is_none() && wanted(stanza) {
                            found = Some(stanza.to_owned());
                        }
                    })
                    .await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the stanza comes");
        found.expect("found")
    }

    /// The next item of this kind that the loopback network sees.
    async fn item(&mut self, kind: &str) -> Item {
        let wait = async {
            loop {
                tokio::select! {
                    line = self.peer.next() => if let ToPeer::Out(item) = line && item.kind == kind { return item },
                    () = self.component.serve(|_| {}) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the item comes")
    }

    async fn say(&mut self, id: &str, to: &str, body: &str, more: &str) {
        let stanza = format!(
            "<message from='juliet@bench.example/balcony' to='{to}@loopback.bench.example' type='chat' id='{id}'><body>{body}</body>{more}</message>"
        );
        self.component.send(&stanza).await;
    }

    /// A person says something to juliet.
    async fn hear(&mut self, id: &str, person: &str, body: &str) {
        let item = Item {
            id: id.to_owned(),
            user: Some("juliet@bench.example".to_owned()),
            person: Some(person.to_owned()),
            kind: "text".to_owned(),
            body: Some(body.to_owned()),
            ..Item::default()
        };
        self.peer.say(std::iter::once(item)).await;
    }
}

#[tokio::test]
async fn text_goes_both_ways_and_a_receipt_comes_back() {
    let mut house = House::open().await;
    house.say("m1", "bob%loopback", "hello", "<request xmlns='urn:xmpp:receipts'/>").await;
    let item = house.item("text").await;
    assert_eq!((item.body.as_deref(), item.person.as_deref()), (Some("hello"), Some("bob@loopback")));
    let receipt = house.stanza(|stanza| stanza.contains("<received")).await;
    assert!(receipt.contains("id='m1'") && receipt.contains("to='juliet@bench.example/balcony'"), "{receipt}");
    house.hear("b1", "bob@loopback", "hi").await;
    let answer = house.stanza(|stanza| body(stanza) == "hi").await;
    assert_eq!(attribute(&answer, "from"), "bob%loopback@loopback.bench.example/portway");
    assert_eq!((attribute(&answer, "to"), attribute(&answer, "id")), ("juliet@bench.example", "b1"));
}

#[tokio::test]
async fn literal_signs_stay_literal_and_signs_reach_networks_that_have_no_formats() {
    let mut house = House::open().await;
    house.say("m1", "bob%loopback", "&gt; *so*", "").await;
    assert_eq!(house.item("text").await.body.as_deref(), Some("> *so*"));
    house.hear("b1", "bob@loopback", "*so*").await;
    let literal = house.stanza(|stanza| body(stanza) == "*so*").await;
    assert!(literal.contains("<unstyled xmlns='urn:xmpp:styling:0'/>"), "{literal}");
    house.hear("b2", "bob@loopback", "2*3*4").await;
    let none = house.stanza(|stanza| body(stanza) == "2*3*4").await;
    assert!(!none.contains("unstyled"), "{none}");
}

#[tokio::test]
async fn a_planned_stop_takes_what_the_server_still_sends() {
    let mut house = House::open().await;
    let pid = house.child.id().expect("it runs").to_string();
    let told = std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
    assert!(told.success());
    tokio::time::timeout(PATIENCE, house.component.until_its_end()).await.expect("it ends its stream");
    let ids: BTreeSet<String> = (0..300).map(|n| format!("late-message-{n:06}")).collect();
    for id in &ids {
        house.say(id, "bob%loopback", id, "<request xmlns='urn:xmpp:receipts'/>").await;
    }
    house.component.send("</stream:stream>").await;
    let status = tokio::time::timeout(PATIENCE, house.child.wait()).await.expect("it ends").expect("its status");
    assert!(status.success(), "{status}");
    house.crash().await;
    let mut receipts = BTreeSet::new();
    let all = async {
        while receipts != ids {
            let serving = house.component.serve(|stanza| {
                let received = stanza.split("<received").nth(1);
                receipts.extend(received.map(|received| attribute(received, "id").to_owned()));
            });
            serving.await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("every receipt comes");
}

#[tokio::test]
async fn the_form_of_address_that_was_used_first_answers() {
    let mut house = House::open().await;
    house.say("m1", r"bob\40loopback", "hello", "").await;
    assert_eq!(house.item("text").await.person.as_deref(), Some("bob@loopback"));
    house.hear("b1", "bob@loopback", "hi").await;
    let answer = house.stanza(|stanza| body(stanza) == "hi").await;
    assert_eq!(attribute(&answer, "from"), r"bob\40loopback@loopback.bench.example/portway");
}

#[tokio::test]
async fn a_refused_message_is_an_error_on_that_message() {
    let mut house = House::open().await;
    house.peer.fail("carl@loopback", Some("permanent")).await;
    house.say("m1", "carl%loopback", "hello", "").await;
    let error = house.stanza(|stanza| attribute(stanza, "type") == "error").await;
    assert!(attribute(&error, "id") == "m1" && error.contains("<forbidden") && error.contains("<text"), "{error}");
}

#[tokio::test]
async fn a_chat_that_is_stuck_keeps_its_order_and_stops_no_other() {
    let mut house = House::open().await;
    house.peer.fail("carl@loopback", Some("temporary")).await;
    for n in 0..5 {
        house.say(&format!("c{n}"), "carl%loopback", &format!("carl {n}"), "").await;
    }
    house.say("b", "bob%loopback", "bob", "").await;
    assert_eq!(house.item("text").await.body.as_deref(), Some("bob"));
    house.peer.fail("carl@loopback", None).await;
    for n in 0..5 {
        assert_eq!(house.item("text").await.body, Some(format!("carl {n}")));
    }
}

#[tokio::test]
async fn strangers_get_nowhere_either_way() {
    let mut house = House::open().await;
    house
        .component
        .send("<message from='eve@evil.example/x' to='bob%loopback@loopback.bench.example' type='chat' id='e1'><body>spam</body></message>")
        .await;
    let error = house.stanza(|stanza| attribute(stanza, "id") == "e1").await;
    assert!(error.contains("<registration-required"), "{error}");
    let item = Item {
        id: "x".into(),
        user: Some("eve@evil.example".into()),
        person: Some("bob@loopback".into()),
        kind: "text".into(),
        body: Some("psst".into()),
        ..Item::default()
    };
    house.peer.say(std::iter::once(item)).await;
    house.hear("after", "bob@loopback", "after").await;
    let next = house.stanza(|stanza| stanza.starts_with("<message")).await;
    assert_eq!(body(&next), "after");
}

#[tokio::test]
async fn every_request_has_one_answer_and_bad_stanzas_cost_only_themselves() {
    let mut house = House::open().await;
    let deep = format!(
        "<message from='juliet@bench.example/b' to='bob%loopback@loopback.bench.example' id='deep'>{}{}</message>",
        "<a>".repeat(20_000),
        "</a>".repeat(20_000)
    );
    house.component.send(&deep).await;
    let rejected = house.stanza(|stanza| attribute(stanza, "id") == "deep").await;
    assert!(rejected.contains("<policy-violation"), "{rejected}");
    for (n, (to, payload, expected)) in [
        ("", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "category='gateway' "),
        ("", "<query xmlns='jabber:iq:version'/>", "<name>Portway</name>"),
        ("", "<dance xmlns='urn:x'/>", "<service-unavailable"),
        ("", "", "<bad-request"),
        ("bob%loopback@", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "type='registered'"),
        ("bob%loopback@", "<vCard xmlns='vcard-temp'/>", "<FN>bob@loopback</FN>"),
        ("=zz%loopback@", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "<jid-malformed"),
        (
            "bob%loopback@",
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='eu.siacs.conversations.axolotl.devicelist'/></pubsub>",
            "<items node='eu.siacs.conversations.axolotl.devicelist'/>",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        house
            .component
            .send(&format!(
                "<iq from='juliet@bench.example/b' to='{to}loopback.bench.example' type='get' id='q{n}'>{payload}</iq>"
            ))
            .await;
        let answer = house.stanza(|stanza| attribute(stanza, "id") == format!("q{n}")).await;
        assert!(answer.contains(expected.trim_end()), "{payload}: {answer}");
    }
    house
        .component
        .send(
            "<iq from='juliet@bench.example/b' to='loopback.bench.example' type='weird' id='w'/><presence/><message/>",
        )
        .await;
    house.say("last", "bob%loopback", "still here", "").await;
    assert_eq!(house.item("text").await.body.as_deref(), Some("still here"));
}

#[tokio::test]
async fn encrypted_messages_come_back_with_words() {
    let mut house = House::open().await;
    house.say("o1", "bob%loopback", "fallback", "<encrypted xmlns='eu.siacs.conversations.axolotl'/>").await;
    let error = house.stanza(|stanza| attribute(stanza, "id") == "o1").await;
    assert!(error.contains("<policy-violation") && error.contains("OMEMO"), "{error}");
}

#[tokio::test]
async fn corrections_reactions_and_answers_find_what_they_speak_of() {
    let mut house = House::open().await;
    house.say("m1", "bob%loopback", "helo", "").await;
    let first = house.item("text").await;
    house.say("m2", "bob%loopback", "hello", "<replace xmlns='urn:xmpp:message-correct:0' id='m1'/>").await;
    assert_eq!(house.item("edit").await.target, Some(first.id.clone()));
    let answer = Item {
        id: "b1".into(),
        user: Some("juliet@bench.example".into()),
        person: Some("bob@loopback".into()),
        kind: "text".into(),
        body: Some("yes".into()),
        target: Some(first.id),
        ..Item::default()
    };
    house.peer.say(std::iter::once(answer)).await;
    let stanza = house.stanza(|stanza| body(stanza) == "yes").await;
    assert!(stanza.contains("<reply xmlns='urn:xmpp:reply:0' id='m1'"), "{stanza}");
}

#[tokio::test]
async fn the_same_message_sent_again_arrives_once_and_the_same_words_arrive_twice() {
    let mut house = House::open().await;
    let id = "3f8e6a52-7c0d-4a55-9a3e-0d9f6c1b2a77";
    house.say(id, "bob%loopback", "once", "").await;
    house.say(id, "bob%loopback", "once", "").await;
    house.say("another-unguessable-id-1", "bob%loopback", "ok", "").await;
    house.say("another-unguessable-id-2", "bob%loopback", "ok", "").await;
    let seen = [house.item("text").await.body, house.item("text").await.body, house.item("text").await.body];
    assert_eq!(seen, [Some("once".into()), Some("ok".into()), Some("ok".into())]);
}

#[tokio::test]
async fn a_room_carries_text_both_ways_and_survives_a_crash() {
    let mut house = House::open().await;
    let join = "<presence from='juliet@bench.example/b' to='#town%loopback@loopback.bench.example/Juliet'><x xmlns='http://jabber.org/protocol/muc'/></presence>";
    house.component.send(join).await;
    house.stanza(|stanza| stanza.contains("<subject")).await;
    let speak = |id: &str, text: &str| {
        format!(
            "<message from='juliet@bench.example/b' to='#town%loopback@loopback.bench.example' type='groupchat' id='{id}'><body>{text}</body></message>"
        )
    };
    house.component.send(&speak("g1", "hello all")).await;
    let reflection = house.stanza(|stanza| body(stanza) == "hello all").await;
    assert_eq!(attribute(&reflection, "id"), "g1");
    assert!(reflection.contains("<stanza-id") && reflection.contains("<occupant-id"), "{reflection}");
    house.crash().await;
    let person = Item {
        id: "p1".into(),
        room: Some("!town".into()),
        person: Some("bob@loopback".into()),
        name: Some("Bob".into()),
        kind: "text".into(),
        body: Some("welcome back".into()),
        ..Item::default()
    };
    house.peer.say(std::iter::once(person)).await;
    let heard = house.stanza(|stanza| body(stanza) == "welcome back").await;
    assert_eq!(attribute(&heard, "from"), "#town%loopback@loopback.bench.example/Bob");
    assert_eq!(attribute(&heard, "to"), "juliet@bench.example/b");
}

/// M7: a client that went while the gateway was down is found out, and the others see it go; who is there stays, and is
/// not sent anything.
#[tokio::test]
async fn a_session_that_went_meanwhile_is_reaped_after_a_restart() {
    let mut house = House::open().await;
    for (who, nick) in [("juliet@bench.example/b", "Juliet"), ("romeo@bench.example/b", "Romeo")] {
        let join = format!(
            "<presence from='{who}' to='#town%loopback@loopback.bench.example/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        );
        house.component.send(&join).await;
        house.stanza(|stanza| stanza.contains("<subject") && attribute(stanza, "to") == who).await;
    }
    house.child.kill().await.expect("it ran");
    let (child, component, printed) =
        support::binary::start_with(&house.dir, &loopback(&house.dir, &house.server), &house.server, |component| {
            component.gone("juliet@bench.example/b");
        })
        .await;
    house.child = child;
    house.component = component;
    house.peer = Peer::connect(port_of(&printed, "loopback control")).await;
    let first = house.stanza(|stanza| stanza.starts_with("<presence")).await;
    assert_eq!(attribute(&first, "type"), "unavailable", "{first}");
    assert_eq!(attribute(&first, "from"), "#town%loopback@loopback.bench.example/Juliet");
    assert_eq!(attribute(&first, "to"), "romeo@bench.example/b");
    let ping = |who: &str, nick: &str, id: &str| {
        format!(
            "<iq type='get' id='{id}' from='{who}@bench.example/b' to='#town%loopback@loopback.bench.example/{nick}'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
    };
    house.component.send(&ping("juliet", "Juliet", "s1")).await;
    let answer = house.stanza(|stanza| attribute(stanza, "id") == "s1").await;
    assert!(answer.contains("<not-acceptable") && answer.contains("cancel"), "{answer}");
    house.component.send(&ping("romeo", "Romeo", "s2")).await;
    let answer = house.stanza(|stanza| attribute(stanza, "id") == "s2").await;
    assert_eq!(attribute(&answer, "type"), "result");
    // A room that nobody ever joined: clients must learn that they are not in it, and nothing else (M6).
    house.component.send(&ping("romeo", "Romeo", "s3").replace("town", "nowhere")).await;
    let answer = house.stanza(|stanza| attribute(stanza, "id") == "s3").await;
    assert!(answer.contains("<not-acceptable") && answer.contains("cancel"), "{answer}");
}

/// M9 and M7: while the other side is away, joining is refused for now, and occupants from before a restart stay.
#[tokio::test]
async fn a_room_that_is_away_costs_nobody_their_place() {
    let mut house = House::open().await;
    let join = |nick: &str, id: &str| {
        format!(
            "<presence from='{nick}@bench.example/b' to='!town@loopback.bench.example/{nick}' id='{id}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
    };
    house.component.send(&join("juliet", "j1")).await;
    house.stanza(|stanza| stanza.contains("<subject")).await;
    house.crash().await;
    house.peer.fail("!town", Some("temporary")).await;
    house.component.send(&join("romeo", "j2")).await;
    let refused = house.stanza(|stanza| attribute(stanza, "id") == "j2").await;
    assert!(refused.contains("<error type='wait'>") && refused.contains("<text"), "{refused}");
    let ping = "<iq type='get' id='p1' from='juliet@bench.example/b' to='!town@loopback.bench.example/juliet'><ping xmlns='urn:xmpp:ping'/></iq>";
    house.component.send(ping).await;
    assert_eq!(attribute(&house.stanza(|stanza| attribute(stanza, "id") == "p1").await, "type"), "result");
    house.peer.fail("!town", None).await;
    house.component.send(&join("romeo", "j3")).await;
    let own = house.stanza(|stanza| attribute(stanza, "id") == "j3").await;
    assert!(own.contains("code='110'"), "{own}");
}

#[tokio::test]
async fn bursts_of_one_chat_arrive_whole_and_in_order() {
    let mut house = House::open().await;
    for round in 0..3 {
        let mut text = String::new();
        for n in 0..2000 {
            text.push_str(&format!(
                "<message from='juliet@bench.example/b' to='bob%loopback@loopback.bench.example' type='chat' id='burst-{round}-{n:020}'><body>{n}</body></message>"
            ));
        }
        house.component.send(&text).await;
        for n in 0..2000 {
            assert_eq!(house.item("text").await.body, Some(n.to_string()), "round {round}");
        }
    }
}

/// The guarantee: with messages flowing both ways, the gateway is killed again and again. Nothing that was accepted is
/// lost; what arrives twice has the same id.
#[tokio::test]
async fn nothing_accepted_is_lost_when_the_gateway_is_killed() {
    let kills: usize = std::env::var("PORTWAY_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut house = House::open().await;
    let mut said = 0;
    let mut to_xmpp: BTreeMap<String, usize> = BTreeMap::new();
    let mut from_xmpp: BTreeMap<String, usize> = BTreeMap::new();
    let mut accepted_by_us = Vec::new();
    let mut receipts = Vec::new();
    for round in 0..kills {
        let begin = said;
        // A different moment each round: after a different number of things have been seen.
        let moment = 3 + round * 7 % 40;
        for _ in 0..40 {
            house
                .say(
                    &format!("kill-test-message-{said:06}"),
                    "bob%loopback",
                    &format!("x{said}"),
                    "<request xmlns='urn:xmpp:receipts'/>",
                )
                .await;
            house.hear(&format!("n{said}"), "bob@loopback", &format!("n{said}")).await;
            said += 1;
        }
        let mut seen = 0;
        while seen < moment {
            let House { component, peer, .. } = &mut house;
            tokio::select! {
                line = peer.next() => match line {
                    ToPeer::Out(item) => { *from_xmpp.entry(item.body.unwrap_or_default()).or_default() += 1; seen += 1; }
                    ToPeer::Ok { id } => accepted_by_us.push(id),
                    ToPeer::Error { text } => panic!("{text}"),
                },
                () = component.serve(|stanza| {
                    seen += 1;
                    if stanza.contains("<received") { receipts.push(stanza.split("id='kill").last().unwrap_or_default().to_owned()) }
                    else if body(stanza).starts_with('n') { *to_xmpp.entry(attribute(stanza, "id").to_owned()).or_default() += 1 }
                }) => {}
            }
        }
        assert!(said > begin);
        house.crash().await;
        // What the crash left is delivered now; a last message shows that everything before it is through.
        house.say(&format!("kill-test-sentinel-{round:06}"), "bob%loopback", &format!("end {round}"), "").await;
        house.hear(&format!("end{round}"), "bob@loopback", &format!("end {round}")).await;
        let (mut out, mut back) = (false, false);
        let finish = async {
            while !(out && back) {
                let House { component, peer, .. } = &mut house;
                tokio::select! {
                    line = peer.next() => if let ToPeer::Out(item) = line {
                        out |= item.body == Some(format!("end {round}"));
                        *from_xmpp.entry(item.body.unwrap_or_default()).or_default() += 1;
                    },
                    () = component.serve(|stanza| {
                        back |= body(stanza) == format!("end {round}");
                        if body(stanza).starts_with('n') { *to_xmpp.entry(attribute(stanza, "id").to_owned()).or_default() += 1 }
                    }) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, finish).await.expect("everything arrives");
    }
    let lost: Vec<_> =
        accepted_by_us.iter().filter(|id| !to_xmpp.contains_key(*id) && !id.starts_with("end")).collect();
    assert!(lost.is_empty(), "accepted and lost on the way to XMPP: {lost:?}");
    assert!(accepted_by_us.len() > kills && !from_xmpp.is_empty());
}

#[tokio::test]
async fn what_no_barrier_covers_is_sent_again_after_the_link_broke() {
    let mut house = House::open().await;
    house.component.mute();
    for n in 0..10 {
        house.hear(&format!("r{n}"), "bob@loopback", &format!("r{n}")).await;
    }
    let mut first = Vec::new();
    while first.len() < 10 {
        house.component.serve(|stanza| first.push(attribute(stanza, "id").to_owned())).await;
    }
    // The barrier was never answered; the link breaks.
    house.component = house.server.accept_after(house.component).await;
    let mut again = Vec::new();
    while again.len() < 10 {
        house.component.serve(|stanza| again.push(attribute(stanza, "id").to_owned())).await;
    }
    assert_eq!(first, again);
}
