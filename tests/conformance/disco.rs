//! What the gateway and its contacts say they are (D1–D8, D12, D16), and that every request has exactly one answer.

use std::collections::{BTreeMap, BTreeSet};

use minidom::Element;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sha1::{Digest, Sha1};

use crate::support::gateway::{BALCONY, Gateway, JULIET, NS, US, error};

const INFO: &str = "http://jabber.org/protocol/disco#info";
const CAPS: &str = "http://jabber.org/protocol/caps";

async fn info(gateway: &mut Gateway, to: &str, node: Option<&str>) -> Element {
    let node = node.map(|node| format!(" node='{node}'")).unwrap_or_default();
    let answer = gateway.iq("get", BALCONY, to, &format!("<query xmlns='{INFO}'{node}/>")).await;
    assert_eq!(answer.attr("type"), Some("result"), "{to}: {}", String::from(&answer));
    answer.get_child("query", INFO).expect("a query").clone()
}

fn identities(info: &Element) -> Vec<String> {
    let identities = info.children().filter(|child| child.name() == "identity");
    identities.map(|i| format!("{}/{}", i.attr("category").unwrap(), i.attr("type").unwrap())).collect()
}

fn features(info: &Element) -> BTreeSet<String> {
    let features = info.children().filter(|child| child.name() == "feature");
    features.map(|feature| feature.attr("var").unwrap().to_owned()).collect()
}

/// The hash of XEP-0115, section 5.1, written a second time.
fn hash(info: &Element) -> String {
    let mut text = String::new();
    let mut of: Vec<String> = info
        .children()
        .filter(|child| child.name() == "identity")
        .map(|i| {
            format!(
                "{}/{}//{}<",
                i.attr("category").unwrap(),
                i.attr("type").unwrap(),
                i.attr("name").unwrap_or_default()
            )
        })
        .collect();
    of.sort();
    text.extend(of);
    text.extend(features(info).into_iter().map(|feature| feature + "<"));
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, Sha1::digest(text))
}

/// The presence that answers a probe of this address.
async fn presence(gateway: &mut Gateway, to: &str) -> Element {
    gateway.send(&format!("<presence type='probe' from='{BALCONY}' to='{to}'/>")).await;
    let bare = to.to_owned();
    gateway
        .stanza(move |stanza| {
            stanza.name() == "presence" && stanza.attr("from").is_some_and(|from| from.starts_with(&bare))
        })
        .await
}

#[tokio::test]
async fn d1_d2_the_gateway_is_first_of_all_a_gateway() {
    let mut gateway = Gateway::open().await;
    let info = info(&mut gateway, US, None).await;
    assert_eq!(identities(&info), ["gateway/loopback", "conference/text", "account/registered"]);
    let features = features(&info);
    for feature in ["jabber:iq:gateway", "http://jabber.org/protocol/muc", INFO, "urn:xmpp:ping", "jabber:iq:version"] {
        assert!(features.contains(feature), "{feature}");
    }
    // Every feature that is named answers: none is a promise.
    for (payload, type_) in [
        ("<query xmlns='http://jabber.org/protocol/disco#items'/>", "get"),
        ("<query xmlns='jabber:iq:gateway'/>", "get"),
        ("<ping xmlns='urn:xmpp:ping'/>", "get"),
        ("<query xmlns='jabber:iq:version'/>", "get"),
    ] {
        let answer = gateway.iq(type_, BALCONY, US, payload).await;
        assert_eq!(answer.attr("type"), Some("result"), "{payload}");
    }
}

#[tokio::test]
async fn d3_the_gateway_s_presence_carries_capabilities_that_lead_to_its_identity() {
    let mut gateway = Gateway::open().await;
    let presence = presence(&mut gateway, US).await;
    assert_eq!((presence.attr("from"), presence.attr("to")), (Some(US), Some(BALCONY)));
    let caps = presence.get_child("c", CAPS).expect("capabilities");
    let node = format!("{}#{}", caps.attr("node").unwrap(), caps.attr("ver").unwrap());
    let by_node = info(&mut gateway, US, Some(&node)).await;
    assert_eq!((by_node.attr("node"), hash(&by_node).as_str()), (Some(node.as_str()), caps.attr("ver").unwrap()));
    assert_eq!(identities(&by_node)[0], "gateway/loopback");
    let other = gateway.iq("get", BALCONY, US, &format!("<query xmlns='{INFO}' node='urn:else#x'/>")).await;
    assert_eq!(error(&other).1, "item-not-found");
}

#[tokio::test]
async fn d4_a_contact_s_account_has_pep_and_a_card() {
    let mut gateway = Gateway::open().await;
    let info = info(&mut gateway, &format!("bob%loopback@{US}"), None).await;
    assert_eq!(identities(&info), ["account/registered", "pubsub/pep"]);
    for feature in [INFO, "http://jabber.org/protocol/pubsub", "vcard-temp"] {
        assert!(features(&info).contains(feature), "{feature}");
    }
    let card = gateway.iq("get", BALCONY, &format!("bob%loopback@{US}"), "<vCard xmlns='vcard-temp'/>").await;
    assert_eq!(
        card.get_child("vCard", "vcard-temp").unwrap().get_child("FN", "vcard-temp").unwrap().text(),
        "bob@loopback"
    );
}

#[tokio::test]
async fn d5_d6_all_contacts_have_the_same_device_and_one_hash_serves_them_all() {
    let mut gateway = Gateway::open().await;
    let mut seen = BTreeSet::new();
    for name in ["bob", "=42ob", "carl", "j=c3=bcrgen"] {
        let bare = format!("{name}%loopback@{US}");
        let full = format!("{bare}/portway");
        let presence = presence(&mut gateway, &bare).await;
        assert_eq!(presence.attr("from"), Some(full.as_str()));
        let caps = presence.get_child("c", CAPS).expect("capabilities");
        assert_eq!(caps.attr("hash"), Some("sha-1"));
        let (ver, node) = (caps.attr("ver").unwrap().to_owned(), caps.attr("node").unwrap().to_owned());
        let plain = info(&mut gateway, &full, None).await;
        assert_eq!(hash(&plain), ver, "the hash is that of the answer");
        let by_node = info(&mut gateway, &full, Some(&format!("{node}#{ver}"))).await;
        assert_eq!((identities(&by_node), features(&by_node)), (identities(&plain), features(&plain)));
        assert_eq!(identities(&plain), ["client/pc"]);
        for feature in [
            "http://jabber.org/protocol/chatstates",
            "urn:xmpp:receipts",
            "urn:xmpp:message-correct:0",
            "urn:xmpp:reactions:0",
            "urn:xmpp:reply:0",
            "urn:xmpp:message-retract:1",
            "urn:xmpp:styling:0",
            "urn:xmpp:markup:0",
            "http://jabber.org/protocol/xhtml-im",
            "urn:xmpp:spoiler:0",
            "urn:xmpp:reference:0",
            "jabber:x:oob",
            "urn:xmpp:sfs:0",
        ] {
            assert!(features(&plain).contains(feature), "{feature}");
        }
        // Nothing of it speaks of one contact.
        assert!(!String::from(&plain).contains(name));
        seen.insert(String::from(&plain));
    }
    assert_eq!(seen.len(), 1, "{seen:#?}");
}

#[tokio::test]
async fn d12_escaping_is_not_advertised_and_both_typed_forms_are_understood() {
    let mut gateway = Gateway::open().await;
    assert!(!features(&info(&mut gateway, US, None).await).contains("jid\\20escaping"));
    for typed in [r"bob\40loopback", "bob%loopback"] {
        let info = info(&mut gateway, &format!("{typed}@{US}"), None).await;
        assert_eq!(identities(&info)[0], "account/registered", "{typed}");
    }
    let prompt = "<query xmlns='jabber:iq:gateway'><prompt>bob@loopback</prompt></query>";
    let answer = gateway.iq("set", BALCONY, US, prompt).await;
    let jid =
        answer.get_child("query", "jabber:iq:gateway").and_then(|query| query.get_child("jid", "jabber:iq:gateway"));
    assert_eq!(jid.unwrap().text(), format!("bob%loopback@{US}"));
    let bad = gateway.iq("set", BALCONY, US, "<query xmlns='jabber:iq:gateway'><prompt>nobody</prompt></query>").await;
    let (_, condition, text, _) = error(&bad);
    assert!(condition == "jid-malformed" && text.contains("name@server"), "{text}");
}

#[tokio::test]
async fn d16_a_list_of_omemo_devices_is_empty_and_no_error() {
    const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
    let mut gateway = Gateway::open().await;
    for node in ["eu.siacs.conversations.axolotl.devicelist", "urn:xmpp:omemo:2:devices"] {
        let payload = format!("<pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub>");
        let answer = gateway.iq("get", BALCONY, &format!("bob%loopback@{US}"), &payload).await;
        assert_eq!(answer.attr("type"), Some("result"), "{node}");
        let items = answer.get_child("pubsub", PUBSUB).and_then(|pubsub| pubsub.get_child("items", PUBSUB)).unwrap();
        assert_eq!((items.attr("node"), items.children().count()), (Some(node), 0));
    }
}

/// D20: an address that is shown to everybody in a room that anybody may enter stops clients from joining by themselves.
#[tokio::test]
async fn d20_a_room_that_anybody_may_enter_hides_addresses() {
    let mut gateway = Gateway::open().await;
    let info = info(&mut gateway, &format!("#town%loopback@{US}"), None).await;
    let features = features(&info);
    assert_eq!(identities(&info), ["conference/text"]);
    assert!(!features.contains("muc_nonanonymous") || features.contains("muc_membersonly"), "{features:?}");
    assert!(features.contains("muc_semianonymous") || features.contains("muc_nonanonymous"));
}

/// A payload: nested elements of known and unknown names, with attributes that mean something elsewhere.
fn payload() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        ("query", INFO),
        ("query", "http://jabber.org/protocol/disco#items"),
        ("query", "jabber:iq:version"),
        ("query", "jabber:iq:gateway"),
        ("query", "jabber:iq:register"),
        ("query", "jabber:iq:roster"),
        ("query", "urn:xmpp:mam:2"),
        ("ping", "urn:xmpp:ping"),
        ("vCard", "vcard-temp"),
        ("pubsub", "http://jabber.org/protocol/pubsub"),
        ("items", "http://jabber.org/protocol/pubsub"),
        ("command", "http://jabber.org/protocol/commands"),
        ("error", NS),
        ("message", NS),
        ("x", "urn:unknown"),
        ("query", "http://jabber.org/protocol/muc#admin"),
    ]);
    let attribute =
        prop::sample::select(vec!["", " node='x'", " node='urn:xmpp:omemo:2:devices'", " to='a@b'", " id='x'"]);
    let text = prop::sample::select(vec!["", "text", "bob@loopback", "&lt;"]);
    let leaf = (names, attribute, text)
        .prop_map(|((name, ns), attribute, text)| (format!("<{name} xmlns='{ns}'{attribute}>{text}"), name));
    leaf.prop_map(|(open, name)| format!("{open}</{name}>")).prop_recursive(3, 8, 3, |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..3)).prop_map(|(outer, children)| {
            let at = outer.rfind("</").unwrap();
            format!("{}{}{}", &outer[..at], children.concat(), &outer[at..])
        })
    })
}

#[tokio::test]
async fn d8_l2_every_request_has_one_answer_whatever_it_asks_and_answers_have_none() {
    let mut gateway = Gateway::open().await;
    let targets = prop::sample::select(vec![
        US.to_owned(),
        format!("{US}/x"),
        format!("bob%loopback@{US}"),
        format!("bob%loopback@{US}/portway"),
        format!("bob%loopback@{US}/else"),
        format!("=zz%loopback@{US}"),
        format!("nobody@{US}"),
        format!(r"bob\40loopback@{US}"),
        format!("#town%loopback@{US}"),
        format!("#town%loopback@{US}/nick"),
        format!("!x@{US}"),
        format!("%23town%40loopback@{US}"),
    ]);
    let types = prop::sample::select(vec!["get", "set", "result", "error"]);
    let senders = prop::sample::select(vec![BALCONY, JULIET, "eve@evil.example/x", "bench.example", "evil.example"]);
    let payloads = prop_oneof![
        8 => payload(),
        1 => Just(String::new()),
        1 => (payload(), payload()).prop_map(|(a, b)| a + &b),
        1 => Just("junk".to_owned()),
    ];
    let requests = (targets, types, senders, payloads);
    let mut runner = TestRunner::deterministic();
    let mut wanted = BTreeMap::new();
    let mut silent = BTreeSet::new();
    for n in 0..600 {
        let (to, type_, from, payload) = requests.new_tree(&mut runner).unwrap().current();
        let stanza = format!("<iq type='{type_}' id='fuzz-{n}' from='{from}' to='{to}'>{payload}</iq>");
        gateway.send(&stanza).await;
        if matches!(type_, "get" | "set") {
            wanted.insert(format!("fuzz-{n}"), (from, to, stanza));
        } else {
            silent.insert(format!("fuzz-{n}"));
        }
    }
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut check = |answer: &Element| {
        let id = answer.attr("id").unwrap_or_default().to_owned();
        assert!(!silent.contains(&id), "an answer to an answer: {}", String::from(answer));
        let Some((from, to, stanza)) = wanted.get(&id) else { return };
        assert!(matches!(answer.attr("type"), Some("result" | "error")), "{}", String::from(answer));
        assert_eq!((answer.attr("to"), answer.attr("from")), (Some(*from), Some(to.as_str())), "{stanza}");
        *answers.entry(id).or_default() += 1;
    };
    for (id, (_, _, stanza)) in &wanted {
        let answer = tokio::time::timeout(std::time::Duration::from_secs(20), gateway.answer(id)).await;
        check(&answer.unwrap_or_else(|_| panic!("no answer to {stanza}")));
    }
    for stanza in gateway.rest().await {
        check(&stanza);
    }
    assert_eq!(answers.len(), wanted.len());
    assert!(answers.values().all(|count| *count == 1), "{answers:?}");
}
