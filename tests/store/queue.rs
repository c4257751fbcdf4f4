//! The queue: commit, duplicate guard, order, settlement, dead letters.

use std::time::Duration;

use portway::store::{Direction, NewBatch, NewEvent, PendingLane, Settle};
use portway_bridges::api::{Condition, EventId, InboxId, Timestamp};

use crate::rig::{NET, Rig, START, batch, done, event, guarded, numbers, pending, put, seal, settle, waiting};

pub async fn what_is_committed_waits_as_it_was_given(rig: Rig) {
    let store = rig.open().await;
    rig.pass(Duration::from_secs(5));
    let ids = put(&store, vec![event("a", "1")]).await;
    let found = pending(&store, Some("a")).await;
    assert_eq!(found.len(), 1);
    let queued = &found[0];
    assert_eq!((queued.id, queued.chat.as_str(), queued.body.as_slice()), (ids[0], "a", b"body of 1".as_slice()));
    assert_eq!((queued.at, queued.committed), (START, START.after(Duration::from_secs(5))));
    assert_eq!((queued.attempts, queued.next_try, queued.batch, queued.notices), (0, Timestamp(0), None, 0));
}

pub async fn numbers_rise_in_the_order_of_commits(rig: Rig) {
    let store = rig.open().await;
    let mut all = put(&store, vec![event("b", "1"), event("a", "2")]).await;
    all.extend(put(&store, vec![event("a", "3")]).await);
    assert!(all.is_sorted_by(|one, next| one < next), "{all:?}");
    assert_eq!(waiting(&store).await, all);
}

pub async fn a_duplicate_returns_the_earlier_number_and_writes_nothing(rig: Rig) {
    let store = rig.open().await;
    let first = put(&store, vec![guarded("a", "x")]).await[0];
    let again = NewEvent { body: b"other".to_vec(), ids: vec!["other".to_owned()], ..guarded("a", "x") };
    let result = store.commit(batch(vec![again])).await.expect("a commit");
    assert_eq!((result.events[0].id, result.events[0].duplicate), (first, true));
    let found = pending(&store, None).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].body, b"body of x");
    assert_eq!(store.find_message(NET, "a", "other").await, Ok(None));
}

pub async fn a_duplicate_is_known_after_delivery_and_within_one_batch(rig: Rig) {
    let store = rig.open().await;
    let result = store.commit(batch(vec![guarded("a", "x"), guarded("a", "x")])).await.expect("a commit");
    let ids = numbers(&result);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(result.events.iter().map(|event| event.duplicate).collect::<Vec<_>>(), [false, true]);
    settle(&store, vec![done(ids[0])]).await;
    assert_eq!(put(&store, vec![guarded("a", "x")]).await, [ids[0]]);
    assert_eq!(waiting(&store).await, []);
}

pub async fn the_guard_tells_networks_chats_senders_and_missing_keys_apart(rig: Rig) {
    let store = rig.open().await;
    let base = guarded("a", "x");
    let table = [
        base.clone(),
        NewEvent { network: "matrix".to_owned(), ..base.clone() },
        NewEvent { chat: "b".to_owned(), ..base.clone() },
        NewEvent { sender: "romeo".to_owned(), ..base.clone() },
        NewEvent { dedupe: Some("X".to_owned()), ..base.clone() },
        NewEvent { dedupe: Some(String::new()), ..base.clone() },
        NewEvent { dedupe: None, ..base.clone() },
        NewEvent { dedupe: None, ..base.clone() },
    ];
    for one in table {
        let result = store.commit(batch(vec![one.clone()])).await.expect("a commit");
        assert!(!result.events[0].duplicate, "{one:?}");
    }
    // The direction is no part of the key: what we sent and see come back is the same event.
    let back = NewEvent { direction: Direction::ToXmpp, ..base };
    assert!(store.commit(batch(vec![back])).await.expect("a commit").events[0].duplicate);
}

/// A window that begins anew at full minutes would let a message through twice that is sent again over one.
pub async fn a_key_that_counts_for_a_while_counts_from_when_it_was_said(rig: Rig) {
    let store = rig.open().await;
    let window = Duration::from_secs(120);
    let said = |after: u64, id: &str| NewEvent {
        at: START.after(Duration::from_secs(after)),
        dedupe: Some("k".to_owned()),
        dedupe_for: Some(window),
        ..event("a", id)
    };
    let mut found = Vec::new();
    // Each next one counts from the last one that was new.
    for (after, id) in [(0, "1"), (1, "2"), (119, "3"), (120, "4"), (121, "5"), (240, "6"), (242, "7"), (241, "8")] {
        let result = store.commit(batch(vec![said(after, id)])).await.expect("a commit");
        found.push((id, result.events[0].duplicate));
    }
    assert_eq!(
        found,
        [("1", false), ("2", true), ("3", true), ("4", true), ("5", false), ("6", true), ("7", false), ("8", true)]
    );
    // Nothing that was said is lost for it.
    assert_eq!(waiting(&store).await.len(), 3);
}

pub async fn a_name_is_committed_once(rig: Rig) {
    let store = rig.open().await;
    let named = |id: &str, network: &str| NewBatch {
        once: Some((network.to_owned(), "transaction 7".to_owned())),
        puts: vec![(NET.to_owned(), id.to_owned(), Some(b"1".to_vec()))],
        inbox: vec![(NET.to_owned(), id.as_bytes().to_vec())],
        ..batch(vec![event("a", id)])
    };
    let first = store.commit(named("1", NET)).await.expect("a commit");
    assert!(!first.repeated && first.events.len() == 1 && first.inbox.len() == 1);
    let again = store.commit(named("2", NET)).await.expect("a commit");
    assert!(again.repeated && again.events.is_empty() && again.inbox.is_empty());
    assert_eq!(store.kv_get(NET, "2").await, Ok(None));
    assert_eq!(store.inbox(NET, None, 10).await.expect("the inbox").len(), 1);
    assert_eq!(waiting(&store).await.len(), 1);
    assert!(!store.commit(named("3", "matrix")).await.expect("a commit").repeated, "names are per network");
}

pub async fn what_waits_is_found_by_network_direction_chat_and_number(rig: Rig) {
    let store = rig.open().await;
    let there = |chat: &str, id: &str| NewEvent { direction: Direction::ToXmpp, ..event(chat, id) };
    let other = NewEvent { network: "matrix".to_owned(), ..event("a", "5") };
    let ids = put(&store, vec![event("a", "1"), event("b", "2"), there("a", "3"), event("a", "4"), other]).await;
    type Case<'a> = (&'a str, Direction, Option<&'a str>, Option<EventId>, usize, Vec<EventId>);
    let cases: [Case<'_>; 9] = [
        (NET, Direction::ToNetwork, None, None, 10, vec![ids[0], ids[1], ids[3]]),
        (NET, Direction::ToNetwork, None, None, 2, vec![ids[0], ids[1]]),
        (NET, Direction::ToNetwork, None, Some(ids[0]), 10, vec![ids[1], ids[3]]),
        (NET, Direction::ToNetwork, Some("a"), None, 10, vec![ids[0], ids[3]]),
        (NET, Direction::ToNetwork, Some("a"), Some(ids[0]), 10, vec![ids[3]]),
        (NET, Direction::ToNetwork, Some("none"), None, 10, vec![]),
        (NET, Direction::ToXmpp, None, None, 10, vec![ids[2]]),
        ("matrix", Direction::ToNetwork, Some("a"), None, 10, vec![ids[4]]),
        ("email", Direction::ToNetwork, None, None, 10, vec![]),
    ];
    for (network, direction, chat, after, limit, expected) in cases {
        let found = store.pending(network, direction, chat, after, limit).await.expect("what waits");
        let found: Vec<EventId> = found.iter().map(|queued| queued.id).collect();
        assert_eq!(found, expected, "{network} {direction:?} {chat:?} {after:?} {limit}");
    }
}

pub async fn lanes_with_work_come_by_key_in_pages(rig: Rig) {
    let store = rig.open().await;
    let ids = put(&store, vec![event("c", "1"), event("a", "2"), event("b", "3"), event("a", "4")]).await;
    put(&store, vec![NewEvent { direction: Direction::ToXmpp, ..event("d", "5") }]).await;
    let lane = |chat: &str, first, count| PendingLane { chat: chat.to_owned(), first, count };
    let page = store.pending_lanes(NET, Direction::ToNetwork, None, 2).await.expect("lanes");
    assert_eq!(page, [lane("a", ids[1], 2), lane("b", ids[2], 1)]);
    let page = store.pending_lanes(NET, Direction::ToNetwork, Some("b"), 2).await.expect("lanes");
    assert_eq!(page, [lane("c", ids[0], 1)]);
    settle(&store, vec![done(ids[1])]).await;
    let page = store.pending_lanes(NET, Direction::ToNetwork, None, 1).await.expect("lanes");
    assert_eq!(page, [lane("a", ids[3], 1)]);
}

pub async fn done_clears_the_body_unless_it_is_archived(rig: Rig) {
    let store = rig.open().await;
    let ids = put(&store, vec![event("a", "1"), NewEvent { archive: true, ..event("a", "2") }]).await;
    settle(&store, vec![done(ids[0]), done(ids[1])]).await;
    assert_eq!(waiting(&store).await, []);
    assert_eq!(store.message(ids[0]).await.expect("a read").expect("it is known").body, None);
    let kept = store.message(ids[1]).await.expect("a read").expect("it is known");
    assert_eq!(kept.body.as_deref(), Some(b"body of 2".as_slice()));
}

pub async fn settling_twice_or_what_is_unknown_changes_nothing(rig: Rig) {
    let store = rig.open().await;
    let ids = put(&store, vec![event("a", "1"), event("a", "2")]).await;
    let arrived = Settle::Done { id: ids[0], ids: vec!["$r".to_owned()] };
    settle(&store, vec![arrived.clone(), arrived.clone(), done(EventId(99_999))]).await;
    let before = store.message(ids[0]).await;
    let retry = Settle::Retry { id: ids[0], attempts: 9, next_try: Timestamp(9), error: "late".to_owned(), notices: 1 };
    let dead = Settle::Dead { id: ids[0], condition: Condition::RemoteServerTimeout, error: "late".to_owned() };
    settle(&store, vec![arrived, retry, dead, seal(vec![ids[0], ids[1]])]).await;
    assert_eq!(store.message(ids[0]).await, before);
    assert_eq!(waiting(&store).await, [ids[1]]);
    assert_eq!(store.dead_letters(None, None, 10).await, Ok(Vec::new()));
}

pub async fn retry_keeps_it_waiting(rig: Rig) {
    let store = rig.open().await;
    let ids = put(&store, vec![event("a", "1")]).await;
    let next_try = START.after(Duration::from_secs(30));
    let retry = Settle::Retry { id: ids[0], attempts: 3, next_try, error: "refused".to_owned(), notices: 2 };
    settle(&store, vec![retry]).await;
    let found = pending(&store, None).await;
    let queued = &found[0];
    assert_eq!((queued.attempts, queued.next_try, queued.notices), (3, next_try, 2));
    assert_eq!(queued.body, b"body of 1");
}

pub async fn seal_gives_all_the_number_of_the_first(rig: Rig) {
    let store = rig.open().await;
    let ids = put(&store, vec![event("a", "1"), event("a", "2"), event("a", "3")]).await;
    settle(&store, vec![seal(vec![ids[0], ids[1]])]).await;
    let batches: Vec<_> = pending(&store, None).await.iter().map(|queued| queued.batch).collect();
    assert_eq!(batches, [Some(ids[0]), Some(ids[0]), None]);
}

pub async fn what_follows_from_a_settlement_is_committed_with_it(rig: Rig) {
    let store = rig.open().await;
    let ids = put(&store, vec![event("a", "1")]).await;
    let then = vec![guarded("b", "bounce"), guarded("b", "bounce")];
    let committed = store.settle(vec![done(ids[0])], then).await.expect("a settlement");
    assert_eq!(committed.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [false, true]);
    assert_eq!(waiting(&store).await, [committed[0].id]);
}

pub async fn dead_letters_keep_the_body_and_come_in_pages(rig: Rig) {
    let store = rig.open().await;
    let other = NewEvent { network: "matrix".to_owned(), direction: Direction::ToXmpp, ..event("b", "2") };
    let ids = put(&store, vec![event("a", "1"), other, event("a", "3")]).await;
    let dead = |id| Settle::Dead { id, condition: Condition::RemoteServerTimeout, error: "gone".to_owned() };
    settle(&store, ids.iter().copied().map(dead).collect()).await;
    let inbox = store
        .commit(NewBatch {
            inbox: vec![(NET.to_owned(), b"raw 1".to_vec()), (NET.to_owned(), b"raw 2".to_vec())],
            ..NewBatch::default()
        })
        .await
        .expect("a commit")
        .inbox;
    for item in inbox {
        store.bury(NET, item, "not understood").await.expect("a burial");
    }
    assert_eq!(waiting(&store).await, []);

    let all = store.dead_letters(None, None, 10).await.expect("dead letters");
    let bodies: Vec<&[u8]> = all.iter().map(|letter| letter.body.as_slice()).collect();
    assert_eq!(bodies, [b"body of 1".as_slice(), b"body of 2", b"body of 3", b"raw 1", b"raw 2"]);
    let first = &all[0];
    assert_eq!((first.id, first.network.as_str(), first.chat.as_str()), (ids[0].0, NET, "a"));
    assert_eq!((first.direction, first.at), (Some(Direction::ToNetwork), START));
    assert_eq!((first.condition.as_str(), first.error.as_str()), (Condition::RemoteServerTimeout.name(), "gone"));
    assert_eq!((all[1].network.as_str(), all[1].direction), ("matrix", Some(Direction::ToXmpp)));
    let raw = &all[3];
    assert_eq!((raw.direction, raw.chat.as_str(), raw.condition.as_str()), (None, "", ""));
    assert_eq!((raw.error.as_str(), raw.at), ("not understood", START));

    for limit in 1..=5 {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = store.dead_letters(None, after, limit).await.expect("dead letters");
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            paged.extend(page);
            assert!(paged.len() <= all.len(), "pages of {limit} repeat letters");
        }
        assert_eq!(paged, all, "pages of {limit}");
    }
    let only = store.dead_letters(Some("matrix"), None, 10).await.expect("dead letters");
    assert_eq!(only, [all[1].clone()]);
}

pub async fn a_dead_letter_ends_once_and_what_takes_its_place_waits(rig: Rig) {
    let store = rig.open().await;
    let ids = put(&store, vec![guarded("a", "1"), event("a", "2")]).await;
    let dead = Settle::Dead { id: ids[0], condition: Condition::RemoteServerTimeout, error: String::new() };
    settle(&store, vec![dead]).await;
    // What waits is no letter; nothing is written then.
    assert_eq!(store.end_letter(ids[1], Some(event("a", "9"))).await, Ok(false));
    assert_eq!(store.end_letter(ids[0], Some(guarded("a", "1"))).await, Ok(true));
    assert_eq!(store.end_letter(ids[0], None).await, Ok(false));
    assert_eq!(store.dead_letters(None, None, 10).await, Ok(Vec::new()));
    let waiting = store.pending(NET, Direction::ToNetwork, None, None, 10).await.expect("a read");
    let bodies: Vec<&[u8]> = waiting.iter().map(|row| row.body.as_slice()).collect();
    assert_eq!(bodies, [b"body of 2".as_slice(), b"body of 1"]);
}

pub async fn chats_are_found_by_how_their_keys_begin(rig: Rig) {
    let store = rig.open().await;
    put(
        &store,
        ["d/a/1", "d/a/2", "d/a/\u{1f600}", "d/ab/1", "d/A/1", "d/a_/1"].map(|chat| event(chat, chat)).to_vec(),
    )
    .await;
    let found = store.chats(NET, "d/a/", None, 10).await.expect("a read");
    assert_eq!(found, ["d/a/1", "d/a/2", "d/a/\u{1f600}"]);
    assert_eq!(store.chats(NET, "d/a/", Some("d/a/1"), 1).await.expect("a read"), ["d/a/2"]);
    assert_eq!(store.chats("other", "d/a/", None, 10).await, Ok(Vec::new()));
}

pub async fn depth_counts_what_waits_and_what_is_dead(rig: Rig) {
    let store = rig.open().await;
    assert_eq!(store.depth().await, Ok(Vec::new()));
    let first = put(&store, vec![event("a", "1"), event("b", "2")]).await;
    rig.pass(Duration::from_secs(60));
    let ids = put(&store, vec![event("a", "3"), NewEvent { direction: Direction::ToXmpp, ..event("a", "4") }]).await;
    let dead = Settle::Dead { id: first[1], condition: Condition::RemoteServerTimeout, error: String::new() };
    settle(&store, vec![done(first[0]), dead]).await;
    let depth = store.depth().await.expect("the depth");
    let of = |to_network| depth.iter().find(|depth| depth.to_network == to_network).expect("a direction").clone();
    let minute = START.after(Duration::from_secs(60));
    assert_eq!(depth.len(), 2);
    let to_network = of(true);
    assert_eq!((to_network.count, to_network.oldest, to_network.dead), (1, Some(minute), 1));
    assert_eq!((of(false).count, of(false).oldest, of(false).dead), (1, Some(minute), 0));
    settle(&store, ids.into_iter().map(done).collect()).await;
    let depth = store.depth().await.expect("the depth");
    assert_eq!(depth.iter().map(|depth| (depth.count, depth.oldest, depth.dead)).collect::<Vec<_>>(), [(0, None, 1)]);
}

pub async fn the_inbox_keeps_items_until_they_are_done(rig: Rig) {
    let store = rig.open().await;
    let raw = |network: &str, text: &str| (network.to_owned(), text.as_bytes().to_vec());
    let new = NewBatch {
        inbox: vec![raw(NET, "1"), raw("matrix", "2"), raw(NET, "3"), raw(NET, "4")],
        ..NewBatch::default()
    };
    let ids = store.commit(new).await.expect("a commit").inbox;
    let list = |found: Vec<(InboxId, Vec<u8>)>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(store.inbox(NET, None, 2).await.expect("the inbox"), [(ids[0], b"1".to_vec()), (ids[2], b"3".to_vec())]);
    assert_eq!(list(store.inbox(NET, Some(ids[2]), 9).await.expect("the inbox")), [ids[3]]);
    let finished = NewBatch { completes: Some(ids[0]), ..batch(vec![event("a", "1")]) };
    store.commit(finished).await.expect("a commit");
    store.bury("matrix", ids[2], "the network is wrong, so nothing happens").await.expect("a burial");
    store.bury(NET, ids[3], "broken").await.expect("a burial");
    assert_eq!(list(store.inbox(NET, None, 9).await.expect("the inbox")), [ids[2]]);
    assert_eq!(list(store.inbox("matrix", None, 9).await.expect("the inbox")), [ids[1]]);
}
