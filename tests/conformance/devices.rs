//! What devices can do, and what is therefore sent to them (P12).

use minidom::Element;
use portway_bridges::loopback::wire::Item;

use crate::support::gateway::{BALCONY, Gateway, JULIET, US};

const INFO: &str = "http://jabber.org/protocol/disco#info";
const ROSTERX: &str = "http://jabber.org/protocol/rosterx";
const NICK: &str = "http://jabber.org/protocol/nick";
const EVENT: &str = "http://jabber.org/protocol/pubsub#event";
const GARDEN: &str = "juliet@bench.example/garden";

/// A client's answer with these features, and the hash that its presence names (XEP-0115, section 5.1).
fn client(features: &[&str]) -> (String, String) {
    use base64::Engine as _;
    use sha1::Digest as _;
    let mut features = features.to_vec();
    features.sort_unstable();
    let mut text = String::from("client/pc//<");
    let mut info = String::from("<identity category='client' type='pc'/>");
    for feature in features {
        text.push_str(&format!("{feature}<"));
        info.push_str(&format!("<feature var='{feature}'/>"));
    }
    (info, base64::engine::general_purpose::STANDARD.encode(sha1::Sha1::digest(text)))
}

fn presence(device: &str, to: &str, ver: &str) -> String {
    let caps = format!("<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:client' ver='{ver}'/>");
    format!("<presence from='{device}' to='{to}'>{caps}</presence>")
}

async fn answer(gateway: &mut Gateway, device: &str, to: &str, ver: &str, info: &str) {
    let question = gateway.stanza(|stanza| stanza.has_child("query", INFO)).await;
    assert_eq!(
        (question.attr("type"), question.attr("from"), question.attr("to")),
        (Some("get"), Some(to), Some(device))
    );
    let node = format!("urn:client#{ver}");
    assert_eq!(question.get_child("query", INFO).unwrap().attr("node"), Some(node.as_str()));
    let id = question.attr("id").unwrap();
    let answer = format!(
        "<iq type='result' from='{device}' to='{to}' id='{id}'><query xmlns='{INFO}' node='{node}'>{info}</query></iq>"
    );
    gateway.send(&answer).await;
    // It has been taken when what comes behind it is answered.
    gateway.iq("get", device, US, "<ping xmlns='urn:xmpp:ping'/>").await;
}

fn is_nick(stanza: &Element) -> bool {
    let items = stanza.get_child("event", EVENT).and_then(|event| event.get_child("items", EVENT));
    items.is_some_and(|items| items.attr("node") == Some(NICK))
}

#[tokio::test]
async fn p12_names_go_to_the_devices_that_want_them_once_all_are_known() {
    let mut gateway = Gateway::open().await;
    let (wants, wants_ver) = client(&["http://jabber.org/protocol/nick+notify"]);
    let (plain, plain_ver) = client(&["http://jabber.org/protocol/muc"]);
    let add = |n: usize| format!("<presence type='subscribe' from='{JULIET}' to='p{n}%loopback@{US}'/>");
    let hear = |n: usize| Item {
        id: format!("h{n}"),
        user: Some(JULIET.into()),
        person: Some(format!("p{n}@loopback")),
        name: Some(format!("Person {n}")),
        kind: "text".into(),
        body: Some(format!("hello {n}")),
        ..Item::default()
    };
    for n in 0..4 {
        gateway.peer.say(std::iter::once(hear(n))).await;
        gateway.stanza(|stanza| stanza.attr("id") == Some(format!("h{n}").as_str())).await;
    }
    // Nothing is known of her devices: to all of them.
    gateway.send(&add(0)).await;
    assert_eq!(gateway.stanza(is_nick).await.attr("to"), Some(JULIET));
    gateway.send(&presence(BALCONY, US, &wants_ver)).await;
    answer(&mut gateway, BALCONY, US, &wants_ver, &wants).await;
    gateway.send(&add(1)).await;
    assert_eq!(gateway.stanza(is_nick).await.attr("to"), Some(BALCONY));
    // One that says nothing of itself: to all again.
    gateway.send(&format!("<presence from='{GARDEN}' to='{US}'/>")).await;
    gateway.send(&add(2)).await;
    assert_eq!(gateway.stanza(is_nick).await.attr("to"), Some(JULIET));
    // It does not want them.
    gateway.send(&presence(GARDEN, US, &plain_ver)).await;
    answer(&mut gateway, GARDEN, US, &plain_ver, &plain).await;
    gateway.send(&add(3)).await;
    assert_eq!(gateway.stanza(is_nick).await.attr("to"), Some(BALCONY));
    // What has been proven is asked of nobody else.
    gateway.send(&presence("romeo@bench.example/street", US, &plain_ver)).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| stanza.has_child("query", INFO) || is_nick(stanza)), "{rest:?}");
}

/// Pictures go where they are wanted, too, and presence with their hash to everybody as before.
#[tokio::test]
async fn p12_pictures_go_to_the_devices_that_want_them() {
    use base64::Engine as _;
    const METADATA: &str = "urn:xmpp:avatar:metadata";
    let mut gateway = Gateway::open().await;
    let (wants, wants_ver) = client(&["urn:xmpp:avatar:metadata+notify"]);
    let (plain, plain_ver) = client(&["http://jabber.org/protocol/nick+notify"]);
    for (device, ver, info) in [(BALCONY, &wants_ver, &wants), (GARDEN, &plain_ver, &plain)] {
        gateway.send(&presence(device, US, ver)).await;
        answer(&mut gateway, device, US, ver, info).await;
    }
    let mut picture = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(8, 8, image::Rgb([200, 0, 0])).write_to(&mut picture, image::ImageFormat::Png).unwrap();
    let picture = base64::engine::general_purpose::STANDARD.encode(picture.into_inner());
    gateway.peer.face("bob@loopback", Some(&picture)).await;
    gateway.send(&format!("<presence type='subscribe' from='{JULIET}' to='bob%loopback@{US}'/>")).await;
    let event = gateway.stanza(|stanza| stanza.name() == "message" && String::from(stanza).contains(METADATA)).await;
    assert_eq!(event.attr("to"), Some(BALCONY));
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| String::from(stanza).contains(METADATA)), "{rest:?}");
    let hash =
        |stanza: &Element| stanza.get_child("x", "vcard-temp:x:update").is_some_and(|x| x.children().next().is_some());
    assert!(rest.iter().any(|stanza| hash(stanza) && stanza.attr("to") == Some(JULIET)), "{rest:?}");
}

#[tokio::test]
async fn p12_p13_contacts_are_offered_in_one_message_to_a_device_that_takes_them() {
    let mut gateway = Gateway::open().await;
    for (n, name) in ["bob", "carl"].into_iter().enumerate() {
        gateway.say(&format!("a-long-enough-id-{n}"), &format!("{name}%loopback"), "hi", "").await;
        gateway.item("text").await;
    }
    let bob = format!("bob%loopback@{US}");
    gateway.send(&format!("<presence type='subscribe' from='{JULIET}' to='{bob}'/>")).await;
    gateway.stanza(|stanza| stanza.attr("type") == Some("subscribed")).await;
    let list = "<command xmlns='http://jabber.org/protocol/commands' node='contacts' action='execute'/>";
    // Nobody is known to take them: nothing is offered, and nobody asks.
    gateway.iq("set", BALCONY, US, list).await;
    let (takes, ver) = client(&[ROSTERX]);
    gateway.send(&presence(BALCONY, US, &ver)).await;
    answer(&mut gateway, BALCONY, US, &ver, &takes).await;
    let before = gateway.rest().await;
    assert!(!before.iter().any(|stanza| stanza.has_child("x", ROSTERX)), "{before:?}");
    gateway.iq("set", BALCONY, US, list).await;
    let offered = gateway.stanza(|stanza| stanza.has_child("x", ROSTERX)).await;
    assert_eq!((offered.name(), offered.attr("from"), offered.attr("to")), ("message", Some(US), Some(BALCONY)));
    let items: Vec<&Element> = offered.get_child("x", ROSTERX).unwrap().children().collect();
    let [item] = items.as_slice() else { panic!("{}", String::from(&offered)) };
    let carl = format!("carl%loopback@{US}");
    assert_eq!([item.attr("action"), item.attr("jid")], [Some("add"), Some(carl.as_str())]);
    assert_eq!(item.get_child("group", ROSTERX).map(Element::text).as_deref(), Some("Loopback"));
    let rest = gateway.rest().await;
    let asks = |stanza: &Element| stanza.attr("type") == Some("subscribe") && stanza.attr("from") == Some(&carl);
    assert!(!rest.iter().any(asks), "{rest:?}");
    // Registering offers them too; where we may write rosters nothing is offered.
    let register = |name: &str| format!("<query xmlns='jabber:iq:register'><name>{name}</name></query>");
    gateway.iq("set", BALCONY, US, &register("J")).await;
    gateway.stanza(|stanza| stanza.has_child("x", ROSTERX)).await;
    let granted = "<privilege xmlns='urn:xmpp:privilege:2'><perm access='roster' type='both'/></privilege>";
    gateway.send(&format!("<message from='bench.example' to='{US}'>{granted}</message>")).await;
    gateway.iq("set", BALCONY, US, list).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| stanza.has_child("x", ROSTERX)), "{rest:?}");
}

/// A device that knows reactions passes over the words; they are written for those that do not, once all are known.
#[tokio::test]
async fn xep_0444_reactions_are_said_in_words_where_no_device_shows_them() {
    const REACTIONS: &str = "urn:xmpp:reactions:0";
    let mut gateway = Gateway::open().await;
    let (plain, plain_ver) = client(&["http://jabber.org/protocol/muc"]);
    let (able, able_ver) = client(&[REACTIONS]);
    gateway.say("m1", "bob%loopback", "hi", "").await;
    let target = gateway.item("text").await.id;
    let react = |id: &str, keys: &str| Item {
        id: id.into(),
        user: Some(JULIET.into()),
        person: Some("bob@loopback".into()),
        kind: "reaction".into(),
        target: Some(target.clone()),
        body: Some(keys.into()),
        ..Item::default()
    };
    let words = async |gateway: &mut Gateway, id: &str, keys: &str| {
        gateway.peer.say(std::iter::once(react(id, keys))).await;
        let stanza = gateway.answer(id).await;
        let reactions = stanza.get_child("reactions", REACTIONS).expect("reactions, in any case");
        assert_eq!(reactions.attr("id"), Some("m1"));
        let fallbacks = stanza.children().filter(|child| child.is("fallback", "urn:xmpp:fallback:0"));
        let said = stanza.get_child("body", stanza.ns().as_str()).map(Element::text);
        let marked = fallbacks.filter(|child| child.attr("for") == Some(REACTIONS)).count();
        assert_eq!(marked, usize::from(said.is_some()));
        said
    };
    assert_eq!(words(&mut gateway, "b1", "👍").await, None, "nothing is known of her devices");
    gateway.send(&presence(BALCONY, US, &plain_ver)).await;
    answer(&mut gateway, BALCONY, US, &plain_ver, &plain).await;
    assert_eq!(words(&mut gateway, "b2", "👍 🎉").await.as_deref(), Some("reacted with 👍 🎉"));
    assert_eq!(words(&mut gateway, "b3", "").await, None, "what is taken back is not said");
    gateway.send(&presence(GARDEN, US, &able_ver)).await;
    answer(&mut gateway, GARDEN, US, &able_ver, &able).await;
    assert_eq!(words(&mut gateway, "b4", "🍰").await, None, "one of them shows it");
}

/// ejabberd moves the body of a message behind everything else, where Converse.js 14 does not find it: the first `<body/>` is
/// the one that says what is a quote. Clients like it need no quote.
#[tokio::test]
async fn xep_0461_nothing_is_quoted_where_all_devices_show_what_an_answer_answers() {
    const REPLY: &str = "urn:xmpp:reply:0";
    let mut gateway = Gateway::open().await;
    let (plain, plain_ver) = client(&["http://jabber.org/protocol/muc"]);
    let (able, able_ver) = client(&[REPLY]);
    gateway.say("m1", "bob%loopback", "hi", "").await;
    let target = gateway.item("text").await.id;
    let said = async |gateway: &mut Gateway, id: &str, target: &str| {
        let answer = Item {
            id: id.into(),
            user: Some(JULIET.into()),
            person: Some("bob@loopback".into()),
            kind: "text".into(),
            target: Some(target.into()),
            quote: Some("hi".into()),
            body: Some("hello".into()),
            ..Item::default()
        };
        gateway.peer.say(std::iter::once(answer)).await;
        let stanza = gateway.answer(id).await;
        let body = stanza.get_child("body", stanza.ns().as_str()).map(Element::text).unwrap_or_default();
        (body, stanza.has_child("reply", REPLY), stanza.has_child("fallback", "urn:xmpp:fallback:0"))
    };
    let quoted = || ("> hi\nhello".to_owned(), true, true);
    assert_eq!(said(&mut gateway, "b1", &target).await, quoted(), "nothing is known of her devices");
    gateway.send(&presence(BALCONY, US, &able_ver)).await;
    answer(&mut gateway, BALCONY, US, &able_ver, &able).await;
    assert_eq!(said(&mut gateway, "b2", &target).await, ("hello".to_owned(), true, false));
    assert_eq!(said(&mut gateway, "b3", "never-seen").await, ("> hi\nhello".to_owned(), false, false));
    gateway.send(&presence(GARDEN, US, &plain_ver)).await;
    answer(&mut gateway, GARDEN, US, &plain_ver, &plain).await;
    assert_eq!(said(&mut gateway, "b4", &target).await, quoted(), "one of them does not");
}
