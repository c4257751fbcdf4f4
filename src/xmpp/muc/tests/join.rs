//! In, again, and out (M1 to M10).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn leaves_the_network(effect: &Effect) -> bool {
    matches!(effect, Effect::Accept(Item { kind: Kind::Membership(Membership::Leave { .. }), .. }))
}

#[test]
fn m1_others_then_self_then_history_then_one_subject() {
    let house = house();
    assert_eq!(order(&house.join("r@h/1", "romeo", ROOM)), "pppSs");
    house.person_says(1, &alice(), "hello");
    house.person_says(2, &alice(), "again");
    let second = house.join("j@h/1", "juliet", ROOM);
    // romeo, three people of the network, self, two messages, the subject, and juliet's presence for romeo.
    assert_eq!(order(&second), "ppppSmmsp");
    let history = sent(&second).into_iter().find(|stanza| stanza.contains("hello")).unwrap();
    assert!(history.contains("<delay") && history.contains("id='$e1'"), "{history}");
}

#[test]
fn m2_a_room_without_topic_has_an_empty_subject() {
    let house = house();
    let joined = house.let_in(house.ask("r@h/1", "r", ""), ChatInfo { topic: None, ..info() });
    assert!(sent(&joined).iter().any(|stanza| stanza.contains("<subject/>") || stanza.contains("<subject></subject>")));
}

#[test]
fn m3_two_devices_share_one_nick_and_the_last_one_leaves() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.join("j@h/1", "juliet", ROOM);
    let second = house.join("r@h/2", "romeo", ROOM);
    assert!(!sent(&second).iter().any(|stanza| stanza.contains("to='j@h/1'")), "nobody sees the second device");
    let first_leaves = house.presence(&format!("<presence from='r@h/1' to='{ROOM}@m.x/romeo' type='unavailable'/>"));
    assert!(!first_leaves.iter().any(|effect| matches!(effect, Effect::Accept(_))));
    let last_leaves = house.presence(&format!("<presence from='r@h/2' to='{ROOM}@m.x/romeo' type='unavailable'/>"));
    assert!(
        last_leaves.iter().any(|effect| matches!(
            effect,
            Effect::Accept(Item { kind: Kind::Membership(Membership::Leave { .. }), .. })
        ))
    );
    assert!(sent(&last_leaves).iter().any(|stanza| stanza.contains("to='j@h/1'") && stanza.contains("unavailable")));
}

#[test]
fn m3_another_user_s_nick_is_a_conflict() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let refused = house.join("j@h/1", "romeo", ROOM);
    assert!(matches!(refused.as_slice(), [Effect::Refuse(_, Condition::Conflict, _)]), "{refused:?}");
}

#[test]
fn m4_joining_again_is_a_full_resync() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    assert_eq!(order(&house.join("r@h/1", "romeo", ROOM)), "pppSs");
}

#[test]
fn m5_a_nick_that_was_changed_is_said() {
    let house = house();
    let joined = house.join("r@h/1", "  romeo ", ROOM);
    let own = sent(&joined).into_iter().find(|stanza| stanza.contains("code='110'")).unwrap();
    assert!(own.contains("code='210'") && own.contains("/romeo'") && !own.contains("code='201'"), "{own}");
}

#[test]
fn m6_a_self_ping_tells_the_truth() {
    let house = house();
    assert!(house.ping("r@h/1", "romeo").contains("<not-acceptable"));
    house.join("r@h/1", "romeo", ROOM);
    assert!(house.ping("r@h/1", "romeo").contains("type='result'"));
    assert!(
        house.ping("r@h/2", "romeo").contains("<not-acceptable") && house.ping("r@h/2", "romeo").contains("'cancel'")
    );
}

/// The row of a session.
fn row(jid: &str, nick: &str) -> OccupantRow {
    OccupantRow {
        network: "n".into(),
        room: "!abc".into(),
        session: jid.into(),
        nick: nick.into(),
        face: ROOM.into(),
        joined: Timestamp(1000),
    }
}

/// Killed at any moment: a client that was told to be in is on disk.
#[test]
fn m7_a_session_is_on_disk_before_its_client_hears_that_it_is_in() {
    let house = house();
    let entered = house.muc.entered(house.ask("r@h/1", "romeo", ""), Ok((info(), vec![])), Timestamp(1000));
    let [Effect::Admit { ticket, row: kept }] = entered.as_slice() else { panic!("{entered:?}") };
    assert_eq!(*kept, OccupantRow { network: String::new(), ..row("r@h/1", "romeo") });
    assert!(house.ping("r@h/1", "romeo").contains("not-acceptable"), "not in before it is on disk");
    assert!(house.person_says(1, &alice(), "live").is_empty(), "and hears nothing before");
    let refused = house.muc.turn_away(*ticket, Timestamp(1000));
    assert!(sent(&refused)[0].contains("<error type='wait'>"), "{refused:?}");
    assert!(refused.iter().any(leaves_the_network));
}

#[test]
fn m7_occupants_are_there_after_a_restart_without_a_flood() {
    let again = house();
    let effects = again.muc.restore(vec![row("r@h/1", "romeo"), row("r@h/2", "romeo")]);
    let [Effect::Enter { ticket, again: true, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(again.ping("r@h/1", "romeo").contains("type='result'"));
    assert!(again.muc.awaits(*ticket));
    assert!(again.muc.entered(*ticket, Ok((info(), vec![])), Timestamp(5000)).is_empty());
    assert!(!again.muc.awaits(*ticket));
    assert!(
        again
            .person_says(9, &alice(), "still here?")
            .iter()
            .any(|stanza| stanza.contains("to='r@h/1'") && stanza.contains("still here?"))
    );
    // Somebody whom the client was shown before the restart leaves.
    let p1 = PersonId::new("p1", "hs").unwrap();
    let left = Item {
        chat: Chat::Room(room_id()),
        speaker: Speaker::Person { id: p1, name: None },
        at: Timestamp(6000),
        kind: Kind::Membership(Membership::Leave { reason: None }),
        meta: Meta::default(),
    };
    let out = again.muc.render(EventId(1), &left, Timestamp(6000));
    assert!(text(&out[0]).contains("/P 1'") && text(&out[0]).contains("unavailable"), "{out:?}");
}

#[test]
fn m7_who_was_sent_out_meanwhile_is_told_to_join_again() {
    let again = house();
    let effects = again.muc.restore(vec![row("r@h/1", "romeo")]);
    let [Effect::Enter { ticket, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    let banned = Failure::permanent(Condition::Forbidden, Sentence::new("core.no-rooms"), "banned");
    let effects = again.muc.entered(*ticket, Err(banned), Timestamp(5000));
    assert!(sent(&effects)[0].contains("code='333'") && sent(&effects)[0].contains("code='110'"), "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Forget { .. })));
    assert!(again.ping("r@h/1", "romeo").contains("not-acceptable"));
}

#[test]
fn m7_who_leaves_while_the_room_is_away_is_not_waited_for() {
    let again = house();
    let effects = again.muc.restore(vec![row("r@h/1", "romeo")]);
    let [Effect::Enter { ticket, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    again.presence(&format!("<presence from='r@h/1' to='{ROOM}@m.x/romeo' type='unavailable'/>"));
    assert!(!again.muc.awaits(*ticket));
}

#[test]
fn m9_what_may_pass_is_of_type_wait_and_nothing_else_is() {
    let house = house();
    let permanent = |condition| Failure::permanent(condition, Sentence::new("core.no-rooms"), "");
    for (failure, expected) in [
        (Failure::temporary("away"), "<error type='wait'><remote-server-timeout"),
        (
            Failure::Temporary { retry_after: None, condition: Condition::ResourceConstraint, detail: String::new() },
            "<error type='wait'><resource-constraint",
        ),
        (permanent(Condition::RemoteServerNotFound), "<error type='wait'><remote-server-not-found"),
    ] {
        let ticket = house.ask("r@h/1", "r", "");
        let refused = sent(&house.muc.entered(ticket, Err(failure), Timestamp(0))).join("");
        assert!(refused.contains(expected) && refused.contains("Please try again later"), "{refused}");
        assert!(refused.contains("<x xmlns='http://jabber.org/protocol/muc'") && refused.contains("id='j1'"));
    }
    for condition in [Condition::Forbidden, Condition::ItemNotFound, Condition::RegistrationRequired] {
        let ticket = house.ask("r@h/1", "r", "");
        let refused = house.muc.entered(ticket, Err(permanent(condition)), Timestamp(0));
        assert!(matches!(refused.as_slice(), [Effect::Refuse(_, what, _)] if *what == condition), "{refused:?}");
    }
}

#[test]
fn m10_a_bounce_removes_that_device_only() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.join("r@h/2", "romeo", ROOM);
    let (stanza, us) = house.stanza(&format!("<message from='r@h/1' to='{ROOM}@m.x' type='error' id='x'/>"));
    let _ = house.muc.message(&stanza, &us, from_stanza::message(&stanza), Timestamp(0));
    assert!(house.ping("r@h/1", "romeo").contains("not-acceptable"));
    assert!(house.ping("r@h/2", "romeo").contains("result"));
}

/// The outbox writes what it rendered at any later time, from another thread. Whoever joins meanwhile is sent everything
/// in order, and each message once.
#[test]
fn m1_live_messages_never_come_before_the_subject() {
    for _ in 0..50 {
        let house = house();
        house.join("a@h/1", "a", ROOM);
        house.person_says(0, &alice(), "0");
        let ticket = house.ask("r@h/1", "romeo", "");
        let entered = house.muc.entered(ticket, Ok((info(), vec![])), Timestamp(1000));
        let [Effect::Admit { ticket, .. }] = entered.as_slice() else { panic!("{entered:?}") };
        let (wire, ready) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..200 {
                    let rendered = house.person_says(n, &alice(), &n.to_string());
                    ready.store(true, Ordering::Release);
                    wire.lock().unwrap().extend(rendered);
                }
            });
            while !ready.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            let mut send = |stanza: &OutStanza| {
                wire.lock().unwrap().push(text(stanza));
                true
            };
            assert!(house.muc.admit(*ticket, Timestamp(1000), &mut send).is_empty());
        });
        let wire = wire.into_inner().unwrap();
        let theirs: Vec<&String> = wire.iter().filter(|stanza| stanza.contains("to='r@h/1'")).collect();
        let sorts: String = theirs
            .iter()
            .map(|stanza| match () {
                () if stanza.contains("code='110'") => 'S',
                () if stanza.starts_with("<presence") => 'p',
                () if stanza.contains("<subject") => 's',
                () if stanza.contains("<delay") => 'h',
                () => 'm',
            })
            .collect();
        let kept = sorts.trim_start_matches('p').strip_prefix('S').map(|rest| rest.trim_start_matches('h'));
        let live = kept.and_then(|rest| rest.strip_prefix('s')).unwrap_or("x");
        assert!(live.chars().all(|c| c == 'm'), "{sorts}");
        let number = |stanza: &&String| {
            stanza.split_once("<body>").and_then(|(_, rest)| rest.split_once('<')?.0.parse::<usize>().ok())
        };
        let numbers: Vec<usize> = theirs.iter().filter_map(number).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        assert_eq!(numbers.last(), Some(&199));
    }
}

#[test]
fn m3_a_second_device_takes_the_nick_of_the_first() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let asked = house.presence(&format!(
        "<presence from='r@h/2' to='{ROOM}@m.x/montague'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    ));
    // The network is not told another nick either.
    let [Effect::Enter { ticket, nick, .. }] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(nick, "romeo");
    let own = sent(&house.let_in(*ticket, info())).into_iter().find(|s| s.contains("code='110'")).unwrap();
    assert!(own.contains("/romeo'") && own.contains("code='210'"), "{own}");
}

#[test]
fn m3_who_leaves_before_they_are_in_is_not_in_anywhere() {
    let leave = format!("<presence from='r@h/1' to='{ROOM}@m.x/romeo' type='unavailable'/>");
    // While the network is asked, and while it is put on disk.
    let house = house();
    let ticket = house.ask("r@h/1", "romeo", "");
    house.presence(&leave);
    let effects = house.muc.entered(ticket, Ok((info(), vec![])), Timestamp(0));
    assert!(effects.iter().any(leaves_the_network), "{effects:?}");
    let entered = house.muc.entered(house.ask("r@h/1", "romeo", ""), Ok((info(), vec![])), Timestamp(0));
    let [Effect::Admit { ticket, .. }] = entered.as_slice() else { panic!("{entered:?}") };
    house.presence(&leave);
    let effects = house.muc.admit(*ticket, Timestamp(0), &mut |stanza| panic!("{}", text(stanza)));
    assert!(effects.iter().any(leaves_the_network), "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Forget { .. })));
    assert!(house.ping("r@h/1", "romeo").contains("not-acceptable"));
}

#[test]
fn m3_two_users_want_one_nick_at_once() {
    let house = house();
    let (first, second) = (house.ask("r@h/1", "x", ""), house.ask("j@h/1", "x", ""));
    assert!(!sent(&house.let_in(first, info())).is_empty());
    let effects = house.let_in(second, info());
    assert!(matches!(effects[0], Effect::Refuse(_, Condition::Conflict, _)), "{effects:?}");
    assert!(effects.iter().any(leaves_the_network), "their ghost does not stay behind");
}

#[test]
fn m4_joining_again_by_another_address_leaves_the_first() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let again = sent(&house.join("r@h/1", "romeo", "!abc"));
    assert!(again[0].contains(&format!("from='{ROOM}@m.x/romeo'")) && again[0].contains("unavailable"), "{again:?}");
    assert!(again.iter().any(|stanza| stanza.contains("from='!abc@m.x/romeo'") && stanza.contains("code='110'")));
}

/// 170: messages are kept, here and on the other side. Neither is the room anonymous, nor do occupants see addresses.
#[test]
fn m5_the_codes_of_ones_own_presence() {
    let house = house();
    let joined = sent(&house.join("r@h/1", "romeo", ROOM));
    let codes = |stanza: &str| -> Vec<String> {
        stanza.split("code='").skip(1).filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())).collect()
    };
    let own: Vec<&String> = joined.iter().filter(|stanza| stanza.contains("code=")).collect();
    assert_eq!(own.len(), 1, "only one's own presence has codes: {joined:?}");
    assert_eq!(codes(own[0]), ["110", "170"]);
    let left = sent(&house.presence(&format!("<presence from='r@h/1' to='{ROOM}@m.x/romeo' type='unavailable'/>")));
    assert_eq!(codes(&left[0]), ["110"]);
}

#[test]
fn m6_a_self_ping_after_a_kick_and_of_other_occupants() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.join("j@h/1", "juliet", ROOM);
    // Another's nick, and a nick that nobody has.
    assert!(house.ping("r@h/1", "juliet").contains("<service-unavailable"));
    assert!(house.ping("r@h/1", "nobody").contains("<item-not-found"));
    let user = access::user(&Jid::parse("r@h/1").unwrap());
    let kicked = house.render(Kind::Membership(Membership::Kick {
        person: None,
        user,
        reason: Some("rude".into()),
        ban: false,
    }));
    let own = kicked.iter().find(|stanza| stanza.contains("to='r@h/1'")).unwrap();
    assert!(own.contains("code='307'") && own.contains("code='110'") && own.contains("<reason>rude</reason>"), "{own}");
    assert!(house.ping("r@h/1", "romeo").contains("<not-acceptable"));
    assert!(house.ping("j@h/1", "juliet").contains("result"));
    let forgotten = house.muc.behind();
    assert!(
        matches!(forgotten.as_slice(), [Effect::Forget { room, sessions }] if room == "!abc" && sessions == &["r@h/1"]),
        "or they would be back after a restart: {forgotten:?}"
    );
}

#[test]
fn m10_a_bounced_presence_removes_that_device_too() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    let effects = house.presence(&format!("<presence from='r@h/1' to='{ROOM}@m.x/romeo' type='error'/>"));
    assert!(sent(&effects).is_empty(), "nobody answers an error");
    assert!(effects.iter().any(leaves_the_network));
    assert!(house.ping("r@h/1", "romeo").contains("not-acceptable"));
}
