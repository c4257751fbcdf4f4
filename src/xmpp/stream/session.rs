//! The life of one connection: handshake, reading, writing, barriers, watchdog.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use minidom::Element;
use portway_bridges::api::Stop;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::error::DownReason;
use super::queue::{Claim, Queue};
use super::read::{Read, StanzaReader};
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
    /// Whether barriers go to ourselves, because the server does not answer.
    pub own_barrier: AtomicBool,
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
    /// Whether a ping was asked for although nothing waits.
    ping: bool,
}

struct Flying {
    id: String,
    claims: Vec<Claim>,
    since: Instant,
}

struct Connection {
    shared: Arc<Shared>,
    barriers: Mutex<Barriers>,
    /// Woken when a barrier has come back or is wanted.
    barrier: Notify,
}

/// Connects and shakes hands.
pub async fn connect(
    config: &LinkConfig,
) -> Result<(StanzaReader<BufReader<OwnedReadHalf>>, OwnedWriteHalf), DownReason> {
    let io = |error: std::io::Error| DownReason::Io(error.to_string());
    let attempt = async {
        let stream = TcpStream::connect((config.host.as_str(), config.port))
            .await
            .map_err(|error| DownReason::Connect(format!("{}:{}: {error}", config.host, config.port)))?;
        stream.set_nodelay(true).map_err(io)?;
        let (read, mut write_half) = stream.into_split();
        let head = format!(
            "<?xml version='1.0'?><stream:stream xmlns='{NS_COMPONENT}' xmlns:stream='{NS_STREAM}' to='{}'>",
            config.domain.as_str()
        );
        write_half.write_all(head.as_bytes()).await.map_err(io)?;
        let mut reader = StanzaReader::new(BufReader::with_capacity(CHUNK, read), config.limits);
        let id = reader.header().await?;
        let handshake = handshake(&id, config.secret.reveal());
        let mut bytes = Vec::new();
        write::stanza(&mut bytes, &xml::text("handshake", NS_CLIENT, &handshake));
        write_half.write_all(&bytes).await.map_err(io)?;
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

/// The proof that we know the secret: lower-case hexadecimal SHA-1 of the stream's id and the secret (XEP-0114).
fn handshake(id: &str, secret: &str) -> String {
    let digest = Sha1::digest(format!("{id}{secret}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a connection to its end.
pub async fn run(
    shared: Arc<Shared>,
    reader: StanzaReader<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    events: &mpsc::Sender<LinkEvent>,
    stop: &Stop,
) -> DownReason {
    let connection = Arc::new(Connection { shared, barriers: Mutex::default(), barrier: Notify::new() });
    // A first barrier shows which way works before anything depends on it.
    connection.barriers().ping = true;
    let mut writing = tokio::spawn(connection.clone().write(writer, stop.clone()));
    let mut reading = tokio::spawn(connection.clone().read(reader, events.clone()));
    let reason = tokio::select! {
        reason = &mut writing => { reading.abort(); reason }
        reason = &mut reading => { writing.abort(); reason }
        reason = connection.watch() => { writing.abort(); reading.abort(); Ok(reason) }
    };
    reason.unwrap_or_else(|error| DownReason::Io(error.to_string()))
}

impl Connection {
    async fn read(
        self: Arc<Self>,
        mut reader: StanzaReader<BufReader<OwnedReadHalf>>,
        events: mpsc::Sender<LinkEvent>,
    ) -> DownReason {
        let timers = self.shared.config.timers;
        let mut heard = Instant::now();
        loop {
            let read = match timeout(timers.ping_after, reader.next()).await {
                Ok(Ok(read)) => read,
                Ok(Err(reason)) => return reason,
                Err(_) if heard.elapsed() >= timers.dead_after => return DownReason::Dead,
                Err(_) => {
                    self.barriers().ping = true;
                    self.barrier.notify_one();
                    continue;
                }
            };
            heard = Instant::now();
            self.shared.received.fetch_add(1, Ordering::Relaxed);
            let event = match read {
                Read::Element(element) if element.is("error", NS_STREAM) => {
                    return DownReason::from_element(&element);
                }
                Read::Element(element) => match self.sort(element) {
                    Some(stanza) => LinkEvent::Stanza(Box::new(stanza)),
                    None => continue,
                },
                Read::Rejected(element, why) => {
                    self.shared.rejected.fetch_add(1, Ordering::Relaxed);
                    let Some(stanza) = Stanza::from_element(element) else { continue };
                    let Stanza { kind, from, to, id, type_, .. } = stanza;
                    LinkEvent::Rejected { kind, from, to, id, type_, why }
                }
            };
            if events.send(event).await.is_err() {
                return DownReason::Stopping;
            }
        }
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
        let mut waiting = self.shared.waiting();
        let from = stanza.from.as_ref().map(Jid::as_str);
        match waiting.get(id) {
            // A server may leave out `from` when it answers for itself.
            Some((expected, _)) if from.is_none_or(|from| from == expected) => {
                let (_, answer) = waiting.remove(id)?;
                drop(waiting);
                let _ = answer.send(stanza);
                None
            }
            _ => None,
        }
    }

    /// Whether this is the id of the barrier on its way; what it covers has then arrived.
    fn came_back(&self, id: &str) -> bool {
        let mut barriers = self.barriers();
        if barriers.flying.as_ref().is_none_or(|flying| flying.id != id) {
            return false;
        }
        barriers.proven = true;
        if let Some(flying) = barriers.flying.take() {
            for claim in flying.claims {
                let _ = claim.send(Ok(()));
            }
        }
        let more = !barriers.written.is_empty();
        drop(barriers);
        if more {
            self.barrier.notify_one();
        }
        true
    }

    async fn write(self: Arc<Self>, mut writer: OwnedWriteHalf, stop: Stop) -> DownReason {
        let queue = &self.shared.queue;
        let mut buffer = Vec::with_capacity(2 * CHUNK);
        loop {
            buffer.clear();
            let mut claims = Vec::new();
            queue.take(&mut buffer, CHUNK, &mut claims);
            self.add_barrier(&mut buffer, claims);
            if buffer.is_empty() {
                tokio::select! {
                    () = queue.arrived.notified() => continue,
                    () = self.barrier.notified() => continue,
                    () = stop.cancelled() => {
                        let _ = writer.write_all(b"</stream:stream>").await;
                        let _ = writer.shutdown().await;
                        return DownReason::Stopping;
                    }
                }
            }
            if let Err(error) = writer.write_all(&buffer).await {
                return DownReason::Io(error.to_string());
            }
        }
    }

    /// Notes batches as written, and appends a barrier behind them unless one is on its way: the next one will cover
    /// them then.
    fn add_barrier(&self, buffer: &mut Vec<u8>, claims: Vec<Claim>) {
        let mut barriers = self.barriers();
        barriers.written.extend(claims);
        if barriers.flying.is_some() || (barriers.written.is_empty() && !barriers.ping) {
            return;
        }
        barriers.ping = false;
        let claims = std::mem::take(&mut barriers.written);
        barriers.flying = Some(self.barrier(buffer, claims));
    }

    /// Appends a ping (XEP-0199).
    fn barrier(&self, buffer: &mut Vec<u8>, claims: Vec<Claim>) -> Flying {
        let config = &self.shared.config;
        let id = random_id();
        let own = format!("{}/barrier", config.domain.as_str());
        let to = if self.shared.own_barrier.load(Ordering::Relaxed) { &own } else { config.server.as_str() };
        let from = config.domain.as_str();
        let mut ping = xml::element("iq", NS_CLIENT, &[("type", "get"), ("from", from), ("to", to), ("id", &id)]);
        ping.append_child(Element::bare("ping", "urn:xmpp:ping"));
        write::stanza(buffer, &ping);
        Flying { id, claims, since: Instant::now() }
    }

    /// Ends the connection if a barrier does not come back. A server that never answered the first one gets it by
    /// another way: as an IQ to ourselves, which it routes back.
    async fn watch(&self) -> DownReason {
        let timers = self.shared.config.timers;
        loop {
            tokio::time::sleep(Duration::from_millis(250).min(timers.probe / 4)).await;
            let mut barriers = self.barriers();
            let Some(age) = barriers.flying.as_ref().map(|flying| flying.since.elapsed()) else { continue };
            if !barriers.proven && age >= timers.probe && !self.shared.own_barrier.swap(true, Ordering::Relaxed) {
                warn!(
                    server = self.shared.config.server.as_str(),
                    "the server does not answer pings of the component (ejabberd 24.10 to 25.02 with mod_privilege drops \
                     them); stanzas are confirmed by pings to ourselves instead"
                );
                if let Some(flying) = barriers.flying.take() {
                    barriers.written.splice(0..0, flying.claims);
                }
                barriers.ping = true;
                drop(barriers);
                self.barrier.notify_one();
            } else if age >= timers.barrier {
                return DownReason::Dead;
            }
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
