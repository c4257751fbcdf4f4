//! The control socket: programs that play the other side connect here.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::debug;

use super::from_loopback;
use super::state::State;
use super::wire::{FromPeer, ToPeer};
use crate::api::{Chat, Core, Fatal, Kind, Membership, Stop, Submission};

/// How many lines wait for a slow peer.
const QUEUE: usize = 1024;

/// The longest line in bytes.
const LINE: u64 = 1024 * 1024;

/// How many lines are committed together.
const BATCH: usize = 256;

/// Serves peers until the stop signal.
pub async fn serve(address: SocketAddr, core: Core, state: Arc<State>, stop: Stop) -> Result<(), Fatal> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Fatal(format!("network.loopback.listen: cannot listen on {address}: {error}")))?;
    let bound = listener.local_addr().map_err(|error| Fatal(error.to_string()))?;
    state.bound(bound);
    let mut peers = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                peers.spawn(peer(stream, core.clone(), state.clone()));
            },
            Some(_) = peers.join_next() => {}
        }
    }
    peers.shutdown().await;
    Ok(())
}

async fn peer(stream: TcpStream, core: Core, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let (read, mut write) = stream.into_split();
    let (sender, mut receiver) = mpsc::channel::<ToPeer>(QUEUE);
    state.connect(sender.clone());
    let (lines, mut waiting) = mpsc::channel::<Vec<u8>>(QUEUE);
    let writer = async {
        let mut items = Vec::new();
        while receiver.recv_many(&mut items, QUEUE).await > 0 {
            let mut buffer = Vec::new();
            for item in items.drain(..) {
                if serde_json::to_writer(&mut buffer, &item).is_ok() {
                    buffer.push(b'\n');
                }
            }
            if write.write_all(&buffer).await.is_err() {
                break;
            }
        }
    };
    let reader = async move {
        let mut read = BufReader::new(read);
        loop {
            let mut line = Vec::new();
            match (&mut read).take(LINE).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => break,
                Ok(_) if !line.ends_with(b"\n") => break,
                Ok(_) => {}
            }
            if lines.send(line).await.is_err() {
                break;
            }
        }
    };
    let worker = async {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            for answer in take(&core, &state, batch.drain(..)).await {
                if sender.send(answer).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = writer => {}
        ((), ()) = async { tokio::join!(reader, worker) } => {}
    }
    debug!("a peer of the loopback network has gone");
}

/// Takes lines: what people say is committed in one transaction, and answered when it is.
async fn take(core: &Core, state: &State, lines: impl Iterator<Item = Vec<u8>>) -> Vec<ToPeer> {
    let mut answers = Vec::new();
    let mut submission = Submission::default();
    let mut ids = Vec::new();
    for line in lines {
        match serde_json::from_slice::<FromPeer>(&line) {
            Ok(FromPeer::In(item)) if item.kind == "presence" => match from_loopback::availability(&item) {
                Ok((person, availability)) => core.available(&person, availability),
                Err(text) => answers.push(ToPeer::Error { text }),
            },
            Ok(FromPeer::In(item)) => match from_loopback::event(&item, core.now()) {
                Ok(event) => {
                    if let Chat::Room(room) = &event.chat {
                        let left = matches!(event.kind, Kind::Membership(Membership::Leave { .. }));
                        state.member(room, &event.sender, event.sender_name.clone(), !left);
                        if let Kind::RoomGone { next: Some(next), .. } = &event.kind {
                            state.go(room, next);
                        }
                    }
                    if matches!(event.kind, Kind::Typing { .. }) {
                        core.signal(event);
                    } else {
                        submission.events.push(event);
                        ids.push(item.id);
                    }
                }
                Err(text) => answers.push(ToPeer::Error { text }),
            },
            Ok(FromPeer::Fail { to, how }) => answers.push(match state.fail(&to, how.as_deref()) {
                Ok(()) => ToPeer::Ok { id: to },
                Err(text) => ToPeer::Error { text },
            }),
            Ok(FromPeer::Name { person, name }) => answers.push(match from_loopback::face(&person, None) {
                Ok((who, _)) => {
                    state.set_name(&who, name);
                    ToPeer::Ok { id: person }
                }
                Err(text) => ToPeer::Error { text },
            }),
            Ok(FromPeer::Face { person, picture }) => answers.push(match from_loopback::face(&person, picture) {
                Ok((whose, picture)) => {
                    state.set_face(&whose, picture);
                    core.pictured(whose);
                    ToPeer::Ok { id: person }
                }
                Err(text) => ToPeer::Error { text },
            }),
            Err(error) => answers.push(ToPeer::Error { text: error.to_string() }),
        }
    }
    if !submission.events.is_empty() {
        match core.submit(submission).await {
            Ok(_) => answers.extend(ids.into_iter().map(|id| ToPeer::Ok { id })),
            Err(error) => answers.extend(ids.iter().map(|_| ToPeer::Error { text: error.to_string() })),
        }
    }
    answers
}
