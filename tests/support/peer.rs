//! The other side of the loopback network.

use std::collections::VecDeque;

use portway_bridges::loopback::wire::{FromPeer, Item, ToPeer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub struct Peer {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
    /// Lines that came while something else was waited for.
    waiting: VecDeque<ToPeer>,
}

impl Peer {
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the control socket");
        stream.set_nodelay(true).expect("TCP");
        let (read, write) = stream.into_split();
        let lines = BufReader::with_capacity(1 << 16, read).lines();
        let mut peer = Self { lines, write, waiting: VecDeque::new() };
        // The kernel connects before the gateway does: only an answer shows that it writes to us from now on.
        peer.fail("nobody@nowhere", None).await;
        peer
    }

    /// The next line from the gateway.
    pub async fn next(&mut self) -> ToPeer {
        match self.waiting.pop_front() {
            Some(line) => line,
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> ToPeer {
        let line = self.lines.next_line().await.expect("the gateway writes").expect("it closed the control socket");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Lets people say things.
    pub async fn say(&mut self, items: impl Iterator<Item = Item>) {
        let mut buffer = Vec::new();
        for item in items {
            serde_json::to_writer(&mut buffer, &FromPeer::In(item)).expect("JSON");
            buffer.push(b'\n');
        }
        self.write.write_all(&buffer).await.expect("the gateway reads");
    }

    /// Lets deliveries fail, or work again; waits until that is so.
    pub async fn fail(&mut self, to: &str, how: Option<&str>) {
        self.order(&FromPeer::Fail { to: to.to_owned(), how: how.map(str::to_owned) }, to).await;
    }

    /// Gives a person a name, for whoever asks; waits until that is so.
    pub async fn name(&mut self, person: &str, name: &str) {
        let order = FromPeer::Name { person: person.to_owned(), name: name.to_owned() };
        self.order(&order, person).await;
    }

    /// Gives a person a picture (base64), or takes it away; waits until that is so.
    pub async fn face(&mut self, person: &str, picture: Option<&str>) {
        let order = FromPeer::Face { person: person.to_owned(), picture: picture.map(str::to_owned) };
        self.order(&order, person).await;
    }

    /// Orders something, and waits until it is done.
    async fn order(&mut self, order: &FromPeer, id: &str) {
        let mut line = serde_json::to_vec(order).expect("JSON");
        line.push(b'\n');
        self.write.write_all(&line).await.expect("the gateway reads");
        loop {
            match self.read().await {
                ToPeer::Ok { id: done } if done == id => return,
                other => self.waiting.push_back(other),
            }
        }
    }
}
