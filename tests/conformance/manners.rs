//! Messages and presence: what a contact does with each sort of stanza, and what comes back.

use crate::support::gateway::{BALCONY, Gateway, JULIET, NS, US, body, error};
use minidom::Element;
use portway_bridges::loopback::wire::Item;

const RECEIPTS: &str = "urn:xmpp:receipts";
const REQUEST: &str = "<request xmlns='urn:xmpp:receipts'/>";

fn message(type_: &str, to: &str, id: &str, payload: &str) -> String {
    let type_ = if type_.is_empty() { String::new() } else { format!(" type='{type_}'") };
    format!("<message from='{BALCONY}' to='{to}@{US}' id='{id}'{type_}>{payload}</message>")
}

fn has_receipt(stanza: &Element) -> bool {
    stanza.has_child("received", RECEIPTS)
}

#[tokio::test]
async fn xep_0184_a_receipt_comes_once_the_network_has_accepted_and_goes_to_the_very_device() {
    let mut gateway = Gateway::open().await;
    gateway.peer.fail("carl@loopback", Some("temporary")).await;
    gateway.say("c1", "carl%loopback", "wait", REQUEST).await;
    gateway.say("b1", "bob%loopback", "hello", REQUEST).await;
    let receipt = gateway.stanza(has_receipt).await;
    assert_eq!(receipt.get_child("received", RECEIPTS).unwrap().attr("id"), Some("b1"));
    assert_eq!(receipt.attr("to"), Some(BALCONY));
    assert_eq!(receipt.attr("from"), Some(format!("bob%loopback@{US}/portway").as_str()));
    assert!(!gateway.rest().await.iter().any(has_receipt), "carl has nothing yet");
    gateway.peer.fail("carl@loopback", None).await;
    let receipt = gateway.stanza(has_receipt).await;
    assert_eq!(receipt.get_child("received", RECEIPTS).unwrap().attr("id"), Some("c1"));
}

#[tokio::test]
async fn xep_0184_no_receipt_without_a_request_or_an_id_or_in_a_room() {
    let mut gateway = Gateway::open().await;
    gateway.say("no-request", "bob%loopback", "1", "").await;
    gateway
        .send(&format!(
            "<message from='{BALCONY}' to='bob%loopback@{US}' type='chat'><body>2</body>{REQUEST}</message>"
        ))
        .await;
    gateway
        .send(&format!(
            "<presence from='{BALCONY}' to='#town%loopback@{US}/J'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
    gateway.stanza(|stanza| stanza.has_child("subject", NS)).await;
    gateway.send(&message("groupchat", "#town%loopback", "room", &format!("<body>3</body>{REQUEST}"))).await;
    gateway.stanza(|stanza| body(stanza) == "3").await;
    // What they are delivered with is their order; the last one has a receipt, those before had none.
    gateway.say("last", "bob%loopback", "4", REQUEST).await;
    let receipt = gateway.stanza(has_receipt).await;
    assert_eq!(receipt.get_child("received", RECEIPTS).unwrap().attr("id"), Some("last"));
    assert!(!gateway.rest().await.iter().any(has_receipt));
}

#[tokio::test]
async fn xep_0085_chat_states_go_both_ways_and_leave_no_trace() {
    let mut gateway = Gateway::open().await;
    let state = |name: &str| format!("<{name} xmlns='http://jabber.org/protocol/chatstates'/>");
    for (name, meant) in [("composing", "active"), ("paused", "inactive"), ("gone", "inactive")] {
        gateway.send(&message("chat", "bob%loopback", "", &state(name))).await;
        let item = gateway.item("typing").await;
        assert_eq!((item.body.as_deref(), item.person.as_deref()), (Some(meant), Some("bob@loopback")), "{name}");
    }
    for (said, expected) in [("active", "composing"), ("inactive", "paused")] {
        let typing = Item {
            user: Some(JULIET.to_owned()),
            person: Some("bob@loopback".to_owned()),
            kind: "typing".to_owned(),
            body: Some(said.to_owned()),
            ..Item::default()
        };
        gateway.peer.say(std::iter::once(typing)).await;
        let stanza = gateway
            .stanza(|stanza| stanza.children().any(|child| child.has_ns("http://jabber.org/protocol/chatstates")))
            .await;
        assert!(stanza.has_child(expected, "http://jabber.org/protocol/chatstates"), "{}", String::from(&stanza));
        assert!(stanza.has_child("no-store", "urn:xmpp:hints") && body(&stanza).is_empty());
    }
}

#[tokio::test]
async fn rfc_6121_each_type_of_message_has_its_meaning() {
    let mut gateway = Gateway::open().await;
    for (n, type_) in ["", "normal", "chat", "bogus"].into_iter().enumerate() {
        gateway.send(&message(type_, "bob%loopback", &format!("m{n}"), &format!("<body>{n}</body>"))).await;
        assert_eq!(gateway.item("text").await.body, Some(n.to_string()), "type {type_:?}");
    }
    gateway.send(&message("headline", "bob%loopback", "news", "<body>news</body>")).await;
    gateway.send(&message("groupchat", "bob%loopback", "group", "<body>group</body>")).await;
    let (type_, condition, text, _) = error(&gateway.answer("group").await);
    assert_eq!((type_.as_str(), condition.as_str()), ("cancel", "service-unavailable"));
    assert!(text.contains("not a room"), "{text}");
    gateway.say("after", "bob%loopback", "after", "").await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("after"), "neither of the two came through");
    assert!(gateway.rest().await.iter().all(|stanza| stanza.attr("id") != Some("news")));
}

#[tokio::test]
async fn rfc_6121_of_several_bodies_the_one_in_the_stanza_s_language_counts_and_an_empty_one_is_none() {
    let mut gateway = Gateway::open().await;
    for (attributes, bodies, expected) in [
        ("xml:lang='de'", "<body xml:lang='en'>one</body><body xml:lang='de'>eins</body>", "eins"),
        ("", "<body xml:lang='fr'>un</body><body>one</body>", "one"),
        ("", "<body xml:lang='fr'>un</body><body xml:lang='en'>one</body>", "un"),
        ("", "<body>first</body><body>second</body>", "first"),
    ] {
        let text =
            format!("<message from='{BALCONY}' to='bob%loopback@{US}' type='chat' {attributes}>{bodies}</message>");
        gateway.send(&text).await;
        assert_eq!(gateway.item("text").await.body.as_deref(), Some(expected), "{bodies}");
    }
    for empty in ["<body/>", "<body></body>", "", "<x xmlns='urn:unknown'/>"] {
        gateway.send(&message("chat", "bob%loopback", "empty", &format!("{empty}{REQUEST}"))).await;
    }
    gateway.say("last", "bob%loopback", "last", "").await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("last"));
    assert!(gateway.rest().await.iter().all(|stanza| stanza.attr("id") != Some("empty")));
}

#[tokio::test]
async fn d17_what_is_encrypted_comes_back_with_words_and_reaches_nobody() {
    let mut gateway = Gateway::open().await;
    for (n, (payload, scheme)) in [
        (
            "<body>I sent you an OMEMO encrypted message</body><encrypted xmlns='eu.siacs.conversations.axolotl'/>",
            "OMEMO",
        ),
        ("<encrypted xmlns='urn:xmpp:omemo:2'/>", "OMEMO"),
        ("<body>?OTRv23?</body>", "OTR"),
        ("<body>x</body><openpgp xmlns='urn:xmpp:openpgp:0'>abc</openpgp>", "OpenPGP"),
        ("<body>x</body><x xmlns='jabber:x:encrypted'>abc</x>", "OpenPGP"),
        ("<body>x</body><encryption xmlns='urn:xmpp:eme:0' namespace='urn:new' name='New'/>", "New"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("e{n}");
        gateway.send(&message("chat", "bob%loopback", &id, payload)).await;
        let (type_, condition, text, _) = error(&gateway.answer(&id).await);
        assert_eq!((type_.as_str(), condition.as_str()), ("modify", "policy-violation"), "{payload}");
        assert!(text.contains(scheme) && text.contains("Switch encryption off"), "{text}");
    }
    gateway.say("last", "bob%loopback", "plain", "").await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("plain"));
}

#[tokio::test]
async fn s10_errors_say_whether_to_try_again_and_in_which_language_they_speak() {
    let mut gateway = Gateway::open().await;
    gateway.peer.fail("carl@loopback", Some("permanent")).await;
    let german = |to: &str, id: &str| {
        format!(
            "<message from='{BALCONY}' to='{to}@{US}' type='chat' id='{id}' xml:lang='de-AT'><body>x</body></message>"
        )
    };
    gateway.send(&german("carl%loopback", "m1")).await;
    let (type_, condition, text, lang) = error(&gateway.answer("m1").await);
    assert_eq!((type_.as_str(), condition.as_str()), ("auth", "forbidden"));
    assert!(text.contains("abgelehnt") && lang.as_deref() == Some("de"), "{text} {lang:?}");
    gateway.send(&german("=zz%loopback", "m2")).await;
    let (type_, condition, text, lang) = error(&gateway.answer("m2").await);
    assert_eq!((type_.as_str(), condition.as_str(), lang.as_deref()), ("modify", "jid-malformed", Some("de")));
    assert!(text.contains(&format!("Richtig ist name%server@{US}")), "{text}");
    // A language that nobody has written down yet: English words, and they say so.
    gateway.send(&german("carl%loopback", "m3").replace("de-AT", "fr")).await;
    let (_, _, text, lang) = error(&gateway.answer("m3").await);
    assert!(text.contains("refused") && lang.as_deref() == Some("en"), "{text} {lang:?}");
    // Whoever leaves is told nothing, wherever they leave from.
    for to in ["=zz%loopback@", "bob%loopback@", "#town%loopback@", "#town%loopback@{US}/x", ""] {
        let to = to.replace("{US}", US);
        gateway.send(&format!("<presence type='unavailable' from='{BALCONY}' to='{to}{US}'/>")).await;
    }
    let rest = gateway.rest().await;
    assert!(rest.iter().all(|stanza| stanza.name() != "presence"), "{rest:?}");
}

#[tokio::test]
async fn s6_the_gateway_itself_can_be_subscribed_to() {
    let mut gateway = Gateway::open().await;
    gateway.send(&format!("<presence type='subscribe' from='{JULIET}' to='{US}' id='s'/>")).await;
    let subscribed = gateway.stanza(|stanza| stanza.attr("type") == Some("subscribed")).await;
    assert_eq!((subscribed.attr("from"), subscribed.attr("to")), (Some(US), Some(JULIET)));
    let available = gateway.stanza(|stanza| stanza.name() == "presence" && stanza.attr("type").is_none()).await;
    assert_eq!((available.attr("from"), available.attr("to")), (Some(US), Some(JULIET)));
}

#[tokio::test]
async fn rfc_6121_subscriptions_to_contacts_are_granted_and_probes_answered() {
    let mut gateway = Gateway::open().await;
    let bob = format!("bob%loopback@{US}");
    for (type_, expected) in [
        ("subscribe", vec![Some("subscribed"), None, Some("subscribe")]),
        ("probe", vec![None]),
        ("unsubscribe", vec![Some("unsubscribed"), Some("unavailable"), Some("unsubscribe")]),
    ] {
        gateway.send(&format!("<presence type='{type_}' from='{JULIET}' to='{bob}'/>")).await;
        for wanted in expected {
            let stanza = gateway.stanza(|stanza| stanza.name() == "presence").await;
            assert_eq!((stanza.attr("type"), stanza.attr("to")), (wanted, Some(JULIET)), "{type_}");
            assert!(stanza.attr("from").unwrap().starts_with(&bob));
        }
    }
    for quiet in ["subscribed", "unsubscribed", "error", "bogus"] {
        gateway.send(&format!("<presence type='{quiet}' from='{JULIET}' to='{bob}'/>")).await;
    }
    gateway.send(&format!("<presence from='{BALCONY}' to='{bob}'/>")).await;
    let rest = gateway.rest().await;
    assert!(rest.iter().all(|stanza| stanza.name() != "presence"), "{rest:?}");
}

#[tokio::test]
async fn rfc_6121_nobody_can_subscribe_to_an_address_that_means_nothing() {
    let mut gateway = Gateway::open().await;
    for (n, address) in ["=zz%loopback", "nobody", "!", "#town%", "a%"].into_iter().enumerate() {
        let id = format!("s{n}");
        gateway.send(&format!("<presence type='subscribe' from='{JULIET}' to='{address}@{US}' id='{id}'/>")).await;
        let (type_, condition, text, _) = error(&gateway.answer(&id).await);
        assert_eq!((type_.as_str(), condition.as_str()), ("modify", "jid-malformed"), "{address}");
        assert!(!text.is_empty());
    }
    gateway.send(&format!("<presence type='probe' from='{JULIET}' to='=zz%loopback@{US}'/>")).await;
    let gone = gateway.stanza(|stanza| stanza.name() == "presence").await;
    assert_eq!(gone.attr("type"), Some("unsubscribed"));
}

#[tokio::test]
async fn whoever_writes_to_the_gateway_itself_hears_what_it_is() {
    let mut gateway = Gateway::open().await;
    let to_gateway = |type_: &str, payload: &str| {
        format!("<message from='{BALCONY}' to='{US}' type='{type_}' id='w'>{payload}</message>")
    };
    gateway.send(&to_gateway("chat", "<body>hi</body>")).await;
    let welcome = gateway.stanza(|stanza| !body(stanza).is_empty()).await;
    assert_eq!((welcome.attr("from"), welcome.attr("to")), (Some(US), Some(BALCONY)));
    assert!(body(&welcome).contains(&format!("name%server@{US}")), "{}", body(&welcome));
    // Errors, markers and typing are not talk.
    gateway.send(&to_gateway("error", "<body>hi</body>")).await;
    gateway.send(&to_gateway("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>")).await;
    gateway.send(&to_gateway("headline", "<body>hi</body>")).await;
    assert!(gateway.rest().await.iter().all(|stanza| stanza.name() != "message"));
}

#[tokio::test]
async fn j8_every_contact_has_a_name() {
    let mut gateway = Gateway::open().await;
    let nick = |stanza: &Element| stanza.get_child("nick", "http://jabber.org/protocol/nick").map(Element::text);
    // Nobody has told a name yet: the address as the network writes it, without escapes.
    gateway.hear("n1", "Bob@loopback", "hi").await;
    let said = gateway.stanza(|stanza| body(stanza) == "hi").await;
    assert_eq!(said.attr("from"), Some(format!("=42ob%loopback@{US}/portway").as_str()));
    assert_eq!(nick(&said).as_deref(), Some("Bob@loopback"));
    let named = Item {
        id: "n2".into(),
        user: Some(JULIET.into()),
        person: Some("Bob@loopback".into()),
        name: Some("Robert".into()),
        kind: "text".into(),
        body: Some("again".into()),
        ..Item::default()
    };
    gateway.peer.say(std::iter::once(named)).await;
    let said = gateway.stanza(|stanza| body(stanza) == "again").await;
    assert_eq!(nick(&said).as_deref(), Some("Robert"));
    let bob = format!("=42ob%loopback@{US}");
    let card = gateway.iq("get", BALCONY, &bob, "<vCard xmlns='vcard-temp'/>").await;
    assert!(String::from(&card).contains("<FN>Robert</FN>"), "{}", String::from(&card));
    gateway.send(&format!("<presence type='probe' from='{JULIET}' to='{bob}'/>")).await;
    let presence = gateway.stanza(|stanza| stanza.name() == "presence").await;
    assert_eq!(nick(&presence).as_deref(), Some("Robert"));
}
