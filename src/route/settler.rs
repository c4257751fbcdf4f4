//! One writer of outcomes for all lanes of a network: many outcomes travel in one transaction.
//!
//! A lane does not wait for its outcome to be on disk before it delivers its next event. If the process dies in between,
//! the event is delivered again under the same idempotence key.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::store::{NewEvent, Settle, Store};

/// How many outcomes wait at most; lanes wait when it is full.
const QUEUE: usize = 4096;

/// How many outcomes travel in one transaction at most.
const BATCH: usize = 512;

/// How long a store that refuses is left alone before the next try.
const PAUSE: Duration = Duration::from_secs(1);

enum Message {
    Outcome(Settle, Vec<NewEvent>),
    Flush(oneshot::Sender<()>),
}

/// The sender of outcomes. Cheap to clone.
#[derive(Clone)]
pub struct Settler(mpsc::Sender<Message>);

impl Settler {
    /// Starts the writer. `after` is called after each transaction that added events.
    pub fn start(store: Store, after: impl Fn(&[NewEvent]) + Send + Sync + 'static) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(store, receiver, after));
        Self(sender)
    }

    /// Takes an outcome and the events that follow from it (receipt, reflection, failure); they are committed together.
    pub async fn settle(&self, outcome: Settle, then: Vec<NewEvent>) {
        // The writer ends only when the last sender is gone.
        let _ = self.0.send(Message::Outcome(outcome, then)).await;
    }

    /// Waits until everything that was taken before is on disk.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.0.send(Message::Flush(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

async fn write(store: Store, mut receiver: mpsc::Receiver<Message>, after: impl Fn(&[NewEvent])) {
    let mut messages = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut messages, BATCH).await > 0 {
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut then = Vec::new();
        let mut flushed = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Outcome(outcome, events) => {
                    outcomes.push(outcome);
                    then.extend(events);
                }
                Message::Flush(done) => flushed.push(done),
            }
        }
        if !outcomes.is_empty() {
            // Outcomes are kept in memory and tried again: a full disk must not turn "delivered" into "deliver again".
            while let Err(error) = store.settle(outcomes.clone(), then.clone()).await {
                if error == crate::store::StoreError::Closed {
                    return;
                }
                error!(%error, "outcomes cannot be written, trying again");
                tokio::time::sleep(PAUSE).await;
            }
            if !then.is_empty() {
                after(&then);
            }
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}
