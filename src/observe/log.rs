//! Logs: text on a terminal, JSON under a supervisor. No bodies, no tokens, no full addresses above debug.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

type Reload = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// How the filter of this program is changed.
static RELOAD: OnceLock<Reload> = OnceLock::new();

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
    let _ = if json {
        let builder = builder.json().with_filter_reloading();
        let handle = builder.reload_handle();
        let _ = RELOAD.set(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())));
        builder.try_init()
    } else {
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        let _ = RELOAD.set(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())));
        builder.try_init()
    };
}

/// Changes the filter of a running program, until its end or the next change.
///
/// # Errors
/// Why the text is no filter, or that nothing is logged.
pub fn set(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    RELOAD.get().ok_or_else(|| "logging was not started".to_owned())?(filter)
}
