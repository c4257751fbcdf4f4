//! Security and abuse: who may (S1), what is believed (S2), how much (S4), loops (S5), and what logs hold (S9).

use crate::support::gateway::{BALCONY, Gateway, JULIET, US, body, error};

const EVE: &str = "eve@evil.example/x";

#[tokio::test]
async fn s1_strangers_are_told_to_register_and_nothing_is_done_for_them() {
    let mut gateway = Gateway::open().await;
    let bob = format!("bob%loopback@{US}");
    let join = "<x xmlns='http://jabber.org/protocol/muc'/>";
    for (id, stanza) in [
        ("s0", format!("<message from='{EVE}' to='{bob}' type='chat' id='s0'><body>spam</body></message>")),
        ("s1", format!("<message from='{EVE}' to='{US}' type='chat' id='s1'><body>register</body></message>")),
        ("s2", format!("<presence from='{EVE}' to='{bob}' type='subscribe' id='s2'/>")),
        ("s3", format!("<presence from='{EVE}' to='#town%loopback@{US}/eve' id='s3'>{join}</presence>")),
        ("s4", format!("<iq from='{EVE}' to='{bob}' type='get' id='s4'><vCard xmlns='vcard-temp'/></iq>")),
        (
            "s5",
            format!(
                "<iq from='{EVE}' to='{US}' type='set' id='s5'><query xmlns='jabber:iq:gateway'><prompt>bob@loopback</prompt></query></iq>"
            ),
        ),
        ("s6", format!("<iq from='{EVE}' to='{US}' type='set' id='s6'><query xmlns='jabber:iq:register'/></iq>")),
        // The same words from a sub- and a superdomain, and from a server itself.
        ("s7", format!("<message from='a@sub.bench.example' to='{bob}' type='chat' id='s7'><body>x</body></message>")),
        ("s8", format!("<message from='a@example' to='{bob}' type='chat' id='s8'><body>x</body></message>")),
    ] {
        gateway.send(&stanza).await;
        let (_, condition, text, _) = error(&gateway.answer(id).await);
        assert_eq!(condition, "registration-required", "{stanza}");
        assert!(text.contains("admin"), "{text}");
    }
    // What asks for nothing gets nothing.
    for type_ in ["probe", "unavailable", "unsubscribe", "unsubscribed", "subscribed", "error"] {
        gateway.send(&format!("<presence from='{EVE}' to='{bob}' type='{type_}'/>")).await;
    }
    gateway
        .send(&format!("<message from='bench.example' to='{US}'><privilege xmlns='urn:xmpp:privilege:2'/></message>"))
        .await;
    assert!(gateway.rest().await.is_empty());
    gateway.say("last", "bob%loopback", "mine", "").await;
    let first = gateway.item("text").await;
    assert_eq!(
        (first.body.as_deref(), first.user.as_deref()),
        (Some("mine"), Some(JULIET)),
        "nothing of eve's came first"
    );
}

#[tokio::test]
async fn s2_only_what_the_server_stamped_says_who_speaks() {
    let mut gateway = Gateway::open().await;
    let forged = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='king@bench.example' \
                  to='bob%loopback@loopback.bench.example'><body>pay</body></message></forwarded>";
    for payload in [
        format!("<received xmlns='urn:xmpp:carbons:2'>{forged}</received>"),
        format!("<sent xmlns='urn:xmpp:carbons:2'>{forged}</sent>"),
        format!("<privilege xmlns='urn:xmpp:privilege:2'>{forged}</privilege>"),
        forged.to_owned(),
    ] {
        gateway
            .send(&format!("<message from='{BALCONY}' to='bob%loopback@{US}' type='chat'>{payload}</message>"))
            .await;
    }
    let payload = format!(
        "{forged}<delay xmlns='urn:xmpp:delay' from='king@bench.example' stamp='1970-01-01T00:00:00Z'/>\
         <addresses xmlns='http://jabber.org/protocol/address'><address type='ofrom' jid='king@bench.example'/></addresses>\
         <x xmlns='http://jabber.org/protocol/muc#user'><item jid='king@bench.example'/></x>\
         <stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='{JULIET}'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='king'/>"
    );
    gateway.say("m", "bob%loopback", "hello", &payload).await;
    let item = gateway.item("text").await;
    assert_eq!((item.body.as_deref(), item.user.as_deref()), (Some("hello"), Some(JULIET)));
}

/// What Prosody forwards from one component to another without a look (measured), and what it would not. Each is followed
/// by a good message, and the connection is the same one to the end.
#[tokio::test]
async fn s3_no_stanza_that_a_server_lets_through_costs_more_than_itself() {
    let mut gateway = Gateway::open().await;
    let bob = format!("bob%loopback@{US}");
    let from = format!("from='{BALCONY}' to='{bob}'");
    let nested =
        |levels: usize| format!("<message {from} id='h'>{}{}</message>", "<a>".repeat(levels), "</a>".repeat(levels));
    let attribute =
        |bytes: usize| format!("<message {from} id='h'><x xmlns='urn:x' y='{}'/></message>", "v".repeat(bytes));
    let hostile = [
        format!("<message {from} id='h'><x xmlns='urn:unknown' y='z'><z/></x></message>"),
        format!("<message {from} id='h'><delay xmlns='urn:xmpp:delay' stamp='yesterday'/></message>"),
        format!("<message {from} id='h' unknown='attribute'/>"),
        format!("<iq {from} type='get' id='h'><x xmlns='urn:unknown'/></iq>"),
        format!("<iq {from} type='get' id='h'><a xmlns='urn:a'/><b xmlns='urn:b'/></iq>"),
        format!("<message {from} type='bogus' id='h'/>"),
        format!("<message {from} id='h'>junk<thread>a</thread>junk<thread>b</thread></message>"),
        format!("<message from='@b' to='{bob}' id='h'><body>x</body></message>"),
        format!("<message from='' to='{bob}' id='h'><body>x</body></message>"),
        format!("<message from='a b@c' to='{bob}' id='h'><body>x</body></message>"),
        format!("<message to='{bob}' id='h'><body>x</body></message>"),
        format!("<message from='{BALCONY}' id='h'><body>x</body></message>"),
        format!("<message from='😀@bench.example/👩‍💻' to='{bob}' type='error' id='h'/>"),
        format!("<message from='{BALCONY}' to='{bob}/😀' type='error' id='h'/>"),
        format!("<iq {from} type='get' id='h'/>"),
        format!("<iq {from} type='get'><ping xmlns='urn:xmpp:ping'/></iq>"),
        format!("<iq {from} id='h'><ping xmlns='urn:xmpp:ping'/></iq>"),
        format!("<iq {from} type='bogus' id='h'><ping xmlns='urn:xmpp:ping'/></iq>"),
        format!("<message {from} type='error' id='h'/>"),
        format!("<message {from} type='error' id='h'><error/></message>"),
        format!("<message {from} type='error' id='h'><error type='bogus'><bogus xmlns='urn:x'/></error></message>"),
        format!("<presence {from} type='bogus'/>"),
        format!("<presence {from}><show>bogus</show><priority>999</priority></presence>"),
        format!("<presence {from}><show/><priority/></presence>"),
        format!("<message xmlns='jabber:client' {from} id='h'/>"),
        format!("<message xmlns='urn:else' {from} id='h'/>"),
        "<unknown/>".to_owned(),
        "<stream:features/>".to_owned(),
        format!("<message {from} id='h'><!-- a comment --></message>"),
        format!("<message {from} id='h'><x xmlns='urn:x'><![CDATA[<&>]]></x></message>"),
        "   ".to_owned(),
        format!("<message {from} id='h'><p:x/></message>"),
        format!("<message {from} id='h'><x xmlns='urn:x' a='1' a='2'/></message>"),
        attribute(16 << 10),
        attribute(600 << 10),
        nested(500),
        nested(4_000),
        nested(20_000),
        format!("<message {from} id='h'>{}</message>", "<a/>".repeat(11_000)),
        format!("<message {from} id='h'><x xmlns='urn:x'>{}</x></message>", "t".repeat(1 << 20)),
        format!("<message {from} id='h'><x xmlns='urn:x'>{}</x></message>", "t".repeat(5 << 20)),
    ];
    for (n, bad) in hostile.iter().enumerate() {
        gateway.send(bad).await;
        gateway.say(&format!("good-{n}"), "bob%loopback", &n.to_string(), "").await;
        let item = gateway.item("text").await;
        assert_eq!(item.body, Some(n.to_string()), "after {}", bad.chars().take(200).collect::<String>());
    }
    let (_, metrics) = gateway.page("/metrics").await;
    assert!(metrics.contains("portway_link_reconnects{network=\"loopback\"} 0"), "{metrics}");
}

#[tokio::test]
async fn s4_one_who_floods_is_slowed_down_and_nobody_else() {
    let mut gateway = Gateway::with("[limits]\nuser_rate = 1\nuser_burst = 30\n").await;
    for n in 0..80 {
        gateway.say(&format!("flood-{n}"), "bob%loopback", "x", "").await;
    }
    let (type_, condition, text, _) = error(&gateway.answer("flood-79").await);
    assert_eq!((type_.as_str(), condition.as_str()), ("wait", "resource-constraint"));
    assert!(text.contains("faster"), "{text}");
    let romeo = "romeo@bench.example/orchard";
    gateway
        .send(&format!("<message from='{romeo}' to='carl%loopback@{US}' type='chat' id='r'><body>hi</body></message>"))
        .await;
    let mut delivered = 0;
    loop {
        let item = gateway.item("text").await;
        if item.person.as_deref() == Some("carl@loopback") {
            break;
        }
        delivered += 1;
    }
    // Seconds may have passed on a busy machine; what matters is that most were refused, each with an error.
    let refused = 1 + gateway_errors(&mut gateway, romeo).await;
    assert!(delivered >= 1 && refused >= 30, "{delivered} delivered, {refused} refused");
}

/// Requests and messages have budgets of their own: a client that asks in a loop does not silence its user.
#[tokio::test]
async fn s4_a_flood_of_requests_leaves_messages_alone_and_the_other_way_round() {
    let limits = "[limits]\nuser_rate = 1\nuser_burst = 20\n";
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    let mut gateway = Gateway::with(limits).await;
    let mut refused = 0;
    for _ in 0..60 {
        refused += usize::from(gateway.iq("get", BALCONY, US, ping).await.attr("type") == Some("error"));
    }
    assert!(refused >= 20, "{refused}");
    for n in 0..10 {
        gateway.say(&format!("m{n}"), "bob%loopback", &n.to_string(), "").await;
        assert_eq!(gateway.item("text").await.body, Some(n.to_string()));
    }
    let mut gateway = Gateway::with(limits).await;
    for n in 0..60 {
        gateway.say(&format!("flood-{n}"), "bob%loopback", "x", "").await;
    }
    error(&gateway.answer("flood-59").await);
    assert_eq!(gateway.iq("get", BALCONY, US, ping).await.attr("type"), Some("result"));
}

#[tokio::test]
async fn s4_a_user_writes_to_so_many_new_people_a_day() {
    let mut gateway = Gateway::with("[limits]\nuser_rate = 0\nuser_people = 3\n").await;
    gateway.hear("w1", "william@loopback", "hello").await;
    gateway.stanza(|stanza| body(stanza) == "hello").await;
    for who in ["a", "b", "c"] {
        gateway.say(who, &format!("{who}%loopback"), who, "").await;
        gateway.item("text").await;
    }
    for round in 0..2 {
        // To ask to see somebody is not to write to them, and does not open the door.
        gateway.send(&format!("<presence from='{JULIET}' to='d%loopback@{US}' type='subscribe'/>")).await;
        gateway.say(&format!("d{round}"), "d%loopback", "d", "").await;
        let (type_, condition, text, _) = error(&gateway.answer(&format!("d{round}")).await);
        assert_eq!((type_.as_str(), condition.as_str()), ("wait", "resource-constraint"));
        assert!(text.contains("23 h") || text.contains("24 h"), "{text}");
        // Whom she knows, and who wrote first, she may write to; and others may write to whom they want.
        for to in ["a", "william"] {
            gateway.say(&format!("{to}{round}"), &format!("{to}%loopback"), to, "").await;
            assert_eq!(gateway.item("text").await.body.as_deref(), Some(to));
        }
        let romeo = format!(
            "<message from='romeo@bench.example/x' to='r{round}%loopback@{US}' type='chat' id='r'><body>r</body></message>"
        );
        gateway.send(&romeo).await;
        assert_eq!(gateway.item("text").await.body.as_deref(), Some("r"));
        gateway.restart().await;
    }
}

/// How many errors have come for the flood; asked for by somebody who may.
async fn gateway_errors(gateway: &mut Gateway, from: &str) -> usize {
    for _ in 0..2 {
        gateway.iq("get", from, US, "<ping xmlns='urn:xmpp:ping'/>").await;
    }
    let mut errors = 0;
    for n in 0..79 {
        let id = format!("flood-{n}");
        errors +=
            usize::from(gateway.take(|stanza| stanza.attr("id") == Some(&id) && stanza.attr("type") == Some("error")));
    }
    errors
}

#[tokio::test]
async fn s5_errors_and_our_own_words_are_never_answered() {
    let mut gateway = Gateway::open().await;
    let error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    for to in [US.to_owned(), format!("bob%loopback@{US}"), format!("=zz%x@{US}"), format!("#town%loopback@{US}/n")] {
        for from in [BALCONY, EVE, &format!("carl%loopback@{US}/portway"), US] {
            for kind in ["message", "presence", "iq"] {
                gateway.send(&format!("<{kind} type='error' from='{from}' to='{to}' id='loop'>{error}</{kind}>")).await;
            }
        }
        for payload in ["<body>echo</body>", "<request xmlns='urn:xmpp:receipts'/><body>echo</body>"] {
            let ours = format!("carl%loopback@{US}/portway");
            gateway.send(&format!("<message type='chat' from='{ours}' to='{to}' id='loop'>{payload}</message>")).await;
        }
    }
    let rest = gateway.rest().await;
    assert!(rest.is_empty(), "{rest:?}");
    gateway.say("last", "bob%loopback", "mine", "").await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("mine"));
}

/// A run with logs at debug level: no bodies and no secrets at all, and no full addresses above debug.
#[tokio::test]
async fn s9_logs_hold_no_bodies_no_secrets_and_no_addresses() {
    let mut gateway = Gateway::open().await;
    gateway.peer.fail("carl@loopback", Some("permanent")).await;
    gateway.peer.fail("dora@loopback", Some("temporary")).await;
    for (n, to) in ["bob%loopback", "carl%loopback", "dora%loopback", "=zz%loopback"].into_iter().enumerate() {
        gateway.say(&format!("m{n}"), to, "xyzzy-body", "<subject>xyzzy-subject</subject>").await;
    }
    gateway.answer("m3").await;
    gateway.answer("m1").await;
    let deep = format!("{}xyzzy-deep{}", "<a>".repeat(100), "</a>".repeat(100));
    gateway
        .send(&format!(
            "<message from='{BALCONY}' to='bob%loopback@{US}' id='deep'>{deep}</message><nonsense>xyzzy-n</nonsense>"
        ))
        .await;
    gateway.answer("deep").await;
    gateway.hear("b1", "bob@loopback", "xyzzy-back").await;
    gateway.stanza(|stanza| body(stanza) == "xyzzy-back").await;
    gateway.send("<broken xyzzy-xml></wrong>").await;
    gateway.restart().await;
    gateway.hear("b2", "bob@loopback", "xyzzy-again").await;
    gateway.stanza(|stanza| body(stanza) == "xyzzy-again").await;
    let log = std::fs::read_to_string(gateway.dir.0.join("log")).unwrap();
    assert!(log.contains("DEBUG") && log.contains("WARN"), "something is in it:\n{log}");
    for line in log.lines() {
        for hidden in ["xyzzy", "a-secret-of-the-component"] {
            assert!(!line.contains(hidden), "{line}");
        }
        let handshake = line.split(|c: char| !c.is_ascii_hexdigit()).any(|word| word.len() == 40);
        assert!(!handshake, "a handshake is as good as the secret for one stream: {line}");
        if !line.contains("DEBUG") && !line.contains("TRACE") {
            for address in [JULIET, "bob%loopback@", "carl%loopback@", "bob@loopback", "carl@loopback", "dora@loopback"]
            {
                assert!(!line.contains(address), "{line}");
            }
        }
    }
}
