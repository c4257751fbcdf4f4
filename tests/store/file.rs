//! What only a file shows: restart, permissions, other programs' files, older and newer schemas, copies, faults.

use std::path::Path;

use portway::store::{NewBatch, NewEvent, Settle, Store, StoreError};
use portway_bridges::api::Timestamp;

use crate::rig::{NET, Rig, batch, done, event, guarded, pending, put, seal, settle, waiting};

async fn refused(rig: &Rig) -> StoreError {
    Store::open("sqlite:portway.db", rig.dir(), rig.clock()).await.expect_err("the file is refused")
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).expect("the file").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let rig = Rig::file();
    let store = rig.open().await;
    let ids = put(&store, vec![guarded("a", "1"), guarded("a", "2"), guarded("b", "3")]).await;
    let retry =
        Settle::Retry { id: ids[1], attempts: 4, next_try: rig.clock().now(), error: "e".to_owned(), notices: 1 };
    settle(&store, vec![done(ids[0]), retry, seal(vec![ids[1], ids[2]])]).await;
    let before = pending(&store, None).await;
    let (name, key) = (store.install_id().to_owned(), store.key("media"));
    store.close().await;

    let store = rig.open().await;
    assert_eq!(pending(&store, None).await, before);
    assert_eq!((store.install_id(), store.key("media")), (name.as_str(), key));
    assert_eq!(put(&store, vec![guarded("a", "1")]).await, [ids[0]], "the guard is known");
    assert!(put(&store, vec![event("a", "4")]).await[0] > ids[2]);
}

#[tokio::test]
async fn numbers_are_never_used_again() {
    let rig = Rig::file();
    let store = rig.open().await;
    let last = put(&store, vec![event("a", "1")]).await[0];
    settle(&store, vec![done(last)]).await;
    rig.pass(std::time::Duration::from_secs(86_400 * 365));
    assert_eq!(store.prune(Default::default()).await.expect("a pruning").events, 1);
    store.close().await;
    assert!(put(&rig.open().await, vec![event("a", "2")]).await[0] > last);
}

#[tokio::test]
async fn a_closed_store_has_let_go_of_its_files() {
    // Many times: what would still be open would be so only for a moment.
    for n in 0..20 {
        let rig = Rig::file();
        let store = rig.open().await;
        put(&store, vec![event("a", "1")]).await;
        assert_eq!(waiting(&store).await.len(), 1);
        let log = rig.dir().join("portway.db-wal");
        assert!(log.exists());
        store.close().await;
        assert!(!log.exists(), "the last connection removes it; time {n}");
    }
}

#[tokio::test]
async fn a_handle_that_stays_keeps_the_store_open() {
    let rig = Rig::file();
    let store = rig.open().await;
    let other = store.clone();
    store.close().await;
    put(&other, vec![event("a", "1")]).await;
    assert_eq!(waiting(&other).await.len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_it() {
    let rig = Rig::file();
    let store = rig.open().await;
    put(&store, vec![event("a", "1")]).await;
    let copy = rig.dir().join("copy.db");
    store.backup(&copy).await.expect("a copy");
    let files = std::fs::read_dir(rig.dir()).expect("the directory").map(|entry| entry.expect("an entry").path());
    let open: Vec<_> = files.filter(|path| mode(path) != 0o600).collect();
    assert_eq!(open, Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn other_programs_files_are_refused_and_left_alone() {
    let tables: [(&str, &str); 3] = [
        ("tables of another program", "CREATE TABLE theirs (a)"),
        ("another mark", "PRAGMA application_id = 7"),
        ("another mark and tables", "PRAGMA application_id = 7; PRAGMA user_version = 1; CREATE TABLE events (a)"),
    ];
    for (what, sql) in tables {
        let rig = Rig::file();
        rig.sql().execute_batch(sql).expect(what);
        let before = std::fs::read(rig.database()).expect("the file");
        assert!(matches!(refused(&rig).await, StoreError::Foreign(_)), "{what}");
        assert_eq!(std::fs::read(rig.database()).expect("the file"), before, "{what}");
        assert!(matches!(Store::verify(&rig.database()).await, Err(StoreError::Foreign(_))), "{what}");
    }
    let rig = Rig::file();
    let text = b"no database at all, but a text that is longer than the header of one would be: ".repeat(20);
    std::fs::write(rig.database(), &text).expect("a file");
    assert!(matches!(refused(&rig).await, StoreError::Foreign(_)));
    assert!(matches!(Store::verify(&rig.database()).await, Err(StoreError::Foreign(_))));
    assert_eq!(std::fs::read(rig.database()).expect("the file"), text);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let rig = Rig::file();
    rig.open().await.close().await;
    let known: i64 = rig.sql().query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
    rig.sql().execute_batch(&format!("PRAGMA user_version = {}", known + 1)).expect("a version");
    let newer = StoreError::Newer { found: known + 1, known };
    assert_eq!(refused(&rig).await, newer);
    assert_eq!(Store::verify(&rig.database()).await, Err(newer));
}

#[tokio::test]
async fn a_store_that_cannot_be_is_an_error() {
    let rig = Rig::file();
    for url in ["mysql:x", "portway.db", ""] {
        let result = Store::open(url, rig.dir(), rig.clock()).await;
        assert!(matches!(result, Err(StoreError::Database(_))), "{url}");
    }
    let missing = Store::verify(&rig.dir().join("none.db")).await;
    assert!(matches!(missing, Err(StoreError::Database(_))), "{missing:?}");
    assert!(!rig.dir().join("none.db").exists());
}

#[tokio::test]
async fn the_first_schema_with_rows_in_it_is_brought_up_to_date() {
    let rig = Rig::file();
    let first = include_str!("../../src/store/migrations/01_first.sql");
    let sql = rig.sql();
    sql.execute_batch(first).expect("the first schema");
    sql.execute_batch(
        "PRAGMA application_id = 0x70776179; PRAGMA user_version = 1;
         INSERT INTO chats (id, network, key) VALUES (1, 'loopback', 'a');
         INSERT INTO events (id, chat, direction, sender, source_id, archive, body, at, committed)
         VALUES (7, 1, 0, 'juliet', 'old', 0, x'01', 5, 6);",
    )
    .expect("rows");
    drop(sql);
    let store = rig.open().await;
    let found = pending(&store, Some("a")).await;
    assert_eq!(found.iter().map(|queued| (queued.id.0, queued.committed.0)).collect::<Vec<_>>(), [(7, 6)]);
    assert_eq!(store.find_message(NET, "a", "old").await.expect("a read").expect("it is known").id.0, 7);
    assert_eq!(put(&store, vec![event("a", "new")]).await[0].0, 8);
    // Who has written with whom is known to them, and was not met today.
    assert_eq!(store.is_known(NET, "a").await, Ok(true));
    assert_eq!(store.opened(NET, "a", Timestamp(0)).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_copy_is_whole_while_others_write() {
    let rig = Rig::file();
    let store = rig.open().await;
    let body = vec![7; 2000];
    let ids =
        put(&store, (0..1000).map(|n| NewEvent { body: body.clone(), ..event("a", &n.to_string()) }).collect()).await;
    // The writer goes on until the copy is there: a copy that begins again with each write would never end.
    let copied = std::sync::atomic::AtomicBool::new(false);
    let writing = async {
        let mut n = 0;
        while !copied.load(std::sync::atomic::Ordering::SeqCst) {
            put(&store, vec![event("b", &n.to_string()), event("b", &n.to_string())]).await;
            n += 1;
        }
    };
    let copy = rig.dir().join("copy.db");
    let copying = async {
        store.backup(&copy).await.expect("a copy");
        copied.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    futures::future::join(writing, copying).await;
    assert_eq!(Store::verify(&copy).await, Ok(()));

    let other = Store::open("sqlite:copy.db", rig.dir(), rig.clock()).await.expect("the copy opens");
    assert_eq!((other.install_id(), other.key("x")), (store.install_id(), store.key("x")));
    let of_a = pending(&other, Some("a")).await;
    assert_eq!(of_a.iter().map(|queued| queued.id).collect::<Vec<_>>(), ids);
    let of_b = pending(&other, Some("b")).await.len();
    assert_eq!(of_b % 2, 0, "a batch is in the copy whole or not at all");
}

#[tokio::test]
async fn a_copy_replaces_no_file() {
    let rig = Rig::file();
    let store = rig.open().await;
    let there = rig.dir().join("there");
    std::fs::write(&there, b"precious").expect("a file");
    assert!(matches!(store.backup(&there).await, Err(StoreError::Database(_))));
    assert_eq!(std::fs::read(&there).expect("the file"), b"precious");
    let nowhere = rig.dir().join("no").join("such").join("directory");
    assert!(matches!(store.backup(&nowhere).await, Err(StoreError::Database(_))));
}

#[tokio::test]
async fn a_damaged_file_is_seen() {
    let rig = Rig::file();
    let store = rig.open().await;
    put(&store, (0..500).map(|n| guarded("a", &n.to_string())).collect()).await;
    store.close().await;
    assert_eq!(Store::verify(&rig.database()).await, Ok(()));
    let mut bytes = std::fs::read(rig.database()).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(rig.database(), bytes).expect("a write");
    assert!(matches!(Store::verify(&rig.database()).await, Err(StoreError::Database(_))));
}

/// Makes the engine fail where an event of the sender `boom` is inserted.
fn fault(rig: &Rig, how: &str) {
    rig.sql()
        .execute_batch(&format!(
            "CREATE TRIGGER fault BEFORE INSERT ON events WHEN NEW.sender = 'boom' BEGIN SELECT RAISE({how}, 'boom'); END"
        ))
        .expect("a trigger");
}

fn boom(id: &str) -> NewEvent {
    NewEvent { sender: "boom".to_owned(), ..event("z", id) }
}

#[tokio::test]
async fn a_batch_that_fails_leaves_nothing() {
    for how in ["ABORT", "FAIL", "ROLLBACK"] {
        let rig = Rig::file();
        let store = rig.open().await;
        let waits = put(&store, vec![event("a", "0")]).await;
        fault(&rig, how);
        let raw = NewBatch { inbox: vec![(NET.to_owned(), b"raw".to_vec())], ..NewBatch::default() };
        let item = store.commit(raw).await.expect("a commit").inbox[0];
        let whole = NewBatch {
            once: Some((NET.to_owned(), "t".to_owned())),
            completes: Some(item),
            inbox: vec![(NET.to_owned(), b"new".to_vec())],
            puts: vec![(NET.to_owned(), "k".to_owned(), Some(Vec::new()))],
            ..batch(vec![guarded("new chat", "1"), event("a", "2"), boom("3")])
        };
        assert!(matches!(store.commit(whole.clone()).await, Err(StoreError::Database(_))), "{how}");
        let settled = store.settle(vec![done(waits[0])], vec![event("a", "4"), boom("5")]).await;
        assert!(matches!(settled, Err(StoreError::Database(_))), "{how}");
        assert_eq!(waiting(&store).await, waits, "{how}");
        assert_eq!(store.inbox(NET, None, 9).await, Ok(vec![(item, b"raw".to_vec())]), "{how}");
        assert_eq!(store.kv_get(NET, "k").await, Ok(None), "{how}");

        // The same without the fault goes through: neither its name nor its keys were left behind.
        let events = whole.events[..2].to_vec();
        let result = store.commit(NewBatch { events, ..whole }).await.expect("a commit");
        assert!(!result.repeated && result.events.iter().all(|event| !event.duplicate), "{how}");
        let found = pending(&store, Some("new chat")).await;
        assert_eq!(found.iter().map(|queued| queued.id).collect::<Vec<_>>(), [result.events[0].id], "{how}");
    }
}

/// Operations of one transaction, of which the one in the middle fails: each answer tells the truth.
#[tokio::test]
async fn an_operation_that_fails_does_not_lie_for_its_neighbours() {
    for (how, neighbours) in [("ABORT", true), ("ROLLBACK", false)] {
        let rig = Rig::file();
        let store = rig.open().await;
        fault(&rig, how);
        // While another process holds the file the operations gather, and then go into one transaction.
        let lock = rig.sql();
        lock.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        let first = store.stats().0;
        let waker = tokio::spawn({
            let store = store.clone();
            async move { store.kv_put(NET, "first", None).await }
        });
        while store.stats().0 == first {
            tokio::task::yield_now().await;
        }
        let commits = (0..40).map(|n| {
            let (store, id) = (store.clone(), n.to_string());
            async move {
                let event = if n == 20 { boom(&id) } else { guarded("a", &id) };
                (id, store.commit(batch(vec![event])).await)
            }
        });
        let gathered = futures::future::join_all(commits);
        let release = async { lock.execute_batch("ROLLBACK").expect("the lock is free") };
        let (results, ()) = futures::future::join(gathered, release).await;
        waker.await.expect("it ends").expect("a write");
        assert_eq!(store.stats().0, first + 2, "the operations were in one transaction");

        let mut there = Vec::new();
        for (id, result) in &results {
            let found = store.find_message(NET, "a", id).await.expect("a read").is_some();
            assert_eq!(result.is_ok(), found, "{how}: {id} says {result:?}");
            there.push(found);
        }
        assert_eq!(there[..20], [neighbours; 20], "{how}");
        assert!(!there[20]);
        assert_eq!(there[21..], [neighbours; 19], "{how}");
        let errors = results.iter().filter_map(|(_, result)| result.as_ref().err());
        assert!(errors.clone().all(|error| error.to_string().contains("boom")), "{how}: the cause is told");
        assert_eq!(put(&store, vec![event("a", "after")]).await.len(), 1, "{how}: the store goes on");
    }
}
