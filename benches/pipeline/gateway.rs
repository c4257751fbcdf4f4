//! The real binary between the scripted server and the loopback peer.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use portway_bridges::loopback::wire::{Item, ToPeer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::peer::Peer;
use super::server::{Component, Order, Server};
use super::{Rate, proc};

/// How many messages are written at once.
const CHUNK: usize = 500;

pub struct Gateway {
    child: Child,
    component: Component,
    peer: Peer,
    _server: Server,
    _dir: Dir,
    round: usize,
}

/// A scratch directory that goes with its value.
pub struct Dir(pub std::path::PathBuf);

impl Dir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pw-bench-{}-{:x}", std::process::id(), rand::random::<u32>()));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts the binary with a configuration and waits until it says `ready`.
pub async fn start(
    dir: &Dir,
    config: &str,
    mut accept: impl AsyncFnMut() -> Component,
) -> (Child, Component, Vec<String>) {
    let path = dir.0.join("portway.toml");
    let mut file = std::fs::File::create(&path).expect("a scratch file");
    file.write_all(config.as_bytes()).expect("a scratch file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_portway"))
        .args(["run", "--config"])
        .arg(&path)
        .env("PORTWAY_LOG", "warn")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let component = accept().await;
    let mut component = component;
    let mut printed = Vec::new();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let line = line.expect("its output").expect("it ended before it was ready");
                if line == "ready" {
                    break;
                }
                printed.push(line);
            }
            () = component.serve(|_, _| {}) => {}
        }
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, component, printed)
}

/// The port in the printed line that names this listener.
pub fn port_of(printed: &[String], what: &str) -> u16 {
    let line = printed.iter().find(|line| line.contains(what)).expect("the listener's line");
    line.rsplit(':').next().and_then(|port| port.trim().parse().ok()).expect("a port")
}

impl Gateway {
    pub async fn loopback() -> Self {
        let server = Server::start().await;
        let dir = Dir::new();
        let config = format!(
            "[gateway]\ndata_dir = {:?}\nallow = [\"bench.example\"]\n[xmpp]\nhost = \"127.0.0.1\"\nport = {}\n\
             [http]\nlisten = \"127.0.0.1:0\"\n\
             [network.loopback]\ncomponent = \"loopback.bench.example\"\nsecret = \"s\"\nlisten = \"127.0.0.1:0\"\n",
            dir.0,
            server.port()
        );
        let (child, component, printed) = start(&dir, &config, async || server.accept().await).await;
        let peer = Peer::connect(port_of(&printed, "loopback control")).await;
        Self { child, component, peer, _server: server, _dir: dir, round: 0 }
    }

    pub fn rss_mib(&self) -> f64 {
        proc::rss_mib(self.pid())
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("running")
    }

    pub async fn stop(mut self) {
        self.child.kill().await.expect("running");
    }

    /// Messages from XMPP, until the peer has seen them all.
    pub async fn to_network(&mut self, count: usize, chats: usize) -> Rate {
        self.round += 1;
        let (cpu, begin, round) = (proc::cpu(self.pid()), Instant::now(), self.round);
        let mut order = Order::new();
        let mut sent = 0;
        while order.count < count {
            if sent < count && sent < order.count + 20 * CHUNK {
                let mut text = String::with_capacity(CHUNK * 200);
                for n in sent..count.min(sent + CHUNK) {
                    text.push_str(&format!(
                        "<message xmlns='jabber:component:accept' type='chat' id='bench-{round}-{n:012}' from='juliet@bench.example/balcony' \
                         to='p{}%loopback@loopback.bench.example'><body>{n} the quick brown fox jumps over the lazy dog</body></message>",
                        n % chats
                    ));
                }
                sent = count.min(sent + CHUNK);
                self.component.send(&text).await;
            }
            tokio::select! {
                biased;
                line = self.peer.next() => see(&mut order, &line),
                () = self.component.serve(|_, _| {}) => {}
                () = tokio::task::yield_now(), if sent < count && sent < order.count + 20 * CHUNK => {}
            }
        }
        Rate { count, wall: begin.elapsed(), cpu: proc::cpu(self.pid()).saturating_sub(cpu), in_order: order.kept }
    }

    /// Messages from the peer, until the server has seen them all.
    pub async fn to_xmpp(&mut self, count: usize, chats: usize) -> Rate {
        self.round += 1;
        let (cpu, begin, round) = (proc::cpu(self.pid()), Instant::now(), self.round);
        let mut order = Order::new();
        let mut sent = 0;
        while order.count < count {
            if sent < count && sent < order.count + 20 * CHUNK {
                let until = count.min(sent + CHUNK);
                self.peer.say((sent..until).map(|n| item(round, n, chats))).await;
                sent = until;
            }
            tokio::select! {
                biased;
                () = self.component.serve(|from, body| order.see(from, body)) => {}
                _ = self.peer.next() => {}
                () = tokio::task::yield_now(), if sent < count && sent < order.count + 20 * CHUNK => {}
            }
        }
        Rate { count, wall: begin.elapsed(), cpu: proc::cpu(self.pid()).saturating_sub(cpu), in_order: order.kept }
    }

    pub async fn latency_to_network(&mut self, count: usize, pause: Duration) -> Vec<Duration> {
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            samples.push(self.to_network(1, 1).await.wall);
            tokio::time::sleep(pause).await;
        }
        samples
    }

    pub async fn latency_to_xmpp(&mut self, count: usize, pause: Duration) -> Vec<Duration> {
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            samples.push(self.to_xmpp(1, 1).await.wall);
            tokio::time::sleep(pause).await;
        }
        samples
    }
}

fn see(order: &mut Order, line: &ToPeer) {
    if let ToPeer::Out(item) = line
        && item.kind == "text"
    {
        order.see(item.person.as_deref().unwrap_or_default(), item.body.as_deref().unwrap_or_default());
    }
}

fn item(round: usize, n: usize, chats: usize) -> Item {
    Item {
        id: format!("bench-{round}-{n}"),
        user: Some("juliet@bench.example".to_owned()),
        person: Some(format!("p{}@loopback", n % chats)),
        kind: "text".to_owned(),
        body: Some(format!("{n} the quick brown fox jumps over the lazy dog")),
        ..Item::default()
    }
}
