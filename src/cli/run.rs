//! `portway run`.

use portway_bridges::api::Stop;
use tracing::info;

use super::{Cli, CliError, load, runtime};
use crate::observe::log;

/// Runs the gateway until a signal to stop; a second signal ends it at once.
pub fn run(cli: &Cli) -> Result<(), CliError> {
    let config = load(cli)?;
    log::start();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    runtime()?.block_on(async {
        let stop = Stop::new();
        tokio::spawn(signals(stop.clone()));
        crate::run(config, stop).await.map_err(|error| CliError::Runtime(error.to_string()))
    })
}

async fn signals(stop: Stop) {
    wait().await;
    info!("stopping");
    stop.cancel();
    wait().await;
    std::process::exit(1);
}

#[cfg(unix)]
async fn wait() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn wait() {
    let _ = tokio::signal::ctrl_c().await;
}
