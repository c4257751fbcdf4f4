//! The statements that run all the time, or on the writer's thread, read no more rows than they need: millions of events
//! that have arrived must not slow them down.

use super::{Sqlite, prune, queue};

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
        ("DEPTH", queue::DEPTH, "COVERING INDEX events_waiting_of_chat"),
        ("LETTERS", queue::LETTERS, "events_dead"),
        ("ARRIVED", prune::ARRIVED, "events_arrived"),
        ("ARCHIVED", prune::ARCHIVED, "events_archived"),
        ("ONCE", prune::ONCE, "once_at"),
        ("ORIGINALS", prune::ORIGINALS, "originals_at"),
    ];
    for (name, statement, index) in table {
        let plan = plan(&store, statement);
        assert!(plan.iter().any(|step| step.contains(index)), "{name} does not use {index}: {plan:#?}");
        // A partial index that is read as a whole holds only what waits or is dead.
        let whole = plan.iter().filter(|step| step.starts_with("SCAN") && !step.contains("INDEX events_"));
        let tables: Vec<_> =
            whole.filter(|step| !step.starts_with("SCAN e") || step.starts_with("SCAN events")).collect();
        assert!(tables.is_empty(), "{name} reads {tables:?}");
    }
}
