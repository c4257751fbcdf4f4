//! Who is who, and who may.

pub mod access;
pub mod directory;
pub mod rate;

pub use access::Access;
pub use directory::{Directory, Meant};
pub use rate::Limiter;
