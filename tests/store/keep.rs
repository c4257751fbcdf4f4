//! How long things are kept, and what holds for the store as a whole.

use std::time::Duration;

use portway::store::{AvatarRow, NewBatch, NewEvent, Pruned, Retention, Settle};
use portway_bridges::api::Condition;

use crate::rig::{NET, Rig, batch, done, event, guarded, pending, put, seal, settle, waiting};

const DAY: Duration = Duration::from_secs(86_400);

pub async fn pruning_removes_what_is_old_and_has_arrived(rig: Rig) {
    let store = rig.open().await;
    let full =
        NewEvent { ids: vec!["1".to_owned(), "2".to_owned()], original: Some(b"raw".to_vec()), ..guarded("a", "k") };
    let old = put(&store, vec![full.clone()]).await[0];
    settle(&store, vec![Settle::Done { id: old, ids: vec!["$1".to_owned()] }]).await;
    rig.pass(DAY * 100);
    let young = put(&store, vec![event("a", "3")]).await[0];
    settle(&store, vec![done(young)]).await;
    rig.pass(DAY * 81);
    assert_eq!(store.prune(Retention::default()).await.expect("a pruning").events, 1);
    assert_eq!(store.message(old).await, Ok(None));
    assert_eq!(store.original(old).await, Ok(None));
    for id in ["1", "2", "$1"] {
        assert_eq!(store.find_message(NET, "a", id).await, Ok(None));
    }
    assert!(store.message(young).await.expect("a read").is_some());
    // Its key is free again, its number is not.
    let again = store.commit(batch(vec![full])).await.expect("a commit").events[0];
    assert!(!again.duplicate && again.id > young, "{again:?}");
}

pub async fn pruning_never_touches_what_waits_or_is_dead(rig: Rig) {
    let store = rig.open().await;
    let kept = |id: &str| NewEvent { archive: true, ids: vec![id.to_owned(), format!("{id}'")], ..event("a", id) };
    let ids = put(&store, vec![kept("1"), kept("2"), kept("3"), event("a", "4")]).await;
    let retry =
        Settle::Retry { id: ids[1], attempts: 1, next_try: rig.clock().now(), error: String::new(), notices: 0 };
    let dead = Settle::Dead { id: ids[2], condition: Condition::Gone, error: "gone".to_owned() };
    settle(&store, vec![retry, dead, seal(vec![ids[0], ids[1]])]).await;
    let raw = NewBatch { inbox: vec![(NET.to_owned(), b"raw".to_vec())], ..NewBatch::default() };
    store.commit(raw).await.expect("a commit");
    store.kv_put(NET, "k", Some(b"v".to_vec())).await.expect("a write");
    let before =
        (pending(&store, None).await, store.inbox(NET, None, 9).await, store.dead_letters(None, None, 9).await);
    rig.pass(DAY * 4000);
    let nothing = Retention {
        ids: Duration::ZERO,
        once: Duration::ZERO,
        originals: Duration::ZERO,
        archive: Duration::ZERO,
        pictures: 0,
    };
    assert_eq!(store.prune(nothing).await, Ok(Pruned::default()));
    let after = (pending(&store, None).await, store.inbox(NET, None, 9).await, store.dead_letters(None, None, 9).await);
    assert_eq!(after, before);
    assert_eq!(before.0.len(), 3);
    assert!(store.find_message(NET, "a", "1'").await.expect("a read").is_some());
    assert_eq!(store.kv_get(NET, "k").await, Ok(Some(b"v".to_vec())));
}

pub async fn each_kind_has_its_own_retention_time(rig: Rig) {
    let store = rig.open().await;
    let new = NewEvent { archive: true, original: Some(b"raw".to_vec()), ..event("a", "1") };
    let once = Some((NET.to_owned(), "t".to_owned()));
    let id = store.commit(NewBatch { once: once.clone(), ..batch(vec![new]) }).await.expect("a commit").events[0].id;
    settle(&store, vec![done(id)]).await;
    let history =
        async || store.history(NET, "a", portway::store::Direction::ToNetwork, 9).await.expect("a read").len();
    let day = |days: u32| DAY * days;
    let keep = Retention { originals: day(10), once: day(20), archive: day(30), ids: day(40), ..Retention::default() };
    let repeated = async || {
        let batch = NewBatch { once: once.clone(), ..NewBatch::default() };
        store.commit(batch).await.expect("a commit").repeated
    };
    // After 5, 15, 25, 35, 45 days: the original, the name, the body in the history, the message itself.
    let expected = [
        (true, true, 1, true),
        (false, true, 1, true),
        (false, false, 1, true),
        (false, true, 0, true),
        (false, true, 0, false),
    ];
    rig.pass(day(5));
    for (n, expected) in expected.into_iter().enumerate() {
        store.prune(keep).await.expect("a pruning");
        let known = store.find_message(NET, "a", "1").await.expect("a read").is_some();
        let original = store.original(id).await.expect("a read").is_some();
        // Asking for the name sets it again, so it is there again in the next round.
        assert_eq!((original, repeated().await, history().await, known), expected, "round {n}");
        rig.pass(day(10));
    }
}

pub async fn of_pictures_a_number_is_kept(rig: Rig) {
    let store = rig.open().await;
    let picture = |source: &str| AvatarRow {
        source: source.to_owned(),
        hash: "h".to_owned(),
        media_type: "image/png".to_owned(),
        bytes: vec![7; 300],
        at: rig.clock().now(),
    };
    for n in 0..6 {
        store.put_avatar(NET, &n.to_string(), Some(picture("1"))).await.expect("a write");
    }
    // One that is replaced does not take the place of another.
    store.put_avatar(NET, "5", Some(picture("2"))).await.expect("a write");
    let keep = Retention { pictures: 4, ..Retention::default() };
    assert_eq!(store.prune(keep).await.expect("a pruning"), Pruned { other: 2, ..Pruned::default() });
    for n in 0..6 {
        let kept = store.avatar(NET, &n.to_string()).await.expect("a read").is_some();
        assert_eq!(kept, n >= 2, "{n}");
    }
    assert_eq!(store.prune(keep).await.expect("a pruning"), Pruned::default());
}

pub async fn pruning_takes_many_steps(rig: Rig) {
    let store = rig.open().await;
    // More than any one step takes, with some in between that stay.
    let ids = put(&store, (0..2500).map(|n| event("a", &n.to_string())).collect()).await;
    let (stay, go): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| id.0 % 100 == 0);
    settle(&store, go.iter().copied().map(done).collect()).await;
    rig.pass(DAY * 181);
    let before = store.stats().0;
    assert_eq!(store.prune(Retention::default()).await.expect("a pruning").events, go.len() as u64);
    assert!(store.stats().0 - before > 2, "one transaction would keep others waiting");
    assert_eq!(waiting(&store).await, stay);
}

pub async fn keys_depend_on_store_and_purpose(rig: Rig) {
    let store = rig.open().await;
    assert!(!store.install_id().is_empty() && store.install_id().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(store.key("media"), store.key("media"));
    assert_ne!(store.key("media"), store.key("mail"));
    let other = Rig::memory().open().await;
    assert_ne!(store.key("media"), other.key("media"));
    assert_ne!(store.install_id(), other.install_id());
}

pub async fn the_store_says_that_it_can_be_written(rig: Rig) {
    let store = rig.open().await;
    assert_eq!(store.check_writable().await, Ok(()));
    assert_eq!(store.check_writable().await, Ok(()));
}

pub async fn closing_waits_for_what_was_asked(rig: Rig) {
    let store = rig.open().await;
    let commits = (0..50).map(|n| {
        let store = store.clone();
        async move { store.commit(batch(vec![event("a", &n.to_string())])).await }
    });
    for result in futures::future::join_all(commits).await {
        assert!(result.is_ok(), "{result:?}");
    }
    assert!(store.stats().1 >= 50);
    // A store in memory goes with its last handle; a file shows that everything was written.
    let file = rig.database().exists();
    store.close().await;
    let store = rig.open().await;
    assert_eq!(waiting(&store).await.len(), if file { 50 } else { 0 });
}
