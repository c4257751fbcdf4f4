//! A process that is killed in the middle of writing: what it was told is written is there.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use portway::clock::Clock;
use portway::store::{Direction, Settle, Store};
use portway_bridges::api::EventId;

use crate::rig::{NET, Rig, event, guarded, put};

/// Tells the child where to write; without it the child has nothing to do.
const DIRECTORY: &str = "PORTWAY_STORE_TEST_DIRECTORY";

/// How many answers are read before the child is killed.
const ANSWERS: usize = 3000;

/// The child: many tasks commit and settle, and print what was answered.
#[tokio::test]
#[ignore = "the child of killing_loses_nothing_that_was_answered"]
async fn child_that_writes() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = Store::open("sqlite:portway.db", directory.as_ref(), Clock::system()).await.expect("the store opens");
    let writers = (0..32).map(|writer| {
        let store = store.clone();
        async move {
            for n in 0_u64.. {
                let id = format!("{writer}-{n}");
                let pair = vec![guarded(&format!("chat {writer}"), &id), event("pairs", &id)];
                let ids = put(&store, pair).await;
                say(&format!("committed {} {} {id}", ids[0], ids[1]));
                if n % 2 == 0 {
                    let arrived = Settle::Done { id: ids[0], ids: vec![format!("${id}")] };
                    store.settle(vec![arrived], Vec::new()).await.expect("a settlement");
                    say(&format!("settled {} {} {id}", ids[0], ids[1]));
                }
            }
        }
    });
    futures::future::join_all(writers).await;
}

/// Whole lines, past the capture of the test harness.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{line}").and_then(|()| out.flush()).expect("the parent listens");
}

#[tokio::test]
async fn killing_loses_nothing_that_was_answered() {
    let rig = Rig::file();
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "kill::child_that_writes", "--ignored", "--nocapture"])
            .env(DIRECTORY, rig.dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let out = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(out).lines();
        let mut answers = Vec::new();
        while answers.len() < ANSWERS {
            let line = lines.next().expect("the child goes on").expect("text");
            answers.extend(line.split_once('@').map(|(_, line)| line.to_owned()));
        }
        child.kill().expect("it can be killed");
        // What it printed before it died counts, too; the last line may be cut off.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        answers.extend(rest[..whole].iter().filter_map(|line| line.strip_prefix('@').map(str::to_owned)));
        child.wait().expect("it ended");

        Store::verify(&rig.database()).await.expect("the file is whole");
        let store = rig.open().await;
        let waiting = all_that_waits(&store).await;
        let mut settled = 0;
        for answer in &answers {
            let mut words = answer.split(' ');
            let what = words.next().expect("a verb");
            let mut number = || EventId(words.next().and_then(|word| word.parse().ok()).expect("a number"));
            let (guarded, pair) = (number(), number());
            let id = words.next().expect("an id");
            let found = store
                .message(guarded)
                .await
                .expect("a read")
                .unwrap_or_else(|| panic!("round {round}: {answer} is lost"));
            assert_eq!(found.source_ids, [id], "round {round}: {answer}");
            assert!(waiting.contains(&pair), "round {round}: {answer}");
            if what == "settled" {
                settled += 1;
                assert_eq!(found.remote_ids, [format!("${id}")], "round {round}: {answer}");
                assert!(!waiting.contains(&guarded), "round {round}: {answer}");
            }
        }
        assert!(settled > 0 && answers.len() >= ANSWERS);
        // Batches are whole: each guarded event has the other one of its pair, whether it was answered or not.
        let events: i64 = rig.sql().query_row("SELECT count(*) FROM events", [], |row| row.get(0)).expect("a count");
        let pairs: i64 = rig
            .sql()
            .query_row(
                "SELECT count(*) FROM events a JOIN events b ON b.id = a.id + 1 AND b.source_id = a.source_id
                        WHERE a.dedupe IS NOT NULL AND b.dedupe IS NULL",
                [],
                |row| row.get(0),
            )
            .expect("a count");
        assert_eq!(events, pairs * 2, "round {round}");
        // Begin the next round with an empty queue, so that the child's ids are new to the guard.
        store.close().await;
        for file in ["portway.db", "portway.db-wal", "portway.db-shm"] {
            let _ = std::fs::remove_file(rig.dir().join(file));
        }
    }
}

async fn all_that_waits(store: &Store) -> HashSet<EventId> {
    let mut all = HashSet::new();
    let mut after = None;
    loop {
        let page = store.pending(NET, Direction::ToNetwork, None, after, 500).await.expect("what waits");
        let Some(last) = page.last() else { return all };
        after = Some(last.id);
        all.extend(page.iter().map(|queued| queued.id));
    }
}
