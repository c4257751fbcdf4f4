//! Who is who, who is where, and the networks' own small storage.

use std::time::Duration;

use portway::store::{Identity, IdentityKind, OccupantRow, Store, TouchResult};
use portway_bridges::api::Timestamp;

use crate::rig::{NET, Rig, START};

fn alice() -> Identity {
    Identity {
        network: NET.to_owned(),
        kind: IdentityKind::Person,
        localpart: "alice%loopback".to_owned(),
        remote: "@alice:loopback".to_owned(),
        display: Some("Alice".to_owned()),
        first_seen: START,
        last_seen: START,
    }
}

async fn touch(store: &Store, identity: Identity) -> TouchResult {
    store.touch_identities(vec![identity]).await.expect("a touch").remove(0)
}

async fn both_ways(store: &Store, kind: IdentityKind) -> [Option<Identity>; 2] {
    [
        store.identity_by_localpart(NET, kind, &alice().localpart).await.expect("a read"),
        store.identity_by_remote(NET, kind, &alice().remote).await.expect("a read"),
    ]
}

pub async fn an_identity_is_found_both_ways(rig: Rig) {
    let store = rig.open().await;
    assert_eq!(both_ways(&store, IdentityKind::Person).await, [None, None]);
    assert_eq!(touch(&store, alice()).await, TouchResult::New);
    assert_eq!(both_ways(&store, IdentityKind::Person).await, [Some(alice()), Some(alice())]);
}

pub async fn identities_are_counted_by_network_and_kind(rig: Rig) {
    let store = rig.open().await;
    assert_eq!(store.identity_counts().await.expect("a read"), []);
    for (network, kind, name) in [
        (NET, IdentityKind::Person, "a"),
        (NET, IdentityKind::Person, "b"),
        (NET, IdentityKind::Room, "a"),
        ("other", IdentityKind::User, "a"),
    ] {
        let (network, localpart, remote) = (network.to_owned(), name.to_owned(), name.to_owned());
        touch(&store, Identity { network, kind, localpart, remote, ..alice() }).await;
    }
    let counts = store.identity_counts().await.expect("a read");
    let mut expected = vec![
        (NET.to_owned(), IdentityKind::Person, 2),
        (NET.to_owned(), IdentityKind::Room, 1),
        ("other".to_owned(), IdentityKind::User, 1),
    ];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(counts, expected);
}

pub async fn touching_again_updates_name_and_time_only(rig: Rig) {
    let store = rig.open().await;
    let later = START.after(Duration::from_secs(60));
    touch(&store, alice()).await;
    let renamed = Identity { display: Some("Al".to_owned()), first_seen: later, last_seen: later, ..alice() };
    assert_eq!(touch(&store, renamed).await, TouchResult::Known);
    let expected = Identity { display: Some("Al".to_owned()), last_seen: later, ..alice() };
    assert_eq!(both_ways(&store, IdentityKind::Person).await[0], Some(expected.clone()));
    // What is older, and does not know the name, takes nothing back.
    assert_eq!(touch(&store, Identity { display: None, ..alice() }).await, TouchResult::Known);
    assert_eq!(both_ways(&store, IdentityKind::Person).await[0], Some(expected));
}

pub async fn a_clash_names_the_other_one_and_changes_nothing(rig: Rig) {
    let store = rig.open().await;
    let bob = Identity { localpart: "bob%loopback".to_owned(), remote: "@bob:loopback".to_owned(), ..alice() };
    touch(&store, alice()).await;
    touch(&store, bob.clone()).await;
    let table = [
        (Identity { remote: "@alicia:loopback".to_owned(), ..alice() }, alice()),
        (Identity { localpart: "alicia%loopback".to_owned(), ..alice() }, alice()),
        (Identity { remote: bob.remote.clone(), display: Some("Eve".to_owned()), ..alice() }, alice()),
    ];
    for (new, other) in table {
        assert_eq!(touch(&store, new.clone()).await, TouchResult::Clash(other), "{new:?}");
    }
    let results = store.touch_identities(vec![alice(), Identity { remote: "@x:y".to_owned(), ..alice() }, bob.clone()]);
    assert_eq!(results.await, Ok(vec![TouchResult::Known, TouchResult::Clash(alice()), TouchResult::Known]));
    assert_eq!(both_ways(&store, IdentityKind::Person).await, [Some(alice()), Some(alice())]);
    assert_eq!(store.identity_by_remote(NET, IdentityKind::Person, &bob.remote).await, Ok(Some(bob)));
}

pub async fn identities_are_apart_by_network_and_kind(rig: Rig) {
    let store = rig.open().await;
    for kind in [IdentityKind::Person, IdentityKind::Room, IdentityKind::User] {
        assert_eq!(touch(&store, Identity { kind, ..alice() }).await, TouchResult::New);
        let other = Identity { network: "matrix".to_owned(), kind, ..alice() };
        assert_eq!(touch(&store, other).await, TouchResult::New);
        let expected = Some(Identity { kind, ..alice() });
        assert_eq!(both_ways(&store, kind).await, [expected.clone(), expected]);
    }
}

pub async fn the_first_face_holds(rig: Rig) {
    let store = rig.open().await;
    assert_eq!(store.face(NET, "juliet", "alice").await, Ok(None));
    assert_eq!(store.put_face(NET, "juliet", "alice", "first").await, Ok("first".to_owned()));
    assert_eq!(store.put_face(NET, "juliet", "alice", "second").await, Ok("first".to_owned()));
    assert_eq!(store.face(NET, "juliet", "alice").await, Ok(Some("first".to_owned())));
    assert_eq!(store.put_face(NET, "romeo", "alice", "second").await, Ok("second".to_owned()));
    assert_eq!(store.put_face("matrix", "juliet", "alice", "third").await, Ok("third".to_owned()));
}

pub async fn occupants_come_move_and_go(rig: Rig) {
    let store = rig.open().await;
    let row = |room: &str, session: &str, nick: &str, joined: i64| OccupantRow {
        network: NET.to_owned(),
        room: room.to_owned(),
        session: session.to_owned(),
        nick: nick.to_owned(),
        face: room.to_owned(),
        joined: Timestamp(joined),
    };
    let list = async || store.occupants(NET).await.expect("a read");
    let rows = [row("a", "j/1", "J", 1), row("a", "r/1", "R", 2), row("b", "j/1", "J", 3), row("b", "r/1", "R", 4)];
    store.put_occupants(rows.to_vec()).await.expect("a write");
    store.put_occupants(vec![OccupantRow { network: "matrix".to_owned(), ..rows[0].clone() }]).await.expect("a write");
    assert_eq!(list().await, rows);
    store.put_occupants(vec![row("a", "j/1", "Jule", 1)]).await.expect("a write");
    assert_eq!(list().await[0].nick, "Jule");
    assert_eq!(list().await.len(), 4);
    store.remove_occupants(NET, Some("a"), vec!["r/1".to_owned(), "nobody".to_owned()]).await.expect("a write");
    assert_eq!(list().await, [row("a", "j/1", "Jule", 1), rows[2].clone(), rows[3].clone()]);
    store.remove_occupants(NET, None, vec!["j/1".to_owned()]).await.expect("a write");
    assert_eq!(list().await, [rows[3].clone()]);
    assert_eq!(store.occupants("matrix").await.expect("a read").len(), 1);
}

pub async fn values_are_put_read_and_removed(rig: Rig) {
    let store = rig.open().await;
    assert_eq!(store.kv_get(NET, "k").await, Ok(None));
    for value in [b"1".to_vec(), vec![0, 255], Vec::new()] {
        store.kv_put(NET, "k", Some(value.clone())).await.expect("a write");
        assert_eq!(store.kv_get(NET, "k").await, Ok(Some(value)));
    }
    assert_eq!(store.kv_get("matrix", "k").await, Ok(None));
    for _ in 0..2 {
        store.kv_put(NET, "k", None).await.expect("a write");
        assert_eq!(store.kv_get(NET, "k").await, Ok(None));
    }
}

pub async fn values_are_scanned_by_prefix_in_pages(rig: Rig) {
    let store = rig.open().await;
    for key in ["a", "a/", "a/%", "a/1", "a/2", "a/_", "a/é", "a0", "A/3", "b/1"] {
        store.kv_put(NET, key, Some(key.as_bytes().to_vec())).await.expect("a write");
    }
    store.kv_put("matrix", "a/9", Some(Vec::new())).await.expect("a write");
    let all = ["a/", "a/%", "a/1", "a/2", "a/_", "a/é"];
    let scan = async |prefix: &str, after: Option<&str>, limit| {
        let found = store.kv_scan(NET, prefix, after, limit).await.expect("a read");
        assert!(found.iter().all(|(key, value)| key.as_bytes() == value));
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(scan("a/", None, 99).await, all);
    assert_eq!(scan("a/", Some(""), 99).await, all);
    assert_eq!(scan("a/", Some("a/1"), 2).await, ["a/2", "a/_"]);
    assert_eq!(scan("a/", Some("a/é"), 2).await, Vec::<String>::new());
    assert_eq!(scan("a/%", None, 99).await, ["a/%"]);
    assert_eq!(scan("", None, 2).await, ["A/3", "a"]);
}
