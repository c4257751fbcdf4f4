//! What a network can carry, as data. One place in the core (`route::degrade`) reads it before each delivery.

use std::time::Duration;

/// What a network can carry in one chat. The default carries plain text and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Grows when the meaning of a field changes.
    pub version: u32,
    /// Edits of earlier messages.
    pub edit: bool,
    /// Answers that name what they answer.
    pub reply: bool,
    /// Reactions.
    pub reaction: bool,
    /// Taking a message back.
    pub retract: bool,
    /// Files.
    pub file: bool,
    /// Formatted text.
    pub rich: bool,
    /// Places.
    pub location: bool,
    /// That a message has been read (XEP-0333).
    pub displayed: bool,
    /// Emotes as such.
    pub emote: bool,
    /// A subject line.
    pub subject: bool,
    /// Chat states.
    pub typing: bool,
    /// The longest text of one item in bytes of UTF-8; longer text is split by the adapter, never cut.
    pub max_text: usize,
    /// Whether consecutive lines travel together, and how long they wait for one another.
    pub batch: Option<Batch>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            version: 1,
            edit: false,
            reply: false,
            reaction: false,
            retract: false,
            file: false,
            rich: false,
            location: false,
            displayed: false,
            emote: false,
            subject: false,
            typing: false,
            max_text: 32 * 1024,
            batch: None,
        }
    }
}

/// Lines written within `silence` of one another travel as one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// How long nothing must have been said.
    pub silence: Duration,
    /// How long the first line waits at most.
    pub max_wait: Duration,
    /// How many lines at most.
    pub max_lines: usize,
    /// Lines that are orders to the adapter, such as `/send`, word for word: what waits goes out at once, and they go
    /// to the adapter after it, alone.
    pub orders: &'static [&'static str],
}
