//! Finding people (D14), being left alone (S7), reports (S8), and accounts elsewhere that are a user's own.

use minidom::Element;
use portway_bridges::loopback::wire::Item;

use crate::support::gateway::{BALCONY, Gateway, JULIET, NS, US, body, error};

const NURSE: &str = "nurse@bench.example";
const SEARCH: &str = "jabber:iq:search";
const DATA: &str = "jabber:x:data";

async fn open() -> Gateway {
    Gateway::configured("admins = [\"nurse@bench.example\"]\n", "[limits]\nuser_rate = 0\n").await
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

#[tokio::test]
async fn d14_people_whom_one_has_met_are_found_page_by_page_and_nobody_else_s() {
    let mut gateway = open().await;
    for n in 0..5 {
        gateway.say(&format!("m{n}"), &format!("capulet{n}%loopback"), "hi", "").await;
        gateway.item("text").await;
    }
    gateway
        .send(&format!(
            "<message from='{NURSE}/x' to='capulet9%loopback@{US}' type='chat' id='n'><body>hi</body></message>"
        ))
        .await;
    gateway.item("text").await;
    let asked = gateway.iq("get", BALCONY, US, &format!("<query xmlns='{SEARCH}'/>")).await;
    assert!(asked.get_child("query", SEARCH).expect("a query").has_child("x", DATA));
    let mut found = Vec::new();
    let mut after = String::new();
    for _ in 0..3 {
        let set = format!(
            "<query xmlns='{SEARCH}'><x xmlns='{DATA}' type='submit'><field var='query'><value>CAPULET</value></field></x>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>2</max>{after}</set></query>"
        );
        let answer = gateway.iq("set", BALCONY, US, &set).await;
        let query = answer.get_child("query", SEARCH).expect("a query");
        let x = query.get_child("x", DATA).expect("a form");
        for item in x.children().filter(|child| child.name() == "item") {
            let jid = item.children().find(|field| field.attr("var") == Some("jid")).expect("a JID");
            found.push(jid.get_child("value", DATA).expect("a value").text());
        }
        let rsm = query.get_child("set", "http://jabber.org/protocol/rsm").expect("pages");
        let text = |name: &str| rsm.get_child(name, "http://jabber.org/protocol/rsm").map(Element::text);
        assert_eq!(text("count").as_deref(), Some("5"));
        after = format!("<after>{}</after>", text("last").expect("a last one"));
    }
    assert_eq!(found, (0..5).map(|n| format!("capulet{n}%loopback@{US}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn s7_whoever_is_blocked_is_neither_heard_nor_written_to() {
    let mut gateway = open().await;
    assert!(chat(&mut gateway, BALCONY, "block paris@loopback").await.contains("blocked"));
    gateway.hear("p1", "paris@loopback", "marry me").await;
    gateway.hear("b1", "bob@loopback", "hello").await;
    let first = gateway.stanza(|stanza| stanza.name() == "message" && stanza.has_child("body", NS)).await;
    assert_eq!(body(&first), "hello");
    gateway.say("m1", "paris%loopback", "no", "").await;
    let (_, condition, text, _) = error(&gateway.answer("m1").await);
    assert!(condition == "not-allowed" && text.contains("unblock"), "{text}");
    let (_, metrics) = gateway.page("/metrics").await;
    assert!(metrics.lines().any(|line| line.contains("kind=\"blocked\"") && line.ends_with(" 1")), "{metrics}");
    // It outlives a restart, and somebody else is not concerned.
    gateway.restart().await;
    gateway.say("m2", "paris%loopback", "no", "").await;
    assert_eq!(error(&gateway.answer("m2").await).1, "not-allowed");
    chat(&mut gateway, BALCONY, "unblock").await;
    assert!(chat(&mut gateway, BALCONY, "1").await.contains("not blocked"));
    gateway.hear("p2", "paris@loopback", "please").await;
    // What came before the restart may come again.
    let of_paris = |stanza: &Element| stanza.attr("from").is_some_and(|from| from.starts_with("paris%"));
    let heard = gateway.stanza(|stanza| of_paris(stanza) && stanza.attr("to") == Some(JULIET)).await;
    assert_eq!(body(&heard), "please");
}

#[tokio::test]
async fn s1_s7_rules_of_the_admin_hold_for_all_and_for_users_too() {
    let mut gateway = open().await;
    let nurse = format!("{NURSE}/x");
    assert!(chat(&mut gateway, &nurse, "rules deny *@bad.example").await.contains("kept out"));
    gateway.hear("e1", "eve@bad.example", "spam").await;
    gateway.hear("b1", "bob@loopback", "ham").await;
    let first = gateway.stanza(|stanza| stanza.name() == "message" && stanza.attr("to") == Some(JULIET)).await;
    assert_eq!(body(&first), "ham");
    gateway.say("m1", "eve%bad.example", "x", "").await;
    assert_eq!(error(&gateway.answer("m1").await).1, "forbidden");
    chat(&mut gateway, &nurse, "rules deny tybalt@bench.example").await;
    let tybalt = "tybalt@bench.example/x";
    for (id, to) in [("t1", format!("bob%loopback@{US}")), ("t2", US.to_owned())] {
        gateway
            .send(&format!("<message from='{tybalt}' to='{to}' type='chat' id='{id}'><body>x</body></message>"))
            .await;
        assert_eq!(error(&gateway.answer(id).await).1, "forbidden", "{to}");
    }
}

#[tokio::test]
async fn s8_reports_reach_the_admins() {
    let mut gateway = open().await;
    let report = "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'><text>pills</text></report>";
    let block = format!("<block xmlns='urn:xmpp:blocking'><item jid='eve%loopback@{US}'>{report}</item></block>");
    assert_eq!(gateway.iq("set", BALCONY, US, &block).await.attr("type"), Some("result"));
    gateway.send(&format!("<message from='{BALCONY}' to='carl%loopback@{US}' id='r'>{report}</message>")).await;
    for about in [format!("eve%loopback@{US}"), format!("carl%loopback@{US}")] {
        let told = gateway.stanza(|stanza| stanza.name() == "message" && stanza.attr("to") == Some(NURSE)).await;
        let text = body(&told);
        assert!(
            text.contains(JULIET) && text.contains(&about) && text.contains("spam: ") || text.contains("(spam)"),
            "{text}"
        );
        assert!(text.contains(&about) && text.contains("pills"), "{text}");
    }
}

/// The code goes to the other account as an ordinary message; whoever types it is them.
#[tokio::test]
async fn d13_a_code_links_an_account_once() {
    let mut gateway = open().await;
    let asked = chat(&mut gateway, BALCONY, "link rosa@loopback").await;
    assert!(asked.contains("on its way to rosa@loopback"), "{asked}");
    let item: Item = gateway.item("text").await;
    assert_eq!((item.person.as_deref(), item.user.as_deref()), (Some("rosa@loopback"), Some(JULIET)));
    let said = item.body.expect("a body");
    let code = said.split(' ').find(|word| word.len() == 11 && word.contains('-')).expect("a code").to_owned();
    assert!(chat(&mut gateway, BALCONY, "nonsense").await.contains("no code"));
    // Also where the question has been left meanwhile.
    chat(&mut gateway, BALCONY, "cancel").await;
    assert_eq!(chat(&mut gateway, BALCONY, &code).await, "rosa@loopback is linked.");
    assert!(chat(&mut gateway, BALCONY, "status").await.contains("rosa@loopback is you"));
    // Her stand-in points to rosa; in rosa's card she herself, and nobody else, is shown who that is.
    let points = gateway.item("points").await;
    assert_eq!((points.user.as_deref(), points.body.as_deref()), (Some(JULIET), Some("rosa@loopback")));
    for (who, shown) in [(BALCONY, true), ("romeo@bench.example/x", false)] {
        let rosa = format!("rosa%loopback@{US}");
        let card = String::from(&gateway.iq("get", who, &rosa, "<vCard xmlns='vcard-temp'/>").await);
        assert_eq!(card.contains("xmpp:juliet@bench.example"), shown, "{card}");
    }
    // What rosa says to bob is said by juliet; what a third one says there is not.
    for (id, person) in [("o1", "rosa@loopback"), ("o2", "tybalt@loopback")] {
        let item = Item {
            id: id.to_owned(),
            user: Some(JULIET.to_owned()),
            person: Some(person.to_owned()),
            with: Some("bob@loopback".to_owned()),
            kind: "text".to_owned(),
            body: Some("good night".to_owned()),
            ..Item::default()
        };
        gateway.peer.say(std::iter::once(item)).await;
        let shown = gateway.stanza(|stanza| body(stanza).contains("good night")).await;
        assert_eq!(body(&shown).starts_with("(you)"), person == "rosa@loopback");
        assert!(shown.attr("from").is_some_and(|from| from.starts_with("bob%loopback@")));
    }
    assert!(chat(&mut gateway, BALCONY, &code).await.contains("used already"));
    let romeo = "romeo@bench.example/x";
    assert!(chat(&mut gateway, romeo, "link rosa@loopback").await.contains("somebody else"));
    let nurse = format!("{NURSE}/x");
    assert!(chat(&mut gateway, &nurse, "links remove rosa@loopback").await.contains("not linked any more"));
    assert_eq!(gateway.item("points").await.body.as_deref(), Some(""));
}
