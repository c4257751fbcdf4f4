//! How people of a network are doing, where it says so.

use super::id::Timestamp;

/// Whether somebody can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Availability {
    /// How they are.
    pub state: Whereabouts,
    /// A line of text about it.
    pub status: Option<String>,
    /// Since when they have not done anything.
    pub idle_since: Option<Timestamp>,
}

/// How somebody can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whereabouts {
    /// They are there; also where nothing is known of them.
    #[default]
    Here,
    /// They are there, and do something else.
    Away,
    /// They are not there. What is written to them waits for them.
    Gone,
}
