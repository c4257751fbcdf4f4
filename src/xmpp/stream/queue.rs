//! What is to be written: three classes of priority, all of them bounded, and tickets for what must arrive.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{Notify, oneshot};

use super::{Limits, write};
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
    limits: Limits,
}

#[derive(Default)]
struct State {
    open: bool,
    urgent: Class,
    normal: Class,
    low: Class,
}

/// The stanzas of one class. Each class has its own bound, so that a full outbox never costs the answer to an IQ.
#[derive(Default)]
struct Class {
    waiting: VecDeque<Out>,
    stanzas: usize,
    bytes: usize,
}

struct Out {
    bytes: Vec<u8>,
    stanzas: usize,
    claim: Option<Claim>,
}

impl Class {
    fn fits(&self, stanzas: usize, bytes: usize, limits: &Limits) -> bool {
        self.stanzas + stanzas <= limits.queue && self.bytes + bytes <= limits.queue_bytes
    }

    fn push(&mut self, out: Out) {
        self.stanzas += out.stanzas;
        self.bytes += out.bytes.len();
        self.waiting.push_back(out);
    }

    fn take(&mut self, buffer: &mut Vec<u8>, most: usize, claims: &mut Vec<Claim>) {
        while buffer.len() < most
            && let Some(out) = self.waiting.pop_front()
        {
            self.stanzas -= out.stanzas;
            self.bytes -= out.bytes.len();
            buffer.extend_from_slice(&out.bytes);
            claims.extend(out.claim);
        }
    }
}

impl Queue {
    /// Queues with the bounds `queue`, `queue_bytes` and `out_stanza_bytes` of these limits.
    pub fn new(limits: Limits) -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), room: Notify::new(), limits }
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
        if bytes.len() > self.limits.out_stanza_bytes {
            return Err(SendError::TooBig);
        }
        let mut state = self.state();
        if !state.open {
            return Err(SendError::Down);
        }
        let class = match priority {
            Priority::Urgent => &mut state.urgent,
            Priority::Normal => &mut state.normal,
            Priority::Low => &mut state.low,
        };
        if !class.fits(1, bytes.len(), &self.limits) {
            return Err(SendError::Full);
        }
        class.push(Out { bytes, stanzas: 1, claim: None });
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes a batch in one piece; waits for a connection and for room. A batch over the bounds goes alone.
    pub async fn push_batch(&self, stanzas: &[OutStanza]) -> Ticket {
        let mut bytes = Vec::with_capacity(256 * stanzas.len());
        for (index, stanza) in stanzas.iter().enumerate() {
            let before = bytes.len();
            write::stanza(&mut bytes, stanza.element());
            if bytes.len() - before > self.limits.out_stanza_bytes {
                return decided(Err(Lost::TooBig { index }));
            }
        }
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.state();
                let normal = &mut state.normal;
                let fits = normal.waiting.is_empty() || normal.fits(stanzas.len(), bytes.len(), &self.limits);
                if state.open && fits {
                    let (claim, ticket) = oneshot::channel();
                    state.normal.push(Out { bytes, stanzas: stanzas.len(), claim: Some(claim) });
                    drop(state);
                    self.arrived.notify_one();
                    return Ticket(ticket);
                }
            }
            room.await;
        }
    }

    /// Moves what waits into `buffer`, about `most` bytes, the most urgent first, and the claims of its batches into
    /// `claims`; only what is urgent where `urgent_only` is set.
    pub fn take(&self, buffer: &mut Vec<u8>, most: usize, claims: &mut Vec<Claim>, urgent_only: bool) {
        let mut state = self.state();
        state.urgent.take(buffer, most, claims);
        if urgent_only {
            return;
        }
        state.normal.take(buffer, most, claims);
        state.low.take(buffer, most, claims);
        let room = state.normal.fits(self.limits.queue / 2, self.limits.queue_bytes / 2, &self.limits)
            || state.normal.waiting.is_empty();
        drop(state);
        if room {
            self.room.notify_waiters();
        }
    }

    /// How many stanzas wait.
    pub fn waiting(&self) -> usize {
        let state = self.state();
        state.urgent.stanzas + state.normal.stanzas + state.low.stanzas
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::jid::Jid;
    use crate::xmpp::stanza::{Domain, StanzaKind};
    use crate::xmpp::xml;

    fn message(id: &str) -> OutStanza {
        let us = Domain::new("gw.example").unwrap().jid();
        OutStanza::new(StanzaKind::Message, &us, &Jid::parse("a@b").unwrap(), None, Some(id))
    }

    fn order(queue: &Queue, urgent_only: bool) -> Vec<String> {
        let mut bytes = Vec::new();
        queue.take(&mut bytes, usize::MAX, &mut Vec::new(), urgent_only);
        let text = String::from_utf8(bytes).unwrap();
        text.split(" id='").skip(1).map(|rest| rest.split('\'').next().unwrap().to_owned()).collect()
    }

    fn small() -> Limits {
        Limits { queue: 2, out_stanza_bytes: 200, ..Limits::default() }
    }

    #[tokio::test]
    async fn l12_the_urgent_goes_first_and_the_rest_keeps_the_order_of_calls() {
        let queue = Queue::new(Limits::default());
        queue.open();
        queue.push(&message("low"), Priority::Low).unwrap();
        queue.push(&message("1"), Priority::Normal).unwrap();
        let _ticket = queue.push_batch(&[message("2"), message("3")]).await;
        queue.push(&message("4"), Priority::Normal).unwrap();
        queue.push(&message("iq"), Priority::Urgent).unwrap();
        assert_eq!(order(&queue, false), ["iq", "1", "2", "3", "4", "low"]);
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test]
    async fn each_class_has_its_own_bound() {
        let queue = Queue::new(small());
        queue.open();
        for priority in [Priority::Low, Priority::Normal, Priority::Urgent] {
            for _ in 0..2 {
                queue.push(&message("x"), priority).unwrap();
            }
            assert_eq!(queue.push(&message("y"), priority), Err(SendError::Full), "{priority:?}");
        }
        assert_eq!(queue.waiting(), 6);
        let bytes = Limits { queue_bytes: 80, ..Limits::default() };
        let queue = Queue::new(bytes);
        queue.open();
        queue.push(&message("x"), Priority::Normal).unwrap();
        assert_eq!(queue.push(&message("y"), Priority::Normal), Err(SendError::Full));
    }

    #[tokio::test]
    async fn l11_nothing_is_taken_without_a_connection_or_over_the_ceiling() {
        let queue = Queue::new(small());
        assert_eq!(queue.push(&message("x"), Priority::Urgent), Err(SendError::Down));
        queue.open();
        let big = message("big").with(xml::text("body", "jabber:client", &"b".repeat(200)));
        assert_eq!(queue.push(&big, Priority::Normal), Err(SendError::TooBig));
        let ticket = queue.push_batch(&[message("1"), big]).await;
        assert_eq!(ticket.await, Err(Lost::TooBig { index: 1 }));
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test]
    async fn a_batch_waits_for_a_connection_and_for_room() {
        let queue = Queue::new(small());
        let (first, second) = ([message("1"), message("2")], [message("3")]);
        let mut waiting = Box::pin(queue.push_batch(&first));
        assert!(futures::poll!(&mut waiting).is_pending());
        queue.open();
        let _first = waiting.await;
        let mut waiting = Box::pin(queue.push_batch(&second));
        assert!(futures::poll!(&mut waiting).is_pending());
        assert_eq!(order(&queue, true), [""; 0]);
        assert!(futures::poll!(&mut waiting).is_pending());
        assert_eq!(order(&queue, false), ["1", "2"]);
        let second = waiting.await;
        queue.close();
        assert_eq!(second.await, Err(Lost::Connection));
        assert_eq!(queue.waiting(), 0);
    }
}
