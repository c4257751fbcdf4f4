//! Real servers and real clients on loopback, for the demo and the end-to-end tests.
//!
//! Every server runs from a scratch directory on free ports, and is ended by its recorded process; nothing is ended by
//! name, and nothing outside of the scratch directory is written.

pub mod conversation;
pub mod ejabberd;
pub mod gateway;
pub mod imap;
pub mod mail;
pub mod matrix;
pub mod process;
pub mod prosody;
pub mod stub_homeserver;
pub mod synapse;
pub mod weather;
pub mod world;
pub mod xmpp;

use std::time::Duration;

/// How long anything may take before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What went wrong, in words.
pub type Result<T> = std::result::Result<T, String>;

/// Asks again and again until there is an answer, at most [`PATIENCE`] long.
///
/// # Errors
/// `what` did not happen.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.map_err(|_| format!("{what}: not within {} s", PATIENCE.as_secs()))
}
