//! Files: where their bytes are, and how they come.

use std::fmt;
use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;

/// Where the bytes of a file are, in words that only the network that has it reads. May hold the key of an encrypted file, so
/// it is not printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Source(Box<str>);

impl Source {
    /// From the network's own words.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(…)")
    }
}

/// The bytes of a file on their way.
pub struct Content {
    /// The media type, as whoever has the file says.
    pub media_type: Option<String>,
    /// The size in bytes, where it is known before.
    pub size: Option<u64>,
    /// The bytes, in pieces. Whoever reads them counts them: nothing is more than it says.
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("media_type", &self.media_type)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
