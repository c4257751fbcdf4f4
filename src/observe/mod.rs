//! What an admin sees of a running gateway.

pub mod health;
pub mod http;
pub mod log;
pub mod metrics;

pub use health::Health;
pub use metrics::Metrics;
