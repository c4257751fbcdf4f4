//! Taking mail: one engine with two faces, LMTP (RFC 2033) and SMTP (RFC 5321).

mod data;
mod deliver;
mod session;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::adapter::State;
use crate::api::{Core, Fatal, Stop};

/// How many connections are served at once.
const CONNECTIONS: usize = 100;

/// Binds the listener.
pub async fn bind(state: &State) -> Result<TcpListener, Fatal> {
    let address = state.config.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Fatal(format!("network.email.listen: cannot listen on {address}: {error}")))?;
    if let Ok(bound) = listener.local_addr() {
        let _ = state.bound.set(bound);
    }
    Ok(listener)
}

/// Serves until the stop signal.
pub async fn serve(state: Arc<State>, core: Core, listener: TcpListener, stop: Stop) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = sessions.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Ok(place) = places.clone().try_acquire_owned() else {
                        debug!(%peer, "too many connections");
                        continue;
                    };
                    let _ = stream.set_nodelay(true);
                    let (state, core) = (state.clone(), core.clone());
                    sessions.spawn(async move {
                        session::run(stream, &state, &core).await;
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
