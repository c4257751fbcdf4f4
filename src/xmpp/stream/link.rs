//! A link: it keeps connecting, and takes what is to be written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use portway_bridges::api::Stop;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::error::DownReason;
use super::queue::{Priority, Queue, SendError, Ticket};
use super::session::{self, Shared, Tracked, random_id};
use super::{LinkConfig, LinkEvent, Timers};
use crate::xmpp::stanza::{Domain, OutStanza, Stanza};
use crate::xmpp::xml;

/// How many events wait for the component at most; reading waits when it is full.
const EVENTS: usize = 1024;

/// How long a connection must have lasted for the backoff to start over.
const STABLE: Duration = Duration::from_secs(30);

/// The connection of one component. Cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    up: watch::Sender<Option<u64>>,
    generation: AtomicU64,
    down: std::sync::Mutex<Option<DownReason>>,
}

/// Why an IQ of ours has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IqError {
    /// It could not be sent.
    #[error("it could not be sent: {0}")]
    Send(#[from] SendError),
    /// No answer came in time, or the connection ended.
    #[error("no answer came")]
    NoAnswer,
}

/// What a link has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkStats {
    /// Whether there is a connection.
    pub up: bool,
    /// Connections after the first.
    pub reconnects: u64,
    /// Stanzas read.
    pub received: u64,
    /// Stanzas over a limit or unusable.
    pub rejected: u64,
    /// Stanzas that wait to be written.
    pub queued: usize,
}

impl Link {
    /// Starts connecting. The events must be read; the task ends at the stop signal.
    #[must_use]
    pub fn start(config: LinkConfig, stop: Stop) -> (Self, mpsc::Receiver<LinkEvent>, JoinHandle<()>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared {
            queue: Queue::new(config.limits),
            config,
            waiting: std::sync::Mutex::default(),
            received: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            own_barrier: std::sync::atomic::AtomicBool::new(false),
        });
        let link = Self(Arc::new(Inner {
            shared,
            up: watch::Sender::new(None),
            generation: AtomicU64::new(0),
            down: std::sync::Mutex::default(),
        }));
        let task = tokio::spawn(link.clone().keep(events, stop));
        (link, receiver, task)
    }

    /// The component's domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.0.shared.config.domain
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.up.borrow().is_some()
    }

    /// Why the last connection ended, or did not come about. `None`: none has ended yet.
    #[must_use]
    pub fn last_down(&self) -> Option<DownReason> {
        self.0.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a connection; returns its number, counted from 1.
    pub async fn wait_up(&self) -> u64 {
        let mut up = self.0.up.subscribe();
        // The sender lives as long as `self`.
        up.wait_for(Option::is_some).await.ok().and_then(|generation| *generation).unwrap_or_default()
    }

    /// Sends a stanza that is not worth keeping: without a connection, or with too much waiting, it is dropped.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, stanza: &OutStanza, priority: Priority) -> Result<(), SendError> {
        self.0.shared.queue.push(stanza, priority)
    }

    /// Sends a batch in one piece, with a barrier behind it; waits for a connection and for room. The ticket tells
    /// whether the server has consumed it; if it is lost, send it again with the same ids.
    pub async fn write(&self, stanzas: Vec<OutStanza>) -> Ticket {
        if stanzas.is_empty() {
            return super::queue::decided(Ok(()));
        }
        self.0.shared.queue.push_batch(&stanzas).await
    }

    /// Sends an IQ and waits for its answer. The id is set here.
    ///
    /// # Errors
    /// [`IqError`].
    pub async fn iq(&self, request: OutStanza, wait: Duration) -> Result<Stanza, IqError> {
        let id = random_id();
        let mut element = request.element().clone();
        xml::set(&mut element, "id", &id);
        let request = request.replace(element);
        let Some((_tracked, answer)) = Tracked::new(&self.0.shared, id, request.to()) else {
            return Err(IqError::Send(SendError::Full));
        };
        self.send(&request, Priority::Urgent)?;
        tokio::time::timeout(wait, answer).await.ok().and_then(Result::ok).ok_or(IqError::NoAnswer)
    }

    /// What the link has done.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        let shared = &self.0.shared;
        LinkStats {
            up: self.is_up(),
            reconnects: self.0.generation.load(Ordering::Relaxed).saturating_sub(1),
            received: shared.received.load(Ordering::Relaxed),
            rejected: shared.rejected.load(Ordering::Relaxed),
            queued: shared.queue.waiting(),
        }
    }

    async fn keep(self, events: mpsc::Sender<LinkEvent>, stop: Stop) {
        let timers = self.0.shared.config.timers;
        let mut failures = 0u32;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let reason = self.once(&events, &stop).await;
            self.0.up.send_replace(None);
            self.0.shared.queue.close();
            self.0.shared.waiting().clear();
            if reason == DownReason::Stopping || stop.is_cancelled() {
                return;
            }
            *self.0.down.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
            failures = if begun.elapsed() >= STABLE { 1 } else { failures.saturating_add(1) };
            if worth_a_line(failures) {
                warn!(component = self.domain().as_str(), attempt = failures, hint = reason.hint(), "{reason}");
            }
            if !tell(&events, LinkEvent::Down { reason }, &stop).await {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause(failures, &timers, rand::random())) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One connection from its beginning to its end.
    async fn once(&self, events: &mpsc::Sender<LinkEvent>, stop: &Stop) -> DownReason {
        let shared = &self.0.shared;
        let connection = tokio::select! {
            connection = session::connect(&shared.config) => connection,
            () = stop.cancelled() => Err(DownReason::Stopping),
        };
        let (reader, writer) = match connection {
            Ok(connection) => connection,
            Err(reason) => return reason,
        };
        let generation = self.0.generation.fetch_add(1, Ordering::Relaxed) + 1;
        shared.queue.open();
        // First the event, then the outbox: the component prepares its rooms before anything is rendered.
        if !tell(events, LinkEvent::Up { generation }, stop).await {
            return DownReason::Stopping;
        }
        self.0.up.send_replace(Some(generation));
        info!(component = self.domain().as_str(), generation, "connected to the XMPP server");
        session::run(shared.clone(), reader, writer, events, stop).await
    }
}

/// How long to wait before another attempt after so many failures in a row: longer each time, and never the same for many
/// gateways whose server comes back. `chance` is between 0 and 1.
fn pause(failures: u32, timers: &Timers, chance: f64) -> Duration {
    let most = timers.backoff_min.saturating_mul(1 << failures.min(16)).min(timers.backoff_max);
    most.mul_f64(0.5 + 0.5 * chance)
}

/// Whether a failure is logged: the first few, and then fewer and fewer (1, 2, 4, 8, …).
fn worth_a_line(failures: u32) -> bool {
    failures.is_power_of_two()
}

/// Tells the component; false where it is gone or we are stopping.
async fn tell(events: &mpsc::Sender<LinkEvent>, event: LinkEvent, stop: &Stop) -> bool {
    tokio::select! {
        result = events.send(event) => result.is_ok(),
        () = stop.cancelled() => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l4_pauses_grow_to_a_bound_and_are_never_the_same_for_all() {
        let timers = Timers::default();
        let ms = |failures, chance| pause(failures, &timers, chance).as_millis();
        assert_eq!([1, 2, 3, 4, 5].map(|n| ms(n, 1.0)), [500, 1000, 2000, 4000, 8000]);
        assert_eq!([1, 2, 3, 4, 5].map(|n| ms(n, 0.0)), [250, 500, 1000, 2000, 4000]);
        for failures in [7, 8, 20, 1000, u32::MAX] {
            assert_eq!((ms(failures, 0.0), ms(failures, 1.0)), (15_000, 30_000));
        }
    }

    #[test]
    fn l4_a_long_outage_is_a_few_lines_in_the_log() {
        // A day of one attempt every 15 to 30 seconds.
        let lines = (1..=86_400 / 15).filter(|failures| worth_a_line(*failures)).count();
        assert!((10..=15).contains(&lines), "{lines}");
        assert!((1..=2).all(worth_a_line));
    }
}
