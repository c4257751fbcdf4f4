//! From one side to the other: commit, lanes, retries, and what becomes of what cannot arrive.

pub mod item;
pub mod key;
pub mod stored;
