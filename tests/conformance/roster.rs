//! Contacts: subscriptions, who is online, and what the server lets us do (P numbers).

use std::collections::{BTreeMap, BTreeSet};

use minidom::Element;
use portway_bridges::loopback::wire::Item;

use crate::support::gateway::{BALCONY, Gateway, JULIET, NS, US};

const ROSTER: &str = "jabber:iq:roster";

fn is(stanza: &Element, type_: Option<&str>, from: &str) -> bool {
    stanza.name() == "presence" && stanza.attr("type") == type_ && stanza.attr("from") == Some(from)
}

async fn subscribe(gateway: &mut Gateway, node: &str) {
    let to = format!("{node}%loopback@{US}");
    gateway.send(&format!("<presence type='subscribe' from='{JULIET}' to='{to}'/>")).await;
    gateway.stanza(|stanza| is(stanza, Some("subscribed"), &to)).await;
}

async fn advert(gateway: &mut Gateway, from: &str, ns: &str) {
    let perms = "<perm access='roster' type='both'/><perm access='message' type='outgoing'/>";
    gateway
        .send(&format!("<message from='{from}' to='{US}'><privilege xmlns='{ns}'>{perms}</privilege></message>"))
        .await;
}

/// juliet's server, of which only her roster is played: one item, or none.
struct Server {
    item: String,
    /// What becomes of a set: the item is there with this subscription, or an error is the answer.
    set: Option<&'static str>,
}

impl Server {
    /// Answers requests about rosters until a presence to the user comes that is wanted; the requests, in order.
    async fn serve(&mut self, gateway: &mut Gateway, wanted: impl Fn(&Element) -> bool) -> Vec<Element> {
        let mut requests = Vec::new();
        loop {
            let asks = |stanza: &Element| stanza.name() == "iq" && stanza.has_child("query", ROSTER);
            let stanza = gateway.stanza(|stanza| asks(stanza) || wanted(stanza)).await;
            if wanted(&stanza) {
                return requests;
            }
            self.answer(gateway, &stanza).await;
            requests.push(stanza);
        }
    }

    async fn answer(&mut self, gateway: &mut Gateway, request: &Element) {
        assert_eq!((request.attr("from"), request.attr("to")), (Some(US), Some(JULIET)));
        let id = request.attr("id").unwrap();
        let head = format!("from='{JULIET}' to='{US}' id='{id}'");
        let answer = match (request.attr("type"), self.set) {
            (Some("get"), _) => format!("<iq type='result' {head}><query xmlns='{ROSTER}'>{}</query></iq>", self.item),
            (_, Some(subscription)) => {
                let item = request.get_child("query", ROSTER).unwrap().get_child("item", ROSTER).unwrap();
                let mut item = item.clone();
                portway::xmpp::xml::set(&mut item, "subscription", subscription);
                self.item = String::from(&item);
                format!("<iq type='result' {head}/>")
            }
            (_, None) => format!(
                "<iq type='error' {head}><error type='wait'><internal-server-error \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
            ),
        };
        gateway.send(&answer).await;
    }
}

#[tokio::test]
async fn rfc_6121_a_contact_asks_back_once_and_both_see_each_other() {
    let mut gateway = Gateway::open().await;
    let bob = format!("bob%loopback@{US}");
    subscribe(&mut gateway, "bob").await;
    let ask = gateway.stanza(|stanza| is(stanza, Some("subscribe"), &bob)).await;
    assert_eq!(ask.attr("to"), Some(JULIET));
    let nick = ask.get_child("nick", "http://jabber.org/protocol/nick").map(Element::text);
    assert_eq!(nick.as_deref(), Some("bob@loopback"), "it says who asks");
    // Asked again before and after an answer: not asked back again.
    subscribe(&mut gateway, "bob").await;
    gateway.send(&format!("<presence type='subscribed' from='{JULIET}' to='{bob}'/>")).await;
    subscribe(&mut gateway, "bob").await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| is(stanza, Some("subscribe"), &bob)), "{rest:?}");
    // A restart forgets nothing of it: the contact asks where she is, and asks for nothing else.
    gateway.restart().await;
    let probe = gateway.stanza(|stanza| stanza.attr("type") == Some("probe")).await;
    assert_eq!((probe.attr("from"), probe.attr("to")), (Some(bob.as_str()), Some(JULIET)));
    subscribe(&mut gateway, "bob").await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| is(stanza, Some("subscribe"), &bob)), "{rest:?}");
    // She goes: nothing is left, and a probe says so (RFC 6121, section 4.3.2).
    gateway.send(&format!("<presence type='unsubscribe' from='{JULIET}' to='{bob}'/>")).await;
    for type_ in ["unsubscribed", "unsubscribe"] {
        gateway.stanza(|stanza| is(stanza, Some(type_), &bob)).await;
    }
    gateway.send(&format!("<presence type='probe' from='{JULIET}' to='{bob}' id='p'/>")).await;
    assert!(is(&gateway.answer("p").await, Some("unsubscribed"), &bob));
}

#[tokio::test]
async fn rfc_6121_what_the_user_refuses_is_not_asked_for_again_by_itself() {
    let mut gateway = Gateway::open().await;
    let bob = format!("bob%loopback@{US}");
    subscribe(&mut gateway, "bob").await;
    gateway.stanza(|stanza| is(stanza, Some("subscribe"), &bob)).await;
    gateway.send(&format!("<presence type='unsubscribed' from='{JULIET}' to='{bob}'/>")).await;
    gateway.send(&format!("<presence from='{BALCONY}' to='{bob}'/>")).await;
    gateway.send(&format!("<presence type='probe' from='{BALCONY}' to='{bob}'/>")).await;
    gateway.stanza(|stanza| is(stanza, None, &format!("{bob}/portway")) && stanza.attr("to") == Some(BALCONY)).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| is(stanza, Some("subscribe"), &bob)), "{rest:?}");
}

#[tokio::test]
async fn p1_p6_a_forged_advert_gives_nothing_and_a_reconnect_forgets() {
    let mut gateway = Gateway::open().await;
    for forger in ["eve@bench.example/x", "eve@bench.example", "evil.example", BALCONY] {
        advert(&mut gateway, forger, "urn:xmpp:privilege:2").await;
    }
    subscribe(&mut gateway, "bob").await;
    // It asks, and so has not gone by her roster.
    gateway.stanza(|stanza| is(stanza, Some("subscribe"), &format!("bob%loopback@{US}"))).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| stanza.has_child("query", ROSTER)), "{rest:?}");
    advert(&mut gateway, "bench.example", "urn:xmpp:privilege:2").await;
    subscribe(&mut gateway, "carl").await;
    gateway.stanza(|stanza| stanza.has_child("query", ROSTER)).await;
    let next = gateway.server.accept();
    let (next, ()) = tokio::join!(next, async {
        gateway.connection.send("</stream:stream>").await;
    });
    gateway.connection = next;
    subscribe(&mut gateway, "dora").await;
    gateway.stanza(|stanza| is(stanza, Some("subscribe"), &format!("dora%loopback@{US}"))).await;
}

#[tokio::test]
async fn p2_p6_p7_a_contact_is_written_into_the_roster_and_looked_for() {
    for (ns, set, asks) in [
        // Prosody; ejabberd, which ignores the subscription; ejabberd 23.01, which refuses.
        ("urn:xmpp:privilege:2", Some("both"), false),
        ("urn:xmpp:privilege:2", Some("none"), true),
        ("urn:xmpp:privilege:1", None, true),
    ] {
        let mut gateway = Gateway::open().await;
        let bob = format!("bob%loopback@{US}");
        advert(&mut gateway, "bench.example", ns).await;
        subscribe(&mut gateway, "bob").await;
        let mut server = Server { item: String::new(), set };
        let requests = if asks {
            server.serve(&mut gateway, |stanza| is(stanza, Some("subscribe"), &bob)).await
        } else {
            let mut requests = Vec::new();
            for _ in 0..3 {
                let request = gateway.stanza(|stanza| stanza.has_child("query", ROSTER)).await;
                server.answer(&mut gateway, &request).await;
                requests.push(request);
            }
            requests
        };
        let types: Vec<_> = requests.iter().filter_map(|request| request.attr("type")).collect();
        let expected = if set.is_none() { vec!["get", "set"] } else { vec!["get", "set", "get"] };
        assert_eq!(types, expected, "{ns}");
        let item = requests[1].get_child("query", ROSTER).unwrap().get_child("item", ROSTER).unwrap();
        let attributes = ["jid", "name", "subscription"].map(|name| item.attr(name).unwrap());
        assert_eq!(attributes, [bob.as_str(), "bob@loopback", "both"]);
        assert_eq!(item.get_child("group", ROSTER).map(Element::text).as_deref(), Some("Loopback"));
        let rest = gateway.rest().await;
        assert!(!rest.iter().any(|stanza| is(stanza, Some("subscribe"), &bob)), "{rest:?}");
    }
}

#[tokio::test]
async fn p6_d10_whoever_registers_has_the_gateway_in_the_roster_and_whoever_leaves_has_not() {
    let mut gateway = Gateway::open().await;
    advert(&mut gateway, "bench.example", "urn:xmpp:privilege:2").await;
    let register = |payload: &str, id: &str| {
        format!(
            "<iq type='set' id='{id}' from='{BALCONY}' to='{US}'><query xmlns='jabber:iq:register'>{payload}</query></iq>"
        )
    };
    gateway.send(&register("<nick>J</nick>", "in")).await;
    let mut server = Server { item: String::new(), set: Some("both") };
    let shown = |stanza: &Element| is(stanza, None, US) || is(stanza, Some("subscribe"), US);
    let requests = server.serve(&mut gateway, shown).await;
    let types: Vec<_> = requests.iter().filter_map(|request| request.attr("type")).collect();
    assert_eq!(types, ["get", "set", "get"]);
    assert!(server.item.contains("Loopback gateway"), "{}", server.item);
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| is(stanza, Some("subscribe"), US)), "she was not asked: {rest:?}");
    // Both see each other: after a restart the gateway asks where she is.
    gateway.restart().await;
    gateway.stanza(|stanza| is(stanza, Some("probe"), US)).await;
    advert(&mut gateway, "bench.example", "urn:xmpp:privilege:2").await;
    gateway.send(&register("<remove/>", "out")).await;
    gateway.stanza(|stanza| is(stanza, Some("unsubscribed"), US)).await;
    let request = gateway.stanza(|stanza| stanza.has_child("query", ROSTER)).await;
    let item = request.get_child("query", ROSTER).unwrap().get_child("item", ROSTER).unwrap();
    assert_eq!((request.attr("type"), request.attr("to")), (Some("set"), Some(JULIET)));
    assert_eq!((item.attr("jid"), item.attr("subscription")), (Some(US), Some("remove")));
}

/// Clients show the name in the roster, whatever they hear later.
#[tokio::test]
async fn p6_a_name_is_asked_for_before_it_goes_into_a_roster_or_a_question() {
    let mut gateway = Gateway::open().await;
    for (node, name) in [("bob", "Robert"), ("carl", "Charles")] {
        gateway.peer.name(&format!("{node}@loopback"), name).await;
    }
    subscribe(&mut gateway, "bob").await;
    let ask = gateway.stanza(|stanza| is(stanza, Some("subscribe"), &format!("bob%loopback@{US}"))).await;
    let nick = ask.get_child("nick", "http://jabber.org/protocol/nick").map(Element::text);
    assert_eq!(nick.as_deref(), Some("Robert"));
    advert(&mut gateway, "bench.example", "urn:xmpp:privilege:2").await;
    subscribe(&mut gateway, "carl").await;
    let mut server = Server { item: String::new(), set: Some("both") };
    for _ in 0..2 {
        let request = gateway.stanza(|stanza| stanza.has_child("query", ROSTER)).await;
        server.answer(&mut gateway, &request).await;
    }
    assert!(server.item.contains("Charles"), "{}", server.item);
}

/// A server that lets us see presence sends us that of everybody.
#[tokio::test]
async fn p11_presence_that_a_privilege_brings_is_used_and_never_answered_with_an_error() {
    let mut gateway = Gateway::for_users(JULIET, "").await;
    let granted = "<privilege xmlns='urn:xmpp:privilege:2'><perm access='presence' type='managed_entity'/></privilege>";
    gateway.send(&format!("<message from='bench.example' to='{US}'>{granted}</message>")).await;
    subscribe(&mut gateway, "bob").await;
    gateway.rest().await;
    gateway.send(&format!("<presence from='nurse@bench.example/x' to='{US}' id='nurse'/>")).await;
    gateway.send(&format!("<presence from='{BALCONY}' to='{US}'/>")).await;
    let bob = format!("bob%loopback@{US}/portway");
    gateway.stanza(|stanza| is(stanza, None, &bob) && stanza.attr("to") == Some(BALCONY)).await;
    let rest = gateway.rest().await;
    assert!(rest.iter().all(|stanza| stanza.attr("id") != Some("nurse")), "{rest:?}");
    // Without it, or to a contact, whoever may not is told so.
    let bare = format!("bob%loopback@{US}");
    gateway.send(&format!("<presence from='nurse@bench.example/x' to='{bare}' id='nurse-2'/>")).await;
    assert_eq!(crate::support::gateway::error(&gateway.answer("nurse-2").await).1, "registration-required");
}

#[tokio::test]
async fn p4_the_echo_of_what_was_said_in_the_user_s_name_is_not_carried() {
    let mut gateway = Gateway::open().await;
    let own = "<own xmlns='urn:portway:own'/>";
    gateway
        .send(&format!(
            "<message from='{JULIET}' to='bob%loopback@{US}' type='chat' id='echo'><body>echo</body>{own}</message>"
        ))
        .await;
    gateway.say("m1", "bob%loopback", "mine", "").await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("mine"));
}

/// How many stanzas of each type a device gets from contacts, by their addresses.
fn count(stanzas: &[Element]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for stanza in stanzas.iter().filter(|stanza| stanza.name() != "iq") {
        let type_ = stanza.attr("type").unwrap_or("available");
        *counts.entry(format!("{} {type_}", stanza.name())).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn p13_a_login_with_500_contacts_is_500_presences_and_no_question() {
    const CONTACTS: usize = 500;
    let mut gateway = Gateway::open().await;
    for n in 0..CONTACTS {
        gateway.send(&format!("<presence type='subscribe' from='{JULIET}' to='c{n}%loopback@{US}'/>")).await;
    }
    gateway.stanza(|stanza| is(stanza, Some("subscribed"), &format!("c{}%loopback@{US}", CONTACTS - 1))).await;
    let added = count(&gateway.rest().await);
    // Of an imported roster some ask, and never hundreds.
    assert_eq!(added.get("presence subscribed"), Some(&(CONTACTS - 1)));
    assert!(added.get("presence subscribe").is_some_and(|asked| *asked <= 20), "{added:?}");

    // As a server does it at a login: presence to each contact, then a probe to each.
    for n in 0..CONTACTS {
        gateway.send(&format!("<presence from='{BALCONY}' to='c{n}%loopback@{US}'/>")).await;
    }
    for n in 0..CONTACTS {
        gateway.send(&format!("<presence type='probe' from='{BALCONY}' to='c{n}%loopback@{US}'/>")).await;
    }
    let login = logged_in(&mut gateway, CONTACTS).await;
    assert_eq!(login, BTreeMap::from([("presence available".to_owned(), CONTACTS)]));

    // A gateway that was away when she came: nobody asks for anybody, and she sees them all the same.
    gateway.restart().await;
    gateway.send(&format!("<presence from='{BALCONY}' to='c0%loopback@{US}'/>")).await;
    let login = logged_in(&mut gateway, CONTACTS).await;
    assert_eq!(login, BTreeMap::from([("presence available".to_owned(), CONTACTS)]));
}

/// Waits until a device has seen so many contacts, each once; what it got.
async fn logged_in(gateway: &mut Gateway, contacts: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeSet::new();
    let mut got = Vec::new();
    while seen.len() < contacts {
        let to_her = |stanza: &Element| stanza.attr("to") == Some(BALCONY) && stanza.name() != "iq";
        let stanza = gateway.stanza(to_her).await;
        if stanza.name() == "presence" && stanza.attr("type").is_none() {
            assert!(stanza.has_child("c", "http://jabber.org/protocol/caps"));
            assert!(seen.insert(stanza.attr("from").unwrap().to_owned()), "twice: {}", String::from(&stanza));
        }
        got.push(stanza);
    }
    got.extend(gateway.rest().await.into_iter().filter(|stanza| stanza.attr("to") == Some(BALCONY)));
    assert!(got.iter().all(|stanza| stanza.ns() == NS));
    count(&got)
}

#[tokio::test]
async fn d3_whoever_sees_the_gateway_sees_it_again_when_it_comes_back() {
    let mut gateway = Gateway::open().await;
    gateway.send(&format!("<presence type='subscribe' from='{JULIET}' to='{US}' id='s'/>")).await;
    gateway.stanza(|stanza| is(stanza, Some("subscribed"), US)).await;
    gateway.restart().await;
    let presence = gateway.stanza(|stanza| is(stanza, None, US)).await;
    assert!(presence.has_child("c", "http://jabber.org/protocol/caps"));
    assert_eq!(presence.attr("to"), Some(JULIET));
}

#[tokio::test]
async fn xep_0012_0319_how_a_contact_is_doing_is_shown_to_who_is_there_and_to_who_asks() {
    let mut gateway = Gateway::open().await;
    let (bob, device) = (format!("bob%loopback@{US}"), format!("bob%loopback@{US}/portway"));
    let show = |stanza: &Element| stanza.get_child("show", NS).map(Element::text);
    let last = "<query xmlns='jabber:iq:last'/>";
    let never = gateway.iq("get", BALCONY, &bob, last).await;
    assert_eq!(crate::support::gateway::error(&never).1, "item-not-found");
    subscribe(&mut gateway, "bob").await;
    gateway.send(&format!("<presence type='probe' from='{BALCONY}' to='{bob}'/>")).await;
    let first = gateway.stanza(|stanza| is(stanza, None, &device) && stanza.attr("to") == Some(BALCONY)).await;
    assert_eq!(show(&first), None);
    gateway.rest().await;
    let doing = |state: &str, about: Option<&str>| Item {
        person: Some("bob@loopback".to_owned()),
        name: about.map(str::to_owned),
        kind: "presence".to_owned(),
        body: Some(state.to_owned()),
        ..Item::default()
    };
    gateway.peer.say(std::iter::once(doing("away", Some("at tea")))).await;
    let away = gateway.stanza(|stanza| is(stanza, None, &device)).await;
    assert_eq!((away.attr("to"), show(&away).as_deref()), (Some(JULIET), Some("away")));
    assert_eq!(away.get_child("status", NS).map(Element::text).as_deref(), Some("at tea"));
    // The next comes too soon to be told to everybody, but whoever asks hears it.
    gateway.peer.say(std::iter::once(doing("gone", None))).await;
    gateway.hear("m1", "bob@loopback", "good night").await;
    gateway.stanza(|stanza| stanza.attr("id") == Some("m1")).await;
    let rest = gateway.rest().await;
    assert!(!rest.iter().any(|stanza| is(stanza, None, &device)), "{rest:?}");
    gateway.send(&format!("<presence type='probe' from='{JULIET}/garden' to='{bob}'/>")).await;
    let gone = gateway.stanza(|stanza| is(stanza, None, &device)).await;
    assert_eq!(show(&gone).as_deref(), Some("xa"));
    let seen = gateway.iq("get", BALCONY, &bob, last).await;
    let seconds = seen.get_child("query", "jabber:iq:last").and_then(|query| query.attr("seconds")).unwrap();
    assert!(seconds.parse::<u64>().unwrap() < 60, "{seconds}");
}
