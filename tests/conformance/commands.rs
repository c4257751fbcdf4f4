//! The three front doors (D9, D10, D13): registration, ad-hoc commands and plain chat; and who may open them (S1).

use minidom::Element;

use crate::support::gateway::{BALCONY, Gateway, JULIET, US, body, error};

const COMMANDS: &str = "http://jabber.org/protocol/commands";
const DATA: &str = "jabber:x:data";
const REGISTER: &str = "jabber:iq:register";
const ITEMS: &str = "http://jabber.org/protocol/disco#items";
const NURSE: &str = "nurse@bench.example/house";
const EVE: &str = "eve@evil.example/x";

async fn open() -> Gateway {
    Gateway::configured("admins = [\"nurse@bench.example\"]\n", "[limits]\nuser_rate = 0\n").await
}

async fn command(gateway: &mut Gateway, from: &str, attributes: &str, payload: &str) -> Element {
    let command = format!("<command xmlns='{COMMANDS}' {attributes}>{payload}</command>");
    gateway.iq("set", from, US, &command).await
}

fn form(fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("<field var='{name}'><value>{value}</value></field>"));
    format!("<x xmlns='{DATA}' type='submit'>{}</x>", fields.collect::<String>())
}

/// The payload of an answer to a command, with its status and session.
fn inner(answer: &Element) -> (Element, String, String) {
    assert_eq!(answer.attr("type"), Some("result"), "{}", String::from(answer));
    let command = answer.get_child("command", COMMANDS).expect("a command").clone();
    let text = |name: &str| command.attr(name).unwrap_or_default().to_owned();
    let (status, session) = (text("status"), text("sessionid"));
    (command, status, session)
}

fn note(command: &Element) -> String {
    command.get_child("note", COMMANDS).map(Element::text).unwrap_or_default()
}

async fn registered(gateway: &mut Gateway) -> bool {
    let answer = gateway.iq("get", BALCONY, US, &format!("<query xmlns='{REGISTER}'/>")).await;
    answer.get_child("query", REGISTER).expect("a query").has_child("registered", REGISTER)
}

/// Says something to the gateway and returns its answer.
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

async fn subscribed_to(gateway: &mut Gateway) {
    let asked = gateway.stanza(|stanza| stanza.name() == "presence" && stanza.attr("type") == Some("subscribe")).await;
    assert_eq!((asked.attr("from"), asked.attr("to")), (Some(US), Some(JULIET)));
}

#[tokio::test]
async fn d9_d10_registration_by_form_its_change_and_its_end() {
    let mut gateway = open().await;
    let answer = gateway.iq("get", BALCONY, US, &format!("<query xmlns='{REGISTER}'/>")).await;
    let query = answer.get_child("query", REGISTER).expect("a query");
    assert!(query.has_child("instructions", REGISTER) && query.has_child("nick", REGISTER));
    assert!(query.get_child("instructions", REGISTER).expect("words").text().contains("optional"));
    let x = query.get_child("x", DATA).expect("a form");
    assert!(x.children().any(|field| field.attr("var") == Some("FORM_TYPE")));
    let set = format!("<query xmlns='{REGISTER}'>{}</query>", form(&[("name", "Juliet"), ("announcements", "0")]));
    assert_eq!(gateway.iq("set", BALCONY, US, &set).await.attr("type"), Some("result"));
    subscribed_to(&mut gateway).await;
    assert!(registered(&mut gateway).await);
    // The gateway answers a subscription with its own presence (XEP-0100, section 4.1.1).
    gateway.send(&format!("<presence from='{JULIET}' to='{US}' type='subscribe'/>")).await;
    gateway.stanza(|stanza| stanza.name() == "presence" && stanza.attr("type") == Some("subscribed")).await;
    gateway.stanza(|stanza| stanza.name() == "presence" && stanza.attr("type").is_none()).await;
    // Changed by a client without forms; it outlives a restart.
    let set = format!("<query xmlns='{REGISTER}'><nick>Giulietta</nick></query>");
    assert_eq!(gateway.iq("set", BALCONY, US, &set).await.attr("type"), Some("result"));
    gateway.restart().await;
    let answer = gateway.iq("get", BALCONY, US, &format!("<query xmlns='{REGISTER}'/>")).await;
    let query = answer.get_child("query", REGISTER).expect("a query");
    assert_eq!(query.get_child("nick", REGISTER).expect("a nick").text(), "Giulietta");
    // A wrong answer names its field.
    let set = format!("<query xmlns='{REGISTER}'>{}</query>", form(&[("announcements", "maybe")]));
    let (_, condition, text, _) = error(&gateway.iq("set", BALCONY, US, &set).await);
    assert!(condition == "not-acceptable" && text.contains("Announcements"), "{text}");
    let remove = format!("<query xmlns='{REGISTER}'><remove/></query>");
    assert_eq!(gateway.iq("set", BALCONY, US, &remove).await.attr("type"), Some("result"));
    for type_ in ["unsubscribe", "unsubscribed", "unavailable"] {
        gateway.stanza(|stanza| stanza.name() == "presence" && stanza.attr("type") == Some(type_)).await;
    }
    assert!(!registered(&mut gateway).await);
    let again = gateway.iq("set", BALCONY, US, &remove).await;
    assert_eq!(error(&again).1, "registration-required");
}

#[tokio::test]
async fn d9_d13_commands_are_listed_run_left_and_refused() {
    let mut gateway = open().await;
    let items = gateway.iq("get", BALCONY, US, &format!("<query xmlns='{ITEMS}' node='{COMMANDS}'/>")).await;
    let nodes = |items: &Element| -> Vec<String> {
        let items = items.get_child("query", ITEMS).expect("a query").children();
        items.map(|item| item.attr("node").unwrap_or_default().to_owned()).collect()
    };
    let own = nodes(&items);
    assert!(own.contains(&"register".to_owned()) && !own.contains(&"users".to_owned()), "{own:?}");
    for node in [COMMANDS, "register"] {
        let ask = format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>");
        let info = gateway.iq("get", BALCONY, US, &ask).await;
        assert!(String::from(&info).contains("automation"), "{node}");
    }
    // Left in the middle: nothing has happened.
    let (_, status, session) = inner(&command(&mut gateway, BALCONY, "node='register'", "").await);
    assert_eq!(status, "executing");
    let cancel = format!("node='register' sessionid='{session}' action='cancel'");
    assert_eq!(inner(&command(&mut gateway, BALCONY, &cancel, "").await).1, "canceled");
    assert!(!registered(&mut gateway).await);
    let late = command(&mut gateway, BALCONY, &format!("node='register' sessionid='{session}'"), "").await;
    assert!(String::from(&late).contains("session-expired") && error(&late).1 == "not-allowed");
    // Done.
    let (asked, _, session) = inner(&command(&mut gateway, BALCONY, "node='register' action='execute'", "").await);
    let actions = asked.get_child("actions", COMMANDS).expect("actions");
    assert!(actions.attr("execute") == Some("complete") && !actions.has_child("prev", COMMANDS));
    let complete = format!("node='register' sessionid='{session}' action='complete'");
    let (answer, status, _) = inner(&command(&mut gateway, BALCONY, &complete, &form(&[("name", "J")])).await);
    assert!(status == "completed" && note(&answer).contains("registered"), "{}", note(&answer));
    subscribed_to(&mut gateway).await;
    assert!(registered(&mut gateway).await);
    // Two steps, and back.
    let (_, _, session) = inner(&command(&mut gateway, BALCONY, "node='link'", "").await);
    let next = format!("node='link' sessionid='{session}' action='next'");
    let (second, _, _) = inner(&command(&mut gateway, BALCONY, &next, &form(&[("who", "bob@loopback")])).await);
    assert!(second.get_child("actions", COMMANDS).expect("actions").has_child("prev", COMMANDS));
    let prev = format!("node='link' sessionid='{session}' action='prev'");
    let (first, _, _) = inner(&command(&mut gateway, BALCONY, &prev, "").await);
    assert!(String::from(&first).contains("bob@loopback"));
    // What the protocol does not know.
    for (attributes, condition, what) in [
        ("node='register' sessionid='x' action='dance'", "bad-request", "malformed-action"),
        ("node='register' action='next'", "bad-request", "bad-sessionid"),
        ("node='nonsense'", "item-not-found", "nonsense"),
    ] {
        let answer = command(&mut gateway, BALCONY, attributes, "").await;
        assert!(error(&answer).1 == condition && String::from(&answer).contains(what), "{attributes}");
    }
}

/// Profanity 0.13 ends on an option whose value is empty.
#[tokio::test]
async fn d9_every_option_of_a_form_has_a_value_and_a_name() {
    let mut gateway = open().await;
    let mut options = 0;
    for node in portway::command::table::COMMANDS.iter().map(|command| command.name) {
        let answer = command(&mut gateway, NURSE, &format!("node='{node}'"), "").await;
        let Some(x) = answer.get_child("command", COMMANDS).and_then(|command| command.get_child("x", DATA)) else {
            continue;
        };
        for field in x.children().filter(|child| child.is("field", DATA)) {
            let values: Vec<String> = field
                .children()
                .filter(|child| child.is("option", DATA))
                .map(|option| {
                    assert_ne!(option.attr("label").unwrap_or_default(), "", "{node}: {}", String::from(x));
                    option.get_child("value", DATA).map(Element::text).unwrap_or_default()
                })
                .collect();
            options += values.len();
            assert!(values.iter().all(|value| !value.is_empty()), "{node}: {}", String::from(x));
            // What is chosen from the start is one of them.
            let chosen = field.get_child("value", DATA).map(Element::text).unwrap_or_default();
            assert!(values.is_empty() || values.contains(&chosen), "{node}: {}", String::from(x));
        }
    }
    assert!(options > 5, "{options}");
    // Whoever chooses nothing in particular has it kept like that.
    let set = |language: &str| format!("<query xmlns='{REGISTER}'>{}</query>", form(&[("language", language)]));
    for (given, kept) in [("de", "de"), ("any", "any"), ("de", "de"), ("", "any")] {
        assert_eq!(gateway.iq("set", BALCONY, US, &set(given)).await.attr("type"), Some("result"));
        let answer = gateway.iq("get", BALCONY, US, &format!("<query xmlns='{REGISTER}'/>")).await;
        let x = answer.get_child("query", REGISTER).and_then(|query| query.get_child("x", DATA)).expect("a form");
        let field = x.children().find(|field| field.attr("var") == Some("language")).expect("the field");
        assert_eq!(field.get_child("value", DATA).map(Element::text).as_deref(), Some(kept), "{given}");
        let labels: Vec<&str> = field.children().filter_map(|option| option.attr("label")).collect();
        assert_eq!(labels[1..], ["Deutsch", "English"], "languages go by their own names");
    }
}

/// Every Profanity takes a note for a format, so a `%` in it ends the program; and every address that we give has one.
#[tokio::test]
async fn d9_d11_addresses_come_as_fields_and_no_note_has_a_percent_sign() {
    let mut gateway = open().await;
    for (typed, label, jid) in [
        ("bob@loopback", "Write to", format!("bob%loopback@{US}")),
        ("#town@loopback", "Join", format!("#town%loopback@{US}")),
    ] {
        let (_, _, session) = inner(&command(&mut gateway, BALCONY, "node='start-chat'", "").await);
        let go = format!("node='start-chat' sessionid='{session}' action='complete'");
        let (answer, status, _) = inner(&command(&mut gateway, BALCONY, &go, &form(&[("address", typed)])).await);
        let x = answer.get_child("x", DATA).expect("a form");
        assert_eq!((status.as_str(), x.attr("type"), note(&answer).as_str()), ("completed", Some("result"), ""));
        assert_eq!(x.get_child("title", DATA).map(Element::text).as_deref(), Some("Start a chat"));
        let fields: Vec<&Element> = x.children().filter(|child| child.is("field", DATA)).collect();
        let [head, field] = fields[..] else { panic!("{}", String::from(x)) };
        let words = head.get_child("value", DATA).map(Element::text);
        assert_eq!((head.attr("type"), words.as_deref()), (Some("fixed"), Some("Found:")));
        assert_eq!((field.attr("type"), field.attr("label")), (Some("jid-single"), Some(label)));
        assert_eq!(field.get_child("value", DATA).map(Element::text), Some(jid));
    }
    // Words go on to be notes, beside the rest.
    let (_, _, session) = inner(&command(&mut gateway, BALCONY, "node='register'", "").await);
    let go = format!("node='register' sessionid='{session}' action='complete'");
    let (answer, _, _) = inner(&command(&mut gateway, BALCONY, &go, &form(&[("name", "50% J")])).await);
    assert!(note(&answer).starts_with("You are registered with the Loopback gateway.\n"), "{}", note(&answer));
    assert!(!answer.has_child("x", DATA));
    gateway.say("m1", "bob%loopback", "hello", "").await;
    gateway.item("text").await;
    for node in ["contacts", "export"] {
        let (answer, status, _) = inner(&command(&mut gateway, BALCONY, &format!("node='{node}'"), "").await);
        assert!(status == "completed" && !note(&answer).contains('%'), "{node}: {}", note(&answer));
        assert!(String::from(answer.get_child("x", DATA).expect("a form")).contains('%'), "{node}");
    }
}

#[tokio::test]
async fn d9_commands_say_in_which_language_they_speak() {
    let mut gateway = open().await;
    let ask = |id: &str, lang: &str, attributes: &str| {
        format!(
            "<iq type='set' from='{BALCONY}' to='{US}' id='{id}' xml:lang='{lang}'>\
             <command xmlns='{COMMANDS}' {attributes}/></iq>"
        )
    };
    gateway.send(&ask("c1", "de-AT", "node='register' sessionid='gone'")).await;
    let (_, condition, text, lang) = error(&gateway.answer("c1").await);
    assert_eq!((condition.as_str(), lang.as_deref()), ("not-allowed", Some("de")), "{text}");
    assert!(text.contains("von vorn"), "{text}");
    // A language that nobody has written down yet: English words, and they say so.
    for (id, asked, spoken) in [("c2", "de-AT", "de"), ("c3", "fr", "en")] {
        gateway.send(&ask(id, asked, "node='register'")).await;
        let answer = gateway.answer(id).await;
        let command = answer.get_child("command", COMMANDS).expect("a command");
        assert_eq!(portway::xmpp::xml::lang(command), Some(spoken), "{}", String::from(&answer));
    }
}

#[tokio::test]
async fn d9_d13_plain_chat_does_the_same() {
    let mut gateway = open().await;
    let hi = chat(&mut gateway, BALCONY, "hi").await;
    assert_eq!(hi.lines().count(), 2, "{hi}");
    let help = chat(&mut gateway, BALCONY, "Help").await;
    assert!(help.contains("1. register") && help.contains("cancel") && !help.contains("dead-letters"), "{help}");
    // Left in the middle.
    let asked = chat(&mut gateway, BALCONY, "register").await;
    assert!(asked.contains("optional") && asked.contains("Name"), "{asked}");
    assert!(chat(&mut gateway, BALCONY, "cancel").await.starts_with("Cancelled"));
    assert!(!registered(&mut gateway).await);
    // By its number, with a wrong answer and a step back.
    chat(&mut gateway, BALCONY, "1").await;
    assert!(chat(&mut gateway, BALCONY, "Juliet").await.contains("1. "));
    assert!(chat(&mut gateway, BALCONY, "prev").await.contains("Name"));
    chat(&mut gateway, BALCONY, "Giulietta").await;
    chat(&mut gateway, BALCONY, "1").await;
    assert!(chat(&mut gateway, BALCONY, "perhaps").await.contains("yes or no"));
    assert!(chat(&mut gateway, BALCONY, "yes").await.contains("You are registered"));
    subscribed_to(&mut gateway).await;
    assert!(registered(&mut gateway).await);
    // Anything pasted.
    let pasted = chat(&mut gateway, BALCONY, "bob@loopback").await;
    assert!(pasted.contains(&format!("xmpp:bob%25loopback@{US}?message")), "{pasted}");
    let status = chat(&mut gateway, BALCONY, "status").await;
    assert!(status.contains("registered") && status.contains("0 messages"), "{status}");
    let export = chat(&mut gateway, BALCONY, "export").await;
    let json: serde_json::Value = serde_json::from_str(export.split_once('\n').expect("two parts").1).expect("JSON");
    assert_eq!((json["user"].as_str(), json["choices"]["name"].as_str()), (Some(JULIET), Some("Giulietta")));
    let leaving = chat(&mut gateway, BALCONY, "unregister").await;
    assert!(leaving.contains("deletes"), "{leaving}");
    assert!(chat(&mut gateway, BALCONY, "no").await.contains("Nothing"));
    assert!(registered(&mut gateway).await);
    chat(&mut gateway, BALCONY, "unregister").await;
    assert!(chat(&mut gateway, BALCONY, "yes").await.contains("not registered any more"));
    assert!(!registered(&mut gateway).await);
}

#[tokio::test]
async fn s1_a_stranger_gets_nowhere_and_a_user_is_no_admin() {
    let mut gateway = open().await;
    for payload in [
        format!("<command xmlns='{COMMANDS}' node='register'/>"),
        format!("<query xmlns='{REGISTER}'><nick>eve</nick></query>"),
        format!("<query xmlns='{REGISTER}'><remove/></query>"),
        "<query xmlns='jabber:iq:search'><nick>a</nick></query>".to_owned(),
    ] {
        let answer = gateway.iq("set", EVE, US, &payload).await;
        assert_eq!(error(&answer).1, "registration-required", "{payload}");
    }
    let items = gateway.iq("get", EVE, US, &format!("<query xmlns='{ITEMS}' node='{COMMANDS}'/>")).await;
    assert_eq!(items.get_child("query", ITEMS).expect("a query").children().count(), 0);
    assert_eq!(error(&command(&mut gateway, BALCONY, "node='doctor'", "").await).1, "forbidden");
    for node in ["users", "queue", "dead-letters", "links", "disconnect", "rules", "announce", "log-level"] {
        let answer = command(&mut gateway, BALCONY, &format!("node='{node}'"), "").await;
        assert_eq!(error(&answer).1, "forbidden", "{node}");
        assert!(chat(&mut gateway, BALCONY, node).await.contains("admins"), "{node}");
        assert_eq!(inner(&command(&mut gateway, NURSE, &format!("node='{node}'"), "").await).0.name(), "command");
    }
}

#[tokio::test]
async fn s1_where_registering_is_required_nobody_writes_without_and_where_it_is_closed_nobody_registers() {
    let mut gateway = Gateway::configured("registration = \"required\"\n", "[limits]\nuser_rate = 0\n").await;
    gateway.say("m1", "bob%loopback", "hi", "").await;
    let (type_, condition, text, _) = error(&gateway.answer("m1").await);
    assert_eq!((type_.as_str(), condition.as_str()), ("auth", "registration-required"));
    assert!(text.contains("register"), "{text}");
    let set = format!("<query xmlns='{REGISTER}'><nick>J</nick></query>");
    assert_eq!(gateway.iq("set", BALCONY, US, &set).await.attr("type"), Some("result"));
    gateway.say("m2", "bob%loopback", "again", "").await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("again"));

    let mut gateway = Gateway::configured("registration = \"closed\"\n", "[limits]\nuser_rate = 0\n").await;
    let answer = gateway.iq("get", BALCONY, US, &format!("<query xmlns='{REGISTER}'/>")).await;
    assert_eq!(error(&answer).1, "not-allowed");
    assert!(!chat(&mut gateway, BALCONY, "help").await.contains(". register:"));
    gateway.say("m3", "bob%loopback", "free", "").await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("free"));
}

/// An admin looks after what could not be delivered, and speaks to all who have registered.
#[tokio::test]
async fn d9_an_admin_s_commands_work() {
    let mut gateway = open().await;
    gateway.peer.fail("bob@loopback", Some("permanent")).await;
    gateway.say("m1", "bob%loopback", "lost and found", "").await;
    assert_eq!(gateway.answer("m1").await.attr("type"), Some("error"));
    let letters = chat(&mut gateway, NURSE, "dead-letters list").await;
    let number = letters.split(' ').next().expect("a number").to_owned();
    gateway.peer.fail("bob@loopback", None).await;
    assert!(chat(&mut gateway, NURSE, &format!("dead-letters retry {number}")).await.contains("Done"), "{letters}");
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("lost and found"));
    assert!(chat(&mut gateway, NURSE, &format!("dead-letters drop {number}")).await.contains("no letter"));

    let set = format!("<query xmlns='{REGISTER}'><nick>J</nick></query>");
    gateway.iq("set", BALCONY, US, &set).await;
    assert!(chat(&mut gateway, NURSE, "announce Supper is ready").await.contains("1 users"));
    let said = gateway.stanza(|stanza| stanza.name() == "message" && stanza.attr("to") == Some(JULIET)).await;
    assert_eq!(body(&said), "Announcement: Supper is ready");
    assert_eq!(chat(&mut gateway, NURSE, "users list").await, JULIET);
    assert!(chat(&mut gateway, NURSE, "log-level debug").await.contains("debug"));
}

/// Waits until a delivery has failed for now, so often.
async fn failed(gateway: &mut Gateway, times: u32) {
    let counter = "portway_delivery_retries_total{network=\"loopback\",direction=\"to_network\"} ";
    let wait =
        async { while !gateway.page("/metrics").await.1.lines().any(|line| line == format!("{counter}{times}")) {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), wait).await.expect("it fails");
}

/// A chat that is stuck is tried at an admin's word, and not only when its time has come.
#[tokio::test]
async fn d9_an_admin_tries_a_stuck_chat_now() {
    let mut gateway = Gateway::patient().await;
    assert_eq!(chat(&mut gateway, NURSE, "queue list").await, "Nothing waits.");
    gateway.peer.fail("bob@loopback", Some("temporary")).await;
    gateway.say("m1", "bob%loopback", "stuck", "").await;
    failed(&mut gateway, 1).await;
    let list = chat(&mut gateway, NURSE, "queue list").await;
    let number = list.rsplit(' ').next().expect("a number").to_owned();
    assert!(chat(&mut gateway, NURSE, &format!("queue retry {number}")).await.contains("1 wait"), "{list}");
    failed(&mut gateway, 2).await;
    gateway.peer.fail("bob@loopback", None).await;
    chat(&mut gateway, NURSE, &format!("queue retry {number}")).await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("stuck"));
    assert!(chat(&mut gateway, NURSE, "queue retry 4711").await.contains("Nothing waits in 4711"));
    assert!(chat(&mut gateway, NURSE, "queue retry").await.contains("Say the chat"));
}

/// What is taken out of the queue is never lost silently: each sender is told, and it is among the dead letters.
#[tokio::test]
async fn d9_an_admin_takes_a_stuck_chat_out_of_the_queue() {
    let mut gateway = Gateway::patient().await;
    gateway.peer.fail("bob@loopback", Some("temporary")).await;
    gateway.say("m1", "bob%loopback", "one", "").await;
    failed(&mut gateway, 1).await;
    gateway.say("m2", "bob%loopback", "two", "").await;
    gateway.peer.fail("carol@loopback", Some("temporary")).await;
    gateway.say("m3", "carol%loopback", "not this one", "").await;
    failed(&mut gateway, 2).await;
    let list = chat(&mut gateway, NURSE, "queue list").await;
    let bobs = list.lines().find(|line| line.contains("bob")).unwrap_or_else(|| panic!("{list}"));
    let key = bobs.split(": ").next().expect("a key").to_owned();
    let said = chat(&mut gateway, NURSE, &format!("queue drop {key}")).await;
    assert!(said.starts_with("2 messages"), "{said}");
    for id in ["m1", "m2"] {
        let (type_, condition, text, _) = error(&gateway.answer(id).await);
        assert_eq!((type_.as_str(), condition.as_str()), ("cancel", "service-unavailable"));
        assert!(text.contains("an admin has taken it out of the queue"), "{text}");
    }
    let letters = chat(&mut gateway, NURSE, "dead-letters list").await;
    assert_eq!(letters.matches("taken out of the queue by nurse@bench.example").count(), 2, "{letters}");
    // What comes later goes its way, and the other chat still waits.
    gateway.peer.fail("bob@loopback", None).await;
    gateway.say("m4", "bob%loopback", "three", "").await;
    assert_eq!(gateway.item("text").await.body.as_deref(), Some("three"));
    let list = chat(&mut gateway, NURSE, "queue list").await;
    assert!(list.contains("carol"), "{list}");
}

/// The doctor as a command: what is well, and what is not with what mends it.
#[tokio::test]
async fn d15_an_admin_asks_the_doctor() {
    let mut gateway = open().await;
    gateway.send(&format!("<message from='{NURSE}' to='{US}' type='chat' id='d'><body>doctor</body></message>")).await;
    for asked in ["jabber:iq:version", ITEMS, "urn:xmpp:time"] {
        let ask = gateway.stanza(|stanza| stanza.children().any(|child| child.ns() == asked)).await;
        let id = ask.attr("id").expect("an id");
        gateway.send(&format!("<iq type='error' from='bench.example' to='{US}' id='{id}'><error type='cancel'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")).await;
    }
    let answer = gateway.stanza(|stanza| stanza.name() == "message" && stanza.attr("to") == Some(NURSE)).await;
    let text = body(&answer);
    for line in [
        "ok   loopback.handshake: the gateway that runs is connected",
        "ok   loopback.server: bench.example answers",
        "warn loopback.privileges: none is granted",
        "warn loopback.disco-items: bench.example does not say which services it has",
        "privileged_entities",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(!text.contains("a-secret-of-the-component"), "{text}");
}

/// The command line on the same machine, with the gateway's configuration: exit code, what it says, and its errors.
async fn portway(gateway: &Gateway, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_portway"));
    command.args(args).arg("--config").arg(gateway.dir.0.join("portway.toml"));
    let output = command.output().await.expect("the binary");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The command line is another door of the same table, and what it orders is heeded at once.
#[tokio::test]
async fn d9_the_command_line_gives_orders_to_the_gateway_that_runs() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut gateway = Gateway::patient().await;
    let socket = std::fs::metadata(gateway.dir.0.join("portway.sock")).expect("a socket");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);

    // Rules hold from the next message on.
    let deny = ["admin", "do", "loopback", "rules", "action=deny", "pattern=eve@*"];
    assert_eq!(portway(&gateway, &deny).await.0, Some(0));
    gateway.say("m0", "eve%loopback", "hi", "").await;
    assert_eq!(gateway.answer("m0").await.attr("type"), Some("error"));
    let (_, list, _) = portway(&gateway, &["admin", "do", "loopback", "rules"]).await;
    assert!(list.contains("eve@*"), "{list}");

    gateway.iq("set", BALCONY, US, &format!("<query xmlns='{REGISTER}'><nick>J</nick></query>")).await;
    let (code, said, _) = portway(&gateway, &["admin", "do", "loopback", "announce", "text=Supper"]).await;
    assert!(code == Some(0) && said.contains("1 users"), "{said}");
    let said = gateway.stanza(|stanza| stanza.name() == "message" && stanza.attr("to") == Some(JULIET)).await;
    assert_eq!(body(&said), "Announcement: Supper");
    assert_eq!(portway(&gateway, &["admin", "do", "loopback", "log-level", "level=debug"]).await.0, Some(0));
    assert_eq!(
        portway(&gateway, &["admin", "do", "loopback", "disconnect", "user=juliet@bench.example"]).await.0,
        Some(0)
    );

    // The queue.
    gateway.peer.fail("bob@loopback", Some("temporary")).await;
    gateway.say("m1", "bob%loopback", "stuck", "").await;
    failed(&mut gateway, 1).await;
    let (_, list, _) = portway(&gateway, &["admin", "do", "loopback", "queue"]).await;
    let number = list.trim_end().rsplit(' ').next().expect("a number").to_owned();
    let retry = ["admin", "queue", "--network", "loopback", "--retry", &number];
    assert_eq!(portway(&gateway, &retry).await.0, Some(0), "{list}");
    failed(&mut gateway, 2).await;
    assert_eq!(portway(&gateway, &["admin", "queue", "--network", "loopback", "--drop", &number]).await.0, Some(0));
    assert_eq!(error(&gateway.answer("m1").await).1, "service-unavailable");

    // What is wrong does nothing, and says what would be right.
    for (args, words) in [
        (vec!["announce"], "text=<text>"),
        (vec!["announce", "txt=x"], "there is no field txt"),
        (vec!["announce", "x"], "x is no field"),
        (vec!["log-level", "level=loud"], "error|warn|info|debug"),
    ] {
        let args = [vec!["admin", "do", "loopback"], args].concat();
        let (code, _, errors) = portway(&gateway, &args).await;
        assert!(code == Some(64) && errors.contains(words), "{args:?}: {code:?} {errors}");
    }
    for (args, words) in [
        (["admin", "do", "loopback", "register"], "there is no command register for admins"),
        (["admin", "do", "matrix", "users"], "network matrix does not run; there is loopback"),
    ] {
        let (code, _, errors) = portway(&gateway, &args).await;
        assert!(code == Some(1) && errors.contains(words), "{args:?}: {code:?} {errors}");
    }
    // A gateway that was killed leaves its socket behind; the next one takes its place.
    gateway.restart().await;
    assert_eq!(portway(&gateway, &["admin", "do", "loopback", "users"]).await.0, Some(0));
    gateway.child.kill().await.expect("it ran");
    let (code, _, errors) = portway(&gateway, &["admin", "do", "loopback", "users"]).await;
    assert!(code == Some(1) && errors.contains("no gateway runs there"), "{code:?} {errors}");
}
