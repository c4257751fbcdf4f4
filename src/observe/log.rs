//! Logs: text on a terminal, JSON under a supervisor. No bodies, no tokens, no full addresses above debug.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. `PORTWAY_LOG` holds the filter (`info` by default, as in `RUST_LOG`),
/// `PORTWAY_LOG_FORMAT` is `text` or `json`.
pub fn start() {
    let filter =
        std::env::var("PORTWAY_LOG").or_else(|_| std::env::var("RUST_LOG")).unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match std::env::var("PORTWAY_LOG_FORMAT").as_deref() {
        Ok("json") => true,
        Ok("text") => false,
        _ => !std::io::stderr().is_terminal(),
    };
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // A second start (in tests) is not an error.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
