//! What an admin sees of a running gateway.

pub mod metrics;

pub use metrics::Metrics;
