//! Messages that speak of others: by which id each side knows them, also after a restart of the gateway in between.

use crate::support::gateway::{BALCONY, Gateway, JULIET, NS, US, body, error};
use minidom::Element;
use portway_bridges::loopback::wire::Item;

const CORRECT: &str = "urn:xmpp:message-correct:0";
const REPLY: &str = "urn:xmpp:reply:0";
const FALLBACK: &str = "urn:xmpp:fallback:0";
const REACTIONS: &str = "urn:xmpp:reactions:0";
const RETRACT: &str = "urn:xmpp:message-retract:1";
const MARKERS: &str = "urn:xmpp:chat-markers:0";
const HINTS: &str = "urn:xmpp:hints";

/// Something that bob says or does.
fn bob(id: &str, kind: &str, target: &str, body: &str) -> Item {
    Item {
        id: id.to_owned(),
        user: Some(JULIET.to_owned()),
        person: Some("bob@loopback".to_owned()),
        kind: kind.to_owned(),
        target: Some(target.to_owned()),
        body: Some(body.to_owned()),
        ..Item::default()
    }
}

/// Restarts the gateway once it has written down what became of everything so far.
async fn restart(gateway: &mut Gateway) {
    // The same id and words once more would be the same message.
    let id = format!("all-of-it-{:x}", rand::random::<u64>());
    gateway.say(&id, "bob%loopback", "is it all there?", "<request xmlns='urn:xmpp:receipts'/>").await;
    while gateway.item("text").await.body.as_deref() != Some("is it all there?") {}
    gateway.stanza(|stanza| id_in(stanza, "received", "urn:xmpp:receipts") == id).await;
    gateway.restart().await;
}

async fn does(gateway: &mut Gateway, item: Item) {
    gateway.peer.say(std::iter::once(item)).await;
}

fn relation(name: &str, ns: &str, id: &str) -> String {
    format!("<{name} xmlns='{ns}' id='{id}'/>")
}

fn send(id: &str, payload: &str) -> String {
    format!("<message from='{BALCONY}' to='bob%loopback@{US}' type='chat' id='{id}'>{payload}</message>")
}

fn has<'a>(name: &'a str, ns: &'a str) -> impl Fn(&Element) -> bool + 'a {
    move |stanza| stanza.has_child(name, ns)
}

fn id_in(stanza: &Element, name: &str, ns: &str) -> String {
    stanza.get_child(name, ns).and_then(|child| child.attr("id")).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn xep_0308_an_edit_of_an_edit_names_the_first_message_also_after_a_restart() {
    let mut gateway = Gateway::open().await;
    gateway.say("m1", "bob%loopback", "one", "").await;
    let first = gateway.item("text").await.id;
    // Clients name the first message or the latest edit.
    for (id, target) in [("m2", "m1"), ("m3", "m2"), ("m4", "m1"), ("m5", "m4")] {
        gateway.say(id, "bob%loopback", id, &relation("replace", CORRECT, target)).await;
        let edit = gateway.item("edit").await;
        assert_eq!((edit.target.as_deref(), edit.body.as_deref()), (Some(first.as_str()), Some(id)));
        if id == "m3" {
            restart(&mut gateway).await;
        }
    }
    gateway
        .send(&send("r", &format!("<reactions xmlns='{REACTIONS}' id='m5'><reaction>👍</reaction></reactions>")))
        .await;
    assert_eq!(gateway.item("reaction").await.target.as_deref(), Some(first.as_str()));
    gateway.send(&send("gone", &relation("retract", RETRACT, "m3"))).await;
    assert_eq!(gateway.item("retract").await.target.as_deref(), Some(first.as_str()));
    // And the other way.
    gateway.hear("b1", "bob@loopback", "one").await;
    gateway.stanza(|stanza| body(stanza) == "one").await;
    for (id, target) in [("b2", "b1"), ("b3", "b2"), ("b4", "b1")] {
        does(&mut gateway, bob(id, "edit", target, id)).await;
        let edit = gateway.stanza(|stanza| body(stanza) == id).await;
        assert_eq!((id_in(&edit, "replace", CORRECT).as_str(), edit.attr("id")), ("b1", Some(id)));
        restart(&mut gateway).await;
    }
}

#[tokio::test]
async fn xep_0308_nobody_edits_or_takes_back_what_another_has_said() {
    let mut gateway = Gateway::open().await;
    gateway.say("m1", "bob%loopback", "mine", "").await;
    let mine = gateway.item("text").await.id;
    gateway.hear("b1", "bob@loopback", "his").await;
    gateway.stanza(|stanza| body(stanza) == "his").await;
    gateway.say("m2", "bob%loopback", "yours", &relation("replace", CORRECT, "b1")).await;
    let said = gateway.item("text").await;
    assert_eq!((said.body.as_deref(), said.target.as_deref()), (Some("* yours"), None));
    gateway.send(&send("m3", &relation("retract", RETRACT, "b1"))).await;
    let (_, condition, text, _) = error(&gateway.answer("m3").await);
    assert_eq!(
        (condition.as_str(), text.as_str()),
        ("forbidden", "You can take back only what you have said yourself.")
    );
    does(&mut gateway, bob("b2", "edit", &mine, "not mine")).await;
    let said = gateway.answer("b2").await;
    assert_eq!((body(&said).as_str(), said.has_child("replace", CORRECT)), ("* not mine", false));
    does(&mut gateway, bob("b3", "retract", &mine, "")).await;
    let said = gateway.answer("b3").await;
    assert!(!body(&said).is_empty() && !said.has_child("retract", RETRACT), "{}", String::from(&said));
}

#[tokio::test]
async fn xep_0461_an_answer_names_its_message_and_its_author_and_quotes_it_in_code_points() {
    let mut gateway = Gateway::open().await;
    gateway.say("m1", "bob%loopback", "question", "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>").await;
    let question = gateway.item("text").await.id;
    restart(&mut gateway).await;
    let quote = Some("😀 question\nsecond line".to_owned());
    does(&mut gateway, Item { quote, ..bob("b1", "text", &question, "😀 answer") }).await;
    let answer = gateway.answer("b1").await;
    assert_eq!(body(&answer), "> 😀 question\n> second line\n😀 answer");
    let reply = answer.get_child("reply", REPLY).unwrap();
    assert_eq!((reply.attr("id"), reply.attr("to")), (Some("o1"), Some(JULIET)));
    let fallback = answer.get_child("fallback", FALLBACK).unwrap();
    let range = fallback.get_child("body", FALLBACK).unwrap();
    assert_eq!((fallback.attr("for"), range.attr("start"), range.attr("end")), (Some(REPLY), Some("0"), Some("27")));
    // To what he has said himself, and without anything to quote.
    does(&mut gateway, bob("b2", "text", "b1", "and more")).await;
    let answer = gateway.answer("b2").await;
    let reply = answer.get_child("reply", REPLY).unwrap();
    assert_eq!((reply.attr("id"), reply.attr("to")), (Some("b1"), Some(format!("bob%loopback@{US}").as_str())));
    assert_eq!((body(&answer).as_str(), answer.has_child("fallback", FALLBACK)), ("and more", false));
    // Back, with the quote taken off once.
    restart(&mut gateway).await;
    let reply = format!(
        "{}<fallback xmlns='{FALLBACK}' for='{REPLY}'><body start='0' end='11'/></fallback>",
        relation("reply", REPLY, "b1")
    );
    gateway.say("m2", "bob%loopback", "&gt; 😀 answer\n&gt; really?", &reply).await;
    let said = gateway.item("text").await;
    assert_eq!((said.body.as_deref(), said.target.as_deref()), (Some("> really?"), Some("b1")));
}

#[tokio::test]
async fn xep_0444_reactions_are_the_whole_set_by_the_origin_id_and_are_kept() {
    let mut gateway = Gateway::open().await;
    gateway.say("m1", "bob%loopback", "hi", "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>").await;
    let target = gateway.item("text").await.id;
    restart(&mut gateway).await;
    for (id, keys) in [("b1", "👍"), ("b2", "👍 🎉"), ("b3", "")] {
        does(&mut gateway, bob(id, "reaction", &target, keys)).await;
        let stanza = gateway.answer(id).await;
        let reactions = stanza.get_child("reactions", REACTIONS).unwrap();
        let found: Vec<String> = reactions.children().map(Element::text).collect();
        assert_eq!((reactions.attr("id"), found.join(" ").as_str()), (Some("o1"), keys));
        assert!(stanza.has_child("store", HINTS) && body(&stanza).is_empty());
    }
    // Twice the same is once; too many, or one that is too long, are refused with words.
    let react = |id: &str, keys: &[String]| {
        let keys: String = keys.iter().map(|key| format!("<reaction>{key}</reaction>")).collect();
        send(id, &format!("<reactions xmlns='{REACTIONS}' id='o1'>{keys}</reactions>"))
    };
    gateway.send(&react("r1", &["👍".to_owned(), "🎉".to_owned(), "👍".to_owned()])).await;
    assert_eq!(gateway.item("reaction").await.body.as_deref(), Some("👍 🎉"));
    let many: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    for (id, keys) in [("r2", many), ("r3", vec!["x".repeat(1000)])] {
        gateway.send(&react(id, &keys)).await;
        assert_eq!(error(&gateway.answer(id).await).1, "policy-violation");
    }
}

#[tokio::test]
async fn xep_0424_both_dialects_are_read_one_is_written_and_every_part_goes() {
    let mut gateway = Gateway::open().await;
    for (id, payload) in [
        ("m1", relation("retract", RETRACT, "m1")),
        (
            "m2",
            "<apply-to xmlns='urn:xmpp:fasten:0' id='m2'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to>"
                .to_owned(),
        ),
    ] {
        gateway.say(id, "bob%loopback", "oops", "").await;
        let target = gateway.item("text").await.id;
        restart(&mut gateway).await;
        gateway.send(&send(&format!("{id}-gone"), &payload)).await;
        assert_eq!(gateway.item("retract").await.target.as_deref(), Some(target.as_str()));
    }
    gateway.hear("b1", "bob@loopback", &"long line\n".repeat(12_000)).await;
    for id in ["b1", "b1-2", "b1-3"] {
        gateway.answer(id).await;
    }
    gateway.rest().await;
    // Any part stands for the message.
    gateway.say("m3", "bob%loopback", "about the third", &relation("reply", REPLY, "b1-3")).await;
    assert_eq!(gateway.item("text").await.target.as_deref(), Some("b1"));
    restart(&mut gateway).await;
    does(&mut gateway, bob("b2", "retract", "b1", "")).await;
    for target in ["b1", "b1-2", "b1-3"] {
        let gone = gateway.stanza(has("retract", RETRACT)).await;
        assert_eq!(id_in(&gone, "retract", RETRACT), target);
        assert!(gone.has_child("store", HINTS) && gone.has_child("fallback", FALLBACK) && !body(&gone).is_empty());
    }
    // What nobody knows is said in words, once.
    does(&mut gateway, bob("b3", "retract", "never-seen", "")).await;
    let said = gateway.answer("b3").await;
    assert!(!body(&said).is_empty() && !said.has_child("retract", RETRACT), "{}", String::from(&said));
    does(&mut gateway, bob("b4", "reaction", "never-seen", "👍")).await;
    assert_eq!(body(&gateway.answer("b4").await), "reacted with 👍");
    does(&mut gateway, Item { quote: Some("long ago".into()), ..bob("b5", "text", "never-seen", "yes") }).await;
    let said = gateway.answer("b5").await;
    assert_eq!((body(&said).as_str(), said.has_child("reply", REPLY)), ("> long ago\nyes", false));
    assert!(!said.has_child("fallback", FALLBACK));
}

#[tokio::test]
async fn xep_0308_a_shorter_edit_of_a_long_message_leaves_nothing_of_it() {
    let mut gateway = Gateway::open().await;
    gateway.hear("b1", "bob@loopback", &"long line\n".repeat(12_000)).await;
    gateway.answer("b1-3").await;
    gateway.rest().await;
    restart(&mut gateway).await;
    does(&mut gateway, bob("b2", "edit", "b1", &"another line\n".repeat(5_000))).await;
    let first = gateway.answer("b2").await;
    let second = gateway.answer("b2-2").await;
    assert_eq!((id_in(&first, "replace", CORRECT), id_in(&second, "replace", CORRECT)), ("b1".into(), "b1-2".into()));
    let third = gateway.stanza(has("retract", RETRACT)).await;
    assert_eq!(id_in(&third, "retract", RETRACT), "b1-3");
}

#[tokio::test]
async fn xep_0333_marks_of_reading_name_the_last_message_of_the_other_and_are_kept() {
    let mut gateway = Gateway::open().await;
    gateway.say("m1", "bob%loopback", "one", "<markable xmlns='urn:xmpp:chat-markers:0'/>").await;
    gateway.item("text").await;
    gateway.say("m2", "bob%loopback", "two", "").await;
    let second = gateway.item("text").await.id;
    gateway.say("m3", "bob%loopback", "2", &relation("replace", CORRECT, "m2")).await;
    let edit = gateway.item("edit").await.id;
    gateway.hear("b1", "bob@loopback", "three").await;
    let heard = gateway.answer("b1").await;
    assert!(heard.has_child("markable", MARKERS));
    restart(&mut gateway).await;
    // Of the message, of its edit, and of what he has said himself since.
    for (n, target) in [second.as_str(), &edit, "b1"].into_iter().enumerate() {
        does(&mut gateway, bob(&format!("read-{n}"), "displayed", target, "")).await;
        let mark = gateway.stanza(has("displayed", MARKERS)).await;
        assert_eq!(id_in(&mark, "displayed", MARKERS), "m2", "{target}");
        assert!(mark.has_child("store", HINTS) && body(&mark).is_empty());
    }
    gateway.send(&send("d1", &relation("displayed", MARKERS, "b1"))).await;
    assert_eq!(gateway.item("displayed").await.target.as_deref(), Some("b1"));
    // A mark that cannot be brought over is worth no words.
    gateway.peer.fail("bob@loopback", Some("permanent")).await;
    gateway.send(&send("d2", &relation("displayed", MARKERS, "b1"))).await;
    gateway.peer.fail("bob@loopback", None).await;
    gateway.say("last", "bob%loopback", "last", "").await;
    gateway.item("text").await;
    assert!(gateway.rest().await.iter().all(|stanza| stanza.attr("id") != Some("d2")));
}

#[tokio::test]
async fn xep_0201_a_thread_goes_with_its_messages() {
    let mut gateway = Gateway::open().await;
    gateway.say("m1", "bob%loopback", "in it", "<thread>t1</thread>").await;
    assert_eq!(gateway.item("text").await.thread.as_deref(), Some("t1"));
    let item = Item { thread: Some("t1".into()), target: None, ..bob("b1", "text", "", "too") };
    does(&mut gateway, item).await;
    let heard = gateway.answer("b1").await;
    assert_eq!(heard.get_child("thread", NS).map(Element::text).as_deref(), Some("t1"));
}

#[tokio::test]
async fn xep_0353_and_0166_a_call_is_refused_and_the_contact_says_why() {
    let mut gateway = Gateway::open().await;
    let words = "Calls cannot be carried to Loopback. Please write instead.";
    gateway
        .send(&send("c1", "<propose xmlns='urn:xmpp:jingle-message:0' id='s1'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>"))
        .await;
    let reject = gateway.stanza(has("reject", "urn:xmpp:jingle-message:0")).await;
    assert_eq!(
        (id_in(&reject, "reject", "urn:xmpp:jingle-message:0").as_str(), reject.attr("to")),
        ("s1", Some(BALCONY))
    );
    let said = gateway.stanza(|stanza| body(stanza) == words).await;
    assert_eq!(
        (said.attr("from"), said.attr("to")),
        (Some(format!("bob%loopback@{US}/portway").as_str()), Some(JULIET))
    );
    let jingle = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s2' initiator='x'/>";
    let answer = gateway.iq("set", BALCONY, &format!("bob%loopback@{US}/portway"), jingle).await;
    let (type_, condition, text, _) = error(&answer);
    assert_eq!((type_.as_str(), condition.as_str(), text.as_str()), ("cancel", "service-unavailable", words));
    gateway.stanza(|stanza| body(stanza) == words).await;
    let info = gateway
        .iq(
            "get",
            BALCONY,
            &format!("bob%loopback@{US}/portway"),
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        )
        .await;
    assert!(!String::from(&info).contains("jingle"));
}

#[tokio::test]
async fn xep_0045_in_a_room_relations_name_the_stable_id_and_edits_the_id_of_their_message() {
    let mut gateway = Gateway::open().await;
    let room = format!("#town%loopback@{US}");
    gateway
        .send(&format!(
            "<presence from='{BALCONY}' to='{room}/J'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
    gateway.stanza(|stanza| stanza.has_child("subject", NS)).await;
    let to_room = |id: &str, payload: &str| {
        format!("<message from='{BALCONY}' to='{room}' type='groupchat' id='{id}'>{payload}</message>")
    };
    gateway.send(&to_room("m1", "<body>one</body>")).await;
    let first = gateway.item("text").await.id;
    let back = gateway.stanza(|stanza| body(stanza) == "one").await;
    assert_eq!((back.attr("id"), id_in(&back, "stanza-id", "urn:xmpp:sid:0")), (Some("m1"), first.clone()));
    for (id, target) in [("m2", "m1"), ("m3", "m2")] {
        gateway.send(&to_room(id, &format!("<body>{id}</body>{}", relation("replace", CORRECT, target)))).await;
        assert_eq!(gateway.item("edit").await.target.as_deref(), Some(first.as_str()));
        let back = gateway.stanza(|stanza| body(stanza) == id).await;
        assert_eq!(id_in(&back, "replace", CORRECT), "m1");
    }
    let in_room = |id: &str, kind: &str, target: &str, body: &str| Item {
        user: None,
        room: Some("!town".to_owned()),
        ..bob(id, kind, target, body)
    };
    does(&mut gateway, Item { quote: Some("m3".into()), ..in_room("b1", "text", &first, "answer") }).await;
    let answer = gateway.stanza(|stanza| body(stanza) == "> m3\nanswer").await;
    let reply = answer.get_child("reply", REPLY).unwrap();
    assert_eq!((reply.attr("id"), reply.attr("to")), (Some(first.as_str()), Some(format!("{room}/J").as_str())));
    does(&mut gateway, in_room("b2", "reaction", &first, "👍")).await;
    let stanza = gateway.stanza(has("reactions", REACTIONS)).await;
    assert_eq!(id_in(&stanza, "reactions", REACTIONS), first);
    // Whoever takes back what another has said moderates (XEP-0425).
    does(&mut gateway, in_room("b3", "retract", &first, "")).await;
    let stanza = gateway.stanza(has("retract", RETRACT)).await;
    assert_eq!((id_in(&stanza, "retract", RETRACT), stanza.attr("from")), (first, Some(room.as_str())));
    let retract = stanza.get_child("retract", RETRACT).unwrap();
    assert!(retract.has_child("moderated", "urn:xmpp:message-moderate:1"), "{}", String::from(&stanza));
    does(&mut gateway, in_room("b4", "retract", "b1", "")).await;
    let stanza = gateway.stanza(has("retract", RETRACT)).await;
    assert_eq!(id_in(&stanza, "retract", RETRACT), "b1");
    assert!(stanza.attr("from").is_some_and(|from| from.starts_with(&format!("{room}/"))));
    gateway.send(&to_room("d1", &relation("displayed", MARKERS, "b1"))).await;
    assert_eq!(gateway.item("displayed").await.target.as_deref(), Some("b1"));
    does(&mut gateway, Item { target: None, ..in_room("b5", "text", "", "kept") }).await;
    gateway.stanza(|stanza| body(stanza) == "kept").await;
    // What was taken back is shown to nobody who comes later, also after a restart.
    let comes = |device: &str| {
        format!(
            "<presence from='{JULIET}/{device}' to='{room}/J'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
    };
    for device in ["second", "third"] {
        gateway.send(&comes(device)).await;
        gateway.stanza(|stanza| stanza.has_child("subject", NS)).await;
        let gone = |stanza: &Element| stanza.has_child("delay", "urn:xmpp:delay") && !body(stanza).is_empty();
        let history = gateway.rest().await.into_iter().filter(gone).map(|old| body(&old)).collect::<Vec<_>>();
        assert_eq!(history, ["kept"], "{device}");
        restart(&mut gateway).await;
    }
}
