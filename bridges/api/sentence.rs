//! What users read: keys into the catalogue of sentences, with arguments.

/// A sentence of the catalogue, by its key, with the values of its `{placeholders}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The key, such as `matrix.unknown-user`.
    pub key: String,
    /// The values by placeholder.
    pub args: Vec<(String, String)>,
}

impl Sentence {
    /// A sentence without arguments.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), args: Vec::new() }
    }

    /// The same sentence with one more argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.args.push((name.to_owned(), value.into()));
        self
    }
}

/// One row of a catalogue: a key, a language, and the text with `{placeholders}`.
///
/// Each network brings its own rows ([`super::Descriptor::sentences`]); the core merges them with its own.
#[derive(Debug, Clone, Copy)]
pub struct SentenceDef {
    /// The key; its first part is the id of the network.
    pub key: &'static str,
    /// The language as a BCP 47 tag, such as `en`.
    pub lang: &'static str,
    /// The text.
    pub text: &'static str,
}
