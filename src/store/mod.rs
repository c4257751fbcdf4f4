//! The durable memory: what was accepted and has not yet arrived, which id is which, who is who.
//!
//! [`Store`] is what the rest of the gateway calls: each method is one domain operation, atomic, and returns when it is
//! on disk. [`Backend`] is what a database engine implements.

pub mod model;

pub use model::*;
