//! Faces: pictures of people, and other ways to reach them.

use bytes::Bytes;

/// The largest picture that is read from a network, in bytes.
pub const LARGEST: usize = 4 << 20;

/// A picture of a person, as a network has it or as it is to have it. Nothing about it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// What its side calls it: a new picture has a new name.
    pub source: String,
    /// The media type, as far as its side tells.
    pub media_type: String,
    /// The picture itself, at most [`LARGEST`] bytes; none where there is no picture any more.
    pub bytes: Bytes,
}

impl Picture {
    /// That there is no picture any more.
    #[must_use]
    pub fn none() -> Self {
        Self { source: String::new(), media_type: String::new(), bytes: Bytes::new() }
    }
}

/// Another way to reach a person, for their card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A mail address.
    Mail(String),
    /// A link that programs of their own network open.
    Link(String),
}
