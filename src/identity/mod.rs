//! Who is who, and who may.

pub mod access;
pub mod directory;
pub mod newcomers;
pub mod quota;
pub mod rate;
pub mod rules;

pub use access::Access;
pub use directory::{Directory, Meant};
pub use newcomers::Newcomers;
pub use quota::Quota;
pub use rate::Limiter;
pub use rules::{Barrier, Rules};
