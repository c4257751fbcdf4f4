//! Random operations against a model that keeps everything in plain vectors.

use portway::store::{Committed, Direction, NewEvent, QueueDepth, Settle, Store};
use portway_bridges::api::{Condition, EventId, Timestamp};
use proptest::prelude::*;

use crate::rig::{NET, Rig, batch, event};

/// One operation. Numbers of events are places in the order of commits, so that they often hit.
#[derive(Debug, Clone)]
enum Op {
    Commit(Vec<New>),
    Settle(Vec<Outcome>, Vec<New>),
    Reopen,
}

#[derive(Debug, Clone)]
struct New {
    to_network: bool,
    chat: u8,
    sender: u8,
    dedupe: Option<u8>,
    ids: Vec<u8>,
    archive: bool,
}

#[derive(Debug, Clone)]
enum Outcome {
    Done(usize, Vec<u8>),
    Retry(usize, u32),
    Dead(usize),
    /// What travels, what says something else, what is gone.
    Seal(Vec<usize>, Vec<usize>, Vec<usize>),
}

fn new() -> impl Strategy<Value = New> {
    let ids = proptest::collection::vec(0..6_u8, 0..3);
    (any::<bool>(), 0..3_u8, 0..2_u8, proptest::option::of(0..4_u8), ids, any::<bool>()).prop_map(
        |(to_network, chat, sender, dedupe, ids, archive)| New { to_network, chat, sender, dedupe, ids, archive },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let number = 0..20_usize;
    let some = || proptest::collection::vec(0..20_usize, 0..3);
    prop_oneof![
        3 => (number.clone(), proptest::collection::vec(0..6_u8, 0..3)).prop_map(|(n, ids)| Outcome::Done(n, ids)),
        1 => (number.clone(), 0..9_u32).prop_map(|(n, attempts)| Outcome::Retry(n, attempts)),
        1 => number.clone().prop_map(Outcome::Dead),
        1 => (some(), some(), some()).prop_map(|(ids, bodies, gone)| Outcome::Seal(ids, bodies, gone)),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Op>> {
    let news = || proptest::collection::vec(new(), 0..4);
    let op = prop_oneof![
        4 => news().prop_map(Op::Commit),
        4 => (proptest::collection::vec(outcome(), 0..4), news()).prop_map(|(settled, then)| Op::Settle(settled, then)),
        1 => Just(Op::Reopen),
    ];
    proptest::collection::vec(op, 1..24)
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waits,
    Done,
    Dead,
}

#[derive(Debug)]
struct Row {
    id: EventId,
    event: NewEvent,
    state: State,
    attempts: u32,
    batch: Option<EventId>,
    remote: Vec<String>,
}

/// What the store ought to hold, oldest first.
#[derive(Debug, Default)]
struct Model {
    rows: Vec<Row>,
}

impl Model {
    /// The number of a place, or one that does not exist.
    fn number(&self, place: usize) -> EventId {
        self.rows.get(place).map_or(EventId(1_000_000), |row| row.id)
    }

    fn insert(&mut self, event: &NewEvent, answer: Committed) {
        let earlier = self.rows.iter().find(|row| {
            event.dedupe.is_some()
                && (&row.event.chat, &row.event.sender, &row.event.dedupe)
                    == (&event.chat, &event.sender, &event.dedupe)
        });
        if let Some(earlier) = earlier {
            assert_eq!(answer, Committed { id: earlier.id, duplicate: true });
            return;
        }
        assert!(!answer.duplicate && self.rows.iter().all(|row| row.id < answer.id), "{answer:?}");
        let (event, remote) = (event.clone(), Vec::new());
        self.rows.push(Row { id: answer.id, event, state: State::Waits, attempts: 0, batch: None, remote });
    }

    fn settle(&mut self, settled: &Settle) {
        let mut with = |id: &EventId, change: &mut dyn FnMut(&mut Row)| {
            if let Some(row) = self.rows.iter_mut().find(|row| row.id == *id) {
                change(row);
            }
        };
        match settled {
            Settle::Done { id, ids } => with(id, &mut |row| {
                if row.state == State::Waits {
                    row.state = State::Done;
                }
                // The ids that came first hold; a part that had none yet gets one.
                let known = row.remote.len();
                row.remote.extend(ids.iter().skip(known).cloned());
            }),
            Settle::Retry { id, attempts, .. } => with(id, &mut |row| {
                if row.state == State::Waits {
                    row.attempts = *attempts;
                }
            }),
            Settle::Dead { id, .. } => with(id, &mut |row| {
                if row.state == State::Waits {
                    row.state = State::Dead;
                }
            }),
            Settle::Seal { ids, bodies, gone } => {
                for (id, body) in bodies {
                    with(id, &mut |row| {
                        if row.state == State::Waits {
                            row.event.body.clone_from(body);
                        }
                    });
                }
                for id in gone {
                    with(id, &mut |row| {
                        if row.state == State::Waits {
                            row.state = State::Done;
                        }
                    });
                }
                for id in ids {
                    with(id, &mut |row| {
                        if row.state == State::Waits {
                            row.batch = ids.first().copied();
                        }
                    });
                }
            }
        }
    }

    fn body(row: &Row) -> Option<Vec<u8>> {
        (row.state != State::Done || row.event.archive).then(|| row.event.body.clone())
    }

    async fn compare(&self, store: &Store) {
        for direction in [Direction::ToNetwork, Direction::ToXmpp] {
            let found = store.pending(NET, direction, None, None, 1000).await.expect("what waits");
            let found: Vec<_> =
                found.into_iter().map(|one| (one.id, one.chat, one.body, one.attempts, one.batch)).collect();
            let waits = || self.rows.iter().filter(|row| row.state == State::Waits && row.event.direction == direction);
            let expected: Vec<_> = waits()
                .map(|row| (row.id, row.event.chat.clone(), row.event.body.clone(), row.attempts, row.batch))
                .collect();
            assert_eq!(found, expected);

            let lanes = store.pending_lanes(NET, direction, None, 1000).await.expect("lanes");
            let mut chats: Vec<&str> = waits().map(|row| row.event.chat.as_str()).collect();
            chats.sort_unstable();
            chats.dedup();
            assert_eq!(lanes.iter().map(|lane| lane.chat.as_str()).collect::<Vec<_>>(), chats);
            for lane in lanes {
                let of_chat: Vec<_> = waits().filter(|row| row.event.chat == lane.chat).collect();
                assert_eq!((lane.first, lane.count), (of_chat[0].id, of_chat.len() as u64));
            }

            for chat in 0..3 {
                let chat = format!("chat {chat}");
                let found = store.history(NET, &chat, direction, 3).await.expect("history");
                let archived = self
                    .rows
                    .iter()
                    .rev()
                    .filter(|row| row.event.archive && row.event.chat == chat && row.event.direction == direction);
                let mut expected: Vec<_> = archived.take(3).map(|row| row.id).collect();
                expected.reverse();
                assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), expected);
            }
        }
        for row in &self.rows {
            let found = store.message(row.id).await.expect("a read").expect("it is known");
            assert_eq!((&found.source_ids, &found.remote_ids), (&row.event.ids, &row.remote));
            assert_eq!(found.body, Self::body(row));
        }
        for (chat, id) in (0..3).flat_map(|chat| (0..6).map(move |id| (chat, id))) {
            let (chat, id) = (format!("chat {chat}"), format!("id {id}"));
            let found = store.find_message(NET, &chat, &id).await.expect("a read").map(|one| one.id);
            let has = |row: &&Row| row.event.chat == chat && (row.event.ids.contains(&id) || row.remote.contains(&id));
            assert_eq!(found, self.rows.iter().rev().find(has).map(|row| row.id), "{chat} {id}");
        }
        let dead: Vec<i64> = self.rows.iter().filter(|row| row.state == State::Dead).map(|row| row.id.0).collect();
        let letters = store.dead_letters(None, None, 1000).await.expect("dead letters");
        assert_eq!(letters.iter().map(|letter| letter.id).collect::<Vec<_>>(), dead);
        let depth = store.depth().await.expect("the depth");
        for to_network in [true, false] {
            let of = |depth: &&QueueDepth| depth.to_network == to_network;
            let (count, dead) = depth.iter().find(of).map_or((0, 0), |depth| (depth.count, depth.dead));
            let counted = |state| {
                let matches =
                    |row: &&Row| row.state == state && (row.event.direction == Direction::ToNetwork) == to_network;
                self.rows.iter().filter(matches).count() as u64
            };
            assert_eq!((count, dead), (counted(State::Waits), counted(State::Dead)));
        }
    }
}

fn events(news: &[New]) -> Vec<NewEvent> {
    let id = |id: &u8| format!("id {id}");
    let one = |new: &New| NewEvent {
        direction: if new.to_network { Direction::ToNetwork } else { Direction::ToXmpp },
        sender: format!("sender {}", new.sender),
        dedupe: new.dedupe.map(|key| format!("key {key}")),
        ids: new.ids.iter().map(id).collect(),
        archive: new.archive,
        body: format!("{new:?}").into_bytes(),
        ..event(&format!("chat {}", new.chat), "")
    };
    news.iter().map(one).collect()
}

fn settlements(model: &Model, outcomes: &[Outcome]) -> Vec<Settle> {
    let one = |outcome: &Outcome| match outcome {
        Outcome::Done(place, ids) => {
            Settle::Done { id: model.number(*place), ids: ids.iter().map(|id| format!("id {id}")).collect() }
        }
        Outcome::Retry(place, attempts) => Settle::Retry {
            id: model.number(*place),
            attempts: *attempts,
            next_try: Timestamp(1),
            error: "later".to_owned(),
            notices: 0,
        },
        Outcome::Dead(place) => {
            Settle::Dead { id: model.number(*place), condition: Condition::Gone, error: "gone".to_owned() }
        }
        Outcome::Seal(places, bodies, gone) => {
            let numbers = |places: &[usize]| places.iter().map(|place| model.number(*place)).collect::<Vec<_>>();
            let bodies = numbers(bodies).into_iter().map(|id| (id, format!("now {id}").into_bytes())).collect();
            Settle::Seal { ids: numbers(places), bodies, gone: numbers(gone) }
        }
    };
    outcomes.iter().map(one).collect()
}

async fn run(rig: Rig, reopens: bool, operations: Vec<Op>) {
    let mut store = rig.open().await;
    let mut model = Model::default();
    for operation in operations {
        match operation {
            Op::Commit(news) => {
                let events = events(&news);
                let answers = store.commit(batch(events.clone())).await.expect("a commit").events;
                assert_eq!(answers.len(), events.len());
                events.iter().zip(answers).for_each(|(event, answer)| model.insert(event, answer));
            }
            Op::Settle(outcomes, then) => {
                let (settled, then) = (settlements(&model, &outcomes), events(&then));
                let answers = store.settle(settled.clone(), then.clone()).await.expect("a settlement");
                settled.iter().for_each(|settled| model.settle(settled));
                assert_eq!(answers.len(), then.len());
                then.iter().zip(answers).for_each(|(event, answer)| model.insert(event, answer));
            }
            Op::Reopen if reopens => {
                store.close().await;
                store = rig.open().await;
            }
            Op::Reopen => {}
        }
        model.compare(&store).await;
    }
    store.close().await;
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_does_what_the_model_does(operations in operations()) {
        block_on(run(Rig::memory(), false, operations));
    }

    #[test]
    fn a_file_does_what_the_model_does(operations in operations()) {
        block_on(run(Rig::file(), true, operations));
    }
}
