//! A scripted component server that costs little: it reads just enough of the bytes to answer pings and count messages.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The listener.
pub struct Server(TcpListener);

/// One component, authenticated.
pub struct Component {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    buffer: Vec<u8>,
    mute: bool,
    held: Vec<String>,
    gone: Vec<String>,
}

impl Server {
    pub async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("bound").port()
    }

    /// Breaks a connection and waits for the next one.
    pub async fn accept_after(&self, broken: Component) -> Component {
        drop(broken);
        self.accept().await
    }

    /// Waits for the component and takes any handshake.
    pub async fn accept(&self) -> Component {
        let (stream, _) = self.0.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("TCP");
        Component::greet(stream).await
    }
}

impl Component {
    async fn greet(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        let mut component = Self { read, write, buffer: Vec::new(), mute: false, held: Vec::new(), gone: Vec::new() };
        component.until(b"accept").await;
        component
            .send(
                "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' \
                 xmlns='jabber:component:accept' id='s1' from='loopback.bench.example'>",
            )
            .await;
        component.until(b"</handshake>").await;
        component.send("<handshake/>").await;
        component
    }

    /// From now on pings are not answered.
    pub fn mute(&mut self) {
        self.mute = true;
    }

    /// From now on a ping to this full JID is answered as for somebody who is not there.
    pub fn gone(&mut self, jid: &str) {
        self.gone.push(jid.to_owned());
    }

    pub async fn send(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.expect("the gateway reads");
    }

    async fn until(&mut self, mark: &[u8]) {
        while !self.buffer.windows(mark.len()).any(|window| window == mark) {
            assert_ne!(
                self.read.read_buf(&mut self.buffer).await.expect("the gateway writes"),
                0,
                "it closed the stream"
            );
        }
        self.buffer.clear();
    }

    /// Reads until the gateway has ended its side of the stream.
    pub async fn until_its_end(&mut self) {
        self.until(b"</stream:stream>").await;
    }

    /// Reads what is there, answers pings, and gives every other stanza to `seen`.
    pub async fn serve(&mut self, mut seen: impl FnMut(&str)) {
        assert!(self.try_serve(&mut seen).await, "it closed the stream");
    }

    /// Reads what is there and keeps it for the next [`Self::serve`].
    pub async fn hold(&mut self) {
        let mut held = Vec::new();
        let alive = self.read_some(&mut |stanza| held.push(stanza.to_owned())).await;
        self.held.extend(held);
        assert!(alive, "it closed the stream");
    }

    /// As [`Self::serve`]; false where the stream has ended.
    pub async fn try_serve(&mut self, seen: &mut impl FnMut(&str)) -> bool {
        if !self.held.is_empty() {
            for stanza in std::mem::take(&mut self.held) {
                seen(&stanza);
            }
            return true;
        }
        self.read_some(seen).await
    }

    async fn read_some(&mut self, seen: &mut impl FnMut(&str)) -> bool {
        if self.read.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
            return false;
        }
        let mut answers = String::new();
        let mut used = 0;
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        while let Some(at) = text[used..].find('<').map(|at| at + used) {
            let end = ["</message>", "</iq>", "</presence>"]
                .iter()
                .filter_map(|tag| text[at..].find(tag).map(|end| at + end + tag.len()))
                .min();
            let empty = text[at..].find("/>").map(|end| at + end + 2);
            // An empty stanza (`<iq .../>`) ends before any closing tag and holds no other element.
            let end = match (end, empty) {
                (_, Some(empty)) if !text[at + 1..empty].contains('<') => empty,
                (Some(end), _) => end,
                _ => break,
            };
            let stanza = &text[at..end];
            if stanza.starts_with("<iq") && stanza.contains("urn:xmpp:ping") && stanza.contains("get") {
                let (id, us, them) = (attribute(stanza, "id"), attribute(stanza, "to"), attribute(stanza, "from"));
                let (type_, error) = match self.gone.iter().any(|gone| gone == us) {
                    true => (
                        "error",
                        "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
                    ),
                    false => ("result", ""),
                };
                answers.push_str(&format!("<iq type='{type_}' id='{id}' from='{us}' to='{them}'>{error}</iq>"));
            } else if stanza.starts_with("<message") || stanza.starts_with("<presence") || stanza.starts_with("<iq") {
                seen(stanza);
            }
            used = end;
        }
        let consumed = text[..used].len();
        self.buffer.drain(..consumed);
        answers.is_empty() || self.mute || self.write.write_all(answers.as_bytes()).await.is_ok()
    }
}

/// An attribute of a stanza's first tag.
pub fn attribute<'a>(stanza: &'a str, name: &str) -> &'a str {
    let tag = stanza.split_once('>').map_or(stanza, |(tag, _)| tag);
    for quote in ['\'', '"'] {
        if let Some((_, rest)) = tag.split_once(&format!(" {name}={quote}")) {
            return rest.split(quote).next().unwrap_or_default();
        }
    }
    ""
}

/// The body of a message.
pub fn body(stanza: &str) -> &str {
    stanza.split_once("<body>").and_then(|(_, rest)| rest.split_once("</body>")).map_or("", |(body, _)| body)
}
