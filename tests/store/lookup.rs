//! Events by their ids, and the history of rooms.

use portway::store::{Direction, NewEvent, Settle};
use portway_bridges::api::{EventId, Timestamp};

use crate::rig::{NET, Rig, START, done, event, put, settle};

pub async fn a_message_is_found_by_every_id_of_either_side(rig: Rig) {
    let store = rig.open().await;
    let ids = vec!["main".to_owned(), "origin".to_owned(), "stable".to_owned()];
    let number = put(&store, vec![NewEvent { ids, ..event("a", "") }]).await[0];
    for id in ["main", "origin", "stable"] {
        let found = store.find_message(NET, "a", id).await.expect("a read").expect(id);
        assert_eq!(found.id, number);
    }
    assert_eq!(store.find_message(NET, "a", "$part1").await, Ok(None));
    settle(&store, vec![Settle::Done { id: number, ids: vec!["$part1".to_owned(), "$part2".to_owned()] }]).await;
    for id in ["main", "origin", "stable", "$part1", "$part2"] {
        let found = store.find_message(NET, "a", id).await.expect("a read").expect(id);
        assert_eq!(found.source_ids, ["main", "origin", "stable"]);
        assert_eq!(found.remote_ids, ["$part1", "$part2"]);
    }
}

pub async fn an_id_means_nothing_in_another_chat_or_network(rig: Rig) {
    let store = rig.open().await;
    put(&store, vec![NewEvent { ids: vec!["1".to_owned(), "2".to_owned()], ..event("a", "") }]).await;
    put(&store, vec![event("b", "3")]).await;
    for (network, chat, id) in
        [(NET, "b", "1"), (NET, "b", "2"), ("matrix", "a", "1"), (NET, "c", "1"), (NET, "a", "3")]
    {
        assert_eq!(store.find_message(network, chat, id).await, Ok(None), "{network} {chat} {id}");
    }
}

pub async fn the_newest_message_with_an_id_is_found(rig: Rig) {
    let store = rig.open().await;
    let with = |ids: &[&str]| NewEvent { ids: ids.iter().map(|&id| id.to_owned()).collect(), ..event("a", "") };
    let numbers = put(&store, vec![with(&["x"]), with(&["y", "x"]), with(&["z"])]).await;
    let find = async || store.find_message(NET, "a", "x").await.expect("a read").expect("it is known").id;
    assert_eq!(find().await, numbers[1]);
    settle(&store, vec![Settle::Done { id: numbers[2], ids: vec!["x".to_owned()] }]).await;
    assert_eq!(find().await, numbers[2]);
    let newest = put(&store, vec![with(&["x"])]).await[0];
    assert_eq!(find().await, newest);
}

pub async fn a_message_shows_what_was_stored(rig: Rig) {
    let store = rig.open().await;
    let new = NewEvent {
        direction: Direction::ToXmpp,
        reply_to: Some("juliet/balcony".to_owned()),
        at: Timestamp(77),
        ..event("a", "1")
    };
    let id = put(&store, vec![new]).await[0];
    let found = store.message(id).await.expect("a read").expect("it is known");
    assert_eq!((found.id, found.direction, found.chat.as_str()), (id, Direction::ToXmpp, "a"));
    assert_eq!((found.sender.as_str(), found.reply_to.as_deref()), ("juliet", Some("juliet/balcony")));
    assert_eq!((found.at, found.body.as_deref()), (Timestamp(77), Some(b"body of 1".as_slice())));
    assert_eq!((found.source_ids, found.remote_ids), (vec!["1".to_owned()], Vec::new()));
    assert_eq!(store.message(EventId(id.0 + 1)).await, Ok(None));

    let bare = put(&store, vec![NewEvent { ids: Vec::new(), body: Vec::new(), ..event("a", "") }]).await[0];
    let found = store.message(bare).await.expect("a read").expect("it is known");
    assert_eq!((found.source_ids, found.body), (Vec::<String>::new(), Some(Vec::new())));
}

pub async fn history_is_the_newest_archived_ones_oldest_first(rig: Rig) {
    let store = rig.open().await;
    let kept = |chat: &str, id: &str| NewEvent { archive: true, ..event(chat, id) };
    let there = NewEvent { direction: Direction::ToXmpp, ..kept("a", "6") };
    let numbers =
        put(&store, vec![kept("a", "1"), event("a", "2"), kept("a", "3"), kept("b", "4"), kept("a", "5"), there]).await;
    settle(&store, vec![done(numbers[0]), done(numbers[1]), done(numbers[2])]).await;
    let cases: [(&str, Direction, usize, Vec<EventId>); 5] = [
        ("a", Direction::ToNetwork, 9, vec![numbers[0], numbers[2], numbers[4]]),
        ("a", Direction::ToNetwork, 2, vec![numbers[2], numbers[4]]),
        ("a", Direction::ToNetwork, 0, vec![]),
        ("a", Direction::ToXmpp, 9, vec![numbers[5]]),
        ("none", Direction::ToNetwork, 9, vec![]),
    ];
    for (chat, direction, limit, expected) in cases {
        let found = store.history(NET, chat, direction, limit).await.expect("a read");
        assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), expected, "{chat} {direction:?} {limit}");
        assert!(found.iter().all(|one| one.body.is_some() && one.at == START));
    }
}

pub async fn the_original_is_kept_beside_the_event(rig: Rig) {
    let store = rig.open().await;
    let numbers =
        put(&store, vec![NewEvent { original: Some(b"raw".to_vec()), ..event("a", "1") }, event("a", "2")]).await;
    settle(&store, vec![done(numbers[0])]).await;
    assert_eq!(store.original(numbers[0]).await, Ok(Some(b"raw".to_vec())));
    assert_eq!(store.original(numbers[1]).await, Ok(None));
}

pub async fn the_last_that_was_said_is_a_message_of_that_way_with_an_id(rig: Rig) {
    let store = rig.open().await;
    let speaks = |id: &str| NewEvent { about: Some("1".to_owned()), ..event("a", id) };
    let other_way = NewEvent { direction: Direction::ToXmpp, ..event("a", "x") };
    let nameless = NewEvent { ids: Vec::new(), ..event("a", "") };
    let events = vec![event("a", "1"), speaks("2"), other_way, nameless, event("b", "3"), event("a", "4")];
    let numbers = put(&store, events).await;
    let last = async |up_to: usize, direction| {
        let found = store.last_said(NET, "a", direction, numbers[up_to]).await.expect("a read");
        found.map(|found| (found.source_ids, found.about))
    };
    let said = |id: &str| Some((vec![id.to_owned()], None));
    assert_eq!(last(4, Direction::ToNetwork).await, said("1"));
    assert_eq!(last(5, Direction::ToNetwork).await, said("4"));
    assert_eq!(last(1, Direction::ToXmpp).await, None);
    assert_eq!(last(5, Direction::ToXmpp).await, said("x"));
    let found = store.find_message(NET, "a", "2").await.expect("a read").expect("found");
    assert_eq!(found.about.as_deref(), Some("1"));
}

pub async fn what_is_withdrawn_leaves_the_history_and_is_delivered_all_the_same(rig: Rig) {
    let store = rig.open().await;
    let kept = |id: &str| NewEvent { archive: true, direction: Direction::ToXmpp, ..event("a", id) };
    let stands_for_it = NewEvent { ids: Vec::new(), about: Some("$1".to_owned()), ..kept("") };
    let numbers = put(&store, vec![kept("$1"), stands_for_it, kept("$2"), kept("$3")]).await;
    settle(&store, numbers[..3].iter().map(|id| done(*id)).collect()).await;
    for id in ["$1", "$3", "$none"] {
        store.withdraw(NET, "a", id).await.expect("a write");
    }
    let history = store.history(NET, "a", Direction::ToXmpp, 10).await.expect("a read");
    assert_eq!(history.iter().map(|message| message.id).collect::<Vec<_>>(), [numbers[2]]);
    let waiting = store.pending(NET, Direction::ToXmpp, None, None, 10).await.expect("a read");
    assert_eq!(waiting.iter().map(|row| (row.id, row.body.is_empty())).collect::<Vec<_>>(), [(numbers[3], false)]);
}
