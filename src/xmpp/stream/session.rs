//! The life of one connection: handshake, reading, writing, barriers, watchdog.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use minidom::Element;
use portway_bridges::api::Stop;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::error::DownReason;
use super::queue::{Claim, Queue};
use super::read::{Read, StanzaReader};
use super::transport::{self, ReadHalf, WriteHalf};
use super::{LinkConfig, LinkEvent, NS_COMPONENT, NS_STREAM, write};
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{NS_CLIENT, Stanza, StanzaKind};
use crate::xmpp::xml;

/// About how many bytes are written at once.
const CHUNK: usize = 64 << 10;

/// How many IQs of ours wait for their answers at most.
pub const TRACKED: usize = 10_000;

/// What a link and its connections share.
pub struct Shared {
    /// The configuration.
    pub config: LinkConfig,
    /// What is to be written.
    pub queue: Queue,
    /// IQs of ours that wait for their answers: by id, with the JID that must answer.
    pub waiting: Mutex<HashMap<String, (String, oneshot::Sender<Stanza>)>>,
    /// Stanzas read.
    pub received: AtomicU64,
    /// Stanzas over a limit or unusable.
    pub rejected: AtomicU64,
    /// Whether barriers go to ourselves, because the server does not answer. It is remembered from one connection to the
    /// next, so that a reconnect need not find it out again.
    pub own_barrier: AtomicBool,
}

/// An IQ of ours that waits for its answer; forgotten when the waiting ends in whatever way.
pub struct Tracked<'a> {
    shared: &'a Shared,
    id: String,
}

impl<'a> Tracked<'a> {
    /// Notes the IQ with this id to this JID; `None` where too many wait already.
    pub fn new(shared: &'a Shared, id: String, to: &str) -> Option<(Self, oneshot::Receiver<Stanza>)> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = shared.waiting();
        if waiting.len() >= TRACKED {
            return None;
        }
        waiting.insert(id.clone(), (to.to_owned(), sender));
        drop(waiting);
        Some((Self { shared, id }, receiver))
    }
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.id);
    }
}

impl Shared {
    /// IQs of ours that wait for their answers.
    pub fn waiting(&self) -> MutexGuard<'_, HashMap<String, (String, oneshot::Sender<Stanza>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The barriers of one connection.
#[derive(Default)]
struct Barriers {
    /// Batches that were written and are not yet covered by a barrier.
    written: Vec<Claim>,
    /// The barrier on its way, and what it covers.
    flying: Option<Flying>,
    /// Whether any barrier has come back on this connection.
    proven: bool,
    /// Whether the other way was tried on this connection.
    tried: bool,
    /// Whether a ping was asked for although nothing waits.
    ping: bool,
    /// Bytes written that no barrier has confirmed yet.
    unconfirmed: usize,
}

struct Flying {
    id: String,
    claims: Vec<Claim>,
    bytes: usize,
    since: Instant,
}

struct Connection {
    shared: Arc<Shared>,
    barriers: Mutex<Barriers>,
    /// Whether reading waits for the component to take a stanza: what the server has answered meanwhile is not read.
    stalled: AtomicBool,
    /// Woken when a barrier has come back or is wanted.
    barrier: Notify,
}

/// Connects and shakes hands.
pub async fn connect(config: &LinkConfig) -> Result<(StanzaReader<BufReader<ReadHalf>>, WriteHalf), DownReason> {
    let io = |error: std::io::Error| DownReason::Io(error.to_string());
    let attempt = async {
        let (read, mut write_half) = transport::open(config).await?;
        let head = format!(
            "<?xml version='1.0'?><stream:stream xmlns='{NS_COMPONENT}' xmlns:stream='{NS_STREAM}' to='{}'>",
            config.domain.as_str()
        );
        write_half.write_all(head.as_bytes()).await.map_err(io)?;
        write_half.flush().await.map_err(io)?;
        let mut reader = StanzaReader::new(BufReader::with_capacity(CHUNK, read), config.limits);
        let id = reader.header().await.map_err(|reason| first_answer(reason, config.tls.is_some()))?;
        let handshake = handshake(&id, config.secret.reveal());
        let mut bytes = Vec::new();
        write::stanza(&mut bytes, &xml::text("handshake", NS_CLIENT, &handshake));
        write_half.write_all(&bytes).await.map_err(io)?;
        write_half.flush().await.map_err(io)?;
        match reader.next().await? {
            Read::Element(element) if element.is("handshake", NS_CLIENT) => Ok((reader, write_half)),
            Read::Element(element) if element.is("error", NS_STREAM) => Err(DownReason::from_element(&element)),
            Read::Element(element) | Read::Rejected(element, _) => {
                Err(DownReason::Protocol(format!("<{}/> came instead of the handshake", element.name())))
            }
        }
    };
    timeout(config.timers.connect, attempt).await.unwrap_or(Err(DownReason::Timeout))
}

/// What it means that no stream began: on a port that expects TLS, plain words are answered with an alert that is no XML,
/// or with silence and the end.
fn first_answer(reason: DownReason, tls: bool) -> DownReason {
    match reason {
        DownReason::Xml(error) if !tls => DownReason::NoStream(error),
        DownReason::Closed if !tls => DownReason::NoStream("the connection was closed".to_owned()),
        other => other,
    }
}

/// The proof that we know the secret: lower-case hexadecimal SHA-1 of the stream's id and the secret (XEP-0114).
fn handshake(id: &str, secret: &str) -> String {
    let digest = Sha1::digest(format!("{id}{secret}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a connection to its end.
pub async fn run(
    shared: Arc<Shared>,
    reader: StanzaReader<BufReader<ReadHalf>>,
    writer: WriteHalf,
    events: &mpsc::Sender<LinkEvent>,
    stop: &Stop,
) -> DownReason {
    let grace = shared.config.timers.grace;
    let connection = Arc::new(Connection {
        shared,
        barriers: Mutex::default(),
        stalled: AtomicBool::new(false),
        barrier: Notify::new(),
    });
    // A first barrier shows which way works before anything depends on it.
    connection.barriers().ping = true;
    let mut writing = tokio::spawn(connection.clone().write(writer, stop.clone()));
    let mut reading = tokio::spawn(connection.clone().read(reader, events.clone()));
    let reason = tokio::select! {
        biased;
        () = stop.cancelled() => {
            // The writer sends what waits and ends the stream. What the server has sent until it does the same is ours:
            // it will not send it again. A server that does neither cannot hold us.
            let _ = timeout(grace, async {
                let _ = (&mut writing).await;
                let _ = (&mut reading).await;
            })
            .await;
            Ok(DownReason::Stopping)
        }
        reason = &mut writing => reason,
        reason = &mut reading => reason,
        reason = connection.watch() => Ok(reason),
    };
    // The socket is closed before another one is opened: ejabberd would spread stanzas over both.
    for task in [&mut writing, &mut reading] {
        task.abort();
        if !task.is_finished() {
            let _ = task.await;
        }
    }
    reason.unwrap_or_else(|error| DownReason::Io(error.to_string()))
}

impl Connection {
    async fn read(
        self: Arc<Self>,
        mut reader: StanzaReader<BufReader<ReadHalf>>,
        events: mpsc::Sender<LinkEvent>,
    ) -> DownReason {
        let timers = self.shared.config.timers;
        let mut heard = Instant::now();
        loop {
            let read = match timeout(timers.ping_after, reader.next()).await {
                Ok(Ok(read)) => {
                    heard = Instant::now();
                    read
                }
                Ok(Err(reason)) => return reason,
                Err(_) if heard.elapsed() >= timers.dead_after => return DownReason::Dead,
                Err(_) => {
                    self.barriers().ping = true;
                    self.barrier.notify_one();
                    continue;
                }
            };
            self.shared.received.fetch_add(1, Ordering::Relaxed);
            let event = match read {
                Read::Element(element) if element.is("error", NS_STREAM) => {
                    return DownReason::from_element(&element);
                }
                Read::Element(element) => match self.sort(element) {
                    Some(stanza) => LinkEvent::Stanza(Box::new(stanza)),
                    None => continue,
                },
                Read::Rejected(element, why) => match self.rejected(element) {
                    Some(Stanza { kind, from, to, id, type_, .. }) => {
                        LinkEvent::Rejected { kind, from, to, id, type_, why }
                    }
                    None => continue,
                },
            };
            match events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return DownReason::Stopping,
                Err(TrySendError::Full(event)) => {
                    self.stalled.store(true, Ordering::Relaxed);
                    if events.send(event).await.is_err() {
                        return DownReason::Stopping;
                    }
                    self.restart_clock();
                    self.stalled.store(false, Ordering::Relaxed);
                }
            }
            // Silence counts from here: while the component took its time nobody listened.
            heard = Instant::now();
        }
    }

    /// The header of a stanza over a limit that can be answered. An answer to an IQ of ours is no use any more, so who
    /// waits for it is told; errors and results are never answered.
    fn rejected(&self, element: Element) -> Option<Stanza> {
        self.shared.rejected.fetch_add(1, Ordering::Relaxed);
        let stanza = Stanza::from_element(element)?;
        if !matches!(stanza.type_.as_deref(), Some("error" | "result")) {
            return Some(stanza);
        }
        if stanza.kind == StanzaKind::Iq {
            self.answered(&stanza);
        }
        None
    }

    /// Takes the one who waits for this answer out of the list.
    fn answered(&self, stanza: &Stanza) -> Option<oneshot::Sender<Stanza>> {
        let id = stanza.id.as_deref()?;
        let from = stanza.from.as_ref().map(Jid::as_str);
        let mut waiting = self.shared.waiting();
        let (expected, _) = waiting.get(id)?;
        // A server may leave out `from` when it answers for itself.
        if from.is_some_and(|from| from != expected) {
            return None;
        }
        waiting.remove(id).map(|(_, answer)| answer)
    }

    /// Takes out what is for the link itself: answers to its own IQs and barriers.
    fn sort(&self, element: Element) -> Option<Stanza> {
        let Some(stanza) = Stanza::from_element(element) else {
            self.shared.rejected.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if stanza.kind != StanzaKind::Iq {
            return Some(stanza);
        }
        let id = stanza.id.as_deref().unwrap_or_default();
        if self.came_back(id) {
            return None;
        }
        if !matches!(stanza.type_.as_deref(), Some("result" | "error")) {
            return Some(stanza);
        }
        if let Some(answer) = self.answered(&stanza) {
            let _ = answer.send(stanza);
        }
        None
    }

    /// Whether this is the id of the barrier on its way; what it covers has then arrived.
    fn came_back(&self, id: &str) -> bool {
        let mut barriers = self.barriers();
        if barriers.flying.as_ref().is_none_or(|flying| flying.id != id) {
            return false;
        }
        barriers.proven = true;
        if let Some(flying) = barriers.flying.take() {
            barriers.unconfirmed = barriers.unconfirmed.saturating_sub(flying.bytes);
            for claim in flying.claims {
                let _ = claim.send(Ok(()));
            }
        }
        drop(barriers);
        // There may be more to confirm, or the window may be open again.
        self.barrier.notify_one();
        true
    }

    async fn write(self: Arc<Self>, mut writer: WriteHalf, stop: Stop) -> DownReason {
        let Shared { queue, config, .. } = &*self.shared;
        let mut buffer = Vec::with_capacity(2 * CHUNK);
        loop {
            let stopping = stop.is_cancelled();
            buffer.clear();
            let mut claims = Vec::new();
            let full = !stopping && self.barriers().unconfirmed >= config.limits.window;
            queue.take(&mut buffer, CHUNK, &mut claims, full);
            self.add_barrier(&mut buffer, claims);
            if buffer.is_empty() && stopping {
                let _ = writer.write_all(b"</stream:stream>").await;
                let _ = writer.shutdown().await;
                return DownReason::Stopping;
            }
            if buffer.is_empty() {
                tokio::select! {
                    () = queue.arrived.notified() => {}
                    () = self.barrier.notified() => {}
                    () = stop.cancelled() => {}
                    // Openfire drops a component that is silent, however much it says to it.
                    () = tokio::time::sleep(config.timers.ping_after) => self.barriers().ping = true,
                }
                continue;
            }
            let mut written = writer.write_all(&buffer).await;
            if written.is_ok() {
                written = writer.flush().await;
            }
            if let Err(error) = written {
                return DownReason::Io(error.to_string());
            }
        }
    }

    /// Notes what is about to be written, and appends a barrier behind it unless one is on its way: the next one will
    /// cover it then.
    fn add_barrier(&self, buffer: &mut Vec<u8>, claims: Vec<Claim>) {
        let mut barriers = self.barriers();
        barriers.written.extend(claims);
        barriers.unconfirmed += buffer.len();
        let wanted = barriers.ping
            || !barriers.written.is_empty()
            || barriers.unconfirmed >= self.shared.config.limits.window / 2;
        if barriers.flying.is_some() || !wanted {
            return;
        }
        barriers.ping = false;
        let claims = std::mem::take(&mut barriers.written);
        let bytes = barriers.unconfirmed;
        barriers.flying = Some(self.barrier(buffer, claims, bytes));
    }

    /// Appends a ping (XEP-0199).
    fn barrier(&self, buffer: &mut Vec<u8>, claims: Vec<Claim>, bytes: usize) -> Flying {
        let config = &self.shared.config;
        let id = random_id();
        let own = format!("{}/barrier", config.domain.as_str());
        let to = if self.shared.own_barrier.load(Ordering::Relaxed) { &own } else { config.server.as_str() };
        let from = config.domain.as_str();
        let mut ping = xml::element("iq", NS_CLIENT, &[("type", "get"), ("from", from), ("to", to), ("id", &id)]);
        ping.append_child(Element::bare("ping", "urn:xmpp:ping"));
        write::stanza(buffer, &ping);
        Flying { id, claims, bytes, since: Instant::now() }
    }

    /// Ends the connection if a barrier does not come back. A server that does not answer the first one gets it by
    /// another way, once: as an IQ to ourselves, which it routes back.
    async fn watch(&self) -> DownReason {
        let timers = self.shared.config.timers;
        loop {
            tokio::time::sleep(Duration::from_millis(250).min(timers.probe / 4)).await;
            if self.stalled.load(Ordering::Relaxed) {
                self.restart_clock();
            }
            let mut barriers = self.barriers();
            let Some(age) = barriers.flying.as_ref().map(|flying| flying.since.elapsed()) else { continue };
            if age >= timers.barrier {
                return DownReason::Dead;
            }
            if !barriers.proven && !barriers.tried && age >= timers.probe {
                barriers.tried = true;
                if let Some(flying) = barriers.flying.take() {
                    barriers.written.splice(0..0, flying.claims);
                }
                barriers.ping = true;
                drop(barriers);
                self.other_way();
                self.barrier.notify_one();
            }
        }
    }

    /// From now on barriers go the other way.
    fn other_way(&self) {
        let own = !self.shared.own_barrier.fetch_xor(true, Ordering::Relaxed);
        let server = self.shared.config.server.as_str();
        if own {
            warn!(
                server,
                "the server does not answer pings of the component (ejabberd 24.10 to 25.03 with mod_privilege drops them); \
                 stanzas are confirmed by pings to ourselves instead"
            );
        } else {
            warn!(
                server,
                "pings to ourselves do not come back any more; stanzas are confirmed by pings to the server again"
            );
        }
    }

    /// Gives the barrier on its way its whole time again.
    fn restart_clock(&self) {
        if let Some(flying) = &mut self.barriers().flying {
            flying.since = Instant::now();
        }
    }

    fn barriers(&self) -> MutexGuard<'_, Barriers> {
        self.barriers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id that nobody can guess: Openfire routes answers among components by their id alone.
pub fn random_id() -> String {
    format!("pw{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `printf %s ... | openssl sha1`; lower case, because ejabberd compares bytes.
    #[test]
    fn l1_the_handshake_is_lower_case_hexadecimal_sha_1_of_id_and_secret() {
        for (id, secret, expected) in [
            ("3BF96D32", "test", "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e"),
            ("", "", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("s1", "schlüssel", "4c63827336194f28cb92b16267f0d5b28ad1e52f"),
        ] {
            assert_eq!(handshake(id, secret), expected, "{id} {secret}");
        }
    }

    #[test]
    fn l9_ids_are_unguessable_and_never_the_same() {
        let ids: std::collections::HashSet<String> = (0..1000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 2 + 32 && id.is_ascii()));
        // 128 random bits: every hexadecimal digit differs somewhere.
        for at in 2..34 {
            assert!(ids.iter().map(|id| id.as_bytes()[at]).collect::<std::collections::HashSet<_>>().len() > 4);
        }
    }
}
