//! What is to be written: three classes of priority, all of them bounded, and tickets for what must arrive.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{Notify, oneshot};

use super::write;
use crate::xmpp::stanza::OutStanza;

/// How urgent a stanza is. [`Priority::Normal`] stanzas and batches share one queue, in the order of their calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Answers to IQs, and pings.
    Urgent,
    /// Messages, and the presence of rooms.
    Normal,
    /// The presence of contacts.
    Low,
}

/// Why a stanza was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection.
    #[error("there is no connection")]
    Down,
    /// Too much waits already.
    #[error("too much waits to be written")]
    Full,
    /// It is over the ceiling.
    #[error("the stanza is too big")]
    TooBig,
}

/// What became of a batch that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The connection ended before the barrier came back.
    #[error("the connection ended")]
    Connection,
    /// A stanza of the batch is over the ceiling; nothing of the batch was written.
    #[error("stanza {index} of the batch is too big")]
    TooBig {
        /// Which.
        index: usize,
    },
}

/// Resolves when the batch has arrived, or is lost.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<(), Lost>>);

impl Future for Ticket {
    type Output = Result<(), Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|result| result.unwrap_or(Err(Lost::Connection)))
    }
}

/// The sender of a ticket.
pub type Claim = oneshot::Sender<Result<(), Lost>>;

/// A ticket that is already decided.
pub fn decided(result: Result<(), Lost>) -> Ticket {
    let (claim, ticket) = oneshot::channel();
    let _ = claim.send(result);
    Ticket(ticket)
}

/// The queues of a link.
pub struct Queue {
    state: Mutex<State>,
    /// Woken when there is something to write.
    pub arrived: Notify,
    /// Woken when there is room again, or a connection.
    pub room: Notify,
    stanza_bytes: usize,
    most: usize,
}

#[derive(Default)]
struct State {
    open: bool,
    urgent: VecDeque<Vec<u8>>,
    normal: VecDeque<Out>,
    low: VecDeque<Vec<u8>>,
    /// How many stanzas wait in `normal`.
    stanzas: usize,
}

enum Out {
    Bytes(Vec<u8>),
    Batch(Vec<u8>, usize, Claim),
}

impl Queue {
    /// Queues with a bound in stanzas and a ceiling of bytes per stanza.
    pub fn new(most: usize, stanza_bytes: usize) -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), room: Notify::new(), stanza_bytes, most }
    }

    /// A connection is there: take stanzas.
    pub fn open(&self) {
        self.state().open = true;
        self.room.notify_waiters();
    }

    /// The connection has ended: what waits is lost, and whoever holds a ticket is told.
    pub fn close(&self) {
        let mut state = self.state();
        *state = State::default();
    }

    /// Takes one stanza, or says why not.
    pub fn push(&self, stanza: &OutStanza, priority: Priority) -> Result<(), SendError> {
        let mut bytes = Vec::with_capacity(256);
        write::stanza(&mut bytes, stanza.element());
        if bytes.len() > self.stanza_bytes {
            return Err(SendError::TooBig);
        }
        let mut state = self.state();
        if !state.open {
            return Err(SendError::Down);
        }
        if state.urgent.len() + state.low.len() + state.stanzas >= self.most {
            return Err(SendError::Full);
        }
        match priority {
            Priority::Urgent => state.urgent.push_back(bytes),
            Priority::Normal => {
                state.normal.push_back(Out::Bytes(bytes));
                state.stanzas += 1;
            }
            Priority::Low => state.low.push_back(bytes),
        }
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes a batch in one piece; waits for a connection and for room.
    pub async fn push_batch(&self, stanzas: &[OutStanza]) -> Ticket {
        let mut bytes = Vec::with_capacity(256 * stanzas.len());
        for (index, stanza) in stanzas.iter().enumerate() {
            let before = bytes.len();
            write::stanza(&mut bytes, stanza.element());
            if bytes.len() - before > self.stanza_bytes {
                return decided(Err(Lost::TooBig { index }));
            }
        }
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.state();
                if state.open && (state.stanzas == 0 || state.stanzas + stanzas.len() <= self.most) {
                    let (claim, ticket) = oneshot::channel();
                    state.stanzas += stanzas.len();
                    state.normal.push_back(Out::Batch(bytes, stanzas.len(), claim));
                    drop(state);
                    self.arrived.notify_one();
                    return Ticket(ticket);
                }
            }
            room.await;
        }
    }

    /// Moves what is most urgent into `buffer`, about `most` bytes, and the claims of its batches into `claims`.
    pub fn take(&self, buffer: &mut Vec<u8>, most: usize, claims: &mut Vec<Claim>) {
        let mut state = self.state();
        while let Some(bytes) = state.urgent.pop_front() {
            buffer.extend_from_slice(&bytes);
        }
        while buffer.len() < most
            && let Some(out) = state.normal.pop_front()
        {
            match out {
                Out::Bytes(bytes) => {
                    state.stanzas -= 1;
                    buffer.extend_from_slice(&bytes);
                }
                Out::Batch(bytes, count, claim) => {
                    state.stanzas -= count;
                    buffer.extend_from_slice(&bytes);
                    claims.push(claim);
                }
            }
        }
        while buffer.len() < most
            && let Some(bytes) = state.low.pop_front()
        {
            buffer.extend_from_slice(&bytes);
        }
        let room = state.stanzas <= self.most / 2;
        drop(state);
        if room {
            self.room.notify_waiters();
        }
    }

    /// How many stanzas and batches wait.
    pub fn len(&self) -> usize {
        let state = self.state();
        state.urgent.len() + state.stanzas + state.low.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
