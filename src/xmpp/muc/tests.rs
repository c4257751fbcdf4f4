//! The requirements of rooms, by their numbers.

use minidom::Element;
use portway_bridges::api::{Chat, ChatInfo, EventId, Failure, Kind, Membership, Occupant, PersonId, Text};

use super::*;
use crate::xmpp::from_stanza;
use crate::xmpp::stream::write;

struct House {
    muc: Muc,
    domain: Domain,
}

fn house() -> House {
    let domain = Domain::new("m.x").unwrap();
    let config = MucConfig {
        domain: domain.clone(),
        occupant_key: [7; 32],
        history_len: 20,
        max_presence: 3,
        max_sessions: 100,
    };
    House { muc: Muc::new(config), domain }
}

const ROOM: &str = "#town%hs";

fn room_id() -> RoomId {
    RoomId::id("abc", None).unwrap()
}

fn alice() -> PersonId {
    PersonId::new("alice", "hs").unwrap()
}

fn info() -> ChatInfo {
    let members = (0..5).map(|n| Occupant {
        person: PersonId::new(&format!("p{n}"), "hs").unwrap(),
        name: Some(format!("P {n}")),
        level: if n == 4 { 100 } else { 0 },
    });
    ChatInfo {
        room: room_id(),
        name: Some("Town".into()),
        topic: Some("the topic".into()),
        members: members.collect(),
        member_count: 5,
    }
}

impl House {
    fn stanza(&self, text: &str) -> (Stanza, OurJid) {
        let text = text.replacen(" ", " xmlns='jabber:client' ", 1);
        let stanza = Stanza::from_element(text.parse::<Element>().unwrap()).unwrap();
        let us = self.domain.own(stanza.to.as_ref().unwrap()).unwrap();
        (stanza, us)
    }

    fn presence(&self, text: &str) -> Vec<Effect> {
        let (stanza, us) = self.stanza(text);
        let Ok(address::Parsed::Room(room)) = address::parse(us.jid().node().unwrap()) else { panic!("no room") };
        self.muc.presence(&stanza, &us, room, Timestamp(1000))
    }

    fn join(&self, jid: &str, nick: &str, face: &str) -> Vec<Effect> {
        let asked = self.presence(&format!(
            "<presence from='{jid}' to='{face}@m.x/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ));
        let [Effect::Enter { ticket, .. }] = asked.as_slice() else { return asked };
        self.muc.entered(*ticket, Ok((info(), vec![])), Timestamp(1000))
    }

    fn say(&self, jid: &str, body: &str) -> Vec<Effect> {
        let (stanza, us) = self.stanza(&format!(
            "<message from='{jid}' to='{ROOM}@m.x' type='groupchat' id='c1'><body>{body}</body>\
             <origin-id xmlns='urn:xmpp:sid:0' id='c1'/><stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}@m.x' id='forged'/></message>"
        ));
        let parsed = from_stanza::message(&stanza);
        self.muc.message(&stanza, &us, parsed, Timestamp(2000))
    }

    fn ping(&self, jid: &str, nick: &str) -> String {
        let (stanza, us) = self.stanza(&format!(
            "<iq from='{jid}' to='{ROOM}@m.x/{nick}' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"
        ));
        sent(&self.muc.iq(&stanza, &us, &room_id())).join("")
    }

    fn person_says(&self, id: i64, who: &PersonId, body: &str) -> Vec<String> {
        let item = Item {
            chat: Chat::Room(room_id()),
            speaker: Speaker::Person { id: who.clone(), name: Some("Alice".into()) },
            at: Timestamp(3000),
            kind: Kind::Text(Text::plain(body)),
            meta: Meta { remote_id: Some(format!("$e{id}")), ..Meta::default() },
        };
        self.muc.render(EventId(id), &item, Timestamp(3000)).iter().map(text).collect()
    }
}

fn text(stanza: &OutStanza) -> String {
    let mut out = Vec::new();
    write::stanza(&mut out, stanza.element());
    String::from_utf8(out).unwrap()
}

fn sent(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Send(stanza) = effect { Some(text(stanza)) } else { None })
        .collect()
}

/// What a newcomer is sent, by sort.
fn order(effects: &[Effect]) -> String {
    sent(effects)
        .iter()
        .map(|stanza| match () {
            () if stanza.contains("code='110'") => 'S',
            () if stanza.starts_with("<presence") => 'p',
            () if stanza.contains("<subject") => 's',
            () => 'm',
        })
        .collect()
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
    let asked = house.presence(&format!(
        "<presence from='r@h/1' to='{ROOM}@m.x/r'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    ));
    let [Effect::Enter { ticket, .. }] = asked.as_slice() else { panic!() };
    let joined = house.muc.entered(*ticket, Ok((ChatInfo { topic: None, ..info() }, vec![])), Timestamp(0));
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

#[test]
fn m7_occupants_are_there_after_a_restart_without_a_flood() {
    let house = house();
    let joined = house.join("r@h/1", "romeo", ROOM);
    let rows: Vec<_> = joined
        .into_iter()
        .filter_map(|effect| if let Effect::Persist(rows) = effect { Some(rows) } else { None })
        .flatten()
        .collect();
    let again = self::house();
    let effects = again.muc.restore(rows);
    let [Effect::Enter { ticket, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(again.ping("r@h/1", "romeo").contains("type='result'"));
    assert!(again.muc.entered(*ticket, Ok((info(), vec![])), Timestamp(5000)).is_empty());
    assert!(
        again
            .person_says(9, &alice(), "still here?")
            .iter()
            .any(|stanza| stanza.contains("to='r@h/1'") && stanza.contains("still here?"))
    );
}

#[test]
fn m9_what_may_pass_is_of_type_wait() {
    let house = house();
    let asked = house.presence(&format!(
        "<presence from='r@h/1' to='{ROOM}@m.x/r'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    ));
    let [Effect::Enter { ticket, .. }] = asked.as_slice() else { panic!() };
    let refused = house.muc.entered(*ticket, Err(Failure::temporary("away")), Timestamp(0));
    assert!(sent(&refused)[0].contains("<error type='wait'><remote-server-timeout"), "{refused:?}");
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

#[test]
fn m30_names_become_nicks_that_are_unique_and_clean() {
    let house = house();
    house.join("r@h/1", "Alice", ROOM);
    let out = house.person_says(1, &alice(), "hi");
    assert!(out[0].starts_with("<presence") && out[0].contains("Alice (alice:hs)"), "{out:?}");
    assert_eq!(room::clean_nick(" a\u{202e}b \n c\u{7} "), "ab c");
}
