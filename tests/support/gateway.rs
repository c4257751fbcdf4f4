//! The real binary with the loopback network between a server that checks what it is told and a scripted peer: for tests
//! of what XMPP asks of a gateway.
#![allow(dead_code, reason = "each user of this module needs another part of it")]

use std::process::Stdio;
use std::time::Duration;

use minidom::Element;
use portway_bridges::loopback::wire::{Item, ToPeer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::binary::{Dir, port_of};
use super::fake_server::{Connection, FakeServer};
use super::peer::Peer;

/// The component.
pub const US: &str = "loopback.bench.example";

/// The namespace of stanzas as the server sees them.
pub const NS: &str = "jabber:component:accept";

/// A user, and one of their devices.
pub const JULIET: &str = "juliet@bench.example";
pub const BALCONY: &str = "juliet@bench.example/balcony";

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Gateway {
    pub dir: Dir,
    pub server: FakeServer,
    pub child: Child,
    pub connection: Connection,
    pub peer: Peer,
    /// What it printed before `ready`.
    pub printed: Vec<String>,
    config: String,
    /// Stanzas that came while something else was waited for.
    backlog: Vec<Element>,
    ids: u32,
}

impl Gateway {
    pub async fn open() -> Self {
        Self::with("[limits]\nuser_rate = 0\n").await
    }

    /// With more in its configuration.
    pub async fn with(more: &str) -> Self {
        Self::configured("", more).await
    }

    /// With more in the section of the gateway, and more sections.
    pub async fn configured(gateway: &str, more: &str) -> Self {
        Self::of("bench.example", gateway, more, "").await
    }

    /// With more in the sections of the gateway and of the network, and no limit to what a user may send.
    pub async fn for_network(gateway: &str, network: &str) -> Self {
        Self::of("bench.example", gateway, "[limits]\nuser_rate = 0\n", network).await
    }

    /// With nurse as admin, and a network that does not try again for an hour by itself.
    pub async fn patient() -> Self {
        let admins = "admins = [\"nurse@bench.example\"]\n";
        Self::of("bench.example", admins, "[limits]\nuser_rate = 0\n", "retry_first = 3600\n").await
    }

    /// For these users only: a domain or a bare JID.
    pub async fn for_users(allow: &str, more: &str) -> Self {
        Self::of(allow, "", more, "").await
    }

    async fn of(allow: &str, gateway: &str, more: &str, network: &str) -> Self {
        let dir = Dir::new();
        let server = FakeServer::start(&[(US, "a-secret-of-the-component")]).await;
        let config = format!(
            "[gateway]\ndata_dir = {:?}\nallow = [{allow:?}]\n{gateway}[xmpp]\nport = {}\n[http]\nlisten = \"127.0.0.1:0\"\n{more}\
             [network.loopback]\ncomponent = \"{US}\"\nsecret = \"a-secret-of-the-component\"\nlisten = \"127.0.0.1:0\"\n{network}",
            dir.0,
            server.port()
        );
        let (child, connection, peer, printed) = start(&dir, &server, &config).await;
        Self { dir, server, child, connection, peer, printed, config, backlog: Vec::new(), ids: 0 }
    }

    /// Kills the gateway and starts it again on the same store.
    pub async fn restart(&mut self) {
        self.child.kill().await.expect("it ran");
        self.backlog.clear();
        let (child, connection, peer, printed) = start(&self.dir, &self.server, &self.config).await;
        (self.child, self.connection, self.peer, self.printed) = (child, connection, peer, printed);
    }

    pub async fn send(&mut self, text: &str) {
        self.connection.send(text).await;
    }

    /// juliet writes to a localpart of the component, with these payloads besides the body.
    pub async fn say(&mut self, id: &str, to: &str, body: &str, more: &str) {
        let text = format!(
            "<message from='{BALCONY}' to='{to}@{US}' type='chat' id='{id}'><body>{body}</body>{more}</message>"
        );
        self.send(&text).await;
    }

    /// A person says something to juliet.
    pub async fn hear(&mut self, id: &str, person: &str, body: &str) {
        let item = Item {
            id: id.to_owned(),
            user: Some(JULIET.to_owned()),
            person: Some(person.to_owned()),
            kind: "text".to_owned(),
            body: Some(body.to_owned()),
            ..Item::default()
        };
        self.peer.say(std::iter::once(item)).await;
    }

    /// The next stanza that is wanted; others are kept for later.
    pub async fn stanza(&mut self, wanted: impl Fn(&Element) -> bool) -> Element {
        if let Some(at) = self.backlog.iter().position(&wanted) {
            return self.backlog.remove(at);
        }
        let wait = async {
            loop {
                let stanza = self.connection.stanza().await;
                if wanted(&stanza) {
                    return stanza;
                }
                self.backlog.push(stanza);
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the stanza comes")
    }

    /// The answer to the stanza with this id.
    pub async fn answer(&mut self, id: &str) -> Element {
        self.stanza(|stanza| stanza.attr("id") == Some(id)).await
    }

    /// Asks, and returns the answer.
    pub async fn iq(&mut self, type_: &str, from: &str, to: &str, payload: &str) -> Element {
        self.ids += 1;
        let id = format!("ask-{}", self.ids);
        self.send(&format!("<iq type='{type_}' from='{from}' to='{to}' id='{id}'>{payload}</iq>")).await;
        self.answer(&id).await
    }

    /// Everything that the gateway has sent until it has dealt with all that was sent to it, but for what takes a way
    /// through the network.
    pub async fn rest(&mut self) -> Vec<Element> {
        // An answer may overtake what was queued before it, but not what was written before it was asked for.
        for _ in 0..2 {
            self.iq("get", BALCONY, US, "<ping xmlns='urn:xmpp:ping'/>").await;
        }
        std::mem::take(&mut self.backlog)
    }

    /// Takes a stanza out of those that came already, if one is wanted.
    pub fn take(&mut self, wanted: impl Fn(&Element) -> bool) -> bool {
        let at = self.backlog.iter().position(wanted);
        at.map(|at| self.backlog.remove(at)).is_some()
    }

    /// The next item of this kind that the loopback network sees.
    pub async fn item(&mut self, kind: &str) -> Item {
        let wait = async {
            loop {
                tokio::select! {
                    line = self.peer.next() => if let ToPeer::Out(item) = line && item.kind == kind { return item },
                    stanza = self.connection.stanza() => self.backlog.push(stanza),
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the item comes")
    }

    /// A page of its HTTP listener: status and body.
    pub async fn page(&mut self, path: &str) -> (u16, String) {
        let port = port_of(&self.printed, "http");
        get(port, path).await
    }
}

/// Fetches a page; with what little of HTTP that needs.
pub async fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the HTTP listener");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("it answers");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// Starts the binary with this configuration, without waiting for anything.
pub fn spawn(dir: &Dir, config: &str, log: &str) -> Child {
    let path = dir.0.join("portway.toml");
    std::fs::write(&path, config).expect("a scratch file");
    let log_file = std::fs::OpenOptions::new().create(true).append(true).open(dir.0.join("log")).expect("a log");
    Command::new(env!("CARGO_BIN_EXE_portway"))
        .args(["run", "--config"])
        .arg(&path)
        .env("PORTWAY_LOG", log)
        .env("PORTWAY_LOG_FORMAT", "text")
        .stdout(Stdio::piped())
        .stderr(log_file)
        .kill_on_drop(true)
        .spawn()
        .expect("the binary")
}

async fn start(dir: &Dir, server: &FakeServer, config: &str) -> (Child, Connection, Peer, Vec<String>) {
    let (child, connection, printed) = launch(dir, server, config).await;
    let peer = Peer::connect(port_of(&printed, "loopback control")).await;
    (child, connection, peer, printed)
}

/// Starts the binary with this configuration of one component, and waits until it is ready. What it printed before.
pub async fn launch(dir: &Dir, server: &FakeServer, config: &str) -> (Child, Connection, Vec<String>) {
    let mut child = spawn(dir, config, "debug");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let connection = server.accept().await;
    let mut printed = Vec::new();
    loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it goes on");
        let line = line.expect("its output").expect("it ended before it was ready");
        if line == "ready" {
            break;
        }
        printed.push(line);
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, connection, printed)
}

/// The body of a message.
pub fn body(stanza: &Element) -> String {
    stanza.get_child("body", NS).map(Element::text).unwrap_or_default()
}

/// The defined condition of an error stanza, and its text with the language that it says it has.
pub fn error(stanza: &Element) -> (String, String, String, Option<String>) {
    const CONDITIONS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
    assert_eq!(stanza.attr("type"), Some("error"), "{}", String::from(stanza));
    let error = stanza.get_child("error", NS).expect("an error");
    let condition = error.children().find(|child| child.name() != "text").expect("a condition");
    let text = error.get_child("text", CONDITIONS);
    let lang = text.and_then(|text| portway::xmpp::xml::lang(text)).map(str::to_owned);
    (
        error.attr("type").unwrap_or_default().to_owned(),
        condition.name().to_owned(),
        text.map(Element::text).unwrap_or_default(),
        lang,
    )
}
