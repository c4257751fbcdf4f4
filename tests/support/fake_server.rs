//! A scripted XEP-0114 server that checks what it is told: for tests of the link, and of the binary with several
//! components. (`server.rs` is the cheap one for benchmarks.)
#![allow(dead_code, reason = "each user of this module needs another part of it")]

use std::collections::HashMap;
use std::time::Duration;

use minidom::Element;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const NS: &str = "jabber:component:accept";

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// TCP, or TLS in it.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// The listener and the secrets of its components.
pub struct FakeServer {
    tls: Option<TlsAcceptor>,
    listener: TcpListener,
    secrets: HashMap<String, String>,
    streams: std::sync::atomic::AtomicU32,
}

/// One component's connection.
pub struct Connection {
    socket: Box<dyn Socket>,
    buffer: Vec<u8>,
    waiting: std::collections::VecDeque<Element>,
    ended: bool,
    /// The domain that it authenticated for.
    pub domain: String,
    /// The head of its stream, as it wrote it.
    pub head: String,
    /// Whether pings to anything but the component itself are answered.
    pub pongs: bool,
}

impl FakeServer {
    /// A server on a free port that knows these components (domain and secret).
    pub async fn start(components: &[(&str, &str)]) -> Self {
        Self {
            tls: None,
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
            secrets: components.iter().map(|(domain, secret)| ((*domain).to_owned(), (*secret).to_owned())).collect(),
            streams: std::sync::atomic::AtomicU32::new(0),
        }
    }

    /// The same server behind TLS.
    pub fn with_tls(mut self, tls: TlsAcceptor) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The next connection, as it comes from the network.
    pub async fn accept_tcp(&self) -> TcpStream {
        let (socket, _) =
            tokio::time::timeout(PATIENCE, self.listener.accept()).await.expect("it connects").expect("a connection");
        socket.set_nodelay(true).expect("TCP");
        socket
    }

    /// The next connection, which must give up while TLS is negotiated; what it said.
    pub async fn refused_tls(&self) -> std::io::Error {
        let socket = self.accept_tcp().await;
        let accepting = self.tls.as_ref().expect("TLS").accept(socket);
        match tokio::time::timeout(PATIENCE, accepting).await.expect("it goes on") {
            Err(error) => error,
            Ok(mut stream) => {
                // TLS 1.3: the server is done before the client has looked at the certificate.
                let read = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("it goes on");
                read.expect_err("it speaks although it should not trust us")
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("bound").port()
    }

    /// The next connection, after its handshake, whose secret must be right.
    pub async fn accept(&self) -> Connection {
        let (mut connection, right) = self.greet().await;
        assert!(right, "the handshake of {} is wrong", connection.domain);
        connection.send("<handshake/>").await;
        connection
    }

    /// The next connection, up to its handshake, and whether the secret is right. Nothing is answered to it yet.
    pub async fn greet(&self) -> (Connection, bool) {
        let socket = self.accept_tcp().await;
        let socket: Box<dyn Socket> = match &self.tls {
            Some(tls) => Box::new(tls.accept(socket).await.expect("TLS")),
            None => Box::new(socket),
        };
        let mut connection = Connection {
            socket,
            buffer: Vec::new(),
            waiting: std::collections::VecDeque::new(),
            ended: false,
            domain: String::new(),
            head: String::new(),
            pongs: true,
        };
        while !connection.buffer.ends_with(b">") || !contains(&connection.buffer, b"<stream:stream") {
            assert!(connection.more().await, "it closed before its stream began");
        }
        let head = String::from_utf8(std::mem::take(&mut connection.buffer)).expect("UTF-8");
        let domain = head.split(" to='").nth(1).and_then(|rest| rest.split('\'').next()).expect("it says who it is");
        domain.clone_into(&mut connection.domain);
        head.clone_into(&mut connection.head);
        let id = format!("stream-{}", self.streams.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        connection
            .send(&format!(
                "<?xml version='1.0'?><stream:stream xmlns='{NS}' xmlns:stream='http://etherx.jabber.org/streams' \
                 from='{domain}' id='{id}'>"
            ))
            .await;
        let handshake = connection.next().await.expect("a handshake");
        assert_eq!(handshake.name(), "handshake");
        let secret = self.secrets.get(domain).map(String::as_str).unwrap_or_default();
        let expected: String = Sha1::digest(format!("{id}{secret}")).iter().map(|byte| format!("{byte:02x}")).collect();
        (connection, handshake.text() == expected)
    }
}

impl Connection {
    pub async fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.expect("it reads");
        self.socket.flush().await.expect("it reads");
    }

    /// Sends a stream error and closes.
    pub async fn fail(mut self, condition: &str, text: &str) {
        self.send(&format!(
            "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>{text}</text></stream:error></stream:stream>"
        ))
        .await;
        self.closed().await;
    }

    /// The next stanza but for pings that were answered; `None` at the end of the stream or of the connection.
    pub async fn next(&mut self) -> Option<Element> {
        loop {
            while let Some(element) = self.waiting.pop_front() {
                let to_itself = element.attr("to").is_some_and(|to| to.contains(&self.domain));
                if self.pongs && is_ping(&element) && !to_itself {
                    self.pong(&element).await;
                } else {
                    return Some(element);
                }
            }
            if self.ended {
                return None;
            }
            self.parse();
            if self.waiting.is_empty() && !self.ended && !self.more().await {
                self.ended = true;
            }
        }
    }

    /// The next stanza, which must come.
    pub async fn stanza(&mut self) -> Element {
        self.next().await.expect("it ended the stream")
    }

    /// Answers a ping with a result.
    pub async fn pong(&mut self, ping: &Element) {
        let text = format!(
            "<iq type='result' id='{}' from='{}' to='{}'/>",
            ping.attr("id").unwrap_or_default(),
            ping.attr("to").unwrap_or_default(),
            ping.attr("from").unwrap_or_default()
        );
        // The other side may be gone by now; the script will notice where it matters.
        let _ = self.socket.write_all(text.as_bytes()).await;
        let _ = self.socket.flush().await;
    }

    /// Routes a stanza of the component back to it.
    pub async fn echo(&mut self, stanza: &Element) {
        let text = String::from(stanza);
        self.send(&text).await;
    }

    /// Whether the component ends its stream properly, with nothing more before.
    pub async fn ends(&mut self) -> bool {
        self.next().await.is_none() && contains(&self.buffer, b"</stream:stream>")
    }

    /// Waits until the component has closed the socket, whatever it writes before.
    pub async fn closed(&mut self) {
        while self.more().await {
            self.buffer.clear();
        }
    }

    /// Reads; false at the end.
    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.buffer)).await.expect("it writes");
        read.unwrap_or(0) > 0
    }

    /// Takes all whole stanzas out of the buffer, by a parser that is not the one under test.
    fn parse(&mut self) {
        let Ok(text) = std::str::from_utf8(&self.buffer) else { return };
        let (stanzas, end) = match text.split_once("</stream:stream>") {
            Some((stanzas, _)) => (stanzas, true),
            None => (text, false),
        };
        if let Ok(all) = format!("<all xmlns='{NS}'>{stanzas}</all>").parse::<Element>() {
            self.waiting.extend(all.children().cloned());
            self.ended = end;
            let consumed = stanzas.len();
            self.buffer.drain(..consumed);
        }
    }
}

/// Whether this is a ping request (XEP-0199).
pub fn is_ping(element: &Element) -> bool {
    element.name() == "iq" && element.attr("type") == Some("get") && element.has_child("ping", "urn:xmpp:ping")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
