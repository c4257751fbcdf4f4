//! What strangers say waits for the user's consent (S11), and words of the gateway itself wait for a server that is away.

use std::time::Duration;

use portway_bridges::loopback::wire::{Item, ToPeer};

use crate::support::gateway::{BALCONY, Gateway, JULIET, NS, US, body};

const NURSE: &str = "nurse@bench.example/house";

async fn open(strangers: &str) -> Gateway {
    let admins = "admins = [\"nurse@bench.example\"]\n";
    Gateway::for_network(admins, &format!("strangers = \"{strangers}\"\n")).await
}

async fn chat(gateway: &mut Gateway, from: &str, text: &str) -> String {
    gateway.send(&format!("<message from='{from}' to='{US}' type='chat' id='c'><body>{text}</body></message>")).await;
    let to = from.to_owned();
    let answer = gateway
        .stanza(move |stanza| {
            stanza.name() == "message" && stanza.attr("from") == Some(US) && stanza.attr("to") == Some(&to)
        })
        .await;
    body(&answer)
}

/// The next message to juliet's bare JID of somebody (or, with `false`, of the gateway itself): who says it, and what.
async fn said(gateway: &mut Gateway, somebody: bool) -> (String, String) {
    let stanza = gateway
        .stanza(|stanza| {
            let wanted =
                stanza.name() == "message" && stanza.attr("to") == Some(JULIET) && stanza.has_child("body", NS);
            wanted && (stanza.attr("from") != Some(US)) == somebody
        })
        .await;
    (stanza.attr("from").unwrap_or_default().to_owned(), body(&stanza))
}

async fn told(gateway: &mut Gateway) -> (String, String) {
    said(gateway, true).await
}

async fn question(gateway: &mut Gateway) -> String {
    said(gateway, false).await.1
}

async fn says(gateway: &mut Gateway, id: &str, person: &str, body: &str) {
    gateway.hear(id, person, body).await;
}

fn paris() -> String {
    format!("paris%loopback@{US}/portway")
}

/// What the person with this name is told of a failure.
async fn failure(gateway: &mut Gateway, person: &str) -> Item {
    let item = gateway.item("failed").await;
    assert_eq!(item.person.as_deref(), Some(person));
    item
}

#[tokio::test]
async fn s11_a_stranger_is_announced_and_heard_when_the_user_says_so() {
    let mut gateway = open("ask").await;
    let long = format!("Fair lady, {}\nsecond line", "x".repeat(300));
    says(&mut gateway, "p1", "paris@loopback", &long).await;
    says(&mut gateway, "p2", "paris@loopback", "Are you there?").await;
    let asked = question(&mut gateway).await;
    assert!(asked.contains("paris@loopback") && asked.contains("Loopback") && asked.contains("Fair lady"), "{asked}");
    assert!(asked.contains("accept paris@loopback") && asked.contains(&format!("paris%loopback@{US}")), "{asked}");
    assert!(!asked.contains("second line") && asked.contains('…'), "{asked}");
    // What of the moment a stranger does is nobody's business.
    let typing = Item {
        user: Some(JULIET.to_owned()),
        person: Some("paris@loopback".to_owned()),
        kind: "typing".to_owned(),
        body: Some("active".to_owned()),
        ..Item::default()
    };
    gateway.peer.say(std::iter::once(typing)).await;
    while !matches!(gateway.peer.next().await, ToPeer::Ok { id } if id == "p2") {}
    // Nothing is forgotten by a crash, and nothing of it came before the answer.
    gateway.restart().await;
    let listed = chat(&mut gateway, BALCONY, "strangers list").await;
    assert!(listed.contains("paris@loopback") && listed.contains("2 messages"), "{listed}");
    assert!(chat(&mut gateway, BALCONY, "status").await.contains("1 people whom you do not know"));
    assert!(chat(&mut gateway, BALCONY, "export").await.contains("Fair lady"));
    let rest = gateway.rest().await;
    assert!(rest.iter().all(|stanza| stanza.attr("from") != Some(&paris())), "{rest:?}");
    assert!(chat(&mut gateway, BALCONY, "accept paris@loopback").await.contains("2 messages"));
    assert_eq!(told(&mut gateway).await, (paris(), long));
    assert_eq!(told(&mut gateway).await, (paris(), "Are you there?".to_owned()));
    says(&mut gateway, "p3", "paris@loopback", "At last.").await;
    assert_eq!(told(&mut gateway).await, (paris(), "At last.".to_owned()));
    assert!(chat(&mut gateway, BALCONY, "strangers").await.contains("Nobody waits"));
}

#[tokio::test]
async fn s11_writing_to_somebody_or_adding_them_accepts_them() {
    let mut gateway = open("ask").await;
    says(&mut gateway, "p1", "paris@loopback", "one").await;
    question(&mut gateway).await;
    gateway.say("m1", "paris%loopback", "who are you?", "").await;
    assert_eq!(told(&mut gateway).await, (paris(), "one".to_owned()));
    says(&mut gateway, "b1", "bob@loopback", "two").await;
    question(&mut gateway).await;
    gateway.send(&format!("<presence from='{JULIET}' to='bob%loopback@{US}' type='subscribe'/>")).await;
    assert_eq!(told(&mut gateway).await.1, "two");
    // Written to first, added first, let through by a rule: never asked.
    gateway.say("m2", "carl%loopback", "hi", "").await;
    gateway.item("text").await;
    gateway.item("text").await;
    gateway.send(&format!("<presence from='{JULIET}' to='dora%loopback@{US}' type='subscribe'/>")).await;
    gateway.rest().await;
    chat(&mut gateway, NURSE, "rules allow *@friends.example").await;
    for (id, person) in [("c", "carl@loopback"), ("d", "dora@loopback"), ("e", "ed@friends.example")] {
        says(&mut gateway, id, person, id).await;
        assert_eq!(told(&mut gateway).await.1, id);
    }
    let rest = gateway.rest().await;
    assert!(rest.iter().all(|stanza| !body(stanza).contains("accept")), "{rest:?}");
}

#[tokio::test]
async fn s11_whoever_is_refused_or_blocked_is_told_and_so_is_whoever_says_too_much() {
    let mut gateway = open("ask").await;
    says(&mut gateway, "p1", "paris@loopback", "one").await;
    question(&mut gateway).await;
    assert!(chat(&mut gateway, BALCONY, "refuse").await.contains("1 messages of paris@loopback go back"));
    assert_eq!(failure(&mut gateway, "paris@loopback").await.body.as_deref(), Some("policy-violation"));
    // The same again is the same; something new asks anew.
    says(&mut gateway, "p1", "paris@loopback", "one").await;
    says(&mut gateway, "p2", "paris@loopback", "two").await;
    assert!(question(&mut gateway).await.contains("two"));
    assert!(chat(&mut gateway, BALCONY, "block paris@loopback").await.contains("blocked"));
    failure(&mut gateway, "paris@loopback").await;
    says(&mut gateway, "e1", "eve@loopback", "spam").await;
    question(&mut gateway).await;
    assert!(chat(&mut gateway, BALCONY, "strangers block eve@loopback").await.contains("blocked"));
    failure(&mut gateway, "eve@loopback").await;
    for n in 0..25 {
        says(&mut gateway, &format!("t{n}"), "tybalt@loopback", &n.to_string()).await;
    }
    question(&mut gateway).await;
    for _ in 20..25 {
        assert_eq!(failure(&mut gateway, "tybalt@loopback").await.body.as_deref(), Some("resource-constraint"));
    }
    assert!(chat(&mut gateway, BALCONY, "strangers accept").await.contains("20 messages"));
    for n in 0..20 {
        assert_eq!(told(&mut gateway).await.1, n.to_string());
    }
    let errors: Vec<_> = gateway.rest().await;
    assert!(errors.iter().all(|stanza| stanza.attr("from") != Some(US)), "{errors:?}");
}

/// juliet chooses what becomes of strangers' words to her; says whether she was asked.
async fn choose(gateway: &mut Gateway, policy: &str) -> bool {
    let commands = "http://jabber.org/protocol/commands";
    let begin = format!("<command xmlns='{commands}' node='preferences'/>");
    let form = gateway.iq("set", BALCONY, US, &begin).await;
    let session =
        form.get_child("command", commands).and_then(|form| form.attr("sessionid")).expect("a form").to_owned();
    let complete = format!(
        "<command xmlns='{commands}' node='preferences' sessionid='{session}' action='complete'>\
         <x xmlns='jabber:x:data' type='submit'><field var='strangers'><value>{policy}</value></field></x></command>"
    );
    let done = String::from(&gateway.iq("set", BALCONY, US, &complete).await);
    assert!(done.contains("saved"), "{done}");
    String::from(&form).contains("var='strangers'") || String::from(&form).contains("var=\"strangers\"")
}

#[tokio::test]
async fn s11_users_choose_for_themselves_where_the_admin_lets_them() {
    let mut gateway = open("deliver").await;
    says(&mut gateway, "p1", "paris@loopback", "one").await;
    assert_eq!(told(&mut gateway).await.1, "one");
    let set = "<query xmlns='jabber:iq:register'><nick>J</nick></query>";
    gateway.iq("set", BALCONY, US, set).await;
    assert!(choose(&mut gateway, "ask").await);
    says(&mut gateway, "p2", "paris@loopback", "two").await;
    question(&mut gateway).await;
    // What is held goes by what is chosen now.
    choose(&mut gateway, "deliver").await;
    assert_eq!(told(&mut gateway).await.1, "two");
    choose(&mut gateway, "ask").await;
    says(&mut gateway, "t1", "tybalt@loopback", "three").await;
    question(&mut gateway).await;
    choose(&mut gateway, "refuse").await;
    failure(&mut gateway, "tybalt@loopback").await;
    says(&mut gateway, "t2", "tybalt@loopback", "four").await;
    failure(&mut gateway, "tybalt@loopback").await;
    // Registering anew does not change it; leaving sends back what is held.
    choose(&mut gateway, "ask").await;
    gateway.iq("set", BALCONY, US, set).await;
    says(&mut gateway, "t3", "tybalt@loopback", "five").await;
    question(&mut gateway).await;
    gateway.iq("set", BALCONY, US, "<query xmlns='jabber:iq:register'><remove/></query>").await;
    failure(&mut gateway, "tybalt@loopback").await;

    let mut gateway = open("refuse").await;
    gateway.iq("set", BALCONY, US, set).await;
    assert!(!choose(&mut gateway, "deliver").await, "there is nothing to choose");
    says(&mut gateway, "p1", "paris@loopback", "one").await;
    failure(&mut gateway, "paris@loopback").await;
    gateway.say("m1", "paris%loopback", "yes?", "").await;
    gateway.item("text").await;
    says(&mut gateway, "p2", "paris@loopback", "two").await;
    assert_eq!(told(&mut gateway).await.1, "two");
}

#[tokio::test]
async fn s11_an_invitation_of_a_stranger_waits_as_well() {
    let mut gateway = open("ask").await;
    let invite = Item {
        id: "i1".to_owned(),
        user: Some(JULIET.to_owned()),
        person: Some("paris@loopback".to_owned()),
        kind: "invite".to_owned(),
        name: Some("Ball".to_owned()),
        body: Some("!ball".to_owned()),
        ..Item::default()
    };
    gateway.peer.say(std::iter::once(invite)).await;
    assert!(question(&mut gateway).await.contains("an invitation to the room Ball"));
    chat(&mut gateway, BALCONY, "accept paris@loopback").await;
    let invited = gateway.stanza(|stanza| String::from(stanza).contains("jabber:x:conference")).await;
    // From the bare address, as every invitation (XEP-0249).
    let bare = paris().split_once('/').map(|(bare, _)| bare.to_owned());
    assert_eq!(invited.attr("from"), bare.as_deref());
}

/// The user does not exist, and only their server knows: whoever wrote to them hears of it now and not in two weeks.
#[tokio::test]
async fn s11_what_is_held_for_somebody_who_is_not_there_goes_back_at_once() {
    let mut gateway = open("ask").await;
    says(&mut gateway, "p1", "paris@loopback", "one").await;
    let question = gateway.stanza(|stanza| stanza.attr("from") == Some(US) && stanza.has_child("body", NS)).await;
    let id = question.attr("id").expect("an id");
    let error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    // Of another one it says nothing.
    for other in ["pw-1", "x"] {
        gateway.send(&format!("<message type='error' from='{JULIET}' to='{US}' id='{other}'>{error}</message>")).await;
    }
    assert!(chat(&mut gateway, BALCONY, "strangers list").await.contains("1 messages"));
    gateway.send(&format!("<message type='error' from='{JULIET}' to='{US}' id='{id}'>{error}</message>")).await;
    assert_eq!(failure(&mut gateway, "paris@loopback").await.body.as_deref(), Some("service-unavailable"));
    assert!(chat(&mut gateway, BALCONY, "strangers list").await.contains("Nobody waits"));
}

/// A crash at any moment: what the network was told is committed is asked about, and comes in order once it is accepted.
#[tokio::test]
async fn s11_a_crash_loses_nothing_of_what_is_held() {
    let mut gateway = open("ask").await;
    let mut committed = 0;
    for round in 0..4 {
        let from = round * 4;
        for n in from..from + 4 {
            says(&mut gateway, &format!("p{n}"), "paris@loopback", &n.to_string()).await;
        }
        // Killed with the last ones perhaps on their way; what was answered holds.
        let confirmed = format!("p{}", from + 1);
        while !matches!(gateway.peer.next().await, ToPeer::Ok { id } if id == confirmed) {}
        committed = committed.max(from + 2);
        gateway.restart().await;
        // The other side sends again what was not answered, as networks do.
        for n in from + 2..from + 4 {
            says(&mut gateway, &format!("p{n}"), "paris@loopback", &n.to_string()).await;
        }
    }
    let answered = async {
        loop {
            let text = chat(&mut gateway, BALCONY, "strangers list").await;
            if text.contains("16 messages") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), answered).await.expect("all of them are held");
    // Nothing is confirmed before the crash, so that nothing is missed that comes beside the answer.
    gateway.connection.pongs = false;
    chat(&mut gateway, BALCONY, "accept").await;
    gateway.restart().await;
    let mut heard = Vec::new();
    while heard.len() < 16 {
        let (_, text) = told(&mut gateway).await;
        if !heard.contains(&text) {
            heard.push(text);
        }
    }
    assert_eq!(heard, (0..16).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(committed > 0);
}

#[tokio::test]
async fn s11_what_the_gateway_says_waits_for_a_server_that_is_away() {
    let mut gateway = open("deliver").await;
    gateway.iq("set", BALCONY, US, "<query xmlns='jabber:iq:register'><nick>J</nick></query>").await;
    // The server takes everything from the socket, and never says that it has dealt with it.
    gateway.connection.pongs = false;
    assert!(chat(&mut gateway, NURSE, "announce Supper").await.contains("1 users"));
    gateway.restart().await;
    assert_eq!(question(&mut gateway).await, "Announcement: Supper");
}
