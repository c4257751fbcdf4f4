//! Who is there and what they may (M25, M26, M30).

use super::*;

#[test]
fn m30_names_become_nicks_that_are_unique_and_clean() {
    let house = house();
    house.join("r@h/1", "Alice", ROOM);
    let out = house.person_says(1, &alice(), "hi");
    assert!(out[0].starts_with("<presence") && out[0].contains("Alice (alice:hs)"), "{out:?}");
    assert_eq!(room::clean_nick(" a\u{202e}b \n c\u{7} "), "ab c");
}

#[test]
fn m30_any_name_becomes_a_nick_that_servers_route() {
    for (name, nick) in [
        ("\u{1f600} Anna \u{1f469}\u{200d}\u{1f467}", "\u{1f600} Anna \u{1f469}\u{1f467}"),
        ("\u{5d0}\u{5d1}\u{5d2}", "\u{5d0}\u{5d1}\u{5d2}"),
        ("a\u{0}\u{1}\u{7f}b\u{85}c", "ab c"),
        ("a\u{fffe}b\u{ffff}", "ab"),
        (" \t\r\n ", ""),
        ("line\nbreak", "line break"),
        ("\u{202e}evil\u{2066}", "evil"),
        ("a/b@c", "a/b@c"),
    ] {
        assert_eq!(room::clean_nick(name), nick, "{name:?}");
        if !nick.is_empty() {
            assert!(Jid::from_parts(Some("room"), "m.x", Some(nick)).is_ok(), "{nick:?}");
        }
    }
    let long = room::clean_nick(&"\u{1f600}\u{7}".repeat(5000));
    assert!(!long.is_empty() && long.len() <= 1023 && long.chars().all(|c| c == '\u{1f600}'));
}

#[test]
fn m30_three_people_of_one_name() {
    let house = house();
    house.join("r@h/1", "Alice", ROOM);
    let nicks: Vec<String> = ["alice", "alice2", "alice3"]
        .iter()
        .map(|local| {
            let out = house.person_says(1, &PersonId::new(local, "hs").unwrap(), "hi");
            out[0].split_once("@m.x/").unwrap().1.split_once('\'').unwrap().0.to_owned()
        })
        .collect();
    assert_eq!(nicks, ["Alice (alice:hs)", "Alice (alice2:hs)", "Alice (alice3:hs)"]);
    // A person without any usable name.
    let out = house.person_says(2, &PersonId::new("\u{7}", "hs").unwrap(), "hi");
    assert!(out[0].contains("from='#town%hs@m.x/"), "{out:?}");
}

/// M13: to clients the same occupant with a new nick, not one who left and one who came.
#[test]
fn a_new_name_is_a_new_nick() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.person_says(1, &alice(), "hi");
    let out = house.render(Kind::Membership(Membership::Join { name: Some("Alicia".into()) }));
    assert_eq!(out.len(), 2, "{out:?}");
    assert!(out[0].contains("/Alice'") && out[0].contains("type='unavailable'") && out[0].contains("code='303'"));
    assert!(out[0].contains("nick='Alicia'") && out[0].contains("role='participant'"), "{}", out[0]);
    assert!(out[1].contains("/Alicia'") && !out[1].contains("unavailable") && !out[1].contains("code="), "{}", out[1]);
    assert!(house.render(Kind::Membership(Membership::Join { name: Some("Alicia".into()) })).is_empty());
    // Whose nick is taken gets another one.
    let out = house.render(Kind::Membership(Membership::Join { name: Some("romeo".into()) }));
    assert!(out[1].contains("/romeo (alice:hs)'"), "{}", out[1]);
    assert!(house.person_says(2, &alice(), "me").iter().all(|stanza| stanza.contains("/romeo (alice:hs)'")));
}

/// M25, read only.
#[test]
fn new_rights_are_shown_at_once() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.person_says(1, &alice(), "hi");
    for (level, affiliation, role) in [
        (100, "owner", "moderator"),
        (99, "admin", "moderator"),
        (0, "member", "participant"),
        (-1, "member", "visitor"),
    ] {
        let out = house.render(Kind::Role { person: alice(), level });
        assert_eq!(out.len(), 1, "{level}");
        let item = format!("<item affiliation='{affiliation}' role='{role}'");
        assert!(out[0].starts_with("<presence") && out[0].contains(&item), "{out:?}");
        assert!(house.render(Kind::Role { person: alice(), level }).is_empty(), "told once");
    }
    // Who was not shown is not shown for this, and later as they are.
    let p3 = PersonId::new("p3", "hs").unwrap();
    assert!(house.render(Kind::Role { person: p3.clone(), level: 50 }).is_empty());
    assert!(house.person_says(2, &p3, "hi")[0].contains("affiliation='admin'"));
}

#[test]
fn m26_kicks_and_bans_say_who_and_why() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.person_says(1, &alice(), "hi");
    let bob = PersonId::new("bob", "hs").unwrap();
    house.person_says(2, &bob, "hi");
    let kick =
        |person, ban| Kind::Membership(Membership::Kick { person, user: None, reason: Some("rude".into()), ban });
    let out = house.render(kick(Some(bob.clone()), false));
    assert!(out[0].contains("code='307'") && out[0].contains("<actor nick='Alice'/><reason>rude</reason>"), "{out:?}");
    assert!(house.render(kick(Some(bob), true)).is_empty(), "gone already");
    let romeo = access::user(&Jid::parse("r@h/1").unwrap());
    let ban = Membership::Kick { person: None, user: romeo, reason: None, ban: true };
    let out = house.render(Kind::Membership(ban));
    assert!(out[0].contains("affiliation='outcast' role='none'") && out[0].contains("code='301'"), "{out:?}");
}

/// M14: clients follow by themselves.
#[test]
fn a_room_that_moved_says_where_to() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let next = RoomId::id("new", None).ok();
    let out = house.render(Kind::RoomGone { next, reason: Some("upgraded".into()) });
    assert!(out[0].contains("<destroy jid='!new@m.x'><reason>upgraded</reason></destroy>"), "{out:?}");
    assert_eq!(out[0].matches("muc#user").count(), 1);
    assert!(house.ping("r@h/1", "romeo").contains("not-acceptable"));
    let behind = house.muc.behind();
    let [Effect::Forget { .. }, Effect::Moved { users, old, next }] = behind.as_slice() else { panic!("{behind:?}") };
    assert_eq!((users.len(), users[0].to_string().as_str(), old.as_str()), (1, "r@h", "!abc"));
    assert_eq!(*next, RoomId::id("new", None).unwrap());
    assert!(house.muc.behind().is_empty());
}

/// M14: whoever comes later is told by the error, and whoever was there before a restart as if they had been there.
#[test]
fn whoever_comes_to_a_room_that_moved_is_told_where_to() {
    let house = house();
    let next = RoomId::id("new", None).ok();
    let moved = ChatInfo { next: next.clone(), ..info() };
    let effects = house.let_in(house.ask("r@h/1", "romeo", ""), moved.clone());
    let answer = sent(&effects).join("");
    assert!(
        answer.starts_with(&format!("<presence from='{ROOM}@m.x/romeo' id='j1' to='r@h/1' type='error'>")),
        "{answer}"
    );
    assert!(answer.contains("<x xmlns='http://jabber.org/protocol/muc'/><error type='cancel'>"), "{answer}");
    assert!(answer.contains("<gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:!new@m.x?join</gone>"), "{answer}");
    let of = |effect: &Effect| match effect {
        Effect::Moved { users, old, next } => Some((users.len(), old.clone(), next.clone())),
        _ => None,
    };
    let told = effects.iter().find_map(of).unwrap();
    assert_eq!((told.0, told.1.as_str(), Some(told.2)), (1, ROOM, next));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Accept(_))), "their ghost does not stay there");
    // Restored.
    let row = OccupantRow {
        network: "n".into(),
        room: "!abc".into(),
        session: "r@h/1".into(),
        nick: "romeo".into(),
        face: ROOM.into(),
        joined: Timestamp(0),
    };
    let effects = house.muc.restore(vec![row]);
    let [Effect::Enter { ticket, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    let effects = house.let_in(*ticket, moved);
    assert!(sent(&effects)[0].contains("<destroy jid='!new@m.x'/>"), "{effects:?}");
    assert!(matches!(effects[1..], [Effect::Forget { .. }, Effect::Moved { .. }]), "{effects:?}");
}

/// M13: from here a nick stays; the client keeps the old one.
#[test]
fn m13_another_nick_is_refused_while_one_is_in_the_room() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let effects = house.presence(&format!("<presence from='r@h/1' to='{ROOM}@m.x/montague'/>"));
    let [Effect::Refuse(_, Condition::NotAcceptable, why)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(why.key, "core.nick-stays");
    assert!(house.ping("r@h/1", "romeo").contains("result"));
    // And nobody can be in a room without one.
    let effects = house.presence(&format!("<presence from='r@h/1' to='{ROOM}@m.x'/>"));
    assert!(matches!(effects.as_slice(), [Effect::Refuse(_, Condition::JidMalformed, _)]), "{effects:?}");
}
