//! The statements that run all the time, or on the writer's thread, read no more rows than they need: millions of events
//! that have arrived must not slow them down.

use super::{Sqlite, prune, queue, strangers};

/// What SQLite would do, one step per line.
fn plan(store: &Sqlite, statement: &str) -> Vec<String> {
    let mut explained = store.db.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).expect(statement);
    // What a parameter is does not matter to the plan; without a value it is NULL.
    explained.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>().expect(statement)
}

#[test]
fn no_statement_reads_a_whole_table() {
    let store = Sqlite::in_memory().expect("a store");
    let table = [
        ("WAITING", queue::WAITING, "events_waiting"),
        ("WAITING_OF_CHAT", queue::WAITING_OF_CHAT, "events_waiting_of_chat"),
        ("LANES", queue::LANES, "events_waiting_of_chat"),
        ("FIND", queue::FIND, "events_source"),
        ("WITHDRAW", queue::WITHDRAW, "events_archive"),
        ("SAID", queue::SAID, "events_said"),
        ("DEPTH", queue::DEPTH, "COVERING INDEX events_waiting_of_chat"),
        ("LETTERS", queue::LETTERS, "events_dead"),
        ("HELD_OF_CHAT", strangers::HELD_OF_CHAT, "events_held"),
        ("HELD_CHATS", strangers::HELD_CHATS, "events_held"),
        ("HELD_OF_USER", strangers::HELD_OF_USER, "events_held"),
        ("EXPIRE", strangers::EXPIRE, "events_held"),
        ("TURNED_AWAY", strangers::TURNED_AWAY, "events_turned"),
        ("ARRIVED", prune::ARRIVED, "events_arrived"),
        ("ARCHIVED", prune::ARCHIVED, "events_archived"),
        ("ONCE", prune::ONCE, "once_at"),
        ("ORIGINALS", prune::ORIGINALS, "originals_at"),
        ("PICTURES", prune::PICTURES, "INTEGER PRIMARY KEY"),
    ];
    for (name, statement, index) in table {
        let plan = plan(&store, statement);
        assert!(plan.iter().any(|step| step.contains(index)), "{name} does not use {index}: {plan:#?}");
        // Allowed are the rows of a subquery, and partial indexes: they hold only what waits, is held or is dead.
        let allowed = |step: &&String| {
            *step == "SCAN e"
                || step.contains("events_waiting")
                || step.contains("events_dead")
                || step.contains("events_held")
                || step.contains("events_turned")
        };
        let scans: Vec<_> = plan.iter().filter(|step| step.starts_with("SCAN")).filter(|step| !allowed(step)).collect();
        assert!(scans.is_empty(), "{name}: {scans:?}");
    }
}
