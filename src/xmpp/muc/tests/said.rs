//! What is said, live and later (M15 to M21).

use portway_bridges::api::Target;

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
        (Kind::Location { uri: "geo:1,2".into(), text: Some("here".into()) }, "here\ngeo:1,2"),
    ] {
        let out = house.render(kind);
        assert!(out.len() == 1 && out[0].contains(expected), "{out:?}");
    }
    assert!(house.render(Kind::Reaction { target: unknown(), keys: vec![] }).is_empty());
}
