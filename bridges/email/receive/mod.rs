//! Taking mail: one engine with two faces, LMTP (RFC 2033) and SMTP (RFC 5321).

pub mod arrival;
mod data;
mod deliver;
mod envelope;
mod listen;
mod rate;
mod session;
mod words;

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tracing::{debug, warn};

pub use self::listen::{Listener, acceptor};
pub use self::rate::Rate;
pub use self::session::run;

use self::listen::Places;
use super::adapter::State;
use super::config::Face;
use crate::api::{Core, Fatal, Stop};

/// Binds the listener.
pub async fn bind(state: &State) -> Result<Listener, Fatal> {
    let place = &state.config.listen;
    let listener = Listener::bind(place)
        .await
        .map_err(|error| Fatal(format!("network.email.listen: cannot listen on {place}: {error}")))?;
    if let Some(bound) = listener.bound() {
        let _ = state.bound.set(bound);
    }
    Ok(listener)
}

/// Serves until the stop signal.
pub async fn serve(state: Arc<State>, core: Core, listener: Listener, stop: Stop) {
    let places = Arc::new(Places::default());
    let one_peer = state.config.face == Face::Lmtp;
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = sessions.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((mut stream, peer)) => {
                    let Some(place) = places.take(peer, one_peer) else {
                        debug!("too many mail connections");
                        // Best effort: who does not read it is closed all the same.
                        let _ = futures::FutureExt::now_or_never(stream.write_all(b"421 4.7.0 too many connections\r\n"));
                        continue;
                    };
                    let (state, core) = (state.clone(), core.clone());
                    sessions.spawn(async move {
                        run(stream, peer, &state, &core).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "a mail connection cannot be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
        }
    }
    // Whoever has no answer yet sends again.
    sessions.shutdown().await;
}
