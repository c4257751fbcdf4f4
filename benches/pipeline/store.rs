//! What the store does when it only commits such rows.

use std::time::Instant;

use portway::clock::Clock;
use portway::route::event;
use portway::route::item::{Item, Meta, Speaker};
use portway::store::{NewBatch, Store};
use portway_bridges::api::{Chat, Kind, PersonId, Text, Timestamp, UserId};

use super::Scale;
use super::support::binary::Dir;

/// Rows per second, in the batches of the intake (256), one after another.
pub async fn commits_per_second(scale: Scale) -> f64 {
    let dir = Dir::new();
    let store = Store::open("sqlite:bench.db", &dir.0, Clock::system()).await.expect("a scratch store");
    let network = "loopback".into();
    let user = UserId::parse("juliet@bench.example").expect("an address");
    let begin = Instant::now();
    let mut n = 0;
    while n < scale.messages {
        let until = scale.messages.min(n + 256);
        let events = (n..until)
            .map(|n| {
                let person = PersonId::new(&format!("p{}", n % scale.chats), "loopback").expect("an id");
                let item = Item {
                    chat: Chat::Direct { user: user.clone(), person },
                    speaker: Speaker::User { id: user.clone(), name: None },
                    at: Timestamp(1_700_000_000_000),
                    kind: Kind::Text(Text::plain(format!("{n} the quick brown fox jumps over the lazy dog"))),
                    meta: Meta {
                        id: Some(format!("bench-0-{n:012}")),
                        from: Some("juliet@bench.example/balcony".to_owned()),
                        ..Meta::default()
                    },
                };
                event::to_network(&network, &item)
            })
            .collect();
        store.commit(NewBatch { events, ..NewBatch::default() }).await.expect("a commit");
        n = until;
    }
    let rate = scale.messages as f64 / begin.elapsed().as_secs_f64();
    store.close().await;
    rate
}
