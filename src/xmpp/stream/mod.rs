//! The component link (XEP-0114): one connection to the XMPP server for each component domain.
//!
//! Reading order: [`transport`] is the socket, [`read`] turns bytes into stanzas within limits and never dies of one bad stanza, [`write()`] turns
//! stanzas into bytes, [`queue`] holds what is to be written, [`session`] is the life of one connection, [`link`] keeps
//! connecting, [`error`] explains to the admin what went wrong.
//!
//! It is our own on top of `rxml`, because the component of `tokio-xmpp` ends the stream on the first stanza that it
//! cannot parse, and a stanza nested deeply enough ends the process (`docs/src/decisions.md`).

pub mod error;
pub mod link;
pub mod queue;
pub mod read;
mod scope;
mod session;
pub mod transport;
pub mod write;

use std::time::Duration;

pub use self::error::{DownReason, TlsFault};
pub use self::link::{IqError, Link, LinkStats};
pub use self::queue::{Lost, Priority, SendError, Ticket};
pub use self::read::RejectReason;
pub use self::session::random_id;
pub use self::transport::{Tls, TlsError};
use super::jid::Jid;
use super::stanza::{Domain, Stanza, StanzaKind};
use crate::config::Secret;

/// Namespace of stanzas on a component's stream (XEP-0114).
pub const NS_COMPONENT: &str = "jabber:component:accept";

/// Namespace of the stream itself (RFC 6120).
pub const NS_STREAM: &str = "http://etherx.jabber.org/streams";

/// What a link needs to know.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The component's domain.
    pub domain: Domain,
    /// The domain of the server itself, where barriers go.
    pub server: Domain,
    /// The shared secret.
    pub secret: Secret,
    /// The server's host name or address.
    pub host: String,
    /// The port on which it takes components.
    pub port: u16,
    /// TLS from the first byte on, or none.
    pub tls: Option<Tls>,
    /// What is read and written at most.
    pub limits: Limits,
    /// How long is waited.
    pub timers: Timers,
}

/// What is read and written at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Levels of elements in a stanza, itself included.
    pub depth: usize,
    /// Bytes of a stanza that is read.
    pub stanza_bytes: usize,
    /// Bytes of one attribute value.
    pub token_bytes: usize,
    /// Elements in a stanza.
    pub elements: usize,
    /// Attributes of one element, and namespace prefixes in force.
    pub attributes: usize,
    /// Bytes of a stanza that is written; Prosody closes the stream at 512 KiB.
    pub out_stanza_bytes: usize,
    /// Stanzas that wait to be written, in each class of priority.
    pub queue: usize,
    /// Bytes that wait to be written, in each class of priority.
    pub queue_bytes: usize,
    /// Bytes that are written beyond the last barrier that came back; only urgent stanzas go beyond. It keeps a barrier
    /// from waiting behind what the kernel holds for a server that reads slowly (ejabberd's shapers).
    pub window: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            stanza_bytes: 4 << 20,
            token_bytes: 512 << 10,
            elements: 10_000,
            attributes: 256,
            out_stanza_bytes: 256 << 10,
            queue: 20_000,
            queue_bytes: 64 << 20,
            window: 256 << 10,
        }
    }
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Timers {
    /// For the TCP connection and the handshake.
    pub connect: Duration,
    /// Of silence, before we ping.
    pub ping_after: Duration,
    /// Of silence, before the connection counts as dead.
    pub dead_after: Duration,
    /// For the first barrier, before another way is tried.
    pub probe: Duration,
    /// For a barrier, before the connection counts as dead.
    pub barrier: Duration,
    /// Before the first reconnect, at most.
    pub backoff_min: Duration,
    /// Before any reconnect, at most.
    pub backoff_max: Duration,
    /// At the stop signal, for what is still to be written and for the end of the stream.
    pub grace: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            ping_after: Duration::from_secs(30),
            dead_after: Duration::from_secs(60),
            probe: Duration::from_secs(4),
            barrier: Duration::from_secs(20),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            grace: Duration::from_secs(3),
        }
    }
}

/// What a link tells its component.
#[derive(Debug)]
pub enum LinkEvent {
    /// The server has accepted us.
    Up {
        /// Counts connections from 1.
        generation: u64,
    },
    /// A stanza.
    Stanza(Box<Stanza>),
    /// A stanza over a limit, of which only the header was kept.
    Rejected {
        /// Which of the three.
        kind: StanzaKind,
        /// Its sender.
        from: Option<Jid>,
        /// Its addressee.
        to: Option<Jid>,
        /// Its id.
        id: Option<String>,
        /// Its type.
        type_: Option<String>,
        /// Which limit.
        why: RejectReason,
    },
    /// The connection has ended; another one is tried.
    Down {
        /// Why.
        reason: DownReason,
    },
}
