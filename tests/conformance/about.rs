//! What the gateway says of itself: whom to turn to, its capabilities by both XEPs, how long it runs and what time it is.

use std::collections::BTreeSet;

use minidom::Element;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::support::gateway::{BALCONY, Gateway, US};

const INFO: &str = "http://jabber.org/protocol/disco#info";
const DATA: &str = "jabber:x:data";

async fn info(gateway: &mut Gateway, to: &str, node: Option<&str>) -> Element {
    let node = node.map(|node| format!(" node='{node}'")).unwrap_or_default();
    let answer = gateway.iq("get", BALCONY, to, &format!("<query xmlns='{INFO}'{node}/>")).await;
    assert_eq!(answer.attr("type"), Some("result"), "{to}: {}", String::from(&answer));
    answer.get_child("query", INFO).expect("a query").clone()
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

fn attr(element: &Element, name: &str) -> String {
    element.attr(name).unwrap_or_default().to_owned()
}

/// The children of this name as text, sorted.
fn sorted(info: &Element, name: &str, text: impl Fn(&Element) -> String) -> String {
    let mut all: Vec<String> = info.children().filter(|child| child.name() == name).map(text).collect();
    all.sort();
    all.concat()
}

fn values(field: &Element, end: &str) -> String {
    sorted(field, "value", |value| value.text() + end)
}

/// The hash of XEP-0115, section 5.1, with forms, written a second time.
fn first_hash(info: &Element) -> String {
    let identity = |i: &Element| format!("{}/{}//{}<", attr(i, "category"), attr(i, "type"), attr(i, "name"));
    let form = |form: &Element| {
        let fields = form.children().filter(|field| field.name() == "field");
        let (types, others): (Vec<&Element>, Vec<&Element>) =
            fields.partition(|field| field.attr("var") == Some("FORM_TYPE"));
        let mut rest: Vec<String> = others.iter().map(|field| attr(field, "var") + "<" + &values(field, "<")).collect();
        rest.sort();
        values(types[0], "<") + &rest.concat()
    };
    let text = sorted(info, "identity", identity)
        + &sorted(info, "feature", |feature| attr(feature, "var") + "<")
        + &sorted(info, "x", form);
    base64(Sha1::digest(text))
}

/// The hash of XEP-0390, section 4.1, written a second time.
fn second_hash(info: &Element) -> String {
    let features = sorted(info, "feature", |feature| attr(feature, "var") + "\u{1f}") + "\u{1c}";
    let identity = |i: &Element| {
        format!("{}\u{1f}{}\u{1f}\u{1f}{}\u{1f}\u{1e}", attr(i, "category"), attr(i, "type"), attr(i, "name"))
    };
    let field = |field: &Element| attr(field, "var") + "\u{1f}" + &values(field, "\u{1f}") + "\u{1e}";
    let form = |form: &Element| sorted(form, "field", field) + "\u{1d}";
    let text = features + &sorted(info, "identity", identity) + "\u{1c}" + &sorted(info, "x", form) + "\u{1c}";
    base64(Sha256::digest(text))
}

/// The capabilities in the presence that answers a probe: those of XEP-0115 as a node, and those of XEP-0390.
async fn nodes(gateway: &mut Gateway, to: &str) -> (String, String) {
    gateway.send(&format!("<presence type='probe' from='{BALCONY}' to='{to}'/>")).await;
    let bare = to.to_owned();
    let wanted = move |stanza: &Element| {
        stanza.name() == "presence" && stanza.attr("from").is_some_and(|from| from.starts_with(&bare))
    };
    let presence = gateway.stanza(wanted).await;
    let first = presence.get_child("c", "http://jabber.org/protocol/caps").expect("XEP-0115");
    let second = presence.get_child("c", "urn:xmpp:caps").expect("XEP-0390");
    let hash = second.get_child("hash", "urn:xmpp:hashes:2").expect("a hash");
    (
        format!("{}#{}", attr(first, "node"), attr(first, "ver")),
        format!("urn:xmpp:caps#{}.{}", attr(hash, "algo"), hash.text()),
    )
}

const WITH_ADMINS: &str = "[limits]\nuser_rate = 0\n";

async fn with_admins() -> Gateway {
    Gateway::configured(
        "admins = [\"admin@bench.example\", \"j%l@bench.example\"]\ncontact = [\"mailto:help@bench.example\", \"https://bench.example/help\"]\n",
        WITH_ADMINS,
    )
    .await
}

#[tokio::test]
async fn d1_the_gateway_says_whom_to_turn_to() {
    let mut gateway = with_admins().await;
    let info = info(&mut gateway, US, None).await;
    let form = info.get_child("x", DATA).expect("a form");
    assert_eq!(form.attr("type"), Some("result"));
    let values = |var: &str| -> BTreeSet<String> {
        let field = form.children().find(|field| field.attr("var") == Some(var)).unwrap_or_else(|| panic!("{var}"));
        field.children().map(Element::text).collect()
    };
    let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(values("FORM_TYPE"), set(&["http://jabber.org/network/serverinfo"]));
    assert_eq!(values("admin-addresses"), set(&["xmpp:admin@bench.example", "xmpp:j%25l@bench.example"]));
    assert_eq!(values("support-addresses"), set(&["mailto:help@bench.example", "https://bench.example/help"]));
    // Where nobody is named, nothing is said.
    let mut nobody = Gateway::open().await;
    let info = self::info(&mut nobody, US, None).await;
    assert!(info.get_child("x", DATA).is_none());
}

#[tokio::test]
async fn d3_both_kinds_of_capabilities_lead_to_the_gateway_s_identity() {
    let mut gateway = with_admins().await;
    let plain = info(&mut gateway, US, None).await;
    let (first, second) = nodes(&mut gateway, US).await;
    assert!(first.ends_with(&format!("#{}", first_hash(&plain))), "{first}");
    assert_eq!(second, format!("urn:xmpp:caps#sha-256.{}", second_hash(&plain)));
    for node in [first, second] {
        let by_node = info(&mut gateway, US, Some(&node)).await;
        assert_eq!(by_node.attr("node"), Some(node.as_str()));
        assert_eq!((first_hash(&by_node), second_hash(&by_node)), (first_hash(&plain), second_hash(&plain)));
    }
}

#[tokio::test]
async fn d5_d6_the_second_hash_too_is_the_same_for_all_contacts() {
    let mut gateway = Gateway::open().await;
    let mut seen = BTreeSet::new();
    for name in ["bob", "=42ob", "carl", "j=c3=bcrgen"] {
        let bare = format!("{name}%loopback@{US}");
        let (_, second) = nodes(&mut gateway, &bare).await;
        let by_node = info(&mut gateway, &format!("{bare}/portway"), Some(&second)).await;
        assert_eq!(second, format!("urn:xmpp:caps#sha-256.{}", second_hash(&by_node)));
        assert!(sorted(&by_node, "feature", |feature| attr(feature, "var")).contains("urn:xmpp:caps"));
        seen.insert((second, String::from(&by_node)));
    }
    assert_eq!(seen.len(), 1, "{seen:#?}");
}

#[tokio::test]
async fn d8_the_gateway_says_since_when_it_runs_and_what_time_it_is() {
    let mut gateway = Gateway::open().await;
    let answer = gateway.iq("get", BALCONY, US, "<query xmlns='jabber:iq:last'/>").await;
    let seconds = answer.get_child("query", "jabber:iq:last").and_then(|query| query.attr("seconds")).expect("seconds");
    assert!(seconds.parse::<u64>().expect("a number") < 600, "{seconds}");
    let answer = gateway.iq("get", BALCONY, US, "<time xmlns='urn:xmpp:time'/>").await;
    let time = answer.get_child("time", "urn:xmpp:time").expect("a time");
    assert_eq!(time.get_child("tzo", "urn:xmpp:time").unwrap().text(), "+00:00");
    let utc = time.get_child("utc", "urn:xmpp:time").unwrap().text();
    let told: xmpp_parsers::date::DateTime = utc.parse().unwrap_or_else(|_| panic!("{utc}"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(u64::try_from(told.0.timestamp()).unwrap().abs_diff(now) < 60, "{utc}");
    for query in ["<query xmlns='jabber:iq:last'/>", "<time xmlns='urn:xmpp:time'/>"] {
        let refused = gateway.iq("set", BALCONY, US, query).await;
        assert_eq!(refused.attr("type"), Some("error"), "{query}");
    }
}
