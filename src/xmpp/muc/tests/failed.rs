//! What the sender of a message that did not arrive is told.

use portway_bridges::api::Failed;

use super::*;

fn failed(house: &House, still_trying: bool) -> Vec<String> {
    let kind = Kind::Failed(Failed {
        event: EventId(1),
        condition: Condition::Forbidden,
        sentence: Sentence::new("core.no-rooms"),
        still_trying,
    });
    let item = Item {
        chat: Chat::Room(room_id()),
        speaker: Speaker::Gateway,
        at: Timestamp(2000),
        kind,
        meta: Meta {
            id: Some("c1".into()),
            to: Some("r@h/1".into()),
            face: Some(ROOM.into()),
            lang: Some("de".into()),
            ..Meta::default()
        },
    };
    house.muc.render(EventId(9), &item, Timestamp(2000)).iter().map(text).collect()
}

const ERROR: &str = "<message from='#town%hs@m.x' id='c1' to='r@h/1' type='error'><error type='auth'>\
    <forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
    <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='de'>Hier gibt es keine Räume.</text></error></message>";

#[test]
fn a_sender_who_is_there_gets_an_error_on_that_message_in_their_language() {
    let house = house();
    house.join("r@h/1", "romeo", ROOM);
    house.join("j@h/1", "juliet", ROOM);
    assert_eq!(failed(&house, false), [ERROR]);
    let trying = failed(&house, true);
    assert_eq!(trying.len(), 1);
    assert!(trying[0].contains("to='r@h/1'") && trying[0].contains("type='groupchat'"), "{trying:?}");
    assert!(trying[0].contains("<body>Hier gibt es keine Räume.</body>"));
}

#[test]
fn a_sender_who_is_there_with_another_device_reads_it_in_the_room() {
    let house = house();
    house.join("r@h/2", "romeo", "!abc");
    house.join("j@h/1", "juliet", ROOM);
    let out = failed(&house, false);
    assert_eq!((out.len(), out[0].as_str()), (2, ERROR));
    assert!(out[1].contains("from='!abc@m.x' to='r@h/2' type='groupchat'"), "{out:?}");
    assert!(out[1].contains("Hier gibt es keine Räume."));
}

#[test]
fn a_sender_who_has_left_is_told_by_the_gateway() {
    for others in [false, true] {
        let house = house();
        if others {
            house.join("j@h/1", "juliet", ROOM);
        }
        let out = failed(&house, false);
        assert_eq!((out.len(), out[0].as_str()), (2, ERROR));
        assert!(out[1].contains("from='m.x'") && out[1].contains("to='r@h' type='chat'"), "{out:?}");
        assert!(out[1].contains(if others { "the room Town" } else { "the room #town%hs@m.x" }), "{out:?}");
        assert!(failed(&house, true).is_empty());
    }
}
