//! What is said, live and later (M15 to M21).

use portway_bridges::api::rich::{Mark, Node, Rich, Who};
use portway_bridges::api::{ItemId, Target};

use super::*;

#[test]
fn m15_to_m19_ids() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.join("j@h/1", "juliet", "!abc");
    let effects = house.say("r@h/1", "wherefore");
    let [Effect::Accept(item)] = effects.as_slice() else { panic!("{effects:?}") };
    let item = Item { meta: Meta { remote_id: Some("$r1".into()), ..item.meta.clone() }, ..item.clone() };
    let out: Vec<String> = house.muc.render(EventId(5), &item, Timestamp(2000)).iter().map(text).collect();
    assert_eq!(out.len(), 2);
    for stanza in &out {
        // The client's own ids come back untouched, ours is beside them, the forged one is gone.
        assert!(
            stanza.contains(" id='c1' ") && stanza.contains("<origin-id xmlns='urn:xmpp:sid:0' id='c1'/>"),
            "{stanza}"
        );
        assert!(!stanza.contains("forged") && stanza.matches("<stanza-id").count() == 1, "{stanza}");
        assert!(stanza.contains("<occupant-id"), "{stanza}");
    }
    assert!(
        out.iter().any(
            |s| s.contains(&format!("from='{ROOM}@m.x/romeo'")) && s.contains(&format!("by='{ROOM}@m.x' id='$r1'"))
        )
    );
    assert!(out.iter().any(|s| s.contains("from='!abc@m.x/romeo'") && s.contains("by='!abc@m.x' id='$r1'")));
    // The same id live and in the history.
    let third = house.join("n@h/1", "nurse", ROOM);
    assert!(sent(&third).iter().any(|stanza| stanza.contains("id='$r1'") && stanza.contains("<delay")));
}

#[test]
fn whoever_is_not_in_the_room_cannot_speak() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let refused = house.say("x@h/1", "hi");
    assert!(matches!(refused.as_slice(), [Effect::Refuse(_, Condition::NotAcceptable, _)]));
}

/// The bodies of the history that a newcomer with this wish is sent.
fn history(house: &House, jid: &str, wish: &str) -> Vec<String> {
    let joined = house.let_in(house.ask(jid, jid.split('@').next().unwrap(), wish), info());
    let bodies = sent(&joined)
        .into_iter()
        .filter_map(|stanza| Some(stanza.split_once("<body>")?.1.split_once('<')?.0.to_owned()));
    bodies.collect()
}

#[test]
fn whoever_is_called_by_their_nick_is_mentioned() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.join("j@h/1", "juliet (of Verona)", ROOM);
    house.person_says(1, &alice(), "hi");
    let mentioned = |body: &str| {
        let effects = house.say("r@h/1", body);
        let [Effect::Accept(Item { kind: Kind::Text(text), .. })] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!(text.body, body);
        let rich = text.rich.as_ref();
        (rich.map_or_else(Vec::new, |rich| rich.mentions().into_iter().cloned().collect()), rich.map(Rich::text))
    };
    let juliet = || Who::User(UserId::parse("j@h").unwrap());
    for (body, who) in [
        ("Alice: hi", Some(Who::Person(alice()))),
        ("Alice, *hi*", Some(Who::Person(alice()))),
        ("juliet (of Verona): hi", Some(juliet())),
        ("Alice hi", None),
        ("Bob: hi", None),
        ("hi Alice:", None),
        (": hi", None),
    ] {
        let (found, text) = mentioned(body);
        assert_eq!(found, who.iter().cloned().collect::<Vec<_>>(), "{body}");
        assert!(text.is_none_or(|text| text == body), "{body}");
    }
}

/// Their clients sound for their nick in the text, and are told by XEP-0372; of others, no address is shown.
#[test]
fn an_occupant_who_is_mentioned_hears_their_own_nick_and_nobody_learns_their_address() {
    let house = house();
    house.join("r@h/1", "Monty", ROOM);
    house.join("j@h/1", "juliet", ROOM);
    let mention = |who, name: &str| Node::Part(Mark::Mention(who), vec![Node::Text(name.into())]);
    let user = |jid| Who::User(UserId::parse(jid).unwrap());
    let nodes = vec![
        Node::Text("\u{1f600} ".into()),
        mention(user("r@h"), "Romeo Montague"),
        Node::Text(" and ".into()),
        mention(user("j@h"), "@juliet"),
        mention(Who::Person(alice()), "A"),
    ];
    let rich = Rich::new(nodes).unwrap();
    let out = house.render(Kind::Text(Text { body: rich.text(), rich: Some(rich), ..Text::default() }));
    let to = |jid: &str| {
        let is_message = |stanza: &&String| stanza.contains("<body>") && stanza.contains(&format!("to='{jid}'"));
        out.iter().find(is_message).unwrap()
    };
    let reference = |begin: u8, end: u8, jid: &str| {
        format!("<reference xmlns='urn:xmpp:reference:0' begin='{begin}' end='{end}' type='mention' uri='xmpp:{jid}'/>")
    };
    for (session, own) in [("r@h/1", reference(2, 7, "r@h")), ("j@h/1", reference(12, 19, "j@h"))] {
        let stanza = to(session);
        assert!(stanza.contains("<body>\u{1f600} Monty and @julietA</body>"), "{stanza}");
        assert!(stanza.contains(&own) && stanza.matches("<reference").count() == 1, "{stanza}");
    }
}

#[test]
fn m16_what_a_client_claims_is_not_passed_on() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let (stanza, us) = house.stanza(&format!(
        "<message from='r@h/1' to='{ROOM}@m.x' type='groupchat' id='c1'><body>hi</body>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}@m.x' id='forged'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>\
         <x xmlns='http://jabber.org/protocol/muc#user'><status code='307'/></x>\
         <delay xmlns='urn:xmpp:delay' stamp='2000-01-01T00:00:00Z'/></message>"
    ));
    let effects = house.muc.message(&stanza, &us, from_stanza::message(&stanza), Timestamp(2000));
    let [Effect::Accept(item)] = effects.as_slice() else { panic!("{effects:?}") };
    let out: Vec<String> = house.muc.render(EventId(5), item, Timestamp(2000)).iter().map(text).collect();
    assert!(!out[0].contains("forged") && !out[0].contains("muc#user") && !out[0].contains("<delay"), "{out:?}");
    assert!(out[0].contains("id='pw-5'"), "a stanza-id of our own: {out:?}");
}

#[test]
fn m17_the_same_id_live_and_in_the_history_after_a_restart() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let live = house.person_says(4, &alice(), "hello").pop().unwrap();
    // M18: what comes from the network has one id.
    assert_eq!(live.matches("id='$e4'").count(), 2, "{live}");
    let id_of = |stanza: &str| stanza.split_once("<stanza-id").unwrap().1.split_once("id='").unwrap().1[..3].to_owned();
    let occupant =
        |stanza: &str| stanza.split_once("occupant-id:0' id='").unwrap().1.split_once('\'').unwrap().0.to_owned();
    // The archive holds the item as it was rendered.
    let again = self::house();
    let item = Item {
        chat: Chat::Room(room_id()),
        speaker: Speaker::Person { id: alice(), name: Some("Alice".into()) },
        at: Timestamp(3000),
        kind: Kind::Text(Text::plain("hello")),
        meta: Meta { remote_id: Some("$e4".into()), ..Meta::default() },
    };
    let entered = again.muc.entered(again.ask("r@h/1", "r", ""), Ok((info(), vec![(EventId(4), item)])), Timestamp(0));
    let [Effect::Admit { ticket, .. }] = entered.as_slice() else { panic!() };
    let mut out = Vec::new();
    let _ = again.muc.admit(*ticket, Timestamp(9000), &mut |stanza| {
        out.push(text(stanza));
        true
    });
    let old = out.into_iter().find(|stanza| stanza.contains("hello")).unwrap();
    assert_eq!((id_of(&live), occupant(&live)), (id_of(&old), occupant(&old)));
}

#[test]
fn m19_an_occupant_id_is_a_short_pseudonym_that_stays() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let occupant =
        |stanza: &str| stanza.split_once("occupant-id:0' id='").unwrap().1.split_once('\'').unwrap().0.to_owned();
    let said = house.person_says(1, &alice(), "hi").pop().unwrap();
    let renamed = house.render(Kind::Membership(Membership::Join { name: Some("Alicia".into()) }));
    let left = house.render(Kind::Membership(Membership::Leave { reason: None }));
    let ids: Vec<String> = [&said].into_iter().chain(&renamed).chain(&left).map(|stanza| occupant(stanza)).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() <= 128 && !id.contains("alice")), "{ids:?}");
    // Neither in another room nor for another person.
    let other = RoomId::id("other", None).unwrap();
    assert_ne!(build::occupant_id(&house.muc.config, &other, "alice%hs"), ids[0]);
    assert_ne!(occupant(&house.person_says(2, &PersonId::new("bob", "hs").unwrap(), "hi")[0]), ids[0]);
}

#[test]
fn m21_each_knob_of_the_history() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    for n in 0..5 {
        let item = Item {
            chat: Chat::Room(room_id()),
            speaker: Speaker::Person { id: alice(), name: None },
            // One a second; it is the second 1 when somebody joins.
            at: Timestamp(n * 1000 - 3000),
            kind: Kind::Text(Text::plain(n.to_string())),
            meta: Meta { remote_id: Some(format!("$h{n}")), ..Meta::default() },
        };
        let _ = house.muc.render(EventId(n), &item, Timestamp(1000));
    }
    for (n, (wish, expected)) in [
        ("", &["0", "1", "2", "3", "4"][..]),
        ("<history maxstanzas='2'/>", &["3", "4"]),
        ("<history maxstanzas='0'/>", &[]),
        ("<history maxchars='0'/>", &[]),
        ("<history maxchars='700'/>", &["3", "4"]),
        ("<history seconds='2'/>", &["2", "3", "4"]),
        ("<history since='1969-12-31T23:59:59Z'/>", &["2", "3", "4"]),
        ("<history since='1970-01-01T00:00:00.000Z'/>", &["3", "4"]),
        ("<history maxstanzas='1' seconds='100'/>", &["4"]),
        ("<history maxstanzas='rubbish' since='rubbish'/>", &["0", "1", "2", "3", "4"]),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(history(&house, &format!("u{n}@h/1"), wish), expected, "{wish}");
    }
}

/// What the other side cannot carry is said in words; nothing is an empty message.
#[test]
fn every_kind_says_something_in_a_room() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.person_says(1, &alice(), "here");
    let unknown = || Target::default();
    let file = portway_bridges::api::File {
        name: "a.png".into(),
        caption: Some(Text::plain("look")),
        ..portway_bridges::api::File::default()
    };
    for (kind, expected) in [
        (Kind::File(Box::new(file)), "[file: a.png]\nlook"),
        (Kind::Encrypted { scheme: "Matrix".into() }, "This message is encrypted (Matrix)"),
        (Kind::Edit { target: unknown(), new: Text::plain("new") }, "* new"),
        (Kind::Retract { target: Target::by_id("$e1") }, "<retract xmlns='urn:xmpp:message-retract:1' id='$e1'/>"),
        (Kind::Retract { target: unknown() }, "(took an earlier message back)"),
        (Kind::Reaction { target: unknown(), keys: vec!["+".into()] }, "reacted with +"),
    ] {
        let out = house.render(kind);
        assert!(out.len() == 1 && out[0].contains(expected), "{out:?}");
    }
    assert!(house.render(Kind::Reaction { target: unknown(), keys: vec![] }).is_empty());
    // A link and a place stand alone, and what is said of them follows.
    let file = portway_bridges::api::File {
        name: "a.png".into(),
        source: Some(portway_bridges::api::Source::new("far")),
        caption: Some(Text::plain("look")),
        ..portway_bridges::api::File::default()
    };
    for (kind, first, second) in [
        (Kind::File(Box::new(file)), "/a.png</body><file-sharing", "<body>look</body>"),
        (
            Kind::Location { uri: "geo:1,2".into(), text: Some("here".into()) },
            "<body>geo:1,2</body>",
            "<body>here</body>",
        ),
    ] {
        let out = house.render(kind);
        assert!(out.len() == 2 && out[0].contains(first) && out[1].contains(second), "{out:?}");
        assert!(out[1].contains("-caption'") && out[1].contains("<attach-to"), "{out:?}");
    }
}

#[test]
fn f4_the_caption_of_a_file_is_changed_and_goes_with_its_file_in_rooms() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.person_says(1, &alice(), "here");
    let target = || Target { parts: vec![ItemId::new("$e1-caption")], ..Target::by_id("$e1") };
    let edit = Kind::Edit { target: Target { caption: true, ..target() }, new: Text::plain("our cat") };
    let out = house.render(edit);
    assert!(out.len() == 1 && out[0].contains("id='$e1-caption'/>") && out[0].contains(">our cat<"), "{out:?}");
    assert!(!out[0].contains("<retract"), "{out:?}");
    let out = house.render(Kind::Retract { target: target() });
    assert_eq!(out.len(), 2, "{out:?}");
    for (stanza, gone) in out.iter().zip(["$e1", "$e1-caption"]) {
        assert!(stanza.contains(&format!("<retract xmlns='urn:xmpp:message-retract:1' id='{gone}'/>")), "{out:?}");
    }
}

#[test]
fn f4_a_file_that_answers_stands_alone() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.person_says(1, &alice(), "here");
    let file = portway_bridges::api::File {
        name: "a.png".into(),
        source: Some(portway_bridges::api::Source::new("far")),
        reply: Some(Target { quote: Some("here".into()), ..Target::by_id("$e1") }),
        ..portway_bridges::api::File::default()
    };
    let out = house.render(Kind::File(Box::new(file)));
    assert!(
        out[0].contains("<body>https://") && out[0].contains("<reply xmlns='urn:xmpp:reply:0' id='$e1'"),
        "{out:?}"
    );
}
